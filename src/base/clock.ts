/** Time is passed in. Nothing below cmd calls Date.now(): a Clock does, and tests hand in their own. */

/** A moment of CLOCK_REALTIME; `nsec` is 0…999,999,999 also before 1970. */
export interface Time {
  readonly sec: number
  readonly nsec: number
}

export interface Clock {
  /** CLOCK_REALTIME, in nanoseconds where the platform gives them. */
  now(): Time
  /** milliseconds of a monotonic clock, for time-outs and durations */
  monotonicMs(): number
}

export const timeIsLess = (a: Time, b: Time): boolean => a.sec < b.sec || (a.sec === b.sec && a.nsec < b.nsec)
/** a − b in nanoseconds, exact enough (double) for thresholds up to days */
export const nanosBetween = (a: Time, b: Time): number => (a.sec - b.sec) * 1e9 + (a.nsec - b.nsec)

/** The machine's clock. CLOCK_REALTIME comes from `Date.now()` (milliseconds) refined by the monotonic clock to
 *  nanoseconds; the two are re-anchored whenever they drift apart by more than a millisecond (clock set, suspend). */
export class SystemClock implements Clock {
  #anchorMs = 0
  #anchorMonotonicNs = 0n

  now(): Time {
    const wallMs = Date.now()
    const monotonicNs = process.hrtime.bigint()
    let sinceNs = Number(monotonicNs - this.#anchorMonotonicNs)
    const drift = wallMs - this.#anchorMs - sinceNs / 1e6
    if (drift > 1 || drift < -1) {
      this.#anchorMs = wallMs
      this.#anchorMonotonicNs = monotonicNs
      sinceNs = 0
    }
    const ms = this.#anchorMs
    const sec = Math.floor(ms / 1000)
    const nsec = (ms - sec * 1000) * 1e6 + sinceNs
    const carry = Math.floor(nsec / 1e9)
    return { sec: sec + carry, nsec: nsec - carry * 1e9 }
  }

  monotonicMs(): number {
    return performance.now()
  }
}
