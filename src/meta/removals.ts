/** Nodes that this client is just letting go: a removal has found one closed and decided that its data may go, or the last close
 *  of one without names is on its way. Until that is over, nobody may open it: the opener would be told that it is there, and
 *  then lose it. (Openings that began before are counted before they ask, so the removal finds the node open.)
 *
 *      removal:  is it open? no ──────────► commit ──► over
 *      open:                      waits ─────────────────┴─► asks: ENOENT, or the node under its other name */

import type { Ino } from '../base/ino.ts'
import { isPromise, type Maybe } from '../base/maybe.ts'

/** To be told of each node that the removal takes for closed. */
export type Taking = (ino: Ino) => void

export class Removals {
  readonly #going = new Map<Ino, Promise<void>>()

  /** What an opener waits for, if it has to. */
  of(ino: Ino): Promise<void> | undefined {
    return this.#going.size === 0 ? undefined : this.#going.get(ino)
  }

  /** Runs a removal; what it takes is going until it has ended, well or not. */
  during<T>(remove: (takes: Taking) => Maybe<T>): Maybe<T> {
    const taken: Ino[] = []
    const { promise, resolve } = Promise.withResolvers<void>()
    const takes = (ino: Ino): void => {
      taken.push(ino)
      this.#going.set(ino, promise)
    }
    const over = (): void => {
      for (const ino of taken) if (this.#going.get(ino) === promise) this.#going.delete(ino)
      resolve()
    }
    let result: Maybe<T>
    try {
      result = remove(takes)
    } catch (error) {
      over()
      throw error
    }
    if (isPromise(result)) return result.finally(over)
    over()
    return result
  }
}
