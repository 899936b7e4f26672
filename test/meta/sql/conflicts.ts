/** Two clients whose statements interleave: another session holds a lock, or is in the middle of its transaction, while ours
 *  commits. The other one is a reference client too: it locks and updates what the format says. */

import assert from 'node:assert/strict'
import { before, beforeEach, it } from 'node:test'
import { EEXIST, ENOENT, ENOTEMPTY, isErrno } from '../../../src/base/errno.ts'
import { type Ino, NO_INO, ROOT_INO } from '../../../src/base/ino.ts'
import { checkVolume } from '../../../src/meta/check.ts'
import { Driver } from '../../../src/meta/driver.ts'
import type { Engine } from '../../../src/meta/engine.ts'
import { dentry, node, type Operation } from '../../../src/meta/facts.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
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
import { guard, inoOf, read, volumeWith, write } from '../../conformance/engine/harness.ts'

const now = { sec: 1_795_245_442, nsec: 123_456_789 }
const caller: Caller = { uid: 0, gid: 0, gids: [0], now, check: true }
/** Directories' times are never due, as with --skip-dir-mtime. */
const volume = volumeWith({ skipDirMtimeNs: 1e18 })
const forReal = { trash: NO_INO, isOpen: () => false, sid: 1 }
const newNode = (type: number) => ({ type, mode: 0o755, umask: 0, rdev: 0, target: 'x' })

export class TestClient<E extends Engine> {
  readonly engine: E
  readonly #driver: Driver
  conflicts = 0

  constructor(engine: E) {
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

/** Long enough for a commit to come to a lock. */
export const soon = (ms = 60): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

export interface ConflictParts<E extends Engine> {
  readonly test: {
    volume(): Promise<{ engine: E; database: string }>
    open(database: string): Promise<E>
  }
  /** another program's connection: `$1`, `$2`, … once each and in this order */
  readonly connect: (database: string) => Promise<(sql: string, values?: unknown[]) => Promise<unknown>>
  /** how a row is locked against changes only */
  readonly share: 'FOR SHARE' | 'LOCK IN SHARE MODE'
  /** of engines that share a directory, when they have: what may have been tried again */
  readonly assertCounts: (engines: readonly E[]) => void
}

/** What the tests of one kind of server go on with. */
export interface Conflicts<E extends Engine> {
  readonly database: string
  readonly one: TestClient<E>
  readonly other: (sql: string, values?: unknown[]) => Promise<unknown>
  /** counts up from test to test: for names */
  readonly count: number
}

/** The suite, inside a `describe` that has a server of its own. */
export function conflictTests<E extends Engine>({
  test,
  connect,
  share,
  assertCounts,
}: ConflictParts<E>): Conflicts<E> {
  let database: string
  let one: TestClient<E>
  let two: TestClient<E>
  /** statements one by one, as the test says */
  let other: Conflicts<E>['other']
  let count = 0

  before(async () => {
    const made = await test.volume()
    database = made.database
    one = new TestClient(made.engine)
    two = new TestClient(await test.open(database))
    other = await connect(database)
    await write(
      made.engine,
      { kind: 'newDirUsage', ino: ROOT_INO },
      { kind: 'putSession', sid: 1, expire: 2 ** 31, info: Buffer.from('{}') },
    )
  })
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
    await other('BEGIN')
    await other('SELECT 1 FROM jfs_node WHERE inode = $1 FOR UPDATE', [ino])
    const result = both()
    await soon()
    await other('COMMIT')
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
    await other('BEGIN')
    await other(`SELECT 1 FROM jfs_node WHERE inode = $1 ${share}`, [dir])
    const removing = one.rmdir(ROOT_INO, `d${count}`)
    await soon()
    // as a create of another client that has locked the directory, and not touched its times
    const ino = await two.engine.allocate('nextInode', 1)
    await other('INSERT INTO jfs_edge (parent, name, inode, type) VALUES ($1, $2, $3, 1)', [dir, Buffer.from('f'), ino])
    await other(
      `INSERT INTO jfs_node (inode, type, flags, mode, uid, gid, atime, mtime, ctime, nlink, length, rdev, parent)
        VALUES ($1, 1, 0, 420, 0, 0, 1, 1, 1, 1, 0, 0, $2)`,
      [ino, dir],
    )
    await other("UPDATE jfs_counter SET value = value + 1 WHERE name = 'totalInodes'")
    await other("UPDATE jfs_counter SET value = value + 4096 WHERE name = 'usedSpace'")
    await other('UPDATE jfs_dir_stats SET used_space = 4096, used_inodes = 1 WHERE inode = $1', [dir])
    await other('COMMIT')
    assert.equal(await removing, ENOTEMPTY)
  })

  it('no entry is made in a directory that another client is just removing', async () => {
    const dir = await directory()
    await other('BEGIN')
    await other('SELECT 1 FROM jfs_node WHERE inode = $1 FOR UPDATE', [dir])
    await other('DELETE FROM jfs_edge WHERE inode = $1', [dir])
    await other('DELETE FROM jfs_dir_stats WHERE inode = $1', [dir])
    await other('DELETE FROM jfs_node WHERE inode = $1', [dir])
    await other('UPDATE jfs_node SET nlink = nlink - 1 WHERE inode = 1')
    await other("UPDATE jfs_counter SET value = value - 1 WHERE name = 'totalInodes'")
    await other("UPDATE jfs_counter SET value = value - 4096 WHERE name = 'usedSpace'")
    await other(
      'UPDATE jfs_dir_stats SET used_space = used_space - 4096, used_inodes = used_inodes - 1 WHERE inode = 1',
    )
    const making = one.make(dir, 'f', 1)
    await soon()
    await other('COMMIT')
    assert.equal(await making, ENOENT)
    assert.equal(await read(one.engine, dentry(dir, 'f')), null)
  })

  it('an entry that another client takes away in its transaction is not removed a second time', async () => {
    const dir = await directory()
    const ino = await one.made(dir, 'f', 1)
    await other('BEGIN')
    await other('DELETE FROM jfs_edge WHERE parent = $1 AND name = $2', [dir, Buffer.from('f')])
    const removing = two.unlink(dir, 'f')
    await soon()
    await other('INSERT INTO jfs_edge (parent, name, inode, type) VALUES ($1, $2, $3, 1)', [dir, Buffer.from('g'), ino])
    await other('COMMIT')
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
      await other('BEGIN')
      await other('INSERT INTO jfs_edge (parent, name, inode, type) VALUES ($1, $2, 999999, 1)', [
        dir,
        Buffer.from(name),
      ])
      const making = one.make(dir, name, 1)
      await soon()
      await other(end)
      if (end === 'COMMIT') assert.equal(await making, EEXIST)
      else assert.equal(isErrno(await making), false)
    }
    await other('DELETE FROM jfs_edge WHERE inode = 999999')
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
    const set = (client: TestClient<E>) => client.run(() => setXattr(volume, ino, 'user.a', Buffer.from('1'), 1))
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
    const after = await held(ino, async () => one.engine.commit(guards, [mark]))
    assert.equal(after.done, true)
    await other('BEGIN')
    await other('UPDATE jfs_node SET mtimensec = (mtimensec + 1) % 1000 WHERE inode = $1', [ino])
    const committing = one.engine.commit(guards, [mark])
    await soon()
    await other('COMMIT')
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
    assertCounts(engines)
    await Promise.all(engines.map(engine => engine.close()))
    await assertSound()
  })

  return {
    get database() {
      return database
    },
    get one() {
      return one
    },
    get other() {
      return other
    },
    get count() {
      return count
    },
  }
}
