/** What an operation must know of the volume and of this client beyond facts: passed in, a snapshot of the last heartbeat. */

import type { Errno } from '../../base/errno.ts'
import type { Ino } from '../../base/ino.ts'

export interface Growth {
  readonly uid: number
  readonly gid: number
  /** directories whose quotas are charged: the parent and everything above it */
  readonly ancestors: readonly Ino[]
  readonly space: number
  readonly inodes: number
  /** A link or a move: volume, user and group pay nothing, only the quotas of `ancestors` are asked. */
  readonly onlyDirectories?: boolean
}

/** Capacity, inode limit and quotas, answered from this client's cached numbers (spec meta-model section 12). */
export interface Limits {
  /** Has any directory a quota? Else operations need not ask for ancestors. */
  readonly hasDirQuotas: boolean
  /** Are user and group quotas kept on this volume? */
  readonly userGroup: boolean
  isQuotaDir(ino: Ino): boolean
  /** May the volume grow by this much? undefined = yes; else EDQUOT (user, group, directory) or ENOSPC (capacity, inodes). */
  refuses(growth: Growth): Errno | undefined
}

export interface Volume {
  readonly readOnly: boolean
  readonly acl: boolean
  readonly dirStats: boolean
  readonly skipDirMtimeNs: number
  readonly limits: Limits
}
