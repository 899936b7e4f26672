/** What a server undid for reasons of its own (deadlock, serialization, a lock held too long) is as good as new the next time. */

import type { Tally } from '../tally.ts'

const MAX_ATTEMPTS = 20
const LONGEST_PAUSE_MS = 50

export interface AgainOptions {
  /** why the server undid it; null = not for such a reason */
  readonly reasonOf: (error: unknown) => string | null
  readonly tally: Tally
  /** after so long nothing is tried again */
  readonly patienceMs: number
  /** 0 ≤ x < 1, for the jitter of pauses */
  readonly random: () => number
}

export class Again {
  readonly #options: AgainOptions

  constructor(options: AgainOptions) {
    this.#options = options
  }

  async run<T>(attempt: () => Promise<T>): Promise<T> {
    const { reasonOf, tally, patienceMs, random } = this.#options
    const deadlineMs = performance.now() + patienceMs
    for (let n = 1; ; n++) {
      try {
        return await attempt()
      } catch (error) {
        const reason = reasonOf(error)
        if (reason === null || n === MAX_ATTEMPTS || performance.now() > deadlineMs) throw error
        tally.retried(reason)
        await sleep(Math.min(LONGEST_PAUSE_MS, 2 ** n) * random())
      }
    }
  }
}

export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
