/** What is staged and not uploaded yet, by the names of JuiceFS (spec disk-cache section 9). */

import type { Counter, Metrics } from '../base/metrics.ts'

export interface StagedNow {
  readonly blocks: number
  readonly bytes: number
  /** being written at this moment */
  readonly writing: number
}

export class StageCounters {
  readonly writeBytes: Counter
  readonly delaySeconds: Counter
  readonly errors: Counter

  /** `now` is asked whenever somebody looks. */
  constructor(metrics: Metrics, now: () => StagedNow) {
    metrics.gauge('staging_blocks', 'Number of blocks in the staging path.', () => now().blocks)
    metrics.gauge('staging_block_bytes', 'Total bytes of blocks in the staging path.', () => now().bytes)
    metrics.gauge('staging_writing_blocks', 'Number of blocks being staged.', () => now().writing)
    this.writeBytes = metrics.counter('staging_write_bytes', 'write bytes of blocks in staging path')
    this.delaySeconds = metrics.counter('staging_block_delay_seconds', 'Total seconds of delay for staging blocks')
    this.errors = metrics.counter('staging_block_errors', 'Total errors when staging blocks')
  }
}
