/** stat, access, chmod, chown, utimes, chattr, and the access time of readers. */

import { nanosBetween, type Time, timeIsLess } from '../../base/clock.ts'
import { EACCES, ENOENT, EPERM, EROFS, type Errno, isErrno } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import { type Ino, isTrash, livesInTrash, ROOT_INO } from '../../base/ino.ts'
import { type Change, done, gather, node, type Operation, QUOTA_GROUP, QUOTA_USER, type QuotaType } from '../facts.ts'
import type { SetAttr } from '../meta.ts'
import { type Attr, spaceOf, TYPE_DIRECTORY } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import type { Volume } from '../model/volume.ts'
import { chmodAcl, modeOfAcl } from '../rules/acl.ts'
import { callerInGroup, MAY_WRITE } from '../rules/permission.ts'
import { mayAccessNode } from './may-access.ts'
import type { Asking } from './place.ts'

/** ENOENT. */
export function* getattr(ino: Ino): Operation<Attr> {
  const [attr] = yield* gather(node(ino))
  return attr ? done(attr) : ENOENT
}

/** ENOENT, EACCES. `mask`: MAY_READ | MAY_WRITE | MAY_EXEC; 0 asks only whether the node is there. */
export function* access(caller: Caller, ino: Ino, mask: number): Operation<undefined> {
  const [attr] = yield* gather(node(ino))
  if (!attr) return ENOENT
  return (yield* mayAccessNode(attr, caller, mask)) ? done(undefined) : EACCES
}

export interface Attributed {
  readonly attr: Attr
  /** the node as it was just before */
  readonly before: Attr
}

/** Changes mode, owner, times and flags (spec meta-model section 14). Immutable and append-only nodes are not protected
 *  from it. EROFS, EPERM (in the trash; not the owner; not a member of the new group), ENOENT, EACCES.
 *  `isOpen`: a file that was unlinked while it is open here lies in the trash, and its handles go on working.
 *  Where nothing changes nothing is written; else ctime is now. One gather; two more for chmod under an access rule. */
export function* setattr(
  volume: Volume,
  caller: Caller,
  ino: Ino,
  set: SetAttr,
  isOpen = false,
): Operation<Attributed> {
  if (volume.readOnly) return EROFS
  if (isTrash(ino)) return EPERM
  const [before] = yield* gather(node(ino))
  if (!before) return ENOENT
  if (livesInTrash(before.parent) && !isOpen) return EPERM

  const owned = changeOwner(before, caller, set)
  if (isErrno(owned)) return owned
  const moded = set.mode === undefined ? owned : yield* changeMode(before, owned, caller, set)
  if (isErrno(moded)) return moded
  const timed = yield* changeTimes(before, moded, caller, set)
  if (isErrno(timed)) return timed
  const after = set.flags === undefined ? timed : { ...timed, flags: set.flags }

  if (after === before) return done({ attr: before, before })
  const attr: Attr = { ...after, ctime: caller.now }
  return done({ attr, before }, [{ kind: 'putNode', ino, attr }, ...moveOwnersUsage(volume, ino, before, attr)])
}

// Each step returns the same object where it changes nothing; a new one counts as a change, also with equal values.

const SUID_SGID = 0o6000
const SGID = 0o2000

/** chown(2) takes suid and sgid away, except: directories keep both, and root leaves the sgid of a file that its group
 *  cannot execute (it marks mandatory locking). */
function withoutSuid(mode: number, before: Attr, caller: Caller): number {
  if (before.type === TYPE_DIRECTORY) return mode
  return mode & (caller.uid !== 0 || (before.mode & 0o010) !== 0 ? 0o1777 : 0o3777)
}

function changeOwner(before: Attr, caller: Caller, set: SetAttr): Attr | Errno {
  const { uid = before.uid, gid = before.gid } = set
  if (set.uid === undefined && set.gid === undefined) return before
  if (set.gid !== undefined && caller.uid !== 0 && caller.uid !== before.uid) return EPERM
  const limited = caller.check && caller.uid !== 0
  if (gid !== before.gid && limited && !callerInGroup(caller, gid)) return EPERM
  if (uid !== before.uid && limited) return EPERM
  if ((before.mode & SUID_SGID) !== 0) return { ...before, uid, gid, mode: withoutSuid(before.mode, before, caller) }
  return uid === before.uid && gid === before.gid ? before : { ...before, uid, gid }
}

function* changeMode(before: Attr, owned: Attr, caller: Caller, set: SetAttr): Asking<Attr | Errno> {
  let mode = (set.mode ?? 0) & 0o7777
  if (set.uid !== undefined || set.gid !== undefined) {
    // The kernel sends the mode along with an owner when it means "keep these bits"; what chown takes away stays away.
    mode |= before.mode & SUID_SGID
    if ((before.mode & SUID_SGID) !== 0) mode = withoutSuid(mode, before, caller)
  }
  if (caller.check && caller.uid !== 0 && (mode & SGID) !== 0 && !callerInGroup(caller, before.gid)) mode &= ~SGID
  if (mode !== owned.mode && caller.uid !== 0 && caller.uid !== before.uid) {
    // Somebody else's write may only take suid and sgid away: that is how the kernel clears them.
    if (((mode ^ owned.mode) & 0o1777) !== 0 || (mode & ~owned.mode & SUID_SGID) !== 0) return EPERM
  }
  if (before.accessAcl === 0) return mode === owned.mode ? owned : { ...owned, mode }
  const [rule] = yield* gather({ kind: 'aclRule', id: before.accessAcl })
  if (rule === null) throw new Fault(`read access rule ${before.accessAcl}`)
  const changed = chmodAcl(rule, mode)
  const [accessAcl] = yield* gather({ kind: 'aclId', rule: changed })
  return { ...owned, accessAcl, mode: modeOfAcl(changed, mode) }
}

function* changeTimes(before: Attr, attr: Attr, caller: Caller, set: SetAttr): Asking<Attr | Errno> {
  const explicit = isOther(set.atime, before.atime) || isOther(set.mtime, before.mtime)
  const now = set.atime === 'now' || set.mtime === 'now'
  if (!explicit && !now) return attr
  if (caller.uid !== 0 && caller.uid !== before.uid) {
    // Times of one's own choosing are the owner's right; "now" is also the right of whoever may write (utimensat(2)).
    if (explicit) return EPERM
    if (!(yield* mayAccessNode(before, caller, MAY_WRITE))) return EACCES
  }
  return { ...attr, atime: timeOf(set.atime, attr.atime, caller), mtime: timeOf(set.mtime, attr.mtime, caller) }
}

const isOther = (wanted: Time | 'now' | undefined, time: Time): boolean =>
  wanted !== undefined && wanted !== 'now' && (wanted.sec !== time.sec || wanted.nsec !== time.nsec)
const timeOf = (wanted: Time | 'now' | undefined, time: Time, caller: Caller): Time =>
  wanted === undefined ? time : wanted === 'now' ? caller.now : { ...wanted, sec: Math.min(wanted.sec, LAST_SEC) }

/** the largest double below 2^63: one more is −2^63 in the record */
const LAST_SEC = 2 ** 63 - 1024

/** What is charged to an owner when a node is made moves to the next owner with it, whatever its type (JuiceFS forgets symbolic
 *  links and special files here and drifts). Never the root, which nobody is charged for. */
function moveOwnersUsage(volume: Volume, ino: Ino, before: Attr, after: Attr): Change[] {
  if (!volume.limits.userGroup || ino === ROOT_INO) return []
  const space = spaceOf(before)
  const move = (type: QuotaType, from: number, to: number): Change[] =>
    from === to
      ? []
      : [
          { kind: 'quotaUsage', type, key: from, space: -space, inodes: -1 },
          { kind: 'quotaUsage', type, key: to, space, inodes: 1 },
        ]
  return [...move(QUOTA_USER, before.uid, after.uid), ...move(QUOTA_GROUP, before.gid, after.gid)]
}

const DAY_NS = 86400e9
const SECOND_NS = 1e9

/** Sets atime where the mode says it is due (spec section 5), and nothing else: ctime stays. ENOENT. */
export function* touchAtime(mode: 'relatime' | 'strictatime', ino: Ino, now: Time): Operation<Attr> {
  const [before] = yield* gather(node(ino))
  if (!before) return ENOENT
  const { atime, mtime, ctime } = before
  const age = nanosBetween(now, atime)
  const isDue =
    timeIsLess(atime, mtime) || timeIsLess(atime, ctime) || age > DAY_NS || (mode === 'strictatime' && age > SECOND_NS)
  if (!isDue) return done(before)
  const attr: Attr = { ...before, atime: now }
  return done(attr, [{ kind: 'putNode', ino, attr }])
}
