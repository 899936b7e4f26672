/** Sums what commits add to usage, and writes it once a second, or when somebody asks.
 *
 *  Usage is not part of the commits that cause it: every one of them would update the same rows (the volume's counters, the
 *  directory's statistics) and wait for the disk behind the others. The reference writes it once a second too; a client that
 *  is killed loses what it summed since. */

import { causeText } from '../../../base/fault.ts'
import type { Change } from '../../facts.ts'
import { isSummed, UsageSums } from './usage-sums.ts'

const FLUSH_MS = 1000

export interface UsageWriterOptions {
  /** Writes them all in one transaction. `lost`: nobody knows whether it did. Rejects where it surely did not. */
  readonly write: (sums: UsageSums) => Promise<'written' | 'lost'>
  readonly log: (message: string) => void
}

export class UsageWriter {
  readonly #options: UsageWriterOptions
  readonly #sums = new UsageSums()
  #flushing: Promise<void> | null = null
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(options: UsageWriterOptions) {
    this.#options = options
  }

  /** Of a commit that is done. */
  add(changes: readonly Change[]): void {
    for (const change of changes) if (isSummed(change)) this.#sums.add(change)
    this.#wind()
  }

  /** Writes what has been summed so far; resolves when it stands. Rejects where it cannot be written: it is kept. */
  async flush(): Promise<void> {
    while (this.#flushing) await this.#flushing.catch(() => undefined)
    if (this.#sums.isEmpty) return
    this.#flushing = this.#write().finally(() => {
      this.#flushing = null
    })
    await this.#flushing
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await this.flush().catch(error => this.#options.log(`usage of the last second is lost: ${causeText(error)}`))
    clearTimeout(this.#timer)
  }

  #wind(): void {
    if (this.#sums.isEmpty || this.#timer !== undefined || this.#isClosed) return
    this.#timer = setTimeout(() => {
      this.flush().catch(error => this.#options.log(`usage is not written yet: ${causeText(error)}`))
    }, FLUSH_MS)
    this.#timer.unref()
  }

  async #write(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const taken = new UsageSums()
    this.#sums.drain(taken)
    try {
      // Adding twice is as wrong as not at all, and later: a recount mends both.
      if ((await this.#options.write(taken)) === 'lost') this.#options.log('usage of a second may be lost')
    } catch (error) {
      taken.tell(this.#sums)
      this.#wind()
      throw error
    }
  }
}
