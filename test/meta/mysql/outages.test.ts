/** Connections that break where it hurts, and servers that go and come: every commit is made once, or is told to have failed. */

import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { EIO, isErrno } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { type Ino, ROOT_INO } from '../../../src/base/ino.ts'
import { checkVolume } from '../../../src/meta/check.ts'
import { Driver } from '../../../src/meta/driver.ts'
import type { MysqlEngine, MysqlOptions } from '../../../src/meta/engine/mysql/engine.ts'
import { dentry, node } from '../../../src/meta/facts.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import { make } from '../../../src/meta/ops/make.ts'
import { writeSlice } from '../../../src/meta/ops/write-slice.ts'
import { volumeWith } from '../../conformance/engine/harness.ts'
import { type Fate, TcpProxy } from '../../servers/proxy.ts'
import { inoOf, mariadbSkip, read, TestServer, write } from './harness.ts'

const now = { sec: 1_795_245_442, nsec: 123_456_789 }
const caller: Caller = { uid: 0, gid: 0, gids: [0], now, check: true }
const volume = volumeWith({})

class TestClient {
  readonly engine: MysqlEngine
  readonly #driver: Driver

  constructor(engine: MysqlEngine) {
    this.engine = engine
    this.#driver = new Driver(engine, { random: Math.random, onEffect: () => undefined })
  }

  async make(name: string) {
    const ino = inoOf(await this.engine.allocate('nextInode', 1))
    const inode = { type: 1, mode: 0o755, umask: 0, rdev: 0, target: '' }
    return await this.#driver.run('change', () =>
      make(volume, caller, ROOT_INO, name, ino, inode, { orExisting: false }),
    )
  }

  async append(ino: Ino, len: number) {
    const id = await this.engine.allocate('nextChunk', 1)
    const slice = { id, size: len, off: 0, len }
    return await this.#driver.run('change', () => writeSlice(volume, now, ino, 0, 0, slice, now))
  }
}

const isCommit = (bytes: Buffer): boolean => bytes.includes('BEGIN;')

describe('outages of MySQL', { skip: mariadbSkip }, () => {
  const test = new TestServer()
  let proxy: TcpProxy
  let database: string
  let direct: MysqlEngine
  let client: TestClient
  let count = 0

  const through = async (options: MysqlOptions = {}): Promise<TestClient> => {
    const url = test.server.url(database, '', proxy.port)
    return new TestClient(await test.open(database, { url, ...options }))
  }
  before(async () => {
    if (mariadbSkip) return
    const made = await test.volume()
    database = made.database
    direct = made.engine
    proxy = await TcpProxy.start(test.server.port)
    await write(direct, { kind: 'newDirUsage', ino: ROOT_INO })
  })
  after(async () => {
    await proxy?.stop()
  })
  beforeEach(async () => {
    count++
    proxy.heal()
    client = await through()
  })

  /** Does this once to the next commit. */
  function once(where: 'onRequest' | 'onReply', fate: Fate): void {
    let isSent = false
    let isDone = false
    proxy.onRequest = bytes => {
      if (!isCommit(bytes) || isDone) return 'pass'
      isSent = true
      if (where === 'onReply') return 'pass'
      isDone = true
      return fate
    }
    proxy.onReply = () => {
      if (!isSent || isDone || where === 'onRequest') return 'pass'
      isDone = true
      return fate
    }
  }

  for (const [sentence, where, verdict] of [
    ['before it arrives is sent again', 'onRequest', 'cut'],
    ['after it arrived is not made twice', 'onRequest', 'drop'],
    ['while it is answered is not made twice', 'onReply', 'cut'],
  ] as const) {
    it(`a commit whose connection breaks ${sentence}`, async () => {
      const name = `f${count}`
      once(where, verdict)
      const entry = await client.make(name)
      assert.ok(!isErrno(entry), `errno ${String(entry)}`)
      assert.equal(client.engine.counts.lost, 1)
      assert.equal((await read(direct, dentry(ROOT_INO, name)))?.ino, entry.ino)
      once(where, verdict)
      const written = await client.append(entry.ino, 100)
      assert.ok(!isErrno(written), `errno ${String(written)}`)
      assert.equal(written.records, 1, 'the length of the list is found out too')
      assert.equal(client.engine.counts.lost, 2)
      assert.equal((await read(direct, { kind: 'chunk', ino: entry.ino, index: 0 }))?.length, 24)
    })
  }

  it('a commit of which nothing shows what became of it fails with EIO', async () => {
    once('onReply', 'cut')
    await assert.rejects(
      client.engine.commit([], [{ kind: 'adjustDir', ino: ROOT_INO, nlink: 0, at: now }]),
      (error: unknown) => error instanceof Fault && error.errno === EIO && /unknown outcome/.test(error.message),
    )
  })

  it('a server that goes on with a commit after its connection broke is waited for', async () => {
    const entry = await client.make(`f${count}`)
    assert.ok(!isErrno(entry))
    const { default: mysql } = await import('mysql2/promise')
    const login = { socketPath: test.server.socket, user: 'root', database }
    const other = await mysql.createConnection(login)
    await other.query('BEGIN')
    await other.query('SELECT 1 FROM jfs_node WHERE inode = ? FOR UPDATE', [entry.ino])
    once('onRequest', 'drop')
    const writing = client.append(entry.ino, 100) // its session waits for the lock, and is ended
    await sleep(300)
    await other.query('COMMIT')
    await other.end()
    const written = await writing
    assert.ok(!isErrno(written), `errno ${String(written)}`)
    assert.equal(written.records, 1)
    assert.equal((await read(direct, { kind: 'chunk', ino: entry.ino, index: 0 }))?.length, 24)
  })

  it('names are made once each while connections are cut again and again', async () => {
    let seed = 20261121 + count
    const random = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 32
    const verdicts: readonly Fate[] = ['cut', 'drop']
    const judge = (): Fate => (random() < 0.04 ? verdicts[Math.floor(random() * 2)]! : 'pass')
    proxy.onRequest = judge
    proxy.onReply = () => (judge() === 'pass' ? 'pass' : 'cut')
    const clients = await Promise.all([client.engine, client.engine].map(async engine => new TestClient(engine)))
    const made = await Promise.all(
      clients.flatMap((each, c) => Array.from({ length: 60 }, (_, i) => each.make(`r${count}_${c}_${i}`))),
    )
    assert.deepEqual(made.filter(isErrno), [], 'EEXIST would mean that a name was made twice')
    assert.ok(client.engine.counts.lost > 5, `${client.engine.counts.lost} replies lost`)
    proxy.heal()
    for (const entry of made) assert.ok(!isErrno(entry) && (await read(direct, node(entry.ino))) !== null)
  })

  it('a connection that the server ended while nobody used it is replaced', async () => {
    await read(client.engine, node(ROOT_INO))
    test.server.sql(
      `SELECT concat('KILL ', id, ';') FROM information_schema.processlist WHERE user = 'juicefs' INTO OUTFILE '${test.server.dir}/kill'`,
    )
    test.server.sql(`SOURCE ${test.server.dir}/kill`)
    assert.notEqual(await read(client.engine, node(ROOT_INO)), null)
    assert.equal(isErrno(await client.make(`f${count}`)), false)
  })

  it('a server that is away for longer than our patience fails requests with EIO and its address; then all is well', async () => {
    const impatient = await through({ patienceMs: 2500 })
    proxy.isDown = true
    proxy.cut()
    await assert.rejects(
      read(impatient.engine, node(ROOT_INO)),
      (error: unknown) =>
        error instanceof Fault &&
        error.errno === EIO &&
        error.message.includes(`reach MySQL at 127.0.0.1:${proxy.port}`),
    )
    proxy.heal()
    assert.notEqual(await read(impatient.engine, node(ROOT_INO)), null)
  })

  it('a server that does not answer any more is given up after our patience', async () => {
    const impatient = await through({ patienceMs: 600 })
    proxy.onReply = () => 'lose'
    await assert.rejects(read(impatient.engine, node(ROOT_INO)), /no answer within 0.6 s/)
    proxy.onReply = () => 'pass'
    proxy.cut()
    assert.notEqual(await read(impatient.engine, node(ROOT_INO)), null)
  })

  it('requests wait while the server crashes and comes back, and what was committed stands', async () => {
    const first = await client.make(`f${count}_before`)
    assert.ok(!isErrno(first))
    await test.server.down('SIGKILL')
    const making = Promise.all([client.make(`f${count}_a`), client.make(`f${count}_b`)])
    const reading = read(client.engine, node(first.ino))
    await sleep(200)
    await test.server.up()
    assert.deepEqual((await making).filter(isErrno), [])
    assert.notEqual(await reading, null)
  })

  it('all records agree in the end, but for the usage of seconds whose reply was lost', async () => {
    const problems = await checkVolume(direct)
    assert.deepEqual(
      problems.filter(problem => !/ says |^usedSpace|^totalInodes/.test(problem)),
      [],
    )
  })
})
