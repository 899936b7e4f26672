/** Inode numbers and slice ids come from the engine in ranges (spec meta-model section 4); wasted ids are fine. The next range
 *  is asked for when half of this one is used, so that nobody waits for it as long as the engine answers. */

import { chain, isPromise, type Maybe } from '../base/maybe.ts'

/** A request for a range that is on its way. */
interface Flight {
  /** somebody waits for it: a failure is theirs to hear. One that was only asked for ahead of need is asked for again. */
  readonly isNeeded: boolean
  readonly over: Promise<void>
}

export class IdRange {
  readonly #fetch: (count: number) => Maybe<number>
  readonly #batch: number
  readonly #first: number
  readonly #generationNow: () => unknown
  #generation: unknown
  #next = 0
  #end = 0
  /** the range after this one */
  #ahead: number | null = null
  /** behind every id that was ever ours */
  #highest = 0
  #flight: Flight | null = null

  /** Ids below `first` are skipped (0 = none, 1 = root: the first inode is 2 in every engine). `generation`: who answers; what an
   *  earlier one has given and was not used yet may be given to others by the next, which may have forgotten its last seconds. */
  constructor(
    fetch: (count: number) => Maybe<number>,
    batch: number,
    first: number,
    generation: () => unknown = () => undefined,
  ) {
    this.#fetch = fetch
    this.#batch = batch
    this.#first = first
    this.#generationNow = generation
    this.#generation = generation()
  }

  /** One id; at once unless the range is used up. Fails as the engine fails; the next one asks again. */
  take(): Maybe<number> {
    const generation = this.#generationNow()
    if (generation !== this.#generation) {
      this.#generation = generation
      this.#next = this.#end
      this.#ahead = null
    }
    if (this.#next < this.#end) {
      const id = this.#next++
      if (this.#end - this.#next <= this.#batch / 2 && this.#ahead === null && this.#flight === null) this.#askAhead()
      return id
    }
    if (this.#ahead !== null) {
      this.#adopt(this.#ahead)
      this.#ahead = null
      return this.take()
    }
    const flight = this.#flight
    if (flight !== null) {
      const again = (): Maybe<number> => this.take()
      return flight.isNeeded ? flight.over.then(again) : flight.over.then(again, again)
    }
    const first = this.#ask()
    if (isPromise(first)) return this.#fly(first, true).over.then(() => this.take())
    this.#adopt(first)
    return this.take()
  }

  /** A range that begins behind all that were ours. A counter that went back is moved on, for the sake of others too: what has our
   *  numbers may be stored already. */
  #ask(): Maybe<number> {
    return chain(this.#fetch(this.#batch), first => {
      if (first >= this.#highest) {
        this.#highest = first + this.#batch
        return first
      }
      return chain(this.#fetch(this.#highest - first), () => this.#ask())
    })
  }

  #adopt(first: number): void {
    this.#next = Math.max(first, this.#first)
    this.#end = first + this.#batch
  }

  #askAhead(): void {
    try {
      const first = this.#ask()
      if (isPromise(first)) this.#fly(first, false).over.catch(() => undefined)
      else this.#ahead = first
    } catch {
      // There are ids left; who needs the range asks again and reports.
    }
  }

  /** Whoever comes while the range is on its way waits for the same one. */
  #fly(first: Promise<number>, isNeeded: boolean): Flight {
    const over = first.then(
      value => {
        this.#flight = null
        this.#ahead = value
      },
      error => {
        this.#flight = null
        throw error
      },
    )
    this.#flight = { isNeeded, over }
    return this.#flight
  }
}
