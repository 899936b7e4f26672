/** What opening refuses, and what it warns of. */

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { EROFS } from '../../../src/base/errno.ts'
import type { Fault } from '../../../src/base/fault.ts'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { RedisEngine } from '../../../src/meta/engine/redis/engine.ts'
import { node } from '../../../src/meta/facts.ts'
import { directory } from '../../conformance/engine/harness.ts'
import { freePort } from '../../servers/programs.ts'
import { RedisServer, type RedisServerOptions, redisSkip } from '../../servers/redis.ts'
import { bulk, FakeRedis } from './fake-redis.ts'
import { Journal, read, refusesToOpen, World, write } from './harness.ts'

const root = { kind: 'putNode', ino: ROOT_INO, attr: directory() } as const
const open = (url: string, options = {}) => RedisEngine.open(url, { env: {}, ...options })

const refuses = (url: string, message: RegExp, options = {}): Promise<void> =>
  refusesToOpen(open(url, options), message)

describe('opening Redis', { skip: redisSkip }, () => {
  let world: World
  before(async () => {
    world = await World.start({ args: ['--requirepass', 'secret', '--databases', '4'] })
  })
  after(async () => {
    await world?.remove()
  })
  afterEach(() => {
    world.server.cli('-a', 'secret', '--no-auth-warning', 'FLUSHALL')
  })
  const url = (db: number | string, credentials = ':secret@') =>
    `redis://${credentials}127.0.0.1:${world.server.port}/${db}`

  it('a port that nobody listens on fails at once, with address and reason', async () => {
    const port = await freePort()
    await refuses(`redis://127.0.0.1:${port}/1`, new RegExp(`connect to Redis at 127.0.0.1:${port}: .*ECONNREFUSED`))
    await refuses('unix:///no/such/socket?db=1', /connect to Redis at \/no\/such\/socket: .*ENOENT/)
  })

  it('a server that does not answer fails within five seconds', async () => {
    const server = createServer(() => undefined)
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = server.address() as { port: number }
      await refuses(`redis://127.0.0.1:${port}/1`, /connect to Redis at 127.0.0.1:\d+: no answer/)
    } finally {
      server.close()
    }
  })

  it('a wrong password and a missing one are told', async () => {
    await refuses(url(1, ':secret-not@'), /WRONGPASS/)
    await refuses(url(1, ''), /NOAUTH/)
    await refuses(url(1, 'nobody:secret@'), /WRONGPASS/)
  })

  it('a database number that the server does not have is told, and nothing lands in database 0', async () => {
    await refuses(url(4), /DB index is out of range/)
    const engine = await open(url(3))
    await write(engine, root)
    engine.close()
    assert.equal(world.server.cli('-a', 'secret', '--no-auth-warning', '-n', '3', 'DBSIZE'), '1')
    assert.equal(world.server.cli('-a', 'secret', '--no-auth-warning', '-n', '0', 'DBSIZE'), '0')
  })

  it('takes the password from the environment, and a socket for a host', async () => {
    const env = { META_PASSWORD: 'secret' }
    const byHost = await open(url(1, ''), { env })
    await write(byHost, root)
    byHost.close()
    assert.ok(existsSync(world.server.socket))
    const bySocket = await open(`unix://${world.server.socket}?db=1`, { env })
    assert.ok(await read(bySocket, node(ROOT_INO)))
    bySocket.close()
  })

  it('makes the server keep all keys when it is full, and warns that it keeps no append-only file', async () => {
    const cli = (...args: string[]) => world.server.cli('-a', 'secret', '--no-auth-warning', ...args)
    cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
    const log = new Journal()
    const engine = await open(url(1), { log })
    engine.close()
    assert.match(cli('CONFIG', 'GET', 'maxmemory-policy'), /noeviction/)
    assert.deepEqual(log.warnings, ['AOF is not enabled, you may lose data if Redis is not shutdown properly.'])
    assert.ok(log.lines.some(line => /^INFO Ping redis latency: [\d.]+ms$/.test(line)))
  })

  it('warns where it may not change what the server does when it is full', async () => {
    const cli = (...args: string[]) => world.server.cli('-a', 'secret', '--no-auth-warning', ...args)
    cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru')
    cli('ACL', 'SETUSER', 'small', 'on', '>secret', '~*', '+@all', '-config')
    const log = new Journal()
    const engine = await open(url(1, 'small:secret@'), { log })
    engine.close()
    assert.match(log.warnings.join('\n'), /maxmemory-policy is "allkeys-lru": when Redis is full it will drop keys/)
  })

  it('says which options have no effect', async () => {
    const log = new Journal()
    const engine = await open(`${url(1)}?client-cache=true&route_read=replica`, { log })
    engine.close()
    assert.match(log.warnings[0]!, /without effect here: client-cache, route-read/)
  })

  it('an old server is refused', async () => {
    const server = await FakeRedis.start({ INFO: () => bulk('redis_version:3.2.12\r\nrole:master\r\n') })
    try {
      await refuses(`redis://127.0.0.1:${server.port}/0`, /is version 3.2; 4.0 or newer is needed/)
    } finally {
      await server.stop()
    }
  })

  it('a server that is loading is waited for', async () => {
    const server = await FakeRedis.start({ INFO: () => bulk('redis_version:7.0.0\r\nloading:1\r\n') })
    try {
      const opening = open(`redis://127.0.0.1:${server.port}/0`)
      const first = await Promise.race([opening.catch(() => 'failed'), sleep(1000, 'waits')])
      assert.equal(first, 'waits')
      await server.stop()
      await assert.rejects(opening)
    } finally {
      await server.stop()
    }
  })

  it('a replica is refused by name, and serves a mount that only reads', async () => {
    const replica = await RedisServer.start({
      args: [
        '--replicaof',
        `127.0.0.1 ${world.server.port}`,
        '--masterauth',
        'secret',
        '--repl-diskless-sync-delay',
        '0',
      ],
    })
    try {
      const engine = await open(url(1))
      await write(engine, root)
      engine.close()
      for (let i = 0; i < 100 && !replica.cli('INFO', 'replication').includes('master_link_status:up'); i++)
        await sleep(50)
      await refuses(replica.url(1), new RegExp(`it is a read-only replica of 127.0.0.1:${world.server.port}`))
      const reader = await open(replica.url(1), { readOnly: true })
      assert.ok((await reader.gather([node(ROOT_INO), { kind: 'dentry', parent: ROOT_INO, name: 'a' }], 'look'))[0])
      await assert.rejects(reader.commit([], [root]), (error: Fault) => error.errno === EROFS)
      reader.close()
    } finally {
      await replica.remove()
    }
  })
})

describe('a cluster', { skip: redisSkip }, () => {
  let one: RedisServer
  let two: RedisServer
  const args = ['--cluster-enabled', 'yes', '--cluster-require-full-coverage', 'no']
  before(async () => {
    ;[one, two] = await Promise.all([RedisServer.start({ args }), RedisServer.start({ args })])
    one.cli('CLUSTER', 'ADDSLOTSRANGE', '0', '8191')
    two.cli('CLUSTER', 'ADDSLOTSRANGE', '8192', '16383')
    one.cli('CLUSTER', 'MEET', '127.0.0.1', String(two.port))
    for (let i = 0; i < 200; i++) {
      const states = [one, two].map(each => each.cli('CLUSTER', 'INFO'))
      if (states.every(state => /cluster_slots_ok:16384/.test(state))) break
      await sleep(50)
    }
  })
  after(async () => {
    await one?.remove()
    await two?.remove()
  })

  it('is found by any of its servers: each volume lies in one slot under its tag', async () => {
    // {1} is in slot 9842, {3} in 1584… of either half, whichever it is: both servers are asked for both.
    for (const db of [1, 3]) {
      for (const asked of [one, two]) {
        const engine = await open(asked.url(db))
        await write(engine, { kind: 'usage', space: 1, inodes: 1 })
        const facts = await engine.gather([{ kind: 'counter', name: 'usedSpace' }, { kind: 'format' }], 'look')
        assert.equal(facts[0], asked === one ? 1 : 2)
        engine.close()
      }
    }
    const keys = [one, two].flatMap(server => server.cli('KEYS', '*').split('\n').filter(Boolean)).sort()
    assert.deepEqual(keys, ['{1}totalInodes', '{1}usedSpace', '{3}totalInodes', '{3}usedSpace'])
  })

  it('is named by several servers, some of which may be gone', async () => {
    const gone = await freePort()
    const engine = await open(`redis://127.0.0.1:${gone},127.0.0.1:${two.port}/5`)
    await write(engine, root)
    assert.ok(await read(engine, node(ROOT_INO)))
    engine.close()
  })

  it('that cannot be used says why of each server that was asked', async () => {
    const [gone, plain] = [await freePort(), await RedisServer.start({ args: ['--requirepass', 'secret'] })]
    try {
      const rest = `@127.0.0.1:${plain.port},127.0.0.1:${gone}/5`
      const denied = new RegExp(`127.0.0.1:${plain.port}: WRONGPASS.*; 127.0.0.1:${gone}: .*ECONNREFUSED`)
      await Promise.all([
        refuses(`redis://:secret-not${rest}`, denied),
        refuses(`redis://:secret${rest}`, /cluster support disabled/),
      ])
    } finally {
      await plain.remove()
    }
  })

  it('is followed when the slot moves to another server', async () => {
    const engine = await open(one.url(1))
    await write(engine, root)
    const slot = one.cli('CLUSTER', 'KEYSLOT', '{1}')
    const [from, to] = one.cli('CLUSTER', 'COUNTKEYSINSLOT', slot) === '0' ? [two, one] : [one, two]
    const [fromId, toId] = [from, to].map(server => server.cli('CLUSTER', 'MYID'))
    to.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId!)
    from.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId!)
    const keys = from.cli('CLUSTER', 'GETKEYSINSLOT', slot, '100').split('\n')
    from.cli('MIGRATE', '127.0.0.1', String(to.port), '', '0', '5000', 'KEYS', ...keys)
    for (const server of [to, from]) server.cli('CLUSTER', 'SETSLOT', slot, 'NODE', toId!)
    await write(engine, { kind: 'putNode', ino: 2 as never, attr: directory() })
    assert.ok((await engine.gather([node(ROOT_INO), node(2 as never)], 'look')).every(Boolean))
    assert.match(to.cli('GET', '{1}i2'), /./)
    engine.close()
  })
})

describe('Sentinel', { skip: redisSkip }, () => {
  it('that does not answer is passed over for the next one', async () => {
    const silent = createServer(() => undefined).listen(0, '127.0.0.1')
    const [master, sentinel] = await Promise.all([RedisServer.start(), RedisServer.start({ mode: 'sentinel' })])
    try {
      sentinel.cli('SENTINEL', 'MONITOR', 'mymaster', '127.0.0.1', String(master.port), '1')
      const { port } = silent.address() as { port: number }
      const engine = await open(`redis://mymaster,127.0.0.1:${port},127.0.0.1:${sentinel.port}/1`)
      await write(engine, root)
      engine.close()
    } finally {
      silent.close()
      await sentinel.remove()
      await master.remove()
    }
  })

  it('names the master, and after a failover the new one', async () => {
    const started: RedisServer[] = []
    let engine: Awaited<ReturnType<typeof open>> | undefined
    const start = async (options: RedisServerOptions): Promise<RedisServer> => {
      const server = await RedisServer.start(options)
      started.push(server)
      return server
    }
    try {
      const master = await start({})
      const replica = await start({
        args: ['--replicaof', `127.0.0.1 ${master.port}`, '--repl-diskless-sync-delay', '0'],
      })
      const sentinel = await start({ mode: 'sentinel' })
      sentinel.cli('SENTINEL', 'MONITOR', 'mymaster', '127.0.0.1', String(master.port), '1')
      sentinel.cli('SENTINEL', 'SET', 'mymaster', 'down-after-milliseconds', '300')
      sentinel.cli('SENTINEL', 'SET', 'mymaster', 'failover-timeout', '3000')
      engine = await open(`redis://mymaster,127.0.0.1:${sentinel.port}/1`)
      await write(engine, root)
      // A replica that is online may still lack the last write.
      const isCopied = (): boolean => {
        const state = master.cli('INFO', 'replication')
        const offset = /master_repl_offset:(\d+)/.exec(state)![1]
        return new RegExp(`slave0:.*state=online,offset=${offset},`).test(state)
      }
      for (let i = 0; i < 200 && !isCopied(); i++) await sleep(50)
      for (
        let i = 0;
        i < 300 && !sentinel.cli('SENTINEL', 'REPLICAS', 'mymaster').includes('master-link-status\nok');
        i++
      )
        await sleep(50)
      await master.stop()
      // Not done where the answer was lost and nothing was found: whoever asked begins again.
      while (!(await engine.commit([], [{ kind: 'putNode', ino: 2 as never, attr: directory() }])).done);
      assert.ok((await engine.gather([node(ROOT_INO), node(2 as never)], 'look')).every(Boolean))
      assert.match(replica.cli('INFO', 'replication'), /role:master/)
    } finally {
      engine?.close()
      for (const server of started) await server.remove()
    }
  })
})
