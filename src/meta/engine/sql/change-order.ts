/** The order in which a commit writes: table by table and key by key, whoever makes it, so that two commits that insert the
 *  same two names wait for each other in the same order. */

import type { Name } from '../../../base/bytes.ts'
import type { Change } from '../../facts.ts'

/** Changes of one table come together, in this order. Nodes first: their locks are held already. */
const RANK: Readonly<Partial<Record<Change['kind'], number>>> = {
  putNode: 1,
  adjustDir: 1,
  extendNode: 1,
  delNode: 1,
  setDentry: 2,
  delDentry: 2,
  appendSlices: 3,
  replaceSlices: 3,
  delChunk: 3,
  newSlice: 4,
  refSlice: 4,
  delSliceRefs: 4,
}
const LAST_RANK = 9

interface Keys {
  readonly ino?: number
  readonly parent?: number
  readonly id?: number
  readonly index?: number
  readonly name?: Name
}

export function compareChanges(a: Change, b: Change): number {
  const rank = (RANK[a.kind] ?? LAST_RANK) - (RANK[b.kind] ?? LAST_RANK)
  if (rank !== 0 || RANK[a.kind] === undefined) return rank
  const [x, y] = [a as Keys, b as Keys]
  if (x.parent !== undefined && y.parent !== undefined) {
    return x.parent - y.parent || (x.name! < y.name! ? -1 : x.name! > y.name! ? 1 : 0)
  }
  return (x.ino ?? 0) - (y.ino ?? 0) || (x.id ?? 0) - (y.id ?? 0) || (x.index ?? 0) - (y.index ?? 0)
}
