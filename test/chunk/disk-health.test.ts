import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { silentLog } from '../../src/base/log.ts'
import { DiskHealth } from '../../src/chunk/disk-health.ts'

function trial(probe: () => Promise<void>) {
  let nowMs = 1_000_000
  const clock = { now: () => ({ sec: nowMs / 1000, nsec: 0 }), monotonicMs: () => nowMs }
  const health = new DiskHealth({ name: 'd', clock, log: silentLog, probe })
  const pass = async (t: { mock: { timers: { tick(ms: number): void } } }, ms: number): Promise<void> => {
    for (let step = 0; step < ms; step += 500) {
      nowMs += 500
      t.mock.timers.tick(500)
      for (let i = 0; i < 5; i++) await Promise.resolve()
    }
  }
  return { health, pass }
}

describe('health of the cache disk', () => {
  it('three errors within a minute make it unstable; errors far apart do not', async t => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const { health, pass } = trial(async () => {})
    for (let i = 0; i < 5; i++) {
      health.failed()
      await pass(t, 61_000)
    }
    assert.equal(health.usable, true)
    for (let i = 0; i < 3; i++) health.failed()
    assert.equal(health.state, 'unstable')
    assert.equal(health.usable, false)
    health.close()
  })

  it('sixty good probes within a minute bring it back', async t => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const { health, pass } = trial(async () => {})
    for (let i = 0; i < 3; i++) health.failed()
    await pass(t, 29_000)
    assert.equal(health.state, 'unstable')
    await pass(t, 2000)
    assert.equal(health.state, 'normal')
    health.close()
  })

  it('half an hour of failing probes ends it', async t => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const { health, pass } = trial(() => Promise.reject(new Error('EIO')))
    for (let i = 0; i < 3; i++) health.failed()
    await pass(t, 31 * 60_000)
    assert.equal(health.state, 'down')
    health.close()
  })
})
