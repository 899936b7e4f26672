/** When a sync returns. The server's side is played: WAITAOF came with Redis 7.2, which is newer than what Debian has. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fault } from '../../../src/base/fault.ts'
import { RedisEngine } from '../../../src/meta/engine/redis/engine.ts'
import { type Answers, bulk, FakeRedis } from './fake-redis.ts'
import { Journal } from './harness.ts'

const info = (version: string, aof: 0 | 1): string =>
  bulk(`redis_version:${version}\r\nrole:master\r\naof_enabled:${aof}\r\nrun_id:abc\r\n`)
const configured = (value: string): string => `*2\r\n${bulk('appendfsync')}${bulk(value)}`

/** A server that tells what is durable, and says at once that all is. */
const told: Answers = {
  INFO: () => info('7.2.5', 1),
  CONFIG: () => configured('everysec'),
  WAITAOF: () => '*2\r\n:1\r\n:0\r\n',
}

/** Runs `body` with an engine on such a server, told which commands it heard since. */
async function on(answers: Answers, body: (engine: RedisEngine, server: FakeRedis, log: Journal) => Promise<void>) {
  const server = await FakeRedis.start({ INCRBY: () => ':4096\r\n', ...answers })
  const log = new Journal()
  const engine = await RedisEngine.open(`redis://127.0.0.1:${server.port}/1`, { env: {}, log, patienceMs: 2000 })
  try {
    await body(engine, server, log)
  } finally {
    engine.close()
    await server.stop()
  }
}
const names = (server: FakeRedis): string[] => server.heard.map(([name]) => name!)

describe('a sync on Redis', () => {
  it('returns when the append-only file says so, shared by all who wait', async () => {
    await on(told, async (engine, server) => {
      await engine.sync()
      server.heard.length = 0
      await Promise.all([engine.sync(), engine.sync(), engine.sync()])
      assert.deepEqual(names(server), ['INCRBY', 'WAITAOF', 'INCRBY', 'WAITAOF'])
      assert.deepEqual(server.heard[0], ['INCRBY', 'usedSpace', '0'])
      assert.deepEqual(server.heard[1]!.slice(0, 3), ['WAITAOF', '1', '0'])
    })
  })

  it('does not return before, and fails when the server goes', async () => {
    await on({ ...told, WAITAOF: () => undefined }, async (engine, server) => {
      const syncing = engine.sync()
      assert.equal(await Promise.race([syncing, sleep(200, 'waits')]), 'waits')
      await server.stop()
      await assert.rejects(syncing, Fault)
    })
  })

  it('fails where the file is not written in time: nothing was promised', async () => {
    const answers = {
      INFO: () => info('7.4.0', 1),
      CONFIG: () => configured('always'),
      WAITAOF: () => '*2\r\n:0\r\n:0\r\n',
    }
    await on(answers, async engine => {
      await assert.rejects(engine.sync(), /Redis did not write its append-only file within 10 s/)
    })
  })

  it('has nothing to wait for on older servers, without the file, or where it is never synced', async () => {
    const silent: Answers[] = [
      { INFO: () => info('7.0.15', 1) },
      { INFO: () => info('7.2.0', 0) },
      { INFO: () => info('8.0.0', 1), CONFIG: () => configured('no') },
    ]
    for (const answers of silent) {
      await on(answers, async (engine, server) => {
        await engine.sync()
        await engine.sync()
        assert.ok(!names(server).includes('WAITAOF'))
      })
    }
  })

  it('says so once where the server does not know the command after all', async () => {
    const answers = {
      INFO: () => info('7.2.0', 1),
      CONFIG: () => '-NOPERM no permission\r\n',
      WAITAOF: () => "-ERR unknown command 'WAITAOF'\r\n",
    }
    await on(answers, async (engine, _, log) => {
      await engine.sync()
      await engine.sync()
      assert.deepEqual(log.warnings, ["Redis does not tell what is durable: ERR unknown command 'WAITAOF'"])
    })
  })

  it('comes before ids are handed out, so that a power cut takes back no id that is in use', async () => {
    const answers = {
      INFO: () => info('7.2.0', 1),
      CONFIG: () => configured('always'),
      WAITAOF: () => '*2\r\n:1\r\n:0\r\n',
    }
    await on(answers, async (engine, server) => {
      await engine.allocate('nextChunk', 4096)
      assert.equal(names(server).at(-1), 'WAITAOF')
    })
  })
})
