/** Is the cache disk worth asking? (spec disk-cache section 4)
 *
 *      normal ── 3 errors within a minute ──► unstable ── 30 minutes without recovering ──► down
 *         ▲                                      │
 *         └── 60 operations within a minute, ────┘
 *             no error among them
 *
 *  While unstable, a probe looks twice a second, and few operations at a time may still try. Errors are EIO and operations that
 *  take longer than 30 s; a full disk or a vanished file says nothing about its health. A disk that is down stays so. */

import { codeOf } from '../base/call.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'

const MINUTE_MS = 60_000
const ERRORS_TO_UNSTABLE = 3
const OPERATIONS_TO_NORMAL = 60
const PROBE_INTERVAL_MS = 500
const WATCH_INTERVAL_MS = 1000

export interface HealthLimits {
  /** an operation that takes longer is given up, and is an error */
  readonly maxIoMs: number
  /** of the operations of a minute, at most so many per cent may have failed for the disk to be normal again */
  readonly maxErrorPercent: number
  readonly unstableToDownMs: number
  /** operations at a time while it is unstable */
  readonly unstableConcurrency: number
}

export const DEFAULT_HEALTH: HealthLimits = {
  maxIoMs: 30_000,
  maxErrorPercent: 0,
  unstableToDownMs: 30 * MINUTE_MS,
  unstableConcurrency: 10,
}

export interface DiskHealthOptions extends HealthLimits {
  /** for messages */
  readonly name: string
  /** The state never changes: blocks that are staged there must not vanish with it. */
  readonly isSteady: boolean
  readonly clock: Clock
  readonly log: Log
  /** Writes, reads and removes something small. */
  readonly probe: () => Promise<void>
  /** It is normal again, or down. */
  readonly onChange: (state: 'normal' | 'down') => void
}

interface Running {
  readonly startedMs: number
  readonly giveUp: () => void
}

export class DiskHealth {
  readonly #o: DiskHealthOptions
  #state: 'normal' | 'unstable' | 'down' = 'normal'
  #unstableSinceMs = 0
  #windowStartMs = 0
  #errors = 0
  #successes = 0
  readonly #running = new Set<Running>()
  #watcher: NodeJS.Timeout | undefined
  #prober: NodeJS.Timeout | undefined
  #probing = false

  constructor(options: DiskHealthOptions) {
    this.#o = options
  }

  get state(): 'normal' | 'unstable' | 'down' {
    return this.#state
  }

  /** May another operation try now? */
  get isUsable(): boolean {
    if (this.#state === 'normal') return true
    return this.#state === 'unstable' && this.#running.size < this.#o.unstableConcurrency
  }

  /** Runs an operation on the disk and judges the disk by it. Rejects as the operation does, or with ETIMEDOUT while it goes on:
   *  one interval for all of them, since a timer each would cost as much as a small read. */
  run<T>(operation: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const running = {
        startedMs: this.#o.clock.monotonicMs(),
        giveUp: (): void => {
          const { maxIoMs } = this.#o
          this.#failed()
          reject(Object.assign(new Error(`no answer within ${maxIoMs} ms`), { code: 'ETIMEDOUT' }))
        },
      }
      this.#running.add(running)
      this.#watcher ??= setInterval(() => this.#watch(), WATCH_INTERVAL_MS).unref()
      operation().then(
        value => {
          if (this.#running.delete(running)) this.#succeeded()
          resolve(value)
        },
        error => {
          const inTime = this.#running.delete(running)
          if (inTime && codeOf(error) === 'EIO') this.#failed()
          reject(error)
        },
      )
    })
  }

  close(): void {
    clearInterval(this.#prober)
    clearInterval(this.#watcher)
    this.#watcher = undefined
  }

  #watch(): void {
    const oldestMs = this.#o.clock.monotonicMs() - this.#o.maxIoMs
    for (const running of this.#running) {
      if (running.startedMs > oldestMs) break
      this.#running.delete(running)
      running.giveUp()
    }
    if (this.#running.size > 0) return
    clearInterval(this.#watcher)
    this.#watcher = undefined
  }

  #failed(): void {
    this.#rollWindow()
    this.#errors++
    if (this.#state === 'normal' && this.#errors >= ERRORS_TO_UNSTABLE) this.#become('unstable')
  }

  #succeeded(): void {
    if (this.#state !== 'unstable') return
    this.#rollWindow()
    this.#successes++
    const operations = this.#successes + this.#errors
    const isCured = this.#errors * 100 <= this.#o.maxErrorPercent * operations
    if (operations >= OPERATIONS_TO_NORMAL && isCured) this.#become('normal')
  }

  #rollWindow(): void {
    const nowMs = this.#o.clock.monotonicMs()
    if (nowMs - this.#windowStartMs < MINUTE_MS) return
    this.#windowStartMs = nowMs
    this.#errors = 0
    this.#successes = 0
  }

  #become(state: 'normal' | 'unstable' | 'down'): void {
    if (this.#o.isSteady) return
    this.#o.log.warn(`disk cache ${this.#o.name} state change from ${this.#state} to ${state}`)
    this.#state = state
    this.#errors = 0
    this.#successes = 0
    this.#windowStartMs = this.#o.clock.monotonicMs()
    clearInterval(this.#prober)
    if (state !== 'unstable') {
      this.#o.onChange(state)
      return
    }
    this.#unstableSinceMs = this.#windowStartMs
    this.#prober = setInterval(() => void this.#probe(), PROBE_INTERVAL_MS).unref()
  }

  async #probe(): Promise<void> {
    if (this.#o.clock.monotonicMs() - this.#unstableSinceMs > this.#o.unstableToDownMs) this.#become('down')
    if (this.#probing || this.#state !== 'unstable') return
    this.#probing = true
    // Whatever went wrong is counted where it ran.
    await this.run(this.#o.probe).catch(() => {})
    this.#probing = false
  }
}
