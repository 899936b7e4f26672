/** Is the cache disk worth asking? (spec disk-cache section 4)
 *
 *      normal ── 3 errors within a minute ──► unstable ── 30 minutes without recovering ──► down
 *         ▲                                      │
 *         └── 60 probes within a minute, ────────┘
 *             no error among them
 *
 *  While unstable, only the probe touches the disk; everything else is a miss. Errors are EIO and operations that take
 *  longer than 30 s; a full disk or a vanished file says nothing about its health. */

import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'

const MINUTE_MS = 60_000
const ERRORS_TO_UNSTABLE = 3
const PROBES_TO_NORMAL = 60
const PROBE_INTERVAL_MS = 500
const UNSTABLE_TO_DOWN_MS = 30 * MINUTE_MS

export interface DiskHealthOptions {
  /** for messages */
  readonly name: string
  readonly clock: Clock
  readonly log: Log
  /** Writes, reads and removes something small. */
  readonly probe: () => Promise<void>
}

export class DiskHealth {
  readonly #o: DiskHealthOptions
  #state: 'normal' | 'unstable' | 'down' = 'normal'
  #unstableSinceMs = 0
  #windowStartMs = 0
  #errors = 0
  #successes = 0
  #prober: NodeJS.Timeout | undefined
  #probing = false

  constructor(options: DiskHealthOptions) {
    this.#o = options
  }

  get usable(): boolean {
    return this.#state === 'normal'
  }
  get state(): 'normal' | 'unstable' | 'down' {
    return this.#state
  }

  failed(): void {
    this.#rollWindow()
    this.#errors++
    if (this.#state === 'normal' && this.#errors >= ERRORS_TO_UNSTABLE) this.#become('unstable')
  }

  close(): void {
    clearInterval(this.#prober)
  }

  #rollWindow(): void {
    const nowMs = this.#o.clock.monotonicMs()
    if (nowMs - this.#windowStartMs < MINUTE_MS) return
    this.#windowStartMs = nowMs
    this.#errors = 0
    this.#successes = 0
  }

  #become(state: 'normal' | 'unstable' | 'down'): void {
    this.#o.log.warn(`disk cache ${this.#o.name} state change from ${this.#state} to ${state}`)
    this.#state = state
    this.#errors = 0
    this.#successes = 0
    this.#windowStartMs = this.#o.clock.monotonicMs()
    clearInterval(this.#prober)
    if (state !== 'unstable') return
    this.#unstableSinceMs = this.#windowStartMs
    this.#prober = setInterval(() => void this.#probe(), PROBE_INTERVAL_MS).unref()
  }

  async #probe(): Promise<void> {
    if (this.#o.clock.monotonicMs() - this.#unstableSinceMs > UNSTABLE_TO_DOWN_MS) return this.#become('down')
    if (this.#probing) return
    this.#probing = true
    try {
      await this.#o.probe()
      this.#rollWindow()
      this.#successes++
      if (this.#errors === 0 && this.#successes >= PROBES_TO_NORMAL) this.#become('normal')
    } catch {
      this.failed()
    } finally {
      this.#probing = false
    }
  }
}
