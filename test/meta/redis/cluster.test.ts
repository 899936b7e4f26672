/** A cluster of three masters and a replica, while slots move and masters change under a client that goes on working. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { RedisEngine } from '../../../src/meta/engine/redis/engine.ts'
import { node } from '../../../src/meta/facts.ts'
import { directory } from '../../conformance/engine/harness.ts'
import { cli } from '../../mount/harness.ts'
import { RedisServer, redisSkip } from '../../servers/redis.ts'
import { inoOf, read, refusesToOpen, write } from './harness.ts'

const NODE_TIMEOUT_MS = 600

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 20_000; !holds(); ) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`)
    await sleep(50)
  }
}

/** Makes nodes one after the other, each counted, until told to stop. */
class Worker {
  readonly made: number[] = []
  #isDone = false
  readonly #running: Promise<void>

  constructor(engine: RedisEngine) {
    this.#running = this.#work(engine)
  }

  async #work(engine: RedisEngine): Promise<void> {
    while (!this.#isDone) {
      const ino = await engine.allocate('nextInode', 1)
      const outcome = await engine.commit(
        [{ read: node(inoOf(ino)), fact: null, strength: 'exact' }],
        [
          { kind: 'putNode', ino: inoOf(ino), attr: directory() },
          { kind: 'usage', space: 0, inodes: 1 },
        ],
      )
      assert.ok(outcome.done)
      this.made.push(ino)
    }
  }

  /** That it goes on: so many more. */
  async moves(count: number): Promise<void> {
    const goal = this.made.length + count
    await Promise.race([this.#running, until(`${count} more nodes`, () => this.made.length >= goal)])
  }

  async stop(): Promise<void> {
    this.#isDone = true
    await this.#running
  }
}

describe('a Redis cluster', { skip: redisSkip }, () => {
  const servers: RedisServer[] = []
  let dir: string
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-cluster-'))
    const args = [
      ...['--cluster-enabled', 'yes', '--cluster-node-timeout', String(NODE_TIMEOUT_MS)],
      ...['--repl-diskless-sync-delay', '0', '--cluster-require-full-coverage', 'no'],
    ]
    servers.push(...(await Promise.all([1, 2, 3, 4].map(() => RedisServer.start({ args })))))
    const [one, two, three, replica] = servers as [RedisServer, RedisServer, RedisServer, RedisServer]
    one.cli('CLUSTER', 'ADDSLOTSRANGE', '0', '5460')
    two.cli('CLUSTER', 'ADDSLOTSRANGE', '5461', '10922')
    three.cli('CLUSTER', 'ADDSLOTSRANGE', '10923', '16383')
    servers.forEach((server, i) => void server.cli('CLUSTER', 'SET-CONFIG-EPOCH', String(i + 1)))
    for (const other of servers.slice(1)) one.cli('CLUSTER', 'MEET', '127.0.0.1', String(other.port))
    await until('all know each other', () =>
      servers.every(server => /cluster_known_nodes:4\b[\s\S]*cluster_size:3\b/.test(server.cli('CLUSTER', 'INFO'))),
    )
    replica.cli('CLUSTER', 'REPLICATE', ownerOf(1).cli('CLUSTER', 'MYID'))
    await until('the replica follows', () => /master_link_status:up/.test(replica.cli('INFO', 'replication')))
    await until('all is well', () => servers.every(server => /cluster_state:ok/.test(server.cli('CLUSTER', 'INFO'))))
  })
  after(async () => {
    for (const server of servers) await server.remove()
    if (dir) rmSync(dir, { recursive: true, force: true })
  })

  const slotOf = (db: number): string => servers[0]!.cli('CLUSTER', 'KEYSLOT', `{${db}}`)
  /** The master that has the volume's slot. */
  function ownerOf(db: number): RedisServer {
    const slot = Number(slotOf(db))
    const owner = servers.find(server =>
      server
        .cli('CLUSTER', 'NODES')
        .split('\n')
        .filter(line => /\bmyself,master\b/.test(line))
        .some(line =>
          line
            .split(' ')
            .slice(8)
            .map(range => range.split('-').map(Number))
            .some(([from, to = from]) => from! <= slot && slot <= to!),
        ),
    )
    assert.ok(owner, `no master has slot ${slot}`)
    return owner
  }
  const refuses = (url: string, message: RegExp): Promise<void> =>
    refusesToOpen(RedisEngine.open(url, { env: {} }), message)
  /** Everything that was answered is there, and was done once. */
  async function isWhole(engine: RedisEngine, made: readonly number[]): Promise<void> {
    assert.equal(new Set(made).size, made.length)
    const facts = await engine.gather(
      made.map(ino => node(inoOf(ino))),
      'look',
    )
    assert.ok(facts.every(fact => fact !== null))
    assert.equal(await read(engine, { kind: 'counter', name: 'totalInodes' }), made.length)
  }

  it('takes a volume by any of its servers, under its tag, beside others', () => {
    for (const [i, server] of servers.entries()) {
      const bucket = ['--bucket', join(dir, 'bucket')]
      const made = cli(['format', ...bucket, server.url(20 + i), `vol-${i}`])
      assert.equal(made.status, 0, made.stderr)
      assert.match(cli(['status', servers[0]!.url(20 + i)]).stdout, new RegExp(`"Name": "vol-${i}"`))
    }
    const keys = new Set(servers.flatMap(server => server.cli('KEYS', '*').split('\n').filter(Boolean)))
    assert.ok(keys.size > 0)
    for (const key of keys) assert.match(key, /^\{2[0-3]\}/)
  })

  it('is refused where its keys would carry no tag: by its socket', async () => {
    await refuses(`unix://${servers[0]!.socket}?db=0`, /part of a cluster.*redis:\/\//)
    await refuses(`unix://${servers[0]!.socket}?db=1`, /cluster/i)
  })

  it('is recognized by a user who may not ask for INFO', async () => {
    for (const server of servers) server.cli('ACL', 'SETUSER', 'blind', 'on', '>se:cr@t/1', '~{9}*', '+@all', '-info')
    const engine = await RedisEngine.open(`redis://blind:se%3Acr%40t%2F1@127.0.0.1:${servers[1]!.port}/9`, { env: {} })
    try {
      await write(engine, { kind: 'putNode', ino: ROOT_INO, attr: directory() })
      assert.ok(await read(engine, node(ROOT_INO)))
      assert.equal(ownerOf(9).cli('EXISTS', '{9}i1'), '1')
    } finally {
      engine.close()
    }
  })

  it('is followed while the slot moves from one master to another, key by key, under load', async () => {
    const engine = await RedisEngine.open(servers[0]!.url(2), { env: {} })
    const worker = new Worker(engine)
    try {
      await worker.moves(50)
      const from = ownerOf(2)
      const to = servers.slice(0, 3).find(server => server !== from)!
      const [fromId, toId, slot] = [from.cli('CLUSTER', 'MYID'), to.cli('CLUSTER', 'MYID'), slotOf(2)]
      to.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId)
      from.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId)
      for (let keys = ['']; ; ) {
        keys = from.cli('CLUSTER', 'GETKEYSINSLOT', slot, '10').split('\n').filter(Boolean)
        if (keys.length === 0) break
        from.cli('MIGRATE', '127.0.0.1', String(to.port), '', '0', '5000', 'KEYS', ...keys)
      }
      for (const server of [to, from, ...servers]) server.cli('CLUSTER', 'SETSLOT', slot, 'NODE', toId)
      await worker.moves(50)
      await worker.stop()
      assert.ok([...engine.counts.retries.keys()].some(reason => /^(moved|ask|tryagain)$/.test(reason)))
      assert.equal(ownerOf(2), to)
      await isWhole(engine, worker.made)
    } finally {
      await worker.stop().catch(() => undefined)
      engine.close()
    }
  })

  it('is followed when masters change under load: handed over, and killed', async () => {
    const replica = servers.find(server => /role:slave/.test(server.cli('INFO', 'replication')))!
    const master = ownerOf(1)
    const engine = await RedisEngine.open(servers[0]!.url(1), { env: {} })
    const worker = new Worker(engine)
    try {
      await worker.moves(50)
      replica.cli('CLUSTER', 'FAILOVER')
      await until('the replica is the master', () => /role:master/.test(replica.cli('INFO', 'replication')))
      await worker.moves(50)
      assert.equal(ownerOf(1), replica)
      await until('the old master follows', () => /master_link_status:up/.test(master.cli('INFO', 'replication')))
      await worker.stop()
      await isWhole(engine, worker.made)
      replica.cli('WAIT', '1', '2000')
      const second = new Worker(engine)
      await replica.stop('SIGKILL')
      await second.moves(50)
      await second.stop()
      assert.match(master.cli('INFO', 'replication'), /role:master/)
      for (const ino of worker.made) assert.ok(await read(engine, node(inoOf(ino))), `node ${ino}`)
    } finally {
      await worker.stop().catch(() => undefined)
      engine.close()
    }
  })
})
