/** Bandwidth limits (spec data-objects section 5.2): a bucket of tokens, a token a byte. Bytes are paid before they pass, first
 *  come first served; more than the bucket holds is paid as it fills. Who waits is kept, nothing else: the callers' own limits
 *  (uploads and downloads at a time) bound it. */

import type { Clock } from '../base/clock.ts'

/** of a limit, for payload: the rest is for headers, TLS and TCP */
const PAYLOAD_SHARE = 0.85
/** of a second at the full limit, as a burst after a pause */
const BURST_SEC = 0.1

/** Calls `fire` after `ms` milliseconds, unless the function that it returns is called before. */
export type Schedule = (ms: number, fire: () => void) => () => void

const byTimer: Schedule = (ms, fire) => {
  const timer = setTimeout(fire, ms)
  return () => clearTimeout(timer)
}

interface Waiting {
  /** still to be paid */
  bytes: number
  readonly pass: () => void
}

export class RateLimit {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #schedule: Schedule
  /** per millisecond; 0 = unlimited */
  #rate = 0
  #capacity = 0
  #tokens = 0
  #countedMs = 0
  #waiting: Waiting[] = []
  #cancel: (() => void) | undefined

  /** `mbps`: megabits (10⁶) per second, 0 = unlimited. */
  constructor(mbps: number, clock: Pick<Clock, 'monotonicMs'>, schedule: Schedule = byTimer) {
    this.#clock = clock
    this.#schedule = schedule
    this.#countedMs = clock.monotonicMs()
    this.set(mbps)
    this.#tokens = this.#capacity
  }

  /** callers that wait now */
  get waiting(): number {
    return this.#waiting.length
  }
  get isUnlimited(): boolean {
    return this.#rate === 0
  }

  /** From now on this limit; who waits already, waits by it. */
  set(mbps: number): void {
    this.#count()
    const bytesPerSec = (mbps * 1e6) / 8
    this.#rate = (bytesPerSec * PAYLOAD_SHARE) / 1000
    this.#capacity = bytesPerSec * BURST_SEC
    this.#tokens = Math.min(this.#tokens, this.#capacity)
    this.#serve()
  }

  /** undefined: pass at once; else a promise that resolves when so many bytes may pass. */
  pay(bytes: number): Promise<void> | undefined {
    if (this.#rate === 0) return undefined
    this.#count()
    if (this.#waiting.length === 0 && bytes <= this.#tokens) {
      this.#tokens -= bytes
      return undefined
    }
    return new Promise(pass => {
      this.#waiting.push({ bytes, pass })
      this.#serve()
    })
  }

  /** Tokens since the last time. They are not lost while somebody waits, however long a timer took to fire. */
  #count(): void {
    const now = this.#clock.monotonicMs()
    this.#tokens += (now - this.#countedMs) * this.#rate
    this.#countedMs = now
    if (this.#waiting.length === 0) this.#tokens = Math.min(this.#tokens, this.#capacity)
  }

  #serve(): void {
    this.#cancel?.()
    this.#cancel = undefined
    let first = this.#waiting[0]
    while (first) {
      const paid = this.#rate === 0 ? first.bytes : Math.min(first.bytes, this.#tokens)
      first.bytes -= paid
      this.#tokens -= paid
      // Fractions of a byte are rounding, not debt.
      if (first.bytes > 0.5) break
      this.#waiting.shift()
      first.pass()
      first = this.#waiting[0]
    }
    this.#tokens = Math.max(this.#tokens, 0)
    if (!first) return
    this.#cancel = this.#schedule(Math.ceil(first.bytes / this.#rate), () => {
      this.#cancel = undefined
      this.#count()
      this.#serve()
    })
  }
}
