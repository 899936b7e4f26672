/** Who pays when an entry moves: the statistics of both directories, and the quotas above one of them but not the other.
 *  A directory counts in its parent's statistics as itself, in the quotas with all that lies below it (spec meta-model
 *  sections 10 and 12). Volume, user and group pay for nodes, not for names: nothing changes there. */

import type { Errno } from '../../base/errno.ts'
import type { Ino } from '../../base/ino.ts'
import { type Change, gather, QUOTA_DIR } from '../facts.ts'
import { type Attr, TYPE_DIRECTORY } from '../model/attr.ts'
import type { Volume } from '../model/volume.ts'
import { chargeDirectories } from '../rules/charge.ts'
import { type Asking, entryCharge } from './place.ts'

export interface Size {
  readonly space: number
  readonly inodes: number
}
export interface Side {
  readonly parent: Ino
  /** the directories that pay for what lies in it */
  readonly above: readonly Ino[]
}
export interface Moving {
  readonly ino: Ino
  readonly attr: Attr
}
const NOTHING: Size = { space: 0, inodes: 0 }

/** `back` goes the other way (RENAME_EXCHANGE), `replaced` makes room at the target (it is charged by whoever removes it).
 *  `subtree`, `backSubtree`: what they hold, themselves included, where the client has counted it. EDQUOT. A round trip only
 *  for a directory with a quota of its own, whose usage tells its size. */
export function* chargeMove(
  volume: Volume,
  from: Side,
  to: Side,
  moved: Moving,
  others: {
    readonly back: Moving | null
    readonly replaced: Attr | null
    readonly subtree: Size | undefined
    readonly backSubtree: Size | undefined
  },
): Asking<Errno | Change[]> {
  if (from.parent === to.parent) return []
  const { back, replaced } = others
  const changes = [
    ...chargeDirectories(volume, from.parent, [], entryCharge(moved.attr, -1)),
    ...chargeDirectories(volume, to.parent, [], entryCharge(moved.attr, 1)),
  ]
  if (back) {
    changes.push(...chargeDirectories(volume, to.parent, [], entryCharge(back.attr, -1)))
    changes.push(...chargeDirectories(volume, from.parent, [], entryCharge(back.attr, 1)))
  }
  const payers = quotasAbove(volume, from, to)
  if (payers.losing.length === 0 && payers.gaining.length === 0) return changes

  const there = yield* sizeOf(volume, moved, others.subtree)
  const here = back ? yield* sizeOf(volume, back, others.backSubtree) : NOTHING
  const room = replaced ? entryCharge(replaced, 1) : NOTHING
  const owner = { uid: moved.attr.uid, gid: moved.attr.gid, onlyDirectories: true }
  const full =
    volume.limits.refuses({ ...owner, ancestors: payers.gaining, ...minus(there, here, room) }) ??
    volume.limits.refuses({ ...owner, ancestors: payers.losing, ...minus(here, there) })
  if (full !== undefined) return full
  for (const key of payers.losing) changes.push({ kind: 'quotaUsage', type: QUOTA_DIR, key, ...minus(here, there) })
  for (const key of payers.gaining) changes.push({ kind: 'quotaUsage', type: QUOTA_DIR, key, ...minus(there, here) })
  return changes
}

/** Quotas above both sides pay the same before and after. */
function quotasAbove(volume: Volume, from: Side, to: Side): { losing: readonly Ino[]; gaining: readonly Ino[] } {
  const isQuotaDir = (dir: Ino) => volume.limits.isQuotaDir(dir)
  return {
    losing: from.above.filter(dir => isQuotaDir(dir) && !to.above.includes(dir)),
    gaining: to.above.filter(dir => isQuotaDir(dir) && !from.above.includes(dir)),
  }
}

/** What a quota is charged for an entry: a directory with a quota of its own tells, the others as counted by the client. */
function* sizeOf(volume: Volume, { ino, attr }: Moving, subtree: Size | undefined): Asking<Size> {
  if (attr.type !== TYPE_DIRECTORY) return entryCharge(attr, 1)
  if (volume.limits.isQuotaDir(ino)) {
    const [quota] = yield* gather({ kind: 'quota', type: QUOTA_DIR, key: ino })
    // The usage of a quota leaves out the directory itself.
    if (quota) return { space: quota.usedSpace + 4096, inodes: quota.usedInodes + 1 }
  }
  return subtree ?? entryCharge(attr, 1)
}

const minus = (a: Size, b: Size, c: Size = NOTHING): Size => ({
  space: a.space - b.space - c.space,
  inodes: a.inodes - b.inodes - c.inodes,
})
