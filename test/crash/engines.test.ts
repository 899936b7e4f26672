/** Servers that die, connections that break, answers that come late or never, while many clients are at work: nothing that was
 *  answered is lost, nothing happens twice, nobody hangs. FAULT_SECONDS=30 for a long run. */

import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { SystemClock } from '../../src/base/clock.ts'
import { EIO, isErrno } from '../../src/base/errno.ts'
import { Fault } from '../../src/base/fault.ts'
import { type Ino, ROOT_INO } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import { openEngine } from '../../src/cmd/volume.ts'
import { MetaClient } from '../../src/meta/client.ts'
import { MysqlEngine } from '../../src/meta/engine/mysql/engine.ts'
import { PostgresEngine } from '../../src/meta/engine/postgres/engine.ts'
import { RedisEngine } from '../../src/meta/engine/redis/engine.ts'
import type { Engine } from '../../src/meta/engine.ts'
import { systemCaller } from '../../src/meta/model/caller.ts'
import { type Address, type EngineServer, type ServerKind, serverEngines } from '../servers/engines.ts'
import { type Fate, TcpProxy } from '../servers/proxy.ts'
import { RedisServer, redisSkip } from '../servers/redis.ts'
import { clientConfig, formatVolume } from '../servers/volumes.ts'
import { CrowdWork } from '../simulation/crowd.ts'
import { formatCrowded, lookAtCrowd } from '../simulation/crowd-check.ts'
import { Random, seedOf } from '../simulation/random.ts'

const seconds = Number(process.env.FAULT_SECONDS ?? 1.5)
const CLIENTS = 4
/** Of a deed in a storm, on a machine that has other things to do; far below the patience of the engines. */
const SLOWEST_MS = 20_000

/** A crowd on the volume, its report compared with what is there at the end. `inDoubt`: answers may be lost. */
async function crowded(
  t: TestContext,
  volume: { readonly url: string; readonly direct: string; readonly directory: Ino; readonly kind: ServerKind },
  during: (random: Random) => Promise<void>,
  inDoubt = true,
): Promise<void> {
  const seed = seedOf()
  t.diagnostic(`SEED=${seed}`)
  const { url, directory } = volume
  const work = await CrowdWork.join({
    ...{ work: 'crowd', url, seed, clients: CLIENTS, firstId: 0, startedMs: 0, faults: true, directory },
  })
  work.go()
  await during(new Random(seed))
  await work.leave()
  const report = work.report()
  const slowest = Math.max(...report.slowestMs)
  const deeds = report.deeds.reduce((a, b) => a + b)
  t.diagnostic(`${deeds} deeds, ${report.faults} of unknown outcome, the slowest took ${slowest.toFixed(0)} ms`)
  assert.ok(Math.min(...report.deeds) > 0, 'everybody did something')
  assert.ok(slowest < SLOWEST_MS, `a deed took ${slowest} ms`)
  const engine = await openEngine(volume.direct, { log: silentLog })
  try {
    await lookAtCrowd(engine, directory, [report], { seed, kind: volume.kind, inDoubt })
  } finally {
    await engine.close()
  }
}

for (const { kind, skip, start } of serverEngines) {
  describe(`clients at work on ${kind}`, { skip }, () => {
    let server: EngineServer
    let proxy: TcpProxy
    before(async () => {
      server = await start()
      proxy = await TcpProxy.start(server.port)
    })
    after(async () => {
      await proxy?.stop()
      await server?.stop()
    })
    const volume = async () => {
      const address = server.newDatabase()
      const directory = await formatCrowded(address())
      return { url: address(proxy.port), direct: address(), directory, kind }
    }

    it('go on where they were when the server is killed and started again, twice', async t => {
      await crowded(t, await volume(), async () => {
        for (const how of ['crash', 'orderly'] as const) {
          await sleep(seconds * 300)
          await server.down(how)
          await sleep(200)
          await server.up()
        }
        await sleep(seconds * 500)
      })
    })

    it('lose nothing and do nothing twice when connections break at random', async t => {
      await crowded(t, await volume(), async random => {
        const perhaps = (fates: readonly Fate[]) => (): Fate => (random.oneIn(60) ? random.pick(fates) : 'pass')
        proxy.onRequest = perhaps(['cut', 'drop'])
        proxy.onReply = perhaps(['cut'])
        await sleep(seconds * 1000)
        proxy.heal()
      })
    })

    it('are told the truth when answers take 1 to 50 milliseconds', async t => {
      await crowded(
        t,
        await volume(),
        async random => {
          const late = setInterval(() => {
            proxy.delayMs = 1 + random.below(50)
          }, 5)
          await sleep(seconds * 1000)
          clearInterval(late)
          proxy.heal()
        },
        false,
      )
    })

    it('are told within their patience when no answer comes at all', async () => {
      const address = server.newDatabase()
      await formatVolume(address(), { TrashDays: 0 })
      const clock = new SystemClock()
      const engine = await impatient(kind, address, proxy.port)
      const options = { clock, log: silentLog, random: Math.random, config: clientConfig() }
      const meta = await MetaClient.open(engine, options)
      try {
        const caller = systemCaller(clock.now())
        const file = { type: 1, mode: 0o644, umask: 0, rdev: 0, target: '' }
        const first = await meta.make(caller, ROOT_INO, 'first', file)
        assert.ok(!isErrno(first))
        for (const where of ['onRequest', 'onReply'] as const) {
          for (const [name, ask] of [
            ['a look', () => meta.getattr(first.ino)],
            ['a change', () => meta.make(caller, ROOT_INO, `lost ${where}`, file)],
          ] as const) {
            proxy[where] = () => 'lose'
            const startMs = performance.now()
            const asked = Promise.resolve(ask())
            const told = await asked.then(
              result => isErrno(result),
              (error: unknown) => error,
            )
            const tookMs = performance.now() - startMs
            proxy.heal()
            proxy.cut()
            assert.ok(told instanceof Fault && told.errno === EIO, `${name}, ${where}: ${String(told)}`)
            assert.match(told.message, new RegExp(String(proxy.port)), 'says which server does not answer')
            assert.ok(tookMs < PATIENCE_MS * 4, `${name}, ${where}, took ${tookMs} ms`)
          }
          const found = await meta.lookup(caller, ROOT_INO, `lost ${where}`)
          if (where === 'onRequest') assert.ok(isErrno(found), 'what never arrived was not made')
          assert.ok(!isErrno(await meta.make(caller, ROOT_INO, `after ${where}`, file)), 'and all is well again')
        }
      } finally {
        await engine.close()
      }
    })
  })
}

const PATIENCE_MS = 800

/** An engine whose time-outs are short. */
async function impatient(kind: ServerKind, address: Address, port: number): Promise<Engine> {
  const options = { patienceMs: PATIENCE_MS, env: {} }
  if (kind === 'redis') return await RedisEngine.open(`${address(port)}?read-timeout=300ms`, options)
  if (kind === 'postgres') return await PostgresEngine.open(address(port), options)
  return await MysqlEngine.open(address(port), options)
}

describe('clients at work on a Redis that fails over', { skip: redisSkip }, () => {
  const args = ['--appendonly', 'yes', '--appendfsync', 'no', '--repl-diskless-sync-delay', '0']
  const started: RedisServer[] = []
  const launch = async (options: Parameters<typeof RedisServer.start>[0]): Promise<RedisServer> => {
    const server = await RedisServer.start(options)
    started.push(server)
    return server
  }
  /** A master, and a replica that has caught up. */
  async function pair(): Promise<readonly [master: RedisServer, replica: RedisServer]> {
    const master = await launch({ args })
    const replica = await launch({ args: [...args, '--replicaof', `127.0.0.1 ${master.port}`] })
    await until(() => /slave0:.*state=online/.test(master.cli('INFO', 'replication')), 'the replica is there')
    return [master, replica]
  }
  after(async () => {
    for (const server of started) await server.remove()
  })

  it('by hand go on at the new master, behind one address, and lose nothing', async t => {
    const [master, replica] = await pair()
    const proxy = await TcpProxy.start(master.port)
    const directory = await formatCrowded(master.url(1))
    const volume = {
      url: `redis://127.0.0.1:${proxy.port}/1`,
      direct: replica.url(1),
      directory,
      kind: 'redis',
    } as const
    try {
      await crowded(t, volume, async () => {
        await sleep(seconds * 400)
        assert.equal(master.cli('FAILOVER', 'TO', '127.0.0.1', String(replica.port)), 'OK')
        await until(() => /role:master/.test(replica.cli('INFO', 'replication')), 'the replica is the master')
        proxy.redirect(replica.port)
        await sleep(seconds * 600)
      })
      assert.match(master.cli('INFO', 'replication'), /role:slave/)
    } finally {
      await proxy.stop()
    }
  })

  it('by Sentinel, since its master died, go on at the new one; what the replica had got is there', async t => {
    const [now, next] = await pair()
    const sentinel = await launch({ mode: 'sentinel' })
    sentinel.cli('SENTINEL', 'MONITOR', 'mymaster', '127.0.0.1', String(now.port), '1')
    sentinel.cli('SENTINEL', 'SET', 'mymaster', 'down-after-milliseconds', '300')
    sentinel.cli('SENTINEL', 'SET', 'mymaster', 'failover-timeout', '3000')
    await until(
      () => sentinel.cli('SENTINEL', 'REPLICAS', 'mymaster').includes('master-link-status\nok'),
      'it is known',
    )
    const directory = await formatCrowded(now.url(2))
    const url = `redis://mymaster,127.0.0.1:${sentinel.port}/2`
    const volume = { url, direct: next.url(2), directory, kind: 'redis' } as const
    await crowded(t, volume, async () => {
      await sleep(seconds * 400)
      // Replication is asynchronous: what was answered a moment ago may be lost with the master. So it dies in a pause.
      now.cli('CLIENT', 'PAUSE', '60000', 'WRITE')
      await until(() => {
        const text = now.cli('INFO', 'replication')
        return /slave0:.*offset=(\d+)/.exec(text)?.[1] === /master_repl_offset:(\d+)/.exec(text)?.[1]
      }, 'the other has got everything')
      await now.stop()
      await until(() => /role:master/.test(next.cli('INFO', 'replication')), 'the other is the master', 20_000)
      await sleep(seconds * 600)
    })
  })
})

async function until(isSo: () => boolean, what: string, timeoutMs = 15_000): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs
  while (!isSo()) {
    assert.ok(performance.now() < deadlineMs, `${what}: not within ${timeoutMs} ms`)
    await sleep(50)
  }
}
