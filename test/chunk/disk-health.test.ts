import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { silentLog } from '../../src/base/log.ts'
import { DEFAULT_HEALTH, DiskHealth, type DiskHealthOptions } from '../../src/chunk/disk-health.ts'

const broken = (): Promise<never> => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }))
const fine = async (): Promise<void> => {}
const never = (): Promise<never> => new Promise(() => {})

function trial(t: TestContext, options: Partial<DiskHealthOptions> = {}) {
  t.mock.timers.enable({ apis: ['setInterval'] })
  let nowMs = 1_000_000
  const clock = { now: () => ({ sec: nowMs / 1000, nsec: 0 }), monotonicMs: () => nowMs }
  const changes: string[] = []
  const onChange = (state: string): void => void changes.push(state)
  const common = { name: 'd', isSteady: false, clock, log: silentLog, probe: fine, onChange }
  const health = new DiskHealth({ ...DEFAULT_HEALTH, ...common, ...options })
  const pass = async (ms: number): Promise<void> => {
    for (let step = 0; step < ms; step += 500) {
      nowMs += 500
      t.mock.timers.tick(500)
      for (let i = 0; i < 8; i++) await Promise.resolve()
    }
  }
  const fail = async (times: number): Promise<void> => {
    for (let i = 0; i < times; i++) await assert.rejects(health.run(broken), /EIO/)
  }
  t.after(() => health.close())
  return { health, pass, fail, changes }
}

describe('health of the cache disk', () => {
  it('three errors within a minute make it unstable; errors far apart do not', async t => {
    const { health, pass, fail } = trial(t)
    for (let i = 0; i < 5; i++) {
      await fail(1)
      await pass(61_000)
    }
    assert.equal(health.state, 'normal')
    await fail(3)
    assert.equal(health.state, 'unstable')
  })

  it('is not judged by files that are missing or by a full disk', async t => {
    const { health } = trial(t)
    for (const code of ['ENOENT', 'ENOSPC', 'EROFS', 'ENOENT']) {
      await assert.rejects(health.run(() => Promise.reject(Object.assign(new Error(code), { code }))))
    }
    assert.equal(health.state, 'normal')
  })

  it('operations without an end are given up after 30 seconds, and count', async t => {
    const { health, pass } = trial(t)
    const waiting = [1, 2, 3].map(() => assert.rejects(health.run(never), { code: 'ETIMEDOUT' }))
    await pass(29_000)
    assert.equal(health.state, 'normal')
    await pass(2000)
    await Promise.all(waiting)
    assert.equal(health.state, 'unstable')
  })

  it('while unstable, ten operations at a time may try', async t => {
    const { health, fail } = trial(t)
    await fail(3)
    for (let i = 0; i < 10; i++) {
      assert.equal(health.isUsable, true)
      void health.run(never)
    }
    assert.equal(health.isUsable, false)
  })

  it('sixty good operations within a minute bring it back', async t => {
    const { health, pass, fail, changes } = trial(t)
    await fail(3)
    await pass(29_000)
    assert.equal(health.state, 'unstable')
    await pass(2000)
    assert.equal(health.state, 'normal')
    assert.deepEqual(changes, ['normal'])
  })

  it('some errors are borne where that was asked for', async t => {
    const { health, fail } = trial(t, { maxErrorPercent: 5 })
    await fail(3)
    for (let i = 0; i < 30; i++) await health.run(fine)
    await fail(3)
    for (let i = 0; i < 26; i++) await health.run(fine)
    assert.equal(health.state, 'unstable', '3 of 59')
    await health.run(fine)
    assert.equal(health.state, 'normal', '3 of 60')
  })

  it('half an hour of failing probes ends it', async t => {
    const { health, pass, fail, changes } = trial(t, { probe: broken })
    await fail(3)
    await pass(31 * 60_000)
    assert.equal(health.state, 'down')
    assert.equal(health.isUsable, false)
    assert.deepEqual(changes, ['down'])
  })

  it('where blocks are staged it never changes', async t => {
    const { health, fail } = trial(t, { isSteady: true })
    await fail(10)
    assert.equal(health.state, 'normal')
  })
})
