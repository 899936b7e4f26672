/** What the server undid for reasons of its own (deadlock, a lock held too long) is as good as new the next time. */

import { isTransient } from './errors.ts'

const MAX_ATTEMPTS = 20
const LONGEST_PAUSE_MS = 50

export class Again {
  /** attempts that were undone, and made again */
  count = 0
  readonly #patienceMs: number
  readonly #random: () => number

  /** `patienceMs`: after so long nothing is tried again. `random`: 0 ≤ x < 1, for the jitter of pauses. */
  constructor(patienceMs: number, random: () => number) {
    this.#patienceMs = patienceMs
    this.#random = random
  }

  async run<T>(attempt: () => Promise<T>): Promise<T> {
    const deadlineMs = performance.now() + this.#patienceMs
    for (let n = 1; ; n++) {
      try {
        return await attempt()
      } catch (error) {
        if (!isTransient(error) || n === MAX_ATTEMPTS || performance.now() > deadlineMs) throw error
        this.count++
        await sleep(Math.min(LONGEST_PAUSE_MS, 2 ** n) * this.#random())
      }
    }
  }
}

export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
