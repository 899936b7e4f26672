/** Which inodes this client changed lately, in the order of a counter.
 *
 *  An answer that was asked for before a change of ours and arrives after it is older than what the caller may have seen
 *  already; whoever waited asks here, and asks again. Bounded: what fell out of the memory counts as changed. */

import type { Ino } from '../base/ino.ts'

const LIMIT = 8192

export class RecentChanges {
  readonly #at = new Map<Ino, number>()
  #now = 1
  /** changes up to this one may have been forgotten */
  #forgotten = 0

  /** the present moment, to be handed to `since` later */
  get now(): number {
    return this.#now
  }

  note(ino: Ino): void {
    const known = this.#at
    known.delete(ino) // so that the map stays in the order of changes
    known.set(ino, ++this.#now)
    if (known.size <= LIMIT) return
    const [oldest] = known
    this.#forgotten = oldest![1]
    known.delete(oldest![0])
  }

  since(ino: Ino, moment: number): boolean {
    return moment < this.#forgotten || (this.#at.get(ino) ?? 0) > moment
  }
}
