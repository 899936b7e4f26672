/** Moves a name: rename(2), renameat2(2). */

import type { Time } from '../../base/clock.ts'
import {
  EACCES,
  EBUSY,
  EEXIST,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  ENOTSUP,
  EPERM,
  EROFS,
  type Errno,
  isErrno,
} from '../../base/errno.ts'
import { type Ino, isTrash, livesInTrash, NO_INO, TRASH_INO } from '../../base/ino.ts'
import { ancestors, type Change, type Dentry, dentry, done, gather, node, type Operation } from '../facts.ts'
import type { Entry } from '../meta.ts'
import { type Attr, TYPE_DIRECTORY } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import type { Volume } from '../model/volume.ts'
import { chargeDirectories } from '../rules/charge.ts'
import { isDots, nameRefusal } from '../rules/names.ts'
import { MAY_WRITE } from '../rules/permission.ts'
import { dirTimesDue } from '../rules/times.ts'
import { isTrashName, mayTakeFrom } from '../rules/trash.ts'
import { mayAccessNode } from './may-access.ts'
import { chargeMove, type Moving, type Size } from './move-charge.ts'
import {
  type Asking,
  aboveIfCharged,
  changeRefusal,
  enter,
  entryCharge,
  type Place,
  payers,
  takeRefusal,
} from './place.ts'
import { dropDirectory, dropName, type Loss, type Removal } from './remove.ts'

export const RENAME_NOREPLACE = 1
export const RENAME_EXCHANGE = 2
export const RENAME_WHITEOUT = 4
/** With NOREPLACE, and only from inside: the target may be a directory that lies in the trash itself. */
export const RENAME_RESTORE = 32

/** `subtree`: what the moved directory holds, itself included, and `backSubtree` the one that comes back for it (EXCHANGE); only
 *  needed (and counted by the client) when they move between directories under different quotas. */
export type RenameRemoval = Removal & { readonly subtree?: Size | undefined; readonly backSubtree?: Size | undefined }

export interface Renamed {
  readonly moved: Entry
  /** the node that lost its name to the moved one; NO_INO = none */
  readonly replaced: Ino
  /** that was its last name */
  readonly replacedIsGone: boolean
  /** it goes on without a name until its last close */
  readonly replacedIsSustained: boolean
}

/** EINVAL, ENOTSUP (flags), EBUSY for dots, EINVAL, ENAMETOOLONG, EPERM (trash), EROFS; ENOENT, ENOTDIR, EACCES (X);
 *  ENOENT, EEXIST (names); EINVAL (into itself); EPERM, EACCES (either directory, sticky, protected nodes); ENOTDIR,
 *  EISDIR; EACCES (a directory whose `..` changes must be writable); ENOTEMPTY; EDQUOT. Two names of one node: success,
 *  nothing changes. One round trip; one more for a directory that changes its parent, an ACL, a replaced node with
 *  several names that goes to the trash. */
export function* rename(
  volume: Volume,
  caller: Caller,
  from: Place,
  to: Place,
  flags: number,
  removal: RenameRemoval,
): Operation<Renamed> {
  const invalid = callRefusal(volume, caller, from, to, flags)
  if (invalid !== undefined) return invalid
  const sides = yield* gatherSides(volume, from, to)
  const fromDir = yield* enter(sides.fromDir, caller)
  if (isErrno(fromDir)) return fromDir
  const toDir = yield* enter(sides.toDir, caller)
  if (isErrno(toDir)) return toDir

  const exchange = flags === RENAME_EXCHANGE
  const { target } = sides
  const moved = standing(sides.moved)
  if (!moved) return ENOENT
  if (target && (flags & RENAME_NOREPLACE) !== 0) return EEXIST
  if (exchange && !target?.attr) return ENOENT
  if (livesInTrash(toDir.attr.parent) && (flags & RENAME_RESTORE) === 0) return ENOENT
  if (target?.ino === moved.ino)
    return done({ moved, replaced: NO_INO, replacedIsGone: false, replacedIsSustained: false })
  const back = exchange ? standing(target) : null
  const replaced = exchange ? null : target

  const sameDir = from.parent === to.parent
  const turning = sameDir ? [] : [moved, ...(back ? [back] : [])].filter(({ attr }) => attr.type === TYPE_DIRECTORY)
  if (turning.length > 0 && (yield* makesLoop(turning, sides, from, to))) return EINVAL
  const refusal =
    takeRefusal(fromDir, moved.attr, caller) ??
    (target ? takeRefusal(toDir, target.attr, caller) : changeRefusal(toDir, caller))
  if (refusal !== undefined) return refusal
  const misfit = replaced ? typeRefusal(moved.attr.type, replaced.type) : undefined
  if (misfit !== undefined) return misfit
  for (const { attr } of turning) {
    if (!(yield* mayAccessNode(attr, caller, MAY_WRITE))) return EACCES
  }
  if (replaced?.type === TYPE_DIRECTORY && !replaced.empty) return ENOTEMPTY

  const fromSide = { parent: from.parent, above: payers(from.parent, sides.fromPath) }
  const toSide = { parent: to.parent, above: payers(to.parent, sides.toPath) }
  const charges = yield* chargeMove(volume, fromSide, toSide, moved, {
    back,
    replaced: replaced?.attr ?? null,
    subtree: removal.subtree,
    backSubtree: removal.backSubtree,
  })
  if (isErrno(charges)) return charges

  const changes: Change[] = []
  let loss: Loss | null = null
  if (back) {
    changes.push({ kind: 'setDentry', ...from, ino: back.ino, type: back.attr.type })
    changes.push(...arrive(back, to.parent, from.parent, caller.now).changes)
  } else {
    changes.push({ kind: 'delDentry', ...from })
  }
  if (replaced) {
    loss = yield* drop(volume, caller, to, replaced, removal)
    changes.push(...loss.changes, ...chargeDirectories(volume, to.parent, toSide.above, entryCharge(replaced.attr, -1)))
  }
  const arrived = arrive(moved, from.parent, to.parent, caller.now)
  changes.push({ kind: 'setDentry', ...to, ino: moved.ino, type: moved.attr.type }, ...arrived.changes, ...charges)

  const came = turning.includes(moved) ? 1 : 0
  const went = back && turning.includes(back) ? 1 : 0
  const lost = replaced?.type === TYPE_DIRECTORY ? 1 : 0
  if (!sameDir) changes.push(...adjust(volume, from.parent, fromDir.attr, went - came, caller.now))
  changes.push(...adjust(volume, to.parent, toDir.attr, came - went - lost, caller.now))
  const result: Renamed = {
    moved: { ino: moved.ino, attr: arrived.attr },
    replaced: replaced?.ino ?? NO_INO,
    replacedIsGone: loss !== null && loss.attr.nlink === 0,
    replacedIsSustained: loss?.isSustained === true,
  }
  return done(result, changes, loss?.effects ?? [])
}

/** What is wrong before anything is read. */
function callRefusal(volume: Volume, caller: Caller, from: Place, to: Place, flags: number): Errno | undefined {
  if (flags === RENAME_WHITEOUT || flags === (RENAME_WHITEOUT | RENAME_NOREPLACE)) return ENOTSUP
  const known = [0, RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_NOREPLACE | RENAME_RESTORE]
  if (!known.includes(flags)) return EINVAL
  if (isDots(from.name)) return EBUSY
  const badName = nameRefusal(to.name, EBUSY)
  if (badName !== undefined) return badName
  if (isTrashName(from.parent, from.name) || isTrashName(to.parent, to.name)) return EPERM
  // An hour directory stays where clients look for it.
  if (isTrash(to.parent) || from.parent === TRASH_INO || !mayTakeFrom(from.parent, caller)) return EPERM
  // What comes back for it would be emptied with the trash.
  if (flags === RENAME_EXCHANGE && isTrash(from.parent)) return EPERM
  return volume.readOnly ? EROFS : undefined
}

interface Sides {
  readonly fromDir: Attr | null
  readonly toDir: Attr | null
  readonly moved: Dentry | null
  readonly target: Dentry | null
  /** the directories above, only where directories have quotas */
  readonly fromPath: readonly Ino[] | undefined
  readonly toPath: readonly Ino[] | undefined
}

function* gatherSides(volume: Volume, from: Place, to: Place): Asking<Sides> {
  const entries = [dentry(from.parent, from.name), dentry(to.parent, to.name, true)] as const
  if (from.parent === to.parent) {
    const [moved, target, dir, path] = yield* gather(...entries, node(to.parent), ...aboveIfCharged(volume, to.parent))
    return { fromDir: dir, toDir: dir, moved, target, fromPath: path, toPath: path }
  }
  const [moved, target, fromDir, toDir, fromPath, toPath] = yield* gather(
    ...entries,
    node(from.parent),
    node(to.parent),
    ...(volume.limits.hasDirQuotas ? ([ancestors(from.parent), ancestors(to.parent)] as const) : ([] as const)),
  )
  return { fromDir, toDir, moved, target, fromPath, toPath }
}

const standing = (found: Dentry | null): Moving | null => (found?.attr ? { ino: found.ino, attr: found.attr } : null)

/** Does a directory come to lie below itself? The kernel asks too, but not across clients: the paths are guarded facts, so
 *  two renames that would tie a knot together cannot both be committed. */
function* makesLoop(turning: readonly Moving[], sides: Sides, from: Place, to: Place): Asking<boolean> {
  let { fromPath, toPath } = sides
  if (fromPath === undefined || toPath === undefined) {
    ;[fromPath, toPath] = yield* gather(ancestors(from.parent), ancestors(to.parent))
  }
  const [below, above] = [toPath, fromPath]
  return turning.some(({ ino }) => below.includes(ino) || above.includes(ino))
}

const typeRefusal = (moved: number, replaced: number): Errno | undefined => {
  if (moved === TYPE_DIRECTORY) return replaced === TYPE_DIRECTORY ? undefined : ENOTDIR
  return replaced === TYPE_DIRECTORY ? EISDIR : undefined
}

function* drop(volume: Volume, caller: Caller, to: Place, found: Dentry, removal: Removal): Asking<Loss> {
  if (found.type === TYPE_DIRECTORY) return dropDirectory(volume, caller, to, found, removal)
  return yield* dropName(volume, caller, to, found, removal)
}

/** The node in its new directory. One with several names has its parents counted; the others name their only one. */
function arrive({ ino, attr }: Moving, from: Ino, to: Ino, now: Time): { attr: Attr; changes: Change[] } {
  const counted = attr.parent === NO_INO
  const arrived = { ...attr, parent: counted ? NO_INO : to, ctime: now }
  const changes: Change[] = [{ kind: 'putNode', ino, attr: arrived }]
  if (counted && from !== to) {
    changes.push(
      { kind: 'linkParent', ino, parent: from, delta: -1 },
      { kind: 'linkParent', ino, parent: to, delta: 1 },
    )
  }
  return { attr: arrived, changes }
}

function adjust(volume: Volume, ino: Ino, attr: Attr, nlink: number, now: Time): Change[] {
  if (isTrash(ino)) return []
  return [{ kind: 'adjustDir', ino, nlink, at: nlink !== 0 ? now : dirTimesDue(attr, volume, now) }]
}
