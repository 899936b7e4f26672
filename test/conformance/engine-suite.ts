/** What every metadata engine keeps (src/meta/engine.ts): one suite, a factory an engine. */

import { describe } from 'node:test'
import { commitClaims } from './engine/commits.ts'
import { claims, type EngineFactory } from './engine/harness.ts'
import { operationClaims } from './engine/operations.ts'
import { recordClaims } from './engine/records.ts'
import { scanClaims } from './engine/scans.ts'

export type { EngineFactory } from './engine/harness.ts'

export function engineConformance(name: string, factory: EngineFactory, options: { skip?: string | false } = {}): void {
  describe(`metadata engine ${name}`, { skip: options.skip ?? false }, () => {
    const claim = claims(factory)
    recordClaims(claim)
    commitClaims(claim)
    scanClaims(claim)
    operationClaims(claim)
  })
}
