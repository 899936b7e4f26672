/** A place is a directory and a name in it. What every operation on one asks first, and how it may be refused, in the
 *  order of Linux (fs/namei.c: may_lookup, then may_create or may_delete). */

import type { Name } from '../../base/bytes.ts'
import { EACCES, ENOENT, ENOTDIR, EPERM, type Errno } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import { type Ino, isTrash } from '../../base/ino.ts'
import { ancestors, type Dentry, dentry, type Fact, gather, node, type Read } from '../facts.ts'
import type { AclRule } from '../model/acl.ts'
import { type Attr, spaceOf, TYPE_DIRECTORY, TYPE_FILE } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import type { Volume } from '../model/volume.ts'
import type { Charge } from '../rules/charge.ts'
import {
  isAppendOnly,
  isImmutable,
  isProtected,
  MAY_EXEC,
  MAY_WRITE,
  mayAccess,
  stickyForbids,
} from '../rules/permission.ts'

/** Part of an operation: it asks, and gives its caller an answer instead of a verdict. */
export type Asking<T> = Generator<readonly Read[], T, readonly Fact[]>

export interface Place {
  readonly parent: Ino
  readonly name: Name
}
export interface FoundPlace {
  readonly dir: Attr | null
  readonly found: Dentry | null
  /** the directories whose quotas pay for what lies here; the parent alone where no directory has a quota */
  readonly above: readonly Ino[]
}
/** A directory that may be searched, with its access rule where that has to be asked. */
export interface Entered {
  readonly attr: Attr
  readonly rule: AclRule | null
}

/** The directory, the entry, and, only where directories have quotas, what lies above. One round trip. */
export function* gatherPlace(volume: Volume, { parent, name }: Place, options: { empty: boolean }): Asking<FoundPlace> {
  const [dir, found, above] = yield* gather(
    node(parent),
    dentry(parent, name, options.empty),
    ...aboveIfCharged(volume, parent),
  )
  return { dir, found, above: payers(parent, above) }
}

/** The read of the path above a directory, only where directories have quotas. */
export const aboveIfCharged = (volume: Volume, parent: Ino) =>
  volume.limits.hasDirQuotas ? ([ancestors(parent)] as const) : ([] as const)

/** The directories that pay: what lies in the trash is charged to none. */
export const payers = (parent: Ino, above: readonly Ino[] | undefined): readonly Ino[] => {
  if (above === undefined) return [parent]
  return above.some(isTrash) ? [] : above
}

/** The access rule of a node, null where mode bits decide. A round trip, only for callers that are checked here and nodes
 *  that have a rule. */
export function* accessRule(attr: Attr, caller: Caller): Asking<AclRule | null> {
  if (!caller.check || caller.uid === 0 || attr.accessAcl === 0) return null
  const [rule] = yield* gather({ kind: 'aclRule', id: attr.accessAcl })
  if (rule === null) throw new Fault(`read access rule ${attr.accessAcl}`)
  return rule
}

/** Walks into a directory: ENOENT, ENOTDIR, EACCES without X. */
export function* enter(dir: Attr | null, caller: Caller): Asking<Entered | Errno> {
  if (dir === null) return ENOENT
  if (dir.type !== TYPE_DIRECTORY) return ENOTDIR
  const rule = yield* accessRule(dir, caller)
  return mayAccess(dir, caller, MAY_EXEC, rule) ? { attr: dir, rule } : EACCES
}

/** May entries come and go here? The immutable flag wins over mode bits (inode_permission). */
export function changeRefusal(dir: Entered, caller: Caller): Errno | undefined {
  if (isImmutable(dir.attr)) return EPERM
  return mayAccess(dir.attr, caller, MAY_WRITE, dir.rule) ? undefined : EACCES
}

/** May this node lose its name here? changeRefusal, then what may_delete adds: an append-only directory gives nothing
 *  away, sticky, a protected node. A sticky violation is EPERM as the kernel says it. */
export function takeRefusal(dir: Entered, target: Attr | null, caller: Caller): Errno | undefined {
  const refusal = changeRefusal(dir, caller)
  if (refusal !== undefined) return refusal
  if (isAppendOnly(dir.attr)) return EPERM
  if (target === null) return undefined
  return stickyForbids(dir.attr, target, caller) || isProtected(target) ? EPERM : undefined
}

/** What an entry costs the directory it lies in; `count` 1 = it comes, −1 = it goes. A node that is gone counts as the
 *  smallest there is. */
export function entryCharge(attr: Attr | null, count: 1 | -1): Charge {
  const length = attr !== null && attr.type === TYPE_FILE ? attr.length : 0
  const space = attr === null ? 4096 : spaceOf(attr)
  return { length: count === 1 ? length : 0 - length, space: count * space, inodes: count }
}
