/** The counters of the caches, by the names of JuiceFS (spec disk-cache section 9). */

import { type Counter, exponentialBuckets, type Histogram, type Metrics } from '../base/metrics.ts'

export class CacheCounters {
  readonly #hits: Counter
  readonly #misses: Counter
  readonly #hitBytes: Counter
  readonly #missBytes: Counter
  readonly writes: Counter
  readonly writeBytes: Counter
  readonly drops: Counter
  readonly evicts: Counter
  readonly readSeconds: Histogram
  readonly writeSeconds: Histogram

  constructor(metrics: Metrics) {
    this.#hits = metrics.counter('blockcache_hits', 'read from cached block')
    this.#misses = metrics.counter('blockcache_miss', 'missed read from cached block')
    this.#hitBytes = metrics.counter('blockcache_hit_bytes', 'read bytes from cached block')
    this.#missBytes = metrics.counter('blockcache_miss_bytes', 'missed bytes from cached block')
    this.writes = metrics.counter('blockcache_writes', 'written cached block')
    this.writeBytes = metrics.counter('blockcache_write_bytes', 'write bytes of cached block')
    this.drops = metrics.counter('blockcache_drops', 'dropped block')
    this.evicts = metrics.counter('blockcache_evicts', 'evicted cache blocks')
    const buckets = exponentialBuckets(0.00001, 2, 20)
    this.readSeconds = metrics.histogram(
      'blockcache_read_hist_seconds',
      'read cached block latency distribution',
      buckets,
    )
    this.writeSeconds = metrics.histogram(
      'blockcache_write_hist_seconds',
      'write cached block latency distribution',
      buckets,
    )
  }

  hit(bytes: number): void {
    this.#hits.add(1)
    this.#hitBytes.add(bytes)
  }
  miss(bytes: number): void {
    this.#misses.add(1)
    this.#missBytes.add(bytes)
  }
}
