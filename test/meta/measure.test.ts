import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Fault } from '../../src/base/fault.ts'
import { ROOT_INO } from '../../src/base/ino.ts'
import { Metrics } from '../../src/base/metrics.ts'
import { measureOperations } from '../../src/meta/measure.ts'
import { systemCaller } from '../../src/meta/model/caller.ts'
import { openVolume, type Volume } from '../vfs/harness.ts'

const file = { type: 1, mode: 0o644, umask: 0, rdev: 0, target: '' }

for (const deferred of [false, true]) {
  describe(`operations of a client that answers ${deferred ? 'later' : 'at once'}`, () => {
    let v: Volume
    let metrics: Metrics
    let nowMs = 0
    const stat = (name: string): number =>
      Number(new RegExp(`^juicefs_${name} (.*)$`, 'm').exec(metrics.renderStats())?.[1] ?? Number.NaN)

    before(async () => {
      v = await openVolume({ deferred })
      metrics = new Metrics()
      measureOperations(v.meta, metrics, () => nowMs++)
    })
    after(() => v.close())

    it('are counted by the names that JuiceFS gives them, once each, whatever the verdict', async () => {
      const caller = systemCaller(v.clock.now())
      await v.meta.make(caller, ROOT_INO, 'a', file)
      await v.meta.lookup(caller, ROOT_INO, 'a')
      await v.meta.lookup(caller, ROOT_INO, 'missing')
      await v.meta.unlink(caller, ROOT_INO, 'a')
      assert.equal(stat('meta_ops_total_Mknod'), 1)
      assert.equal(stat('meta_ops_total_Lookup'), 2)
      assert.equal(stat('meta_ops_total_Unlink'), 1)
      assert.equal(stat('meta_ops_durations_histogram_seconds_total'), 4)
      assert.equal(stat('meta_ops_duration_seconds_Lookup'), 0.002, 'the clock moves 1 ms each time it is looked at')
      assert.ok(!metrics.renderStats().includes('Rename'), 'what nobody asked for is not listed')
    })

    it('that end in a fault are counted, and the fault goes on to who asked', async () => {
      const gather = v.engine.gather
      v.engine.gather = () => {
        throw new Fault('the engine is away')
      }
      try {
        await assert.rejects(async () => v.meta.getattr(ROOT_INO), /the engine is away/)
      } finally {
        v.engine.gather = gather
      }
      assert.equal(stat('meta_ops_total_GetAttr'), 1)
    })
  })
}
