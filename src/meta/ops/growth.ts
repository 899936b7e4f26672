/** A file's length changes: may it, and who pays? Shared by write, truncate, fallocate and copy (spec meta-model
 *  sections 4 and 12). A file with several names counts in each of their directories, once a name. */

import type { Errno } from '../../base/errno.ts'
import { type Ino, NO_INO } from '../../base/ino.ts'
import { ancestors, type Change, gather, parents } from '../facts.ts'
import { type Attr, align4K } from '../model/attr.ts'
import type { Volume } from '../model/volume.ts'
import { chargeDirectories, chargeVolume } from '../rules/charge.ts'
import { type Asking, payers } from './place.ts'

interface Payer {
  readonly parent: Ino
  /** names of the file in this directory */
  readonly count: number
  readonly ancestors: readonly Ino[]
}

/** The charges of `length` replacing `attr.length`, or the errno of the limit that refuses the growth.
 *  No round trip for a file with one name on a volume without directory quotas; up to two otherwise. */
export function* chargeLength(volume: Volume, ino: Ino, attr: Attr, length: number): Asking<Errno | Change[]> {
  if (length === attr.length) return []
  const space = align4K(length) - align4K(attr.length)
  const paying = yield* payersOf(volume, ino, attr)
  if (space > 0) {
    const above = paying.length === 1 ? paying[0]!.ancestors : [...new Set(paying.flatMap(p => p.ancestors))]
    const refused = volume.limits.refuses({ uid: attr.uid, gid: attr.gid, ancestors: above, space, inodes: 0 })
    if (refused !== undefined) return refused
  }
  const changes = chargeVolume(volume, attr, space, 0)
  const grown = length - attr.length
  for (const { parent, count, ancestors } of paying) {
    const charge = { length: grown * count, space: space * count, inodes: 0 }
    for (const change of chargeDirectories(volume, parent, ancestors, charge)) {
      if (change.kind !== 'quotaUsage' || space !== 0) changes.push(change)
    }
  }
  return changes
}

function* payersOf(volume: Volume, ino: Ino, attr: Attr): Asking<Payer[]> {
  // Unlinked but still open: its directories were paid back when the last name went.
  if (attr.nlink === 0 || (!volume.dirStats && !volume.limits.hasDirQuotas)) return []
  const counts = attr.parent === NO_INO ? (yield* gather(parents(ino)))[0] : [{ parent: attr.parent, count: 1 }]
  if (!volume.limits.hasDirQuotas) return counts.map(p => ({ ...p, ancestors: payers(p.parent, undefined) }))
  const paths = yield* gather(...counts.map(p => ancestors(p.parent)))
  return counts.map((p, i) => ({ ...p, ancestors: payers(p.parent, paths[i]) }))
}
