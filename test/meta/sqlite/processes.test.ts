/** Several processes on one database file: nothing is lost, a killed one leaves it whole, a lock only delays. */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, beforeEach, describe, it } from 'node:test'
import Database from 'better-sqlite3'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { isPromise } from '../../../src/base/maybe.ts'
import { node } from '../../../src/meta/facts.ts'
import { formatted, inoOf, read, Volume, write } from './harness.ts'

const script = new URL('./writer.ts', import.meta.url).pathname

describe('several processes on one SQLite database', () => {
  let volume: Volume
  const children: ChildProcess[] = []
  beforeEach(async () => {
    volume = new Volume()
    const engine = volume.open()
    await formatted(engine)
    await engine.close()
  })
  afterEach(async () => {
    for (const child of children.splice(0)) if (child.exitCode === null) child.kill('SIGKILL')
    await volume.remove()
  })

  /** Starts a writer; `names` grows with every file whose creation it was told. */
  function startWriter(first: number, count: number, prefix: string): { child: ChildProcess; names: string[] } {
    const names: string[] = []
    const child = spawn(process.execPath, [script, volume.url, `${first}`, `${count}`, prefix], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    let rest = ''
    child.stdout!.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop()!
      names.push(...lines)
    })
    return { child, names }
  }

  /** What holds whenever nothing is running: every name has its node, and all counts agree. */
  function assertWhole(): number {
    assert.deepEqual(volume.query('PRAGMA integrity_check'), [['ok']])
    const [[names, nodes, links, usedSpace, totalInodes]] = volume.query(
      `SELECT (SELECT count(*) FROM jfs_edge), (SELECT count(*) FROM jfs_node) - 1,
        (SELECT nlink FROM jfs_node WHERE inode = 1) - 2,
        (SELECT value FROM jfs_counter WHERE name = 'usedSpace'),
        (SELECT value FROM jfs_counter WHERE name = 'totalInodes')`,
    ) as [[bigint, bigint, bigint, bigint, bigint]]
    assert.deepEqual([nodes, links, totalInodes, usedSpace / 4096n], [names, names, names, names])
    return Number(names)
  }

  it('lose none of their changes', async () => {
    const writers = [startWriter(1000, 300, 'a'), startWriter(2000, 300, 'b')]
    const codes = await Promise.all(writers.map(async ({ child }) => (await once(child, 'close'))[0]))
    assert.deepEqual(codes, [0, 0])
    assert.equal(assertWhole(), 600)
  })

  it('find a whole database after one was killed, with everything that it had been told was done', async () => {
    const { child, names } = startWriter(1000, 100_000, 'k')
    while (names.length < 200) await new Promise(resolve => setTimeout(resolve, 5))
    child.kill('SIGKILL')
    await once(child, 'close')
    const engine = volume.open()
    assert.equal((await read(engine, node(ROOT_INO)))?.type, 2)
    const stored = new Set(volume.query('SELECT CAST(name AS TEXT) FROM jfs_edge').flat())
    for (const name of names) assert.ok(stored.has(name), name)
    assertWhole()
  })

  it('wait for a lock that another one holds, without stopping the event loop', async () => {
    const engine = volume.open()
    const other = new Database(volume.path)
    other.exec('BEGIN IMMEDIATE')
    let ticks = 0
    const ticking = setInterval(() => ticks++, 10)
    const start = performance.now()
    setTimeout(() => other.exec('COMMIT'), 300)
    const gathered = engine.gather([node(ROOT_INO)], 'change')
    assert.ok(isPromise(gathered))
    const looked = engine.gather([node(ROOT_INO)], 'look')
    assert.ok(!isPromise(looked), 'WAL lets readers through')
    await Promise.all(
      [2, 3, 4].map(n => write(engine, { kind: 'putXattr', ino: inoOf(n), name: 'user.a', value: Buffer.alloc(1) })),
    )
    await gathered
    clearInterval(ticking)
    other.close()
    assert.ok(performance.now() - start >= 290)
    assert.ok(ticks > 15, `${ticks} ticks`)
    assert.deepEqual(volume.query('SELECT count(*) FROM jfs_xattr'), [[3n]])
  })
})
