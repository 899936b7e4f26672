/** Second requests for slow downloads. An object store answers nearly always soon and now and then very late (a lost packet, a disk
 *  that stalls, a server that restarts); a second request for the same object then mostly overtakes the first.
 *
 *  Slow is what takes half as long again as 95 of the last 100 did. A budget keeps second requests to a few per cent of all: where
 *  the store itself is overloaded they would be oil in the fire. */

/** A download, by what its time depends on. */
export type DownloadSize = 'small' | 'large'
export const sizeOf = (bytes: number): DownloadSize => (bytes <= 256 << 10 ? 'small' : 'large')

const KEPT = 128
/** before nothing is known about what is usual */
const FEWEST = 64
/** The quantile is looked up again after so many more. */
const RENEWED_EVERY = 16
const USUAL_SHARE = 0.95
const SLOW_FACTOR = 1.5
/** Nobody notices less, and local stores and caches never take so long. */
const FLOOR_MS = 100
/** second requests that one download gives right to */
const SHARE = 0.03
const MOST_SAVED = 5

class Latencies {
  readonly #ring: number[] = []
  #count = 0
  slowMs = Number.POSITIVE_INFINITY

  add(ms: number): void {
    this.#ring[this.#count++ % KEPT] = ms
    if (this.#count < FEWEST || this.#count % RENEWED_EVERY !== 0) return
    const sorted = [...this.#ring].sort((a, b) => a - b)
    this.slowMs = Math.max(FLOOR_MS, sorted[Math.floor(sorted.length * USUAL_SHARE)]! * SLOW_FACTOR)
  }
}

export class Hedges {
  readonly #latencies: Readonly<Record<DownloadSize, Latencies>> = { small: new Latencies(), large: new Latencies() }
  #right = 0

  /** A download begins: after how many milliseconds is it slow? Infinity: not known yet. */
  begin(size: DownloadSize): number {
    this.#right = Math.min(MOST_SAVED, this.#right + SHARE)
    return this.#latencies[size].slowMs
  }

  /** An answer came after so many milliseconds. */
  observe(size: DownloadSize, ms: number): void {
    this.#latencies[size].add(ms)
  }

  /** May a second request be sent now? Yes counts as sent. */
  take(): boolean {
    if (this.#right < 1) return false
    this.#right--
    return true
  }
}
