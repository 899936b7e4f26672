/** The access check of an operation: mode bits, and the node's access rule where it has one. */

import type { Attr } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import { mayAccess } from '../rules/permission.ts'
import { type Asking, accessRule } from './place.ts'

/** Costs a round trip only for a node with an access rule, asked about by a caller whom the rule can concern. */
export function* mayAccessNode(attr: Attr, caller: Caller, mask: number): Asking<boolean> {
  return mayAccess(attr, caller, mask, yield* accessRule(attr, caller))
}
