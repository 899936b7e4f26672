/** Sums what commits add to usage, and writes it once a second, or when somebody asks. */

import type { Change } from '../../facts.ts'
import { isSummed, UsageSums } from '../sql/usage-sums.ts'
import type { Again } from './again.ts'
import { faultOf, LostReply, wordsOf } from './errors.ts'
import type { Pool } from './pool.ts'
import type { Tables } from './tables.ts'
import { UsageFlush } from './usage-flush.ts'

const FLUSH_MS = 1000

export interface UsageWriterParts {
  readonly pool: Pool
  readonly again: Again
  readonly tables: Tables
  readonly log: (message: string) => void
}

export class UsageWriter {
  readonly #parts: UsageWriterParts
  readonly #sums = new UsageSums()
  #flushing: Promise<void> | null = null
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(parts: UsageWriterParts) {
    this.#parts = parts
  }

  /** Of a commit that is done. */
  add(changes: readonly Change[]): void {
    for (const change of changes) if (isSummed(change)) this.#sums.add(change)
    this.#wind()
  }

  /** Writes what has been summed so far; resolves when it stands. Fault where it cannot be written: it is kept. */
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
    await this.flush().catch(error => this.#parts.log(`usage of the last second is lost: ${wordsOf(error)}`))
    clearTimeout(this.#timer)
  }

  #wind(): void {
    if (this.#sums.isEmpty || this.#timer !== undefined || this.#isClosed) return
    this.#timer = setTimeout(() => {
      this.flush().catch(error => this.#parts.log(`usage is not written yet: ${wordsOf(error)}`))
    }, FLUSH_MS)
    this.#timer.unref()
  }

  async #write(): Promise<void> {
    const { pool, again, tables, log } = this.#parts
    clearTimeout(this.#timer)
    this.#timer = undefined
    const flush = new UsageFlush(tables)
    this.#sums.drain(flush)
    const statements = flush.statements()
    if (statements.length === 0) return
    try {
      await again.run(() => pool.run(statements, 'commit'))
    } catch (error) {
      if (error instanceof LostReply) {
        // Adding twice is as wrong as not at all, and later: a recount mends both.
        return log(`usage of a second may be lost: ${wordsOf(error)}`)
      }
      flush.returnTo(this.#sums)
      this.#wind()
      throw faultOf(error, 'write usage')
    }
  }
}
