/** Pages of a directory come packed (engine/sqlite/scan.ts); whatever names and numbers the records hold, the entries are those of the
 *  records. */

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Ino, ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import type { SqliteEngine } from '../../../src/meta/engine/sqlite/engine.ts'
import type { Cursor, DirEntry, Page } from '../../../src/meta/engine.ts'
import { formatted, inoOf, Volume, write } from './harness.ts'

describe('a listing without attributes', () => {
  const volume = new Volume()
  let engine: SqliteEngine
  before(async () => {
    engine = volume.open()
    await formatted(engine)
  })
  after(() => volume.remove())

  async function list(parent: Ino, limit = 3): Promise<DirEntry[]> {
    const found: DirEntry[] = []
    let cursor: Cursor | null = null
    do {
      const page: Page<DirEntry> = await engine.scan('entries', { parent, attrs: false }, cursor, limit)
      found.push(...page.rows)
      cursor = page.next
    } while (cursor !== null)
    return found
  }
  const told = (entries: readonly DirEntry[]): string[] =>
    entries.map(({ name, ino, type }) => `${name} ${ino} ${type}`)

  it('holds names of any bytes, inodes up to the largest and all types, page by page', async () => {
    const inos = [2, 255, 2 ** 49 - 1, 2 ** 49, 2 ** 49 + 1, 2 ** 52 - 1, 7, 8]
    const names = [' ', '1,2', ',', '\xff\xfe', 'ä', 'a'.repeat(255), '1', '-']
    const parent = inoOf(100)
    for (const [i, name] of names.entries()) {
      await write(engine, { kind: 'setDentry', parent, name, ino: inos[i] as Ino, type: i + 1 })
    }
    const expected = names.map((name, i) => `${name} ${inos[i]} ${i + 1}`).sort()
    for (const limit of [1, 3, 8, 100]) assert.deepEqual(told(await list(parent, limit)), expected)
    assert.deepEqual(await list(inoOf(101)), [])
  })

  it('holds the inodes of the trash', async () => {
    const hours = [TRASH_INO + 1, TRASH_INO + 2] as Ino[]
    for (const [i, ino] of hours.entries()) {
      await write(engine, { kind: 'setDentry', parent: TRASH_INO, name: `2026-11-2${i}-01`, ino, type: 2 })
    }
    assert.deepEqual(
      told(await list(TRASH_INO)),
      hours.map((ino, i) => `2026-11-2${i}-01 ${ino} 2`),
    )
  })

  it('holds names that another program has put the separator into', async () => {
    const insert = (parent: number, name: string, ino: number): void =>
      volume.exec(
        `INSERT INTO jfs_edge (parent, name, inode, type) VALUES (${parent}, CAST('${name}' AS BLOB), ${ino}, 1)`,
      )
    insert(200, 'a/b', 5)
    insert(200, 'c', 6)
    assert.deepEqual(told(await list(inoOf(200))), ['a/b 5 1', 'c 6 1'])
    insert(201, 'last/', 7)
    assert.deepEqual(told(await list(inoOf(201))), ['last/ 7 1'])
  })

  it('holds records that are damaged as the columns are read one by one', async () => {
    volume.exec(
      `INSERT INTO jfs_edge (parent, name, inode, type) VALUES (${300}, CAST('a' AS BLOB), -5, 1), (300, CAST('b' AS BLOB), 6, 1)`,
    )
    assert.deepEqual(told(await list(inoOf(300))), ['a -5 1', 'b 6 1'])
    assert.deepEqual(told(await list(ROOT_INO)), [])
  })
})
