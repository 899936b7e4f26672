/** What a mount tells of its connection to the database. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SystemClock } from '../../src/base/clock.ts'
import { ROOT_INO } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import { Metrics } from '../../src/base/metrics.ts'
import { watchMeta } from '../../src/cmd/mount-metrics.ts'
import { openEngine } from '../../src/cmd/volume.ts'
import { MetaClient } from '../../src/meta/client.ts'
import type { Engine } from '../../src/meta/engine.ts'
import { node } from '../../src/meta/facts.ts'
import { RedisServer, redisSkip } from '../servers/redis.ts'
import { clientConfig, formatVolume } from '../servers/volumes.ts'

describe('metrics of the connection to a database', { skip: redisSkip }, () => {
  it('count requests, connections, and what was tried again, by reason', async () => {
    const server = await RedisServer.start()
    let engine: Engine | undefined
    try {
      await formatVolume(server.url(1))
      engine = await openEngine(server.url(1), { log: silentLog })
      const clock = new SystemClock()
      const meta = await MetaClient.open(engine, { config: clientConfig(), clock, log: silentLog, random: Math.random })
      const metrics = new Metrics()
      watchMeta(meta, metrics)
      const value = (name: string): number =>
        Number(new RegExp(`^juicefs_meta_engine_${name} (\\d+)$`, 'm').exec(metrics.renderPrometheus({}))?.[1])
      const [requests, connects] = [value('requests'), value('connects')]
      assert.ok(requests > 0)
      assert.equal(value('retries\\{reason="noscript"\\}'), Number.NaN, 'none yet')
      const look = () => engine!.gather([node(ROOT_INO), { kind: 'format' }], 'look')
      server.cli('SCRIPT', 'FLUSH')
      await look()
      assert.equal(value('retries\\{reason="noscript"\\}'), 1)
      server.cli('CLIENT', 'KILL', 'TYPE', 'normal')
      await look()
      assert.equal(value('connects'), connects + 1)
      assert.ok(value('requests') > requests)
      assert.match(metrics.renderStats(), /^juicefs_meta_engine_retries 1$/m)
    } finally {
      await engine?.close()
      await server.remove()
    }
  })

  it('are not there where the database is a file', () => {
    const metrics = new Metrics()
    watchMeta({ engine: {}, hooks: {} } as MetaClient, metrics)
    assert.doesNotMatch(metrics.renderPrometheus({}), /meta_engine/)
  })
})
