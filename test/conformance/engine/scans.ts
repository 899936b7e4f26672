/** Lists come in pages, and ids in ranges. */

import assert from 'node:assert/strict'
import { ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import type { Cursor, DirEntry, Page } from '../../../src/meta/engine.ts'
import { type Change, QUOTA_GROUP } from '../../../src/meta/facts.ts'
import { type Bench, type Claim, directory, file, inoOf } from './harness.ts'

const entry = (parent: number, name: string, ino: number): Change => ({
  kind: 'setDentry',
  parent: inoOf(parent),
  name,
  ino: inoOf(ino),
  type: 1,
})
const numbers = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i)

export function scanClaims(claim: Claim): void {
  claim('a directory is listed once each, with attributes where asked, and without its neighbours', async bench => {
    const names = numbers(100, 25).map(n => `f${n}`)
    await bench.write(...names.map((name, i) => entry(ROOT_INO, name, 10 + i)), entry(2, 'elsewhere', 9))
    await bench.write({ kind: 'putNode', ino: inoOf(10), attr: file({ length: 7 }) })
    for (const limit of [1, 5, 25, 26, 1000]) {
      const rows = await bench.scan('entries', { parent: ROOT_INO, attrs: false }, limit)
      assert.deepEqual(rows.map(row => row.name).sort(), names, `pages of ${limit}`)
      assert.ok(rows.every(row => row.attr === null && row.type === 1))
    }
    const rows = await bench.scan('entries', { parent: ROOT_INO, attrs: true }, 10)
    assert.deepEqual(rows.find(row => row.name === 'f100')?.attr, file({ length: 7 }))
    assert.equal(rows.find(row => row.name === 'f101')?.attr, null)
    assert.deepEqual(await bench.scan('entries', { parent: inoOf(3), attrs: true }), [])
  })

  claim('entries that stay are listed once while others come and go between the pages', async bench => {
    const stay = numbers(0, 30).map(n => `s${n}`)
    const go = numbers(0, 30).map(n => `g${n}`)
    await bench.write(...[...stay, ...go].map((name, i) => entry(ROOT_INO, name, 10 + i)))
    const seen: string[] = []
    let cursor: Cursor | null = null
    do {
      const page: Page<DirEntry> = await bench.engine.scan('entries', { parent: ROOT_INO, attrs: false }, cursor, 7)
      seen.push(...page.rows.map(row => row.name).filter(name => name.startsWith('s')))
      const gone = go.splice(0, 5)
      await bench.write(...gone.map((name): Change => ({ kind: 'delDentry', parent: ROOT_INO, name })))
      if (gone.length > 0) await bench.write(entry(ROOT_INO, `n${go.length}`, 500 + go.length))
      cursor = page.next
    } while (cursor !== null)
    assert.deepEqual(seen.sort(), stay.sort())
  })

  claim('all nodes are listed, the trash included', async bench => {
    const inos = [1, 5, 6, 7, 2 ** 40, TRASH_INO, TRASH_INO + 1, TRASH_INO + 2]
    await bench.write(...inos.slice(1).map((ino): Change => ({ kind: 'putNode', ino: inoOf(ino), attr: directory() })))
    const rows = await bench.scan('nodes', {}, 3)
    assert.deepEqual(
      rows.map(row => row.ino).sort((a, b) => a - b),
      inos,
    )
    assert.ok(rows.every(row => row.attr.type === 2))
  })

  claim('chunks are listed of one file by index, and of all files', async bench => {
    const records = Buffer.alloc(24, 1)
    const chunk = (ino: number, index: number): Change => ({ kind: 'appendSlices', ino: inoOf(ino), index, records })
    await bench.write(chunk(5, 0), chunk(5, 3), chunk(5, 12), chunk(6, 1), chunk(50, 0))
    const own = await bench.scan('chunks', { ino: inoOf(5) })
    assert.deepEqual(
      own.map(row => row.index),
      [0, 3, 12],
    )
    assert.deepEqual(own[0], { ino: 5, index: 0, records })
    const all = (await bench.scan('chunks', { ino: null })).map(row => `${row.ino}_${row.index}`)
    assert.deepEqual(all.sort(), ['50_0', '5_0', '5_12', '5_3', '6_1'])
  })

  claim('every other list comes in pages too', async bench => {
    const many = numbers(1, 5)
    const quota = { maxSpace: -1, maxInodes: -1, usedSpace: 4096, usedInodes: 1 }
    await bench.write(
      ...many.flatMap((n): Change[] => [
        { kind: 'putSession', sid: n, expire: 100 + n, info: Buffer.from('{}') },
        { kind: 'sustain', sid: 1, ino: inoOf(n) },
        { kind: 'putFlock', ino: inoOf(n), sid: 1, owner: '00000000000000ff', type: 'R' },
        { kind: 'putPlock', ino: inoOf(n), sid: 1, owner: '00000000000000ff', records: Buffer.alloc(24) },
        { kind: 'deadFile', ino: inoOf(n), length: n, at: 10 },
        { kind: 'trashSlices', id: n, at: 10, items: Buffer.alloc(12) },
        { kind: 'newSlice', id: n, size: n, refs: n < 3 ? 0 : 2 },
        { kind: 'putQuota', type: QUOTA_GROUP, key: n, quota },
        { kind: 'newDirUsage', ino: inoOf(n) },
      ]),
    )
    const sorted = (rows: readonly number[]): number[] => [...rows].sort((a, b) => a - b)
    assert.deepEqual(sorted((await bench.scan('sessions', {})).map(row => row.sid)), many)
    assert.deepEqual(sorted((await bench.scan('sustained', { sid: 1 })).map(row => row.ino)), many)
    assert.deepEqual(sorted((await bench.scan('flocksOf', { sid: 1 })).map(row => row.ino)), many)
    assert.deepEqual(sorted((await bench.scan('plocksOf', { sid: 1 })).map(row => row.ino)), many)
    assert.deepEqual(sorted((await bench.scan('deadFiles', { before: 11 })).map(row => row.ino)), many)
    assert.deepEqual(sorted((await bench.scan('trashedSlices', { before: 11 })).map(row => row.id)), many)
    assert.deepEqual(sorted((await bench.scan('unusedSlices', {})).map(row => row.id)), [1, 2])
    assert.deepEqual(sorted((await bench.scan('sliceRefs', {})).map(row => row.id)).slice(-3), [3, 4, 5])
    assert.deepEqual(sorted((await bench.scan('quotas', { type: QUOTA_GROUP })).map(row => row.key)), many)
    assert.deepEqual(sorted((await bench.scan('dirUsages', {})).map(row => row.ino)), many)
  })

  claim('ids begin where the format says, and no id is handed out twice', async bench => {
    assert.equal(await bench.engine.allocate('nextSession', 1), 1)
    assert.equal(await bench.engine.allocate('nextSession', 1), 2)
    assert.equal(await bench.engine.allocate('nextTrash', 1), 1)
    assert.ok((await bench.engine.allocate('nextInode', 1024)) >= 1)
    await distinct(bench, 'nextInode', 1024)
    await distinct(bench, 'nextChunk', 4096)
  })

  claim('what was committed is synced', async bench => {
    await bench.write({ kind: 'putNode', ino: inoOf(5), attr: file() })
    await bench.engine.sync()
    assert.deepEqual(await bench.read({ kind: 'node', ino: inoOf(5) }), file())
  })
}

async function distinct(bench: Bench, counter: 'nextInode' | 'nextChunk', count: number): Promise<void> {
  const firsts = await Promise.all(numbers(0, 5).map(async () => await bench.engine.allocate(counter, count)))
  firsts.sort((a, b) => a - b)
  for (const [i, first] of firsts.slice(1).entries()) assert.ok(first - firsts[i]! >= count, `${counter} overlaps`)
}
