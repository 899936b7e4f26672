/** What an engine with a server counts. */

import type { EngineCounts } from '../engine.ts'

export class Tally implements EngineCounts {
  requests = 0
  connects = 0
  lost = 0
  readonly retries = new Map<string, number>()

  retried(reason: string): void {
    this.retries.set(reason, (this.retries.get(reason) ?? 0) + 1)
  }
}
