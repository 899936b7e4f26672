/** Makes a node and its name: mknod, mkdir, symlink, create. */

import type { Name } from '../../base/bytes.ts'
import { EEXIST, EINVAL, ENOENT, ENOTSUP, EPERM, EROFS, isErrno } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import { type Ino, isTrash, livesInTrash } from '../../base/ino.ts'
import { type Change, done, gather, node, type Operation } from '../facts.ts'
import type { Entry, NewNode } from '../meta.ts'
import { type Attr, FLAG_SKIP_TRASH, TYPE_DIRECTORY, TYPE_FILE, TYPE_SOCKET, TYPE_SYMLINK } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import type { Volume } from '../model/volume.ts'
import { inheritAcl } from '../rules/acl.ts'
import { chargeDirectories, chargeVolume } from '../rules/charge.ts'
import { isTarget, nameRefusal } from '../rules/names.ts'
import { callerInGroup } from '../rules/permission.ts'
import { dirTimesDue } from '../rules/times.ts'
import { isTrashName } from '../rules/trash.ts'
import { type Asking, changeRefusal, enter, entryCharge, gatherPlace } from './place.ts'

const SETGID = 0o2000
const SETGID_EXEC = 0o2010

/** `ino` is a fresh number. `orExisting`: a regular file that is there already is the answer, `created` false (open(2)
 *  with O_CREAT and without O_EXCL). `inTrash`: the client itself makes the directory of an hour in the trash root.
 *  EINVAL, EPERM (trash), ENAMETOOLONG, ENOENT, ENOTDIR, EACCES (X), EEXIST, EROFS, EPERM (immutable), EACCES (W), then
 *  EDQUOT or ENOSPC. One round trip, two more only below a default ACL. */
export function* make(
  volume: Volume,
  caller: Caller,
  parent: Ino,
  name: Name,
  ino: Ino,
  what: NewNode,
  options: { readonly orExisting: boolean; readonly inTrash?: boolean },
): Operation<Entry & { readonly created: boolean }> {
  const { type } = what
  const inTrash = options.inTrash === true
  if (!(type >= TYPE_FILE && type <= TYPE_SOCKET)) return EINVAL
  if ((isTrash(parent) && !inTrash) || isTrashName(parent, name)) return EPERM
  const badName = nameRefusal(name, EEXIST)
  if (badName !== undefined) return badName
  if (type === TYPE_SYMLINK && !isTarget(what.target)) return EINVAL

  const { dir, found, above } = yield* gatherPlace(volume, { parent, name }, { empty: false })
  const entered = yield* enter(dir, caller)
  if (isErrno(entered)) return entered
  if (livesInTrash(entered.attr.parent)) return ENOENT
  if (found) {
    const opens = options.orExisting && type === TYPE_FILE && found.type === TYPE_FILE && found.attr !== null
    return opens ? done({ ino: found.ino, attr: found.attr, created: false }) : EEXIST
  }
  if (volume.readOnly) return EROFS
  const refusal = changeRefusal(entered, caller)
  if (refusal !== undefined) return refusal
  if (!inTrash) {
    // The trash is how space is freed: a full volume must not keep it from opening an hour.
    const gid = groupOf(entered.attr, caller)
    const growth = { uid: caller.uid, gid, ancestors: above, space: 4096, inodes: 1 }
    const full = volume.limits.refuses(growth)
    if (full !== undefined) return full
  }

  const attr = yield* newNode(volume, caller, parent, entered.attr, what)
  const isDirectory = type === TYPE_DIRECTORY
  const { now } = caller
  const changes: Change[] = [
    { kind: 'putNode', ino, attr },
    { kind: 'setDentry', parent, name, ino, type },
  ]
  if (type === TYPE_SYMLINK) changes.push({ kind: 'putSymlink', ino, target: what.target })
  if (isDirectory) changes.push({ kind: 'newDirUsage', ino })
  if (!inTrash) {
    const at = isDirectory ? now : dirTimesDue(entered.attr, volume, now)
    changes.push({ kind: 'adjustDir', ino: parent, nlink: isDirectory ? 1 : 0, at })
    changes.push(...chargeDirectories(volume, parent, above, entryCharge(attr, 1)))
  }
  changes.push(...chargeVolume(volume, attr, 4096, 1))
  return done({ ino, attr, created: true }, changes)
}

/** A regular file without a name (O_TMPFILE), which session `sid` keeps until the last close, or until it is linked. Nobody ever sees
 *  it in a directory, and `parent` only says who may, where, and in which group. EPERM (trash), ENOENT, ENOTDIR, EACCES, EROFS, ENOTSUP
 *  (no session), EPERM (immutable), EDQUOT or ENOSPC. */
export function* makeUnnamed(
  volume: Volume,
  caller: Caller,
  parent: Ino,
  ino: Ino,
  what: NewNode,
  sid: number,
): Operation<Entry> {
  if (isTrash(parent)) return EPERM
  const [dir] = yield* gather(node(parent))
  const entered = yield* enter(dir, caller)
  if (isErrno(entered)) return entered
  if (livesInTrash(entered.attr.parent)) return ENOENT
  if (volume.readOnly) return EROFS
  if (sid === 0) return ENOTSUP
  const refusal = changeRefusal(entered, caller)
  if (refusal !== undefined) return refusal
  const growth = { uid: caller.uid, gid: groupOf(entered.attr, caller), ancestors: [], space: 4096, inodes: 1 }
  const full = volume.limits.refuses(growth)
  if (full !== undefined) return full
  const attr: Attr = { ...(yield* newNode(volume, caller, parent, entered.attr, what)), nlink: 0 }
  return done({ ino, attr }, [
    { kind: 'putNode', ino, attr },
    { kind: 'sustain', sid, ino },
    ...chargeVolume(volume, attr, 4096, 1),
  ])
}

const groupOf = (dir: Attr, caller: Caller): number => ((dir.mode & SETGID) !== 0 ? dir.gid : caller.gid)

/** What it will be, with one name. */
function* newNode(volume: Volume, caller: Caller, parent: Ino, dir: Attr, what: NewNode): Asking<Attr> {
  const { type } = what
  const permissions = yield* newPermissions(volume, caller, dir, what)
  const isDirectory = type === TYPE_DIRECTORY
  const { now } = caller
  return {
    type,
    flags: dir.flags & FLAG_SKIP_TRASH,
    ...permissions,
    uid: caller.uid,
    gid: groupOf(dir, caller),
    atime: now,
    mtime: now,
    ctime: now,
    nlink: isDirectory ? 2 : 1,
    length: isDirectory ? 4096 : type === TYPE_SYMLINK ? what.target.length : 0,
    rdev: isDirectory || type === TYPE_SYMLINK ? 0 : what.rdev,
    parent,
    tier: dir.tier,
  }
}

type Permissions = Pick<Attr, 'mode' | 'accessAcl' | 'defaultAcl'>

/** Mode and ACLs of a new node (spec meta-model sections 7 and 13): a default ACL takes the place of the umask. */
function* newPermissions(volume: Volume, caller: Caller, dir: Attr, what: NewNode): Asking<Permissions> {
  if (what.type === TYPE_SYMLINK) return { mode: 0o777, accessAcl: 0, defaultAcl: 0 }
  let mode = what.mode & 0o7777
  let accessAcl = 0
  let defaultAcl = 0
  if (volume.acl && dir.defaultAcl !== 0) {
    const [rule] = yield* gather({ kind: 'aclRule', id: dir.defaultAcl })
    if (rule === null) throw new Fault(`read default rule ${dir.defaultAcl}`)
    const inherited = inheritAcl(rule, mode, what.type === TYPE_DIRECTORY)
    mode = inherited.mode
    if (inherited.defaultRule) defaultAcl = dir.defaultAcl
    if (inherited.access !== null) {
      const [id] = yield* gather({ kind: 'aclId', rule: inherited.access })
      accessAcl = id
    }
  } else {
    mode &= ~what.umask
  }
  if ((dir.mode & SETGID) !== 0) {
    if (what.type === TYPE_DIRECTORY) mode |= SETGID
    else if (
      (mode & SETGID_EXEC) === SETGID_EXEC &&
      caller.check &&
      caller.uid !== 0 &&
      !callerInGroup(caller, dir.gid)
    ) {
      mode &= ~SETGID
    }
  }
  return { mode, accessAcl, defaultAcl }
}
