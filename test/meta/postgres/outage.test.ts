/** The server goes away, the connection breaks: before a commit, after it, in the middle of it. Nothing is done twice, nothing
 *  that was done is called failed. */

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { EIO } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { NO_INO, ROOT_INO } from '../../../src/base/ino.ts'
import type { PostgresEngine } from '../../../src/meta/engine/postgres/engine.ts'
import { type Change, chunk, counter, dentry, node } from '../../../src/meta/facts.ts'
import { encodeRecords } from '../../../src/meta/model/slice.ts'
import { TcpProxy } from '../../servers/proxy.ts'
import { file, guard, inoOf, postgresSkip, read, TestServer, write } from './harness.ts'

const soon = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
const record = (id: number) => encodeRecords([{ pos: 0, id, size: 100, off: 0, len: 100 }])

describe('when the PostgreSQL server goes away', { skip: postgresSkip }, () => {
  const test = new TestServer()
  let proxy: TcpProxy
  let database: string
  let engine: PostgresEngine
  let nextIno = 100
  before(async () => {
    ;({ database } = await test.volume())
    proxy = await TcpProxy.start(test.server.port)
    engine = await through(proxy)
  })
  after(() => proxy?.stop())

  /** One connection, so that the test knows which one it breaks. */
  const through = (to: TcpProxy, patienceMs = 10_000): Promise<PostgresEngine> => {
    const url = test.server.url(database, '&max_open_conns=1').replace(/127.0.0.1:\d+/, `127.0.0.1:${to.port}`)
    return test.open('', { url, patienceMs })
  }
  const makeFile = (name: string): { ino: ReturnType<typeof inoOf>; changes: Change[] } => {
    const ino = inoOf(nextIno++)
    return {
      ino,
      changes: [
        { kind: 'putNode', ino, attr: file() },
        { kind: 'setDentry', parent: ROOT_INO, name, ino, type: 1 },
        { kind: 'usage', space: 4096, inodes: 1 },
      ],
    }
  }
  /** Breaks the connection once, at the next request. */
  const onNextRequest = (verdict: 'cut' | 'drop'): void => {
    proxy.onRequest = () => {
      proxy.heal()
      return verdict
    }
  }

  it('requests wait for a server that restarts, and go on', async () => {
    const { ino, changes } = makeFile('restart')
    const counted = await read(engine, counter('totalInodes'))
    await test.server.down('immediate')
    const reading = read(engine, node(ROOT_INO))
    const committing = engine.commit(await Promise.resolve([]), changes)
    await soon(300)
    await test.server.up()
    assert.ok(await reading)
    assert.equal((await committing).done, true)
    assert.equal((await read(engine, dentry(ROOT_INO, 'restart')))?.ino, ino)
    assert.equal(await read(engine, counter('totalInodes')), counted + 1)
  })

  it('requests fail with EIO and the address when it stays away, and work again when it is back', async () => {
    const impatient = await through(proxy, 400)
    await test.server.down('fast')
    const start = performance.now()
    const isAway = (error: unknown): boolean =>
      error instanceof Fault && error.errno === EIO && error.message.includes(`PostgreSQL at 127.0.0.1:${proxy.port}`)
    await Promise.all([
      assert.rejects(read(impatient, node(ROOT_INO)), isAway),
      assert.rejects(write(impatient, ...makeFile('away').changes), isAway),
    ])
    assert.ok(performance.now() - start < 3000)
    await test.server.up()
    for (let attempt = 0; ; attempt++) {
      const fact = await read(impatient, node(ROOT_INO)).catch(() => null)
      if (fact !== null) break
      assert.ok(attempt < 20)
    }
    assert.equal(await read(impatient, dentry(ROOT_INO, 'away')), null)
  })

  it('a connection that the administrator ends is replaced without anybody noticing', async () => {
    await read(engine, node(ROOT_INO))
    test.server.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${database}'`)
    await soon(50)
    assert.ok(await read(engine, node(ROOT_INO)))
    await write(engine, ...makeFile('ended').changes)
  })

  it('a commit that never arrived is sent again', async () => {
    const { ino, changes } = makeFile('before')
    const guards = await guard(engine, 'identity', dentry(ROOT_INO, 'before'))
    onNextRequest('cut')
    assert.equal((await engine.commit(guards, changes)).done, true)
    assert.equal((await read(engine, dentry(ROOT_INO, 'before')))?.ino, ino)
  })

  it('a commit whose reply was lost is done, once, with its results', async () => {
    const { ino, changes } = makeFile('after')
    const guards = await guard(engine, 'identity', dentry(ROOT_INO, 'after'))
    const counted = await read(engine, counter('totalInodes'))
    onNextRequest('drop')
    assert.equal((await engine.commit(guards, changes)).done, true)
    assert.equal((await read(engine, dentry(ROOT_INO, 'after')))?.ino, ino)
    assert.equal(await read(engine, counter('totalInodes')), counted + 1)
    for (const id of [1, 2]) {
      onNextRequest('drop')
      const outcome = await engine.commit(
        [],
        [
          { kind: 'newSlice', id, size: 100, refs: 1 },
          { kind: 'appendSlices', ino, index: 0, records: record(id) },
        ],
      )
      assert.deepEqual(outcome, { done: true, results: [undefined, id] })
    }
    assert.deepEqual(await read(engine, chunk(ino, 0)), Buffer.concat([record(1), record(2)]))
  })

  it('a commit that still waits for a lock when its connection breaks is ended, and done once by the next', async () => {
    const { ino, changes } = makeFile('waiting')
    await write(engine, ...changes)
    const other = await test.session(database)
    await other.query('BEGIN')
    await other.query('SELECT 1 FROM jfs_node WHERE inode = $1 FOR UPDATE', [ino])
    onNextRequest('drop')
    const committing = engine.commit(await guard(await test.open(database), 'identity', node(ino)), [
      { kind: 'appendSlices', ino, index: 0, records: record(7) },
      { kind: 'newSlice', id: 7, size: 100, refs: 1 },
      { kind: 'extendNode', ino, length: 100, mtime: { sec: 5, nsec: 0 }, ctime: { sec: 5, nsec: 0 } },
    ])
    await soon(300)
    const waiting = test.server.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    assert.equal(waiting, '1', 'the first was ended, the second waits')
    await other.query('COMMIT')
    assert.deepEqual(await committing, { done: true, results: [1, undefined, undefined] })
    assert.deepEqual(await read(engine, chunk(ino, 0)), record(7))
  })

  it('a move whose reply was lost is done; one that was overtaken is a conflict', async () => {
    const { ino, changes } = makeFile('from')
    await write(engine, ...changes)
    const guards = await guard(engine, 'exact', dentry(ROOT_INO, 'from'), dentry(ROOT_INO, 'to'))
    const attr = { ...file(), ctime: { sec: 77, nsec: 777_777_777 } }
    const move: Change[] = [
      { kind: 'delDentry', parent: ROOT_INO, name: 'from' },
      { kind: 'setDentry', parent: ROOT_INO, name: 'to', ino, type: 1 },
      { kind: 'putNode', ino, attr },
    ]
    onNextRequest('drop')
    assert.equal((await engine.commit(guards, move)).done, true)
    assert.equal((await read(engine, dentry(ROOT_INO, 'to')))?.ino, ino)
    onNextRequest('drop')
    const again = await engine.commit(guards, [{ kind: 'putXattr', ino, name: 'user.x', value: Buffer.from('1') }])
    assert.equal(again.done, false)
  })

  it('a removal whose reply was lost is known by what it left behind, or said to be unknown', async () => {
    const { ino, changes } = makeFile('gone')
    await write(engine, ...changes)
    const remove = async (...more: Change[]) => {
      const guards = await guard(engine, 'exact', dentry(ROOT_INO, 'gone'))
      onNextRequest('drop')
      return await engine.commit(guards, [
        { kind: 'delDentry', parent: ROOT_INO, name: 'gone' },
        { kind: 'delNode', ino },
        ...more,
      ])
    }
    assert.equal((await remove({ kind: 'deadFile', ino, length: 100, at: 1_795_245_003 })).done, true)
    assert.equal(await read(engine, dentry(ROOT_INO, 'gone')), null)
    await write(engine, ...changes)
    await assert.rejects(remove(), /unknown outcome/)
  })

  it('ids are reserved again when the reply was lost: a range is wasted, none given out twice', async () => {
    const first = await engine.allocate('nextInode', 10)
    onNextRequest('drop')
    const second = await engine.allocate('nextInode', 10)
    assert.ok(second >= first + 10)
    assert.ok((await engine.allocate('nextInode', 10)) >= second + 10)
  })

  it('what is summed is kept while the server is away', async () => {
    const counted = await read(engine, counter('usedSpace'))
    await write(engine, { kind: 'usage', space: 8192, inodes: 0 })
    onNextRequest('cut')
    await soon(1200)
    await test.server.down('fast')
    await write(engine, { kind: 'usage', space: 4096, inodes: 0 })
    await soon(1200)
    await test.server.up()
    const after = await read(engine, counter('usedSpace'))
    assert.ok(after - counted === 12288 || after - counted === 4096, 'only a flush that nobody knows of may be missing')
  })

  it('closing writes the sums, and nothing is taken afterwards', async () => {
    const { engine: own, database: name } = await test.volume()
    await write(own, { kind: 'usage', space: 4096, inodes: 1 })
    await own.close()
    assert.equal(test.server.sql("SELECT value FROM jfs_counter WHERE name = 'usedSpace'", name), '4096')
    await assert.rejects(read(own, node(NO_INO)), /closed/)
    assert.equal(
      test.server.sql(
        `SELECT count(*) FROM pg_stat_activity WHERE datname = '${name}' AND application_name = 'juicefs-ts'`,
      ),
      '0',
    )
  })
})
