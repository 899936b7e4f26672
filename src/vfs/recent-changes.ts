/** Which inodes this client changed lately, in the order of a counter.
 *
 *  An answer that was asked for before a change of ours and arrives after it is older than what the caller may have seen
 *  already; whoever waited asks here, and asks again. Bounded by two generations: what fell out of the memory counts as
 *  changed. (One map in the order of changes, cut at its head, has to step over all it deleted there: 2 % of a create.) */

import type { Ino } from '../base/ino.ts'

const GENERATION = 4096

export class RecentChanges {
  #young = new Map<Ino, number>()
  #old = new Map<Ino, number>()
  #now = 1
  /** the last change in #old */
  #oldEnd = 0
  /** changes up to this one may have been forgotten */
  #forgotten = 0

  /** the present moment, to be handed to `since` later */
  get now(): number {
    return this.#now
  }

  note(ino: Ino): void {
    this.#young.set(ino, ++this.#now)
    if (this.#young.size < GENERATION) return
    this.#forgotten = this.#oldEnd
    this.#oldEnd = this.#now
    this.#old = this.#young
    this.#young = new Map()
  }

  since(ino: Ino, moment: number): boolean {
    return moment < this.#forgotten || (this.#young.get(ino) ?? this.#old.get(ino) ?? 0) > moment
  }
}
