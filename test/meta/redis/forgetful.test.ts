/** A server that has forgotten its last seconds: a restart without an append-only file, a replica that took over too early. */

import assert from 'node:assert/strict'
import { it } from 'node:test'
import { silentLog } from '../../../src/base/log.ts'
import { MetaClient } from '../../../src/meta/client.ts'
import { Driver } from '../../../src/meta/driver.ts'
import { initVolume } from '../../../src/meta/ops/init-volume.ts'
import { redisSkip } from '../../servers/redis.ts'
import { CONFIG, TestClock } from '../client/harness.ts'
import { World } from './harness.ts'

it('numbers of slices are not given out again by a server that forgot them', { skip: redisSkip }, async () => {
  const world = await World.start()
  try {
    const clock = new TestClock()
    const json = JSON.stringify({
      Name: 'test',
      UUID: '1',
      Storage: 'mem',
      Bucket: 'mem',
      BlockSize: 4096,
      TrashDays: 0,
    })
    const format = async () => {
      const driver = new Driver(await world.open(), { random: Math.random, onEffect: () => undefined })
      await driver.run('change', () => initVolume(json, { isNew: true, trash: false, now: clock.now() }))
    }
    const mount = async () => {
      const options = { config: CONFIG, clock, log: silentLog, random: Math.random }
      return await MetaClient.open(await world.open(), options)
    }
    await format()
    const first = await mount()
    const used = new Set<number>()
    for (let i = 0; i < 10; i++) used.add(await first.newSliceId())
    await world.server.stop('SIGKILL')
    await world.server.start() // empty: nothing was kept of it
    await format()
    assert.notEqual((await first.engine.gather([{ kind: 'format' }], 'look'))[0], null) // it is connected again
    const second = await mount()
    for (let i = 0; i < 10; i++) {
      used.add(await second.newSliceId())
      used.add(await first.newSliceId())
    }
    assert.equal(used.size, 30)
  } finally {
    await world.remove()
  }
})
