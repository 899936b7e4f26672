/** No request waits longer than docs/operating.md says, when a server takes everything and never answers again. */

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Fault } from '../../src/base/fault.ts'
import { ROOT_INO } from '../../src/base/ino.ts'
import { MysqlEngine } from '../../src/meta/engine/mysql/engine.ts'
import { PostgresEngine } from '../../src/meta/engine/postgres/engine.ts'
import { RedisEngine } from '../../src/meta/engine/redis/engine.ts'
import type { Engine } from '../../src/meta/engine.ts'
import { node } from '../../src/meta/facts.ts'
import { directory, inoOf } from '../conformance/engine/harness.ts'
import { type EngineServer, serverEngines } from '../servers/engines.ts'
import { TcpProxy } from '../servers/proxy.ts'

/** in place of 30 s (Redis: 60 s) */
const PATIENCE_MS = 1000
/** in place of Redis's 30 s for an answer */
const READ_TIMEOUT_MS = 500

/** The pools look for late answers once a second. */
const SWEEP_MS = 1000
const SLACK_MS = 1500
/** A change: until its answer is given up, and then until nothing could be learnt of it. */
const POOLED = {
  look: [PATIENCE_MS, PATIENCE_MS + SWEEP_MS],
  change: [PATIENCE_MS, 2 * (PATIENCE_MS + SWEEP_MS)],
} as const
const BOUNDS = {
  redis: {
    look: [PATIENCE_MS, PATIENCE_MS + READ_TIMEOUT_MS],
    change: [PATIENCE_MS, PATIENCE_MS + READ_TIMEOUT_MS],
  },
  postgres: POOLED,
  mysql: POOLED,
} as const

const open = {
  redis: (url: string): Promise<Engine> =>
    RedisEngine.open(`${url}?read-timeout=${READ_TIMEOUT_MS}ms`, { env: {}, patienceMs: PATIENCE_MS }),
  postgres: (url: string): Promise<Engine> => PostgresEngine.open(url, { env: {}, patienceMs: PATIENCE_MS }),
  mysql: (url: string): Promise<Engine> => MysqlEngine.open(url, { env: {}, patienceMs: PATIENCE_MS }),
}

for (const { kind, skip, start } of serverEngines) {
  describe(`${kind} that swallows all answers`, { skip }, () => {
    let server: EngineServer
    let proxy: TcpProxy
    let engine: Engine
    before(async () => {
      server = await start()
      proxy = await TcpProxy.start(server.port)
      engine = await open[kind](server.newDatabase()(proxy.port))
      await engine.prepare()
      await engine.commit([], [{ kind: 'putNode', ino: ROOT_INO, attr: directory() }])
    })
    after(async () => {
      await engine?.close()
      await proxy?.stop()
      await server?.stop()
    })

    for (const [name, request] of [
      ['gather', () => engine.gather([node(ROOT_INO), { kind: 'format' }], 'look')],
      ['commit', () => engine.commit([], [{ kind: 'putNode', ino: inoOf(77), attr: directory() }])],
      ['allocate', () => engine.allocate('nextInode', 1)],
      ['scan', () => engine.scan('entries', { parent: ROOT_INO, attrs: true }, null, 100)],
    ] as const) {
      it(`${name}: EIO in time, and an answer afterwards`, async () => {
        await engine.gather([node(ROOT_INO)], 'look')
        proxy.onReply = () => 'lose'
        const startMs = performance.now()
        await assert.rejects(
          Promise.resolve(request()),
          (error: unknown) => error instanceof Fault && error.errno === 5,
        )
        const tookMs = performance.now() - startMs
        const [leastMs, mostMs] = BOUNDS[kind][name === 'commit' ? 'change' : 'look']
        assert.ok(tookMs > leastMs - 50 && tookMs < mostMs + SLACK_MS, `${tookMs} ms`)
        proxy.heal()
        proxy.cut()
        await request()
      })
    }
  })
}
