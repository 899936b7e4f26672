/** Who pays for a node: the volume, its directory's statistics, the quotas above it, its user and group
 *  (spec meta-model sections 4 and 12). Every change that adds or removes space goes through here. */

import type { Ino } from '../../base/ino.ts'
import { isTrash } from '../../base/ino.ts'
import { type Change, QUOTA_DIR, QUOTA_GROUP, QUOTA_USER } from '../facts.ts'
import type { Volume } from '../model/volume.ts'

export interface Charge {
  readonly length: number
  readonly space: number
  readonly inodes: number
}

/** An entry came to (or, with negative numbers, left) the directory `ancestors[0]`: its own statistics, and the quota of
 *  every directory on the path. Does not touch the volume's usage: a link or a move costs nothing there. */
export function chargeDirectories(volume: Volume, parent: Ino, ancestors: readonly Ino[], charge: Charge): Change[] {
  const changes: Change[] = []
  if (volume.dirStats) changes.push({ kind: 'dirUsage', ino: parent, ...charge })
  if (!volume.limits.hasDirQuotas || isTrash(parent)) return changes
  for (const dir of ancestors) {
    if (volume.limits.isQuotaDir(dir)) {
      changes.push({ kind: 'quotaUsage', type: QUOTA_DIR, key: dir, space: charge.space, inodes: charge.inodes })
    }
  }
  return changes
}

/** A node appeared, grew, shrank or went: the volume's usage and its owner's. */
export function chargeVolume(
  volume: Volume,
  owner: { readonly uid: number; readonly gid: number },
  space: number,
  inodes: number,
): Change[] {
  if (space === 0 && inodes === 0) return []
  const changes: Change[] = [{ kind: 'usage', space, inodes }]
  if (volume.limits.userGroup) {
    changes.push({ kind: 'quotaUsage', type: QUOTA_USER, key: owner.uid, space, inodes })
    changes.push({ kind: 'quotaUsage', type: QUOTA_GROUP, key: owner.gid, space, inodes })
  }
  return changes
}
