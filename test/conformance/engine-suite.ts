/** What every metadata engine keeps (src/meta/engine.ts): one suite, a factory an engine. */

import { describe } from 'node:test'
import { commitClaims } from './engine/commits.ts'
import { claims, type EngineFactory, type EngineLimits, NO_LIMITS } from './engine/harness.ts'
import { operationClaims } from './engine/operations.ts'
import { recordClaims } from './engine/records.ts'
import { scanClaims } from './engine/scans.ts'

export type { EngineFactory, EngineLimits } from './engine/harness.ts'

/** `limits`: what the database cannot hold. */
export function engineConformance(
  name: string,
  factory: EngineFactory,
  options: { readonly skip?: string | false; readonly limits?: EngineLimits } = {},
): void {
  describe(`metadata engine ${name}`, { skip: options.skip ?? false }, () => {
    const claim = claims(factory)
    recordClaims(claim, options.limits ?? NO_LIMITS)
    commitClaims(claim)
    scanClaims(claim)
    operationClaims(claim)
  })
}
