/** Two clients whose statements interleave: another session holds a lock, or is in the middle of its transaction, while ours
 *  commits. The other one is a reference client too: it locks and updates what the format says, in REPEATABLE READ transactions. */

import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import type { Connection } from 'mysql2/promise'
import { EEXIST, EIO, ENOENT, ENOTEMPTY, isErrno } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { type Ino, NO_INO, ROOT_INO } from '../../../src/base/ino.ts'
import { checkVolume } from '../../../src/meta/check.ts'
import { Driver } from '../../../src/meta/driver.ts'
import { MysqlConnection } from '../../../src/meta/engine/mysql/connection.ts'
import type { MysqlEngine } from '../../../src/meta/engine/mysql/engine.ts'
import { parseMysqlUrl } from '../../../src/meta/engine/mysql/url.ts'
import { dentry, node, type Operation } from '../../../src/meta/facts.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import type { Volume } from '../../../src/meta/model/volume.ts'
import { elect } from '../../../src/meta/ops/counters.ts'
import { dropChunk } from '../../../src/meta/ops/dead-file.ts'
import { flock } from '../../../src/meta/ops/flock.ts'
import { link } from '../../../src/meta/ops/link.ts'
import { make } from '../../../src/meta/ops/make.ts'
import { rename } from '../../../src/meta/ops/rename.ts'
import { rmdir } from '../../../src/meta/ops/rmdir.ts'
import { unlink } from '../../../src/meta/ops/unlink.ts'
import { writeSlice } from '../../../src/meta/ops/write-slice.ts'
import { setXattr } from '../../../src/meta/ops/xattr.ts'
import { PASSWORD } from '../../servers/mariadb.ts'
import { guard, inoOf, mariadbSkip, read, TestServer, write } from './harness.ts'

const now = { sec: 1_795_245_442, nsec: 123_456_789 }
const caller: Caller = { uid: 0, gid: 0, gids: [0], now, check: true }
/** `skipDirMtimeNs`: directories' times are never due, as with --skip-dir-mtime */
const volume: Volume = {
  readOnly: false,
  acl: false,
  dirStats: true,
  skipDirMtimeNs: 1e18,
  limits: { hasDirQuotas: false, userGroup: false, isQuotaDir: () => false, refuses: () => undefined },
}
const forReal = { trash: NO_INO, isOpen: () => false, sid: 1 }
const newNode = (type: number) => ({ type, mode: 0o755, umask: 0, rdev: 0, target: 'x' })

class TestClient {
  readonly engine: MysqlEngine
  readonly #driver: Driver
  conflicts = 0

  constructor(engine: MysqlEngine) {
    this.engine = engine
    this.#driver = new Driver(engine, {
      random: Math.random,
      onEffect: () => undefined,
      onConflict: () => this.conflicts++,
    })
  }

  run<T>(operation: () => Operation<T>) {
    return Promise.resolve(this.#driver.run('change', operation))
  }

  async make(parent: Ino, name: string, type: number) {
    const ino = inoOf(await this.engine.allocate('nextInode', 1))
    return await this.run(() => make(volume, caller, parent, name, ino, newNode(type), { orExisting: false }))
  }

  async made(parent: Ino, name: string, type: number): Promise<Ino> {
    const entry = await this.make(parent, name, type)
    assert.ok(!isErrno(entry), `errno ${String(entry)}`)
    return entry.ino
  }

  rmdir = (parent: Ino, name: string) => this.run(() => rmdir(volume, caller, parent, name, forReal))
  unlink = (parent: Ino, name: string) => this.run(() => unlink(volume, caller, parent, name, forReal))
  rename = (from: Ino, name: string, to: Ino, newName: string) =>
    this.run(() => rename(volume, caller, { parent: from, name }, { parent: to, name: newName }, 0, forReal))
}

const soon = (ms = 60): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

describe('conflicts on MySQL', { skip: mariadbSkip }, () => {
  const test = new TestServer()
  let database: string
  let one: TestClient
  let two: TestClient
  /** statements one by one, as the test says */
  let other: Connection
  let count = 0

  before(async () => {
    const made = await test.volume()
    database = made.database
    one = new TestClient(made.engine)
    two = new TestClient(await test.open(database))
    const { default: mysql } = await import('mysql2/promise')
    other = await mysql.createConnection({
      host: '127.0.0.1',
      port: test.server.port,
      user: 'juicefs',
      password: PASSWORD,
      database,
    })
    await write(
      made.engine,
      { kind: 'newDirUsage', ino: ROOT_INO },
      { kind: 'putSession', sid: 1, expire: 2 ** 31, info: Buffer.from('{}') },
    )
  })
  after(() => other?.end())
  beforeEach(() => {
    count++
  })

  /** Do all records agree, once both clients have written their sums? */
  async function assertSound(): Promise<void> {
    for (const { engine } of [one, two]) await read(engine, { kind: 'counter', name: 'usedSpace' })
    assert.deepEqual(await checkVolume(one.engine), [])
  }
  const directory = (): Promise<Ino> => one.made(ROOT_INO, `d${count}`, 2)

  /** Runs `both` while another session holds the row of `ino`, so that both wait for it at once. */
  async function held<T>(ino: Ino, both: () => Promise<T>): Promise<T> {
    await other.query('BEGIN')
    await other.query('SELECT 1 FROM jfs_node WHERE inode = ? FOR UPDATE', [ino])
    const result = both()
    await soon()
    await other.query('COMMIT')
    return await result
  }

  it('a directory is not removed under an entry that is being made, whoever comes first to the lock', async () => {
    for (const order of [0, 1]) {
      const name = `d${count}_${order}`
      const dir = await one.made(ROOT_INO, name, 2)
      const [removed, made] = await held(dir, async () => {
        const works = [() => one.rmdir(ROOT_INO, name), () => two.make(dir, 'f', 1)] as const
        if (order === 0) {
          const removing = works[0]()
          await soon(20)
          return await Promise.all([removing, works[1]()])
        }
        const making = works[1]()
        await soon(20)
        return await Promise.all([works[0](), making])
      })
      assert.notEqual(isErrno(removed), isErrno(made), 'exactly one succeeds')
      if (isErrno(removed)) assert.equal(removed, ENOTEMPTY)
      if (isErrno(made)) assert.equal(made, ENOENT)
    }
  })

  it('a removal that waits for a lock sees the entry that was made meanwhile', async () => {
    const dir = await directory()
    await other.query('BEGIN')
    await other.query('SELECT 1 FROM jfs_node WHERE inode = ? LOCK IN SHARE MODE', [dir])
    const removing = one.rmdir(ROOT_INO, `d${count}`)
    await soon()
    // as a create of another client that has locked the directory, and not touched its times
    const ino = await two.engine.allocate('nextInode', 1)
    await other.query('INSERT INTO jfs_edge (parent, name, inode, type) VALUES (?, ?, ?, 1)', [
      dir,
      Buffer.from('f'),
      ino,
    ])
    await other.query(
      `INSERT INTO jfs_node (inode, type, flags, mode, uid, gid, atime, mtime, ctime, nlink, length, rdev, parent)
        VALUES (?, 1, 0, 420, 0, 0, 1, 1, 1, 1, 0, 0, ?)`,
      [ino, dir],
    )
    await other.query("UPDATE jfs_counter SET value = value + 1 WHERE name = 'totalInodes'")
    await other.query("UPDATE jfs_counter SET value = value + 4096 WHERE name = 'usedSpace'")
    await other.query('UPDATE jfs_dir_stats SET used_space = 4096, used_inodes = 1 WHERE inode = ?', [dir])
    await other.query('COMMIT')
    assert.equal(await removing, ENOTEMPTY)
  })

  it('no entry is made in a directory that another client is just removing', async () => {
    const dir = await directory()
    await other.query('BEGIN')
    await other.query('SELECT 1 FROM jfs_node WHERE inode = ? FOR UPDATE', [dir])
    await other.query('DELETE FROM jfs_edge WHERE inode = ?', [dir])
    await other.query('DELETE FROM jfs_dir_stats WHERE inode = ?', [dir])
    await other.query('DELETE FROM jfs_node WHERE inode = ?', [dir])
    await other.query('UPDATE jfs_node SET nlink = nlink - 1 WHERE inode = 1')
    await other.query("UPDATE jfs_counter SET value = value - 1 WHERE name = 'totalInodes'")
    await other.query("UPDATE jfs_counter SET value = value - 4096 WHERE name = 'usedSpace'")
    await other.query(
      'UPDATE jfs_dir_stats SET used_space = used_space - 4096, used_inodes = used_inodes - 1 WHERE inode = 1',
    )
    const making = one.make(dir, 'f', 1)
    await soon()
    await other.query('COMMIT')
    assert.equal(await making, ENOENT)
    assert.equal(await read(one.engine, dentry(dir, 'f')), null)
  })

  it('an entry that another client takes away in its transaction is not removed a second time', async () => {
    const dir = await directory()
    const ino = await one.made(dir, 'f', 1)
    await other.query('BEGIN')
    await other.query('DELETE FROM jfs_edge WHERE parent = ? AND name = ?', [dir, Buffer.from('f')])
    const removing = two.unlink(dir, 'f')
    await soon()
    await other.query('INSERT INTO jfs_edge (parent, name, inode, type) VALUES (?, ?, ?, 1)', [
      dir,
      Buffer.from('g'),
      ino,
    ])
    await other.query('COMMIT')
    assert.equal(await removing, ENOENT)
    assert.equal((await read(one.engine, dentry(dir, 'g')))?.ino, ino)
    assert.notEqual(await read(one.engine, node(ino)), null)
  })

  it('a file that gets a second name while its first is removed keeps the second', async () => {
    const dir = await directory()
    const ino = await one.made(dir, 'a', 1)
    const [removed, linked] = await held(ino, () =>
      Promise.all([one.unlink(dir, 'a'), two.run(() => link(volume, caller, ino, dir, 'b', { sid: 1 }))]),
    )
    const attr = await read(one.engine, node(ino))
    assert.equal(isErrno(removed), false)
    if (isErrno(linked)) assert.equal(attr, null, 'the removal came first')
    else assert.deepEqual([attr?.nlink, (await read(one.engine, dentry(dir, 'b')))?.ino], [1, ino])
  })

  it('of two moves of one name one succeeds', async () => {
    const dir = await directory()
    const ino = await one.made(dir, 'a', 1)
    const results = await held(ino, () => Promise.all([one.rename(dir, 'a', dir, 'b'), two.rename(dir, 'a', dir, 'c')]))
    assert.deepEqual(results.map(result => (isErrno(result) ? result : 0)).sort(), [0, ENOENT])
    const names = await Promise.all(['a', 'b', 'c'].map(name => read(one.engine, dentry(dir, name))))
    assert.equal(names.filter(Boolean).length, 1)
  })

  it('two directories that are moved into each other at once do not leave the tree', async () => {
    const dir = await directory()
    const [a, b] = [await one.made(dir, 'a', 2), await one.made(dir, 'b', 2)]
    const results = await held(a, () => Promise.all([one.rename(dir, 'a', b, 'a'), two.rename(dir, 'b', a, 'b')]))
    assert.equal(results.filter(result => isErrno(result)).length, 1)
  })

  it('moves across each other over existing names keep every node with a name', async () => {
    const dir = await directory()
    const target = await one.made(dir, 'sub', 2)
    for (let round = 0; round < 10; round++) {
      await one.make(dir, 'x', 1)
      await one.make(target, 'y', 1)
      await Promise.all([
        one.rename(dir, 'x', target, 'y'),
        two.rename(target, 'y', dir, 'x'),
        one.rename(target, 'y', dir, 'z'),
      ])
      for (const [parent, name] of [
        [dir, 'x'],
        [dir, 'z'],
        [target, 'y'],
      ] as const) {
        await one.unlink(parent, name)
      }
    }
    await assertSound()
  })

  it('a name that another client is just making is told to exist, once that is sure', async () => {
    const dir = await directory()
    for (const end of ['COMMIT', 'ROLLBACK']) {
      const name = `f${end}`
      await other.query('BEGIN')
      await other.query('INSERT INTO jfs_edge (parent, name, inode, type) VALUES (?, ?, 999999, 1)', [
        dir,
        Buffer.from(name),
      ])
      const making = one.make(dir, name, 1)
      await soon()
      await other.query(end)
      if (end === 'COMMIT') assert.equal(await making, EEXIST)
      else assert.equal(isErrno(await making), false)
    }
    await other.query('DELETE FROM jfs_edge WHERE inode = 999999')
  })

  it('an exclusive lock is given to one of two that ask at once', async () => {
    const ino = await one.made(ROOT_INO, `f${count}`, 1)
    const results = await held(ino, () =>
      Promise.all([
        one.run(() => flock(ino, 1, '00000000000000aa', 'W')),
        two.run(() => flock(ino, 1, '00000000000000bb', 'W')),
      ]),
    )
    assert.equal(results.filter(result => result === undefined).length, 1)
    assert.equal((await read(one.engine, { kind: 'flocks', ino })).length, 1)
    await write(one.engine, { kind: 'putFlock', ino, sid: 1, owner: '00000000000000aa', type: null })
    await write(one.engine, { kind: 'putFlock', ino, sid: 1, owner: '00000000000000bb', type: null })
  })

  it('an attribute that must be new is made by one of two', async () => {
    const ino = await one.made(ROOT_INO, `f${count}`, 1)
    const set = (client: TestClient) => client.run(() => setXattr(volume, ino, 'user.a', Buffer.from('1'), 1))
    const results = await held(ino, () => Promise.all([set(one), set(two)]))
    assert.deepEqual(results.map(result => (isErrno(result) ? result : 0)).sort(), [0, EEXIST])
  })

  it('one of many is elected, also the first time', async () => {
    for (let second = 1; second <= 3; second++) {
      const elected = await Promise.all(
        Array.from({ length: 8 }, (_, i) =>
          (i % 2 ? one : two).run(() => elect('lastCleanupTrash', second * 1000, 900)),
        ),
      )
      assert.equal(elected.filter(result => !isErrno(result) && result.elected).length, 1)
    }
  })

  it('the references of a removed chunk are dropped once, however many clean up after it', async () => {
    const ino = inoOf(500_000)
    const records = Buffer.from('000000000000000000077777000010000000000000001000', 'hex')
    const slice = { id: 0x77777, size: 4096 }
    await write(one.engine, { kind: 'appendSlices', ino, index: 0, records }, { kind: 'newSlice', ...slice, refs: 3 })
    await Promise.all(Array.from({ length: 6 }, (_, i) => (i % 2 ? one : two).run(() => dropChunk(ino, 0))))
    assert.equal(await read(one.engine, { kind: 'sliceRefs', ...slice }), 2)
    await write(one.engine, { kind: 'delSliceRefs', ...slice })
  })

  it('a guard breaks on what another client has just committed, and on nothing it only locked', async () => {
    const ino = await one.made(ROOT_INO, `f${count}`, 1)
    const guards = await guard(one.engine, 'exact', node(ino))
    const mark = { kind: 'putXattr', ino, name: 'user.mark', value: Buffer.from('x') } as const
    const after = await held(ino, () => one.engine.commit(guards, [mark]))
    assert.equal(after.done, true)
    await other.query('BEGIN')
    await other.query('UPDATE jfs_node SET mtimensec = (mtimensec + 1) % 1000 WHERE inode = ?', [ino])
    const committing = one.engine.commit(guards, [mark])
    await soon()
    await other.query('COMMIT')
    assert.equal((await committing).done, false)
  })

  it('writers of one file wait for each other and lose nothing', async () => {
    const ino = await one.made(ROOT_INO, `f${count}`, 1)
    const records = await held(ino, () =>
      Promise.all(
        Array.from({ length: 12 }, async (_, i) => {
          const client = i % 2 ? one : two
          const id = await client.engine.allocate('nextChunk', 1)
          return await client.run(() =>
            writeSlice(volume, now, ino, 0, i * 100, { id, size: 100, off: 0, len: 100 }, now),
          )
        }),
      ),
    )
    const counts = records.map(result => (isErrno(result) ? 0 : result.records)).sort((a, b) => a - b)
    assert.deepEqual(
      counts,
      Array.from({ length: 12 }, (_, i) => i + 1),
    )
    assert.equal((await read(one.engine, node(ino)))?.length, 1200)
  })

  it('sixteen clients in one directory make, move and remove, and all records agree', async () => {
    const dir = await directory()
    const sub = await one.made(dir, 'sub', 2)
    const engines = await Promise.all(Array.from({ length: 16 }, () => test.open(database)))
    const clients = engines.map(engine => new TestClient(engine))
    await Promise.all(
      clients.map(async (client, c) => {
        for (let i = 0; i < 12; i++) {
          const name = `c${c}_${i}`
          await client.make(dir, name, 1 + (i % 3))
          await client.make(dir, `shared${i}`, 1)
          await client.rename(dir, name, sub, name)
          await client.rename(dir, `shared${(i + c) % 12}`, sub, `shared${i}`)
          if (i % 3 !== 1) await client.unlink(sub, name)
          else await client.rmdir(sub, name)
        }
      }),
    )
    assert.ok(engines.every(engine => engine.counts.lost === 0))
    await Promise.all(engines.map(engine => engine.close()))
    await assertSound()
  })

  it('a commit that the server undoes because of a deadlock is made again', async () => {
    const [a, b] = [await one.made(ROOT_INO, `a${count}`, 2), await one.made(ROOT_INO, `b${count}`, 2)]
    await one.made(a, 'f', 1)
    const undone = (): number => one.engine.counts.retries.get('deadlock') ?? 0
    const before = undone()
    await other.query('BEGIN')
    await other.query('UPDATE jfs_node SET atimensec = (atimensec + 1) % 1000 WHERE inode = ?', [b])
    await other.query('INSERT INTO jfs_sustained (sid, inode) VALUES (77, 1), (77, 2)') // who has done less is undone
    const moving = one.rename(a, 'f', b, 'f') // has a, waits for b
    await soon()
    await other.query('UPDATE jfs_node SET atimensec = (atimensec + 1) % 1000 WHERE inode = ?', [a])
    await other.query('DELETE FROM jfs_sustained WHERE sid = 77')
    await other.query('COMMIT')
    assert.equal(isErrno(await moving), false)
    assert.equal(undone(), before + 1)
    assert.notEqual(await read(one.engine, dentry(b, 'f')), null)
  })

  it('a lock that somebody holds for too long fails the commit with EIO, and nothing of it is done', async () => {
    const ino = await one.made(ROOT_INO, `f${count}`, 1)
    const impatient = await test.open(database, { patienceMs: 1500 })
    const mark = { kind: 'putXattr', ino, name: 'user.mark', value: Buffer.from('x') } as const
    const guards = await guard(impatient, 'exact', node(ino))
    await other.query('BEGIN')
    await other.query('SELECT 1 FROM jfs_node WHERE inode = ? FOR UPDATE', [ino])
    await assert.rejects(
      impatient.commit(guards, [mark]),
      (error: unknown) => error instanceof Fault && error.errno === EIO && /change metadata/.test(error.message),
    )
    await other.query('COMMIT')
    assert.equal(await read(impatient, { kind: 'xattr', ino, name: 'user.mark' }), null)
    assert.equal((await impatient.commit(guards, [mark])).done, true)
  })

  it('a session is READ COMMITTED and strict, whatever the server starts with', async () => {
    assert.equal(test.server.sql('SELECT @@global.tx_isolation'), 'REPEATABLE-READ')
    const session = await MysqlConnection.open(parseMysqlUrl(test.server.url(database), {}), 5000)
    const [answer] = await session.fly([{ text: 'SELECT @@tx_isolation, @@sql_mode', values: [] }], 'alone')
    await session.close()
    assert.deepEqual(answer!.rows, [['READ-COMMITTED', 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION']])
  })
})
