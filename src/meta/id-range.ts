/** Inode numbers and slice ids come from the engine in ranges (spec meta-model section 4); wasted ids are fine. */

import { isPromise, type Maybe } from '../base/maybe.ts'

export class IdRange {
  readonly #fetch: (count: number) => Maybe<number>
  readonly #batch: number
  readonly #first: number
  #next = 0
  #end = 0
  #ahead: { first: number } | null = null
  #fetching: Promise<void> | null = null

  /** Ids below `first` are skipped (0 = none, 1 = root: the first inode is 2 in every engine). */
  constructor(fetch: (count: number) => Maybe<number>, batch: number, first: number) {
    this.#fetch = fetch
    this.#batch = batch
    this.#first = first
  }

  /** One id; at once unless the range is used up. The next range is fetched when a tenth of this one is left. */
  take(): Maybe<number> {
    if (this.#next < this.#end) {
      const id = this.#next++
      if (this.#end - this.#next === Math.floor(this.#batch / 10)) this.#prefetch()
      return id
    }
    if (this.#ahead) {
      this.#adopt(this.#ahead.first)
      this.#ahead = null
      return this.take()
    }
    if (this.#fetching) return this.#fetching.then(() => this.take())
    const first = this.#fetch(this.#batch)
    if (!isPromise(first)) {
      this.#adopt(first)
      return this.take()
    }
    // Whoever comes while the range is on its way waits for the same one.
    this.#fetching = first.then(
      value => {
        this.#fetching = null
        this.#adopt(value)
      },
      error => {
        this.#fetching = null
        throw error
      },
    )
    return this.#fetching.then(() => this.take())
  }

  #adopt(first: number): void {
    this.#next = Math.max(first, this.#first)
    this.#end = first + this.#batch
  }

  #prefetch(): void {
    const first = this.#fetch(this.#batch)
    if (!isPromise(first)) this.#ahead = { first }
    else
      first.then(
        value => {
          this.#ahead = { first: value }
        },
        () => undefined, // the next take() asks again and reports
      )
  }
}
