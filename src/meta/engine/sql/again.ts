/** What a server undid for reasons of its own (deadlock, serialization, a lock held too long) is as good as new the next time. */

const MAX_ATTEMPTS = 20
const LONGEST_PAUSE_MS = 50

export interface AgainOptions {
  /** Did the server undo it for such a reason? */
  readonly isTransient: (error: unknown) => boolean
  /** after so long nothing is tried again */
  readonly patienceMs: number
  /** 0 ≤ x < 1, for the jitter of pauses */
  readonly random: () => number
}

export class Again {
  /** attempts that were undone, and made again */
  count = 0
  readonly #options: AgainOptions

  constructor(options: AgainOptions) {
    this.#options = options
  }

  async run<T>(attempt: () => Promise<T>): Promise<T> {
    const { isTransient, patienceMs, random } = this.#options
    const deadlineMs = performance.now() + patienceMs
    for (let n = 1; ; n++) {
      try {
        return await attempt()
      } catch (error) {
        if (!isTransient(error) || n === MAX_ATTEMPTS || performance.now() > deadlineMs) throw error
        this.count++
        await sleep(Math.min(LONGEST_PAUSE_MS, 2 ** n) * random())
      }
    }
  }
}

export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
