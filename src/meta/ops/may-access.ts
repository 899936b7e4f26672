/** The access check of an operation: mode bits, and the node's access rule where it has one. */

import { type Fact, gather, type Read } from '../facts.ts'
import type { Attr } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import { mayAccess } from '../rules/permission.ts'

/** Costs a round trip only for a node with an access rule, asked about by a caller whom the rule can concern. */
export function* mayAccessNode(
  attr: Attr,
  caller: Caller,
  mask: number,
): Generator<readonly Read[], boolean, readonly Fact[]> {
  if (attr.accessAcl === 0 || caller.uid === 0 || !caller.check) return mayAccess(attr, caller, mask)
  const [rule] = yield* gather({ kind: 'aclRule', id: attr.accessAcl })
  return mayAccess(attr, caller, mask, rule)
}
