/** Lists that are larger than a round trip, or change while they are read. */

import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { Fault } from '../../../src/base/fault.ts'
import { ROOT_INO } from '../../../src/base/ino.ts'
import type { RedisEngine } from '../../../src/meta/engine/redis/engine.ts'
import { SeenNumbers } from '../../../src/meta/engine/redis/seen.ts'
import type { Cursor } from '../../../src/meta/engine.ts'
import { type Change, node } from '../../../src/meta/facts.ts'
import { file } from '../../conformance/engine/harness.ts'
import { redisSkip } from '../../servers/redis.ts'
import { all, inoOf, read, World, write } from './harness.ts'

const entry = (name: string, ino: number): Change => ({
  kind: 'setDentry',
  parent: ROOT_INO,
  name,
  ino: inoOf(ino),
  type: 1,
})
const removed = (name: string): Change => ({ kind: 'delDentry', parent: ROOT_INO, name })

describe('lists on Redis', { skip: redisSkip }, () => {
  let world: World
  before(async () => {
    world = await World.start()
  })
  after(() => world?.remove())
  afterEach(() => world.reset())

  /** Entries `f0` … of this many. */
  async function fill(engine: RedisEngine, count: number): Promise<void> {
    for (let from = 0; from < count; from += 500) {
      const changes = Array.from({ length: Math.min(500, count - from) }, (_, i) =>
        entry(`f${from + i}`, 10 + from + i),
      )
      assert.equal((await engine.commit([], changes)).done, true)
    }
  }

  it('of a directory larger than a round trip are whole, in order, by pages of any size', async () => {
    const engine = await world.open()
    await fill(engine, 25_000)
    const wanted = Array.from({ length: 25_000 }, (_, i) => `f${i}`).sort()
    for (const limit of [1024, 25_000, 100_000]) {
      const rows = await all(engine, 'entries', { parent: ROOT_INO, attrs: false }, limit)
      assert.deepEqual(
        rows.map(row => row.name),
        wanted,
      )
    }
    const withAttrs = await all(engine, 'entries', { parent: ROOT_INO, attrs: true }, 4096)
    assert.equal(withAttrs.length, 25_000)
  })

  it('of a directory go on behind a name, by a client that has never seen the directory', async () => {
    const [one, other] = [await world.open(), await world.open()]
    await fill(one, 50)
    const first = await one.scan('entries', { parent: ROOT_INO, attrs: true }, null, 20)
    const rest = await other.scan('entries', { parent: ROOT_INO, attrs: true }, first.next, 100)
    assert.deepEqual(
      [...first.rows, ...rest.rows].map(row => row.name),
      Array.from({ length: 50 }, (_, i) => `f${i}`).sort(),
    )
    assert.equal(rest.next, null)
  })

  it('of a directory lose nothing and repeat nothing while its table grows and shrinks', async () => {
    const [reader, writer] = [await world.open(), await world.open()]
    await fill(writer, 3000)
    const stay = Array.from({ length: 3000 }, (_, i) => `f${i}`)
    const seen: string[] = []
    let cursor: Cursor | null = null
    let round = 0
    do {
      const page: { rows: readonly { name: string }[]; next: Cursor | null } = await reader.scan(
        'entries',
        { parent: ROOT_INO, attrs: true },
        cursor,
        200,
      )
      seen.push(...page.rows.map(row => row.name))
      const names = Array.from({ length: 900 }, (_, i) => `extra${i}`)
      if (round % 2 === 0) await write(writer, ...names.map((name, i) => entry(name, 50_000 + i)))
      else await write(writer, ...names.map(removed))
      round++
      cursor = page.next
    } while (cursor !== null)
    assert.equal(new Set(seen).size, seen.length)
    assert.deepEqual(seen.filter(name => name.startsWith('f')).sort(), stay.sort())
  })

  it('of a directory show what this client has removed or replaced since, and attributes as they are', async () => {
    const engine = await world.open()
    await fill(engine, 30)
    await write(engine, { kind: 'putNode', ino: inoOf(39), attr: file() })
    const plain = await engine.scan('entries', { parent: ROOT_INO, attrs: false }, null, 5)
    await write(engine, removed('f9'))
    const rest = await engine.scan('entries', { parent: ROOT_INO, attrs: false }, plain.next, 100)
    assert.equal(
      rest.rows.some(row => row.name === 'f9'),
      false,
    )

    const first = await engine.scan('entries', { parent: ROOT_INO, attrs: true }, null, 5)
    const other = await world.open()
    await write(
      other,
      removed('f8'),
      { kind: 'delNode', ino: inoOf(39) },
      { kind: 'putNode', ino: inoOf(38), attr: file({ uid: 5 }) },
    )
    const then = await engine.scan('entries', { parent: ROOT_INO, attrs: true }, first.next, 100)
    assert.equal(
      then.rows.some(row => row.name === 'f8'),
      false,
    )
    assert.equal(then.rows.find(row => row.name === 'f29')?.attr, null)
    assert.equal(then.rows.find(row => row.name === 'f28')?.attr?.uid, 5)
  })

  it('of removed files go on while they are taken away, though many were removed in one second', async () => {
    const engine = await world.open()
    const many = Array.from(
      { length: 100 },
      (_, i): Change => ({ kind: 'deadFile', ino: inoOf(i + 1), length: i, at: 1000 + (i % 2) }),
    )
    await write(engine, ...many)
    const seen: number[] = []
    let cursor: Cursor | null = null
    do {
      const page: { rows: readonly { ino: number }[]; next: Cursor | null } = await engine.scan(
        'deadFiles',
        { before: 2000 },
        cursor,
        7,
      )
      seen.push(...page.rows.map(row => row.ino))
      for (const { ino } of page.rows.slice(0, 5)) await write(engine, { kind: 'delDeadFile', ino: inoOf(ino) })
      cursor = page.next
    } while (cursor !== null)
    assert.deepEqual(
      seen.sort((a, b) => a - b),
      Array.from({ length: 100 }, (_, i) => i + 1),
    )
  })

  it('find the record of a removed file by its inode alone, also one that another client made', async () => {
    const [one, other] = [await world.open(), await world.open()]
    await write(
      one,
      { kind: 'deadFile', ino: inoOf(5), length: 2 ** 40, at: 9 },
      { kind: 'deadFile', ino: inoOf(55), length: 1, at: 9 },
    )
    assert.deepEqual(await read(other, { kind: 'deadFile', ino: inoOf(5) }), { length: 2 ** 40, at: 9 })
    const third = await world.open()
    await write(third, { kind: 'delDeadFile', ino: inoOf(5) })
    assert.equal(await read(one, { kind: 'deadFile', ino: inoOf(5) }), null)
    assert.deepEqual(
      (await all(one, 'deadFiles', { before: 10 })).map(row => row.ino),
      [55],
    )
  })

  it('of the chunks of a file reach its length, and beyond where it was cut shorter', async () => {
    const engine = await world.open()
    const chunk = (index: number): Change => ({
      kind: 'appendSlices',
      ino: inoOf(5),
      index,
      records: Buffer.alloc(24, 1),
    })
    const indexes = async (): Promise<number[]> =>
      (await all(engine, 'chunks', { ino: inoOf(5) }, 3)).map(row => row.index)
    await write(engine, ...[0, 1, 40, 90, 500].map(chunk))
    assert.deepEqual(await indexes(), [0, 1, 40, 90], 'without node or record it ends where 64 in a row are missing')
    await write(engine, { kind: 'deadFile', ino: inoOf(5), length: 501 * 2 ** 26, at: 1 })
    assert.deepEqual(await indexes(), [0, 1, 40, 90, 500])
    await write(
      engine,
      { kind: 'delDeadFile', ino: inoOf(5) },
      { kind: 'putNode', ino: inoOf(5), attr: file({ length: 2 ** 35 }) },
    )
    assert.deepEqual(await indexes(), [0, 1, 40, 90, 500])
  })

  it('of a huge span of chunks come from a walk over all keys', async () => {
    const engine = await world.open()
    await write(
      engine,
      ...[3, 70, 2 ** 31 - 1].map(
        (index): Change => ({ kind: 'appendSlices', ino: inoOf(5), index, records: Buffer.alloc(24, 1) }),
      ),
    )
    await write(engine, { kind: 'appendSlices', ino: inoOf(55), index: 4, records: Buffer.alloc(24, 1) })
    const huge = { kind: 'chunkIndexes', ino: inoOf(5), from: 4, to: 2 ** 32 } as const
    assert.deepEqual(await read(engine, huge), [70, 2 ** 31 - 1])
    const facts = await engine.gather([node(inoOf(5)), huge], 'change')
    const guards = [{ read: huge, fact: facts[1]!, strength: 'identity' as const }]
    assert.equal((await engine.commit(guards, [{ kind: 'delChunk', ino: inoOf(5), index: 70 }])).done, true)
    assert.equal((await engine.commit(guards, [{ kind: 'delChunk', ino: inoOf(5), index: 3 }])).done, false)
  })

  it('that were begun and forgotten give way to new ones, and say so when they are asked again', async () => {
    const engine = await world.open()
    await write(engine, ...[1, 2, 3].map((sid): Change => ({ kind: 'putSession', sid, expire: 9, info: null })))
    const old = await engine.scan('sessions', {}, null, 1)
    for (let i = 0; i < 70; i++) await engine.scan('sessions', {}, null, 1)
    await assert.rejects(engine.scan('sessions', {}, old.next, 1), (error: unknown) => {
      assert.ok(error instanceof Fault)
      assert.match(error.message, /this list is forgotten/)
      return true
    })
  })
})

describe('numbers that came by', () => {
  it('are known again, however far apart they lie', () => {
    const seen = new SeenNumbers()
    const numbers = [0, 1, 31, 32, 255, 256, 2 ** 31, 2 ** 32 + 1, 2 ** 52, 2 ** 53 - 1]
    assert.deepEqual(
      numbers.map(n => seen.add(n)),
      numbers.map(() => true),
    )
    assert.deepEqual(
      numbers.map(n => seen.add(n)),
      numbers.map(() => false),
    )
    assert.equal(seen.add(2), true)
  })
})
