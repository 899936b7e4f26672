/** Which cache directory keeps a block, by consistent hashing (spec disk-cache section 3.4): a directory that is added or lost moves
 *  only its own share of the blocks.
 *
 *      each directory has a number of points on a circle of 2^32;
 *      a block belongs to the first point at or behind the hash of its key */

import { murmur3 } from './hashes.ts'

const CIRCLE = 2 ** 32
const POINTS = 100
/** the numbers of points are evened out so often */
const ROUNDS = 5
const DAMPING = 0.75

interface Point {
  readonly at: number
  /** index of the directory */
  readonly owner: number
}

export class HashRing {
  /** ascending; where two would coincide, the later directory's */
  readonly #points: readonly Point[]

  /** `ids`: the identities of the directories, in the order of their paths. At least one. */
  constructor(ids: readonly string[]) {
    const counts = ids.map(() => POINTS)
    let points = pointsOf(ids, counts)
    for (let round = 0; round < ROUNDS && ids.length > 1; round++) {
      const fair = 1 / ids.length
      const shares = sharesOf(points, ids.length)
      for (const [i, count] of counts.entries()) {
        counts[i] = count + Math.trunc(((count * (fair - shares[i]!)) / fair) * DAMPING)
      }
      points = pointsOf(ids, counts)
    }
    this.#points = points
  }

  /** The index of the directory that owns this key. */
  ownerOf(key: string): number {
    const hash = murmur3(key)
    const points = this.#points
    let low = 0
    let high = points.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (points[middle]!.at < hash) low = middle + 1
      else high = middle
    }
    return (points[low] ?? points[0]!).owner
  }
}

function pointsOf(ids: readonly string[], counts: readonly number[]): Point[] {
  const owners = new Map<number, number>()
  for (const [owner, id] of ids.entries()) {
    for (let i = 0; i < counts[owner]!; i++) owners.set(murmur3(`${i}${id}`), owner)
  }
  return [...owners].map(([at, owner]) => ({ at, owner })).sort((a, b) => a.at - b.at)
}

/** What part of the circle each directory has: of every point, the arc in front of it. */
function sharesOf(points: readonly Point[], count: number): number[] {
  const shares = new Array<number>(count).fill(0)
  let before = points.at(-1)!.at - CIRCLE
  for (const { at, owner } of points) {
    shares[owner]! += (at - before) / CIRCLE
    before = at
  }
  return shares
}
