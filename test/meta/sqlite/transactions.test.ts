/** Operations of one turn share a transaction: what they see of each other, and what happens when one of them, or all fail. */

import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { EEXIST, ENOENT } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { isPromise } from '../../../src/base/maybe.ts'
import { Driver } from '../../../src/meta/driver.ts'
import type { SqliteEngine } from '../../../src/meta/engine/sqlite/engine.ts'
import { type Change, counter, dentry, gather, node, type Operation } from '../../../src/meta/facts.ts'
import { directory, file, formatted, guard, inoOf, read, Volume, write } from './harness.ts'

describe('shared transactions of the SQLite engine', () => {
  let volume: Volume
  let engine: SqliteEngine
  beforeEach(async () => {
    volume = new Volume()
    engine = volume.open()
    await formatted(engine)
  })
  afterEach(() => volume.remove())

  const newFile = (n: number): Change[] => [
    { kind: 'setDentry', parent: ROOT_INO, name: `f${n}`, ino: inoOf(n), type: 1 },
    { kind: 'putNode', ino: inoOf(n), attr: file() },
    { kind: 'adjustDir', ino: ROOT_INO, nlink: 0, at: { sec: n, nsec: 0 } },
    { kind: 'usage', space: 4096, inodes: 1 },
    { kind: 'dirUsage', ino: ROOT_INO, length: 0, space: 4096, inodes: 1 },
  ]

  it('answers a look at once when nothing is being written', () => {
    assert.ok(!isPromise(engine.gather([node(ROOT_INO)], 'look')))
  })

  it('keeps the usage of its neighbours where an operation that had it written is refused', async () => {
    const neighbour = write(engine, ...newFile(2))
    const refused = engine.commit(
      [],
      [
        { kind: 'delDirUsage', ino: inoOf(9) },
        { kind: 'setDentry', parent: ROOT_INO, name: 'f2', ino: inoOf(3), type: 1 },
      ],
    )
    assert.deepEqual(await refused, { done: false })
    await neighbour
    assert.equal(await read(engine, counter('usedSpace')), 4096)
    assert.equal(await read(engine, counter('totalInodes')), 1)
  })

  it('lets a verdict without changes wait for the commit of what it may have seen', async () => {
    const driver = new Driver(engine, { random: Math.random, onEffect: () => undefined })
    const order: string[] = []
    const written = write(engine, ...newFile(2)).then(() => order.push('committed'))
    const refused = driver.run('change', function* (): Operation<undefined> {
      const [found] = yield* gather(dentry(ROOT_INO, 'f2'))
      return found ? EEXIST : ENOENT
    })
    assert.ok(isPromise(refused), 'the name it saw is not committed yet')
    assert.equal(await refused, EEXIST)
    order.push('refused')
    await written
    assert.deepEqual(order, ['committed', 'refused'])
    await engine.sync()
    assert.ok(
      !isPromise(
        driver.run('change', function* (): Operation<undefined> {
          yield* gather(dentry(ROOT_INO, 'nobody'))
          return ENOENT
        }),
      ),
      'with nobody else writing it is answered at once',
    )
  })

  it('shows nobody what is not committed', async () => {
    const written = write(engine, ...newFile(2))
    assert.deepEqual(volume.query('SELECT count(*) FROM jfs_edge'), [[0n]])
    const looked = engine.gather([dentry(ROOT_INO, 'f2')], 'look')
    assert.ok(isPromise(looked), 'a look must wait for the commit')
    assert.notEqual((await looked)[0], null)
    assert.deepEqual(volume.query('SELECT count(*) FROM jfs_edge'), [[1n]])
    assert.equal((await written).done, true)
  })

  it('lets a reader through although writers never pause', async () => {
    let stop = false
    const writer = (async () => {
      for (let n = 2; !stop && n < 10_000; n++) await write(engine, ...newFile(n))
    })()
    for (let i = 0; i < 5; i++) await read(engine, node(ROOT_INO))
    stop = true
    await writer
    const [[files]] = volume.query('SELECT count(*) FROM jfs_edge') as [[bigint]]
    assert.ok(files < 100n, `${files} writes went before five reads`)
  })

  it('sums usage over a transaction and is exact', async () => {
    await write(engine, { kind: 'newDirUsage', ino: ROOT_INO })
    await Promise.all([2, 3, 4].map(n => write(engine, ...newFile(n))))
    assert.deepEqual(volume.query('SELECT name, value FROM jfs_counter WHERE value > 3 ORDER BY name'), [
      ['usedSpace', 12288n],
    ])
    assert.deepEqual(volume.query('SELECT * FROM jfs_dir_stats'), [[1n, 0n, 12288n, 3n]])
    const [first] = await Promise.all([write(engine, ...newFile(5)), guard(engine, 'exact', counter('totalInodes'))])
    assert.equal(first.done, true)
    assert.equal(await read(engine, counter('totalInodes')), 4)
  })

  it('reads sums that its own transaction has not written yet', async () => {
    await write(engine, { kind: 'newDirUsage', ino: ROOT_INO })
    const written = write(engine, ...newFile(2))
    const [space, usage] = (await engine.gather(
      [counter('usedSpace'), { kind: 'dirUsage', ino: ROOT_INO }],
      'change',
    )) as [number, { inodes: number }]
    assert.deepEqual([space, usage.inodes], [4096, 1])
    await written
    assert.equal(await read(engine, counter('usedSpace')), 4096)
  })

  it('puts a recount in place of what was added before it, and adds what comes after', async () => {
    await write(engine, { kind: 'newDirUsage', ino: ROOT_INO })
    await Promise.all([
      write(engine, ...newFile(2)),
      write(engine, { kind: 'putDirUsage', ino: ROOT_INO, usage: { length: 7, space: 8192, inodes: 2 } }),
      write(engine, ...newFile(3)),
    ])
    assert.deepEqual(volume.query('SELECT * FROM jfs_dir_stats'), [[1n, 7n, 12288n, 3n]])
  })

  it('refuses an insert whose name is taken, and keeps nothing of that operation alone', async () => {
    const [first, second, third] = await Promise.all([
      write(engine, ...newFile(2)),
      engine.commit(
        [],
        [
          { kind: 'putNode', ino: inoOf(99), attr: file() },
          { kind: 'usage', space: 1, inodes: 1 },
          { kind: 'setDentry', parent: ROOT_INO, name: 'f2', ino: inoOf(99), type: 1 },
        ],
      ),
      write(engine, ...newFile(3)),
    ])
    assert.deepEqual([first.done, second.done, third.done], [true, false, true])
    assert.deepEqual(volume.query('SELECT inode FROM jfs_node ORDER BY 1'), [[1n], [2n], [3n]])
    assert.equal(await read(engine, counter('usedSpace')), 8192)
  })

  it('never overwrites a node or a name that the operation has not seen', async () => {
    await write(engine, ...newFile(2))
    const again = await engine.commit([], [{ kind: 'putNode', ino: inoOf(2), attr: file({ uid: 7 }) }])
    assert.equal(again.done, false)
    const seen = await guard(engine, 'exact', node(inoOf(2)), dentry(ROOT_INO, 'f2'))
    const replaced = await engine.commit(seen, [
      { kind: 'putNode', ino: inoOf(2), attr: file({ uid: 7 }) },
      { kind: 'setDentry', parent: ROOT_INO, name: 'f2', ino: inoOf(2), type: 2 },
    ])
    assert.equal(replaced.done, true)
    assert.deepEqual(volume.query('SELECT uid FROM jfs_node WHERE inode = 2'), [[7n]])
    assert.deepEqual(volume.query('SELECT id, type FROM jfs_edge'), [[1n, 2n]])
  })

  it('refuses changes to a directory or file that is gone', async () => {
    const gone = inoOf(77)
    const time = { sec: 1, nsec: 0 }
    const changes: Change[] = [
      { kind: 'adjustDir', ino: gone, nlink: 1, at: null },
      { kind: 'adjustDir', ino: gone, nlink: 0, at: time },
      { kind: 'extendNode', ino: gone, length: 1, mtime: time, ctime: time },
      { kind: 'replaceSlices', ino: gone, index: 0, prefix: Buffer.alloc(24), records: Buffer.alloc(0) },
    ]
    for (const change of changes) {
      const xattr = { kind: 'putXattr', ino: gone, name: 'user.a', value: Buffer.alloc(1) } as const
      const outcome = await engine.commit([], [xattr, change])
      assert.equal(outcome.done, false, change.kind)
    }
    assert.deepEqual(volume.query('SELECT * FROM jfs_xattr'), [])
  })

  it('compares facts that a neighbour in the same transaction has changed', async () => {
    const mine = await guard(engine, 'exact', node(ROOT_INO), dentry(ROOT_INO, 'f2'))
    const theirs = write(engine, ...newFile(2))
    const outcome = await engine.commit(mine, [{ kind: 'adjustDir', ino: ROOT_INO, nlink: 1, at: null }])
    assert.equal(outcome.done, false)
    await theirs
  })

  it('compares facts of a transaction that has ended with what another process wrote since', async () => {
    const guards = await guard(engine, 'exact', node(ROOT_INO))
    await new Promise(resolve => setTimeout(resolve, 5))
    const still = await engine.commit(guards, [{ kind: 'adjustDir', ino: ROOT_INO, nlink: 0, at: null }])
    assert.equal(still.done, true)
    volume.exec('UPDATE jfs_node SET mode = 0 WHERE inode = 1')
    const changed = await engine.commit(guards, [{ kind: 'adjustDir', ino: ROOT_INO, nlink: 0, at: null }])
    assert.equal(changed.done, false)
  })

  it('notices commits of others, and not its own', async () => {
    engine.changedByOthers()
    await write(engine, ...newFile(2))
    assert.equal(engine.changedByOthers(), false)
    volume.exec('UPDATE jfs_node SET mode = 0 WHERE inode = 1')
    assert.equal(engine.changedByOthers(), true)
    assert.equal(engine.changedByOthers(), false)
  })

  it('pages through a directory while its entries change', async () => {
    for (let n = 10; n < 60; n++) await write(engine, ...newFile(n))
    const first = await engine.scan('entries', { parent: ROOT_INO, attrs: true }, null, 20)
    assert.equal(first.rows.length, 20)
    await write(engine, { kind: 'delDentry', parent: ROOT_INO, name: first.rows[19]!.name })
    await write(engine, { kind: 'delNode', ino: inoOf(35) })
    const rest = await engine.scan('entries', { parent: ROOT_INO, attrs: true }, first.next, 1000)
    assert.equal(rest.next, null)
    assert.deepEqual(
      rest.rows.map(row => row.name),
      Array.from({ length: 30 }, (_, i) => `f${30 + i}`),
    )
    assert.equal(rest.rows.find(row => row.ino === 35)?.attr, null)
  })

  it('commits what is open when it closes, and takes nothing afterwards', async () => {
    const written = write(engine, { kind: 'putNode', ino: inoOf(5), attr: directory() })
    await engine.close()
    assert.equal((await written).done, true)
    assert.deepEqual(volume.query('SELECT inode FROM jfs_node WHERE inode = 5'), [[5n]])
    assert.throws(() => engine.gather([node(ROOT_INO)], 'look'), Fault)
  })
})
