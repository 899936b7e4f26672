/** A volume that JuiceFS wrote on SQLite: every row is decoded here as it is there, the tables we make are its tables, and
 *  what we write from our facts is its rows again. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import Database from 'better-sqlite3'
import { type Ino, inoFromBigInt, ROOT_INO, TRASH_INO } from '../../src/base/ino.ts'
import { SqliteEngine } from '../../src/meta/engine/sqlite/engine.ts'
import type { Page, ScanKind, Scans } from '../../src/meta/engine.ts'
import { type Change, QUOTA_DIR } from '../../src/meta/facts.ts'
import { TYPE_SYMLINK } from '../../src/meta/model/attr.ts'
import { read, Volume, write } from '../meta/sqlite/harness.ts'
import { goldenSkip, unpackGolden } from './volumes.ts'

type Cell = bigint | string | Buffer | null
type Row = Record<string, Cell>

describe('rows of a volume that JuiceFS wrote', { skip: goldenSkip }, () => {
  let dir: string
  let raw: Database.Database
  let engine: SqliteEngine

  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-golden-rows-'))
    unpackGolden(dir, 'sqlite-plain/volume.db')
    const path = join(dir, 'sqlite-plain', 'volume.db')
    raw = new Database(path, { readonly: true })
    engine = SqliteEngine.open(`sqlite3://${path}`, { mustExist: true })
  })
  after(async () => {
    raw?.close()
    await engine?.close()
    rmSync(dir, { recursive: true, force: true })
  })

  const table = (name: string, order: string): Row[] =>
    raw.prepare(`SELECT * FROM jfs_${name} ORDER BY ${order}`).safeIntegers().all() as Row[]

  async function all<K extends ScanKind>(kind: K, args: Scans[K]['args']): Promise<Scans[K]['row'][]> {
    const rows: Scans[K]['row'][] = []
    let cursor: string | number | null = null
    do {
      const page: Page<Scans[K]['row']> = await engine.scan(kind, args, cursor, 100)
      rows.push(...page.rows)
      cursor = page.next
    } while (cursor !== null)
    return rows
  }

  const nanos = (time: { sec: number; nsec: number } | undefined): bigint =>
    BigInt(time!.sec) * 1_000_000_000n + BigInt(time!.nsec)

  it('decodes every field of every node', async () => {
    const rows = table('node', 'inode')
    assert.ok(rows.length > 1000)
    for (const row of rows) {
      const attr = await read(engine, { kind: 'node', ino: inoFromBigInt(row.inode as bigint) })
      assert.ok(attr)
      const plain = {
        type: attr.type,
        flags: attr.flags,
        mode: attr.mode,
        uid: attr.uid,
        gid: attr.gid,
        nlink: attr.nlink,
        length: attr.length,
        rdev: attr.rdev,
        access_acl_id: attr.accessAcl,
        default_acl_id: attr.defaultAcl,
        tier_id: attr.tier,
      }
      for (const [column, value] of Object.entries(plain)) assert.equal(BigInt(value), row[column] ?? 0n, column)
      assert.equal(attr.parent, inoFromBigInt(row.parent as bigint))
      for (const name of ['atime', 'mtime', 'ctime'] as const) {
        assert.equal(nanos(attr[name]), (row[name] as bigint) * 1000n + (row[`${name}nsec`] as bigint), name)
      }
    }
    const scanned = await all('nodes', {})
    assert.deepEqual(
      scanned.map(each => each.ino),
      rows.map(row => inoFromBigInt(row.inode as bigint)),
    )
  })

  it('finds every name, trash included, by look-up and by listing', async () => {
    const rows = table('edge', 'parent, name')
    const parents = new Set<Ino>()
    for (const row of rows) {
      const parent = inoFromBigInt(row.parent as bigint)
      parents.add(parent)
      const name = (row.name as Buffer).toString('latin1')
      const found = await read(engine, { kind: 'dentry', parent, name })
      assert.equal(found?.ino, inoFromBigInt(row.inode as bigint))
      assert.equal(BigInt(found!.type), row.type)
      assert.equal(found?.attr?.type, found?.type)
    }
    assert.ok(parents.has((TRASH_INO + 1) as Ino))
    let listed = 0
    for (const parent of parents) {
      const entries = await all('entries', { parent, attrs: true })
      listed += entries.length
      for (const { name, ino, attr } of entries) {
        const found = await read(engine, { kind: 'dentry', parent, name })
        assert.deepEqual({ ino: found?.ino, attr: found?.attr }, { ino, attr })
      }
    }
    assert.equal(listed, rows.length)
  })

  it('derives the parents of a hard-linked node from its names', async () => {
    const row = raw.prepare('SELECT inode FROM jfs_node WHERE nlink > 1 AND type = 1').get() as { inode: number }
    const counts = await read(engine, { kind: 'parents', ino: row.inode as Ino })
    const edges = raw
      .prepare('SELECT parent, count(*) AS count FROM jfs_edge WHERE inode = ? GROUP BY parent')
      .all(row.inode)
    assert.deepEqual(counts, edges)
    assert.equal((await read(engine, { kind: 'node', ino: row.inode as Ino }))?.parent, 0)
  })

  it('reads lists that were appended to, though SQLite calls them TEXT', async () => {
    const kinds = raw.prepare('SELECT typeof(slices) AS kind, count(*) AS n FROM jfs_chunk GROUP BY 1').all()
    assert.equal(kinds.length, 2)
    const rows = raw.prepare('SELECT inode, indx, CAST(slices AS BLOB) AS slices FROM jfs_chunk').all() as {
      inode: Ino
      indx: number
      slices: Buffer
    }[]
    for (const { inode, indx, slices } of rows) {
      assert.equal(slices.length % 24, 0)
      assert.deepEqual(await read(engine, { kind: 'chunk', ino: inode, index: indx }), slices)
    }
    assert.equal((await all('chunks', { ino: null })).length, rows.length)
  })

  it('makes the very tables and indexes that JuiceFS makes', async () => {
    const volume = new Volume()
    try {
      const fresh = volume.open()
      await fresh.prepare()
      const schema = 'SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name'
      assert.deepEqual(volume.query(schema), raw.prepare(schema).raw().all())
    } finally {
      await volume.remove()
    }
  })

  it('writes its own rows again from the facts it read', async () => {
    const volume = new Volume()
    try {
      const fresh = volume.open()
      await fresh.prepare()
      for (const { id } of raw.prepare('SELECT id FROM jfs_acl ORDER BY id').all() as { id: number }[]) {
        const rule = (await read(engine, { kind: 'aclRule', id }))!
        assert.equal(await read(fresh, { kind: 'aclId', rule }), id)
      }
      for (const change of await everything()) await write(fresh, change)
      const names = (name: string): string[] =>
        (raw.prepare(`SELECT name FROM pragma_table_info('jfs_${name}')`).pluck().all() as string[]).filter(
          column => column !== 'id' || name === 'acl',
        )
      const order = (name: string) => names(name).map(column => `\`${column}\``)
      const columns = (name: string) =>
        names(name).map(column =>
          column === 'slices' ? 'CAST(slices AS BLOB)' : `\`${column}\`, typeof(\`${column}\`)`,
        )
      for (const name of WRITTEN) {
        const query = `SELECT ${columns(name)} FROM jfs_${name} ORDER BY ${order(name)}`
        const expected = raw.prepare(query).raw().safeIntegers().all()
        assert.deepEqual(volume.query(query), expected, name)
      }
    } finally {
      await volume.remove()
    }
  })

  const WRITTEN = [
    'setting',
    'counter',
    'node',
    'edge',
    'symlink',
    'xattr',
    'chunk',
    'chunk_ref',
    'delslices',
    'dir_stats',
    'dir_quota',
    'acl',
  ]

  /** The whole volume as changes. */
  async function everything(): Promise<Change[]> {
    const changes: Change[] = [{ kind: 'putFormat', json: (await read(engine, { kind: 'format' }))! }]
    for (const { name } of raw.prepare('SELECT name FROM jfs_counter').all() as { name: 'nextInode' }[]) {
      changes.push({ kind: 'putCounter', name, value: await read(engine, { kind: 'counter', name }) })
    }
    const dirs = new Set<Ino>([ROOT_INO, TRASH_INO])
    for (const { ino, attr } of await all('nodes', {})) {
      changes.push({ kind: 'putNode', ino, attr })
      if (attr.type === 2) dirs.add(ino)
      if (attr.type === TYPE_SYMLINK) {
        changes.push({ kind: 'putSymlink', ino, target: (await read(engine, { kind: 'symlink', ino }))! })
      }
      for (const name of await read(engine, { kind: 'xattrNames', ino })) {
        changes.push({ kind: 'putXattr', ino, name, value: (await read(engine, { kind: 'xattr', ino, name }))! })
      }
    }
    for (const parent of dirs) {
      for (const { name, ino, type } of await all('entries', { parent, attrs: false })) {
        changes.push({ kind: 'setDentry', parent, name, ino, type })
      }
    }
    for (const { ino, index, records } of await all('chunks', { ino: null })) {
      for (let at = 0; at < records.length; at += 24) {
        changes.push({ kind: 'appendSlices', ino, index, records: records.subarray(at, at + 24) })
      }
    }
    for (const { id, size, refs } of await all('sliceRefs', {})) changes.push({ kind: 'newSlice', id, size, refs })
    for (const each of await all('trashedSlices', { before: 2 ** 40 })) changes.push({ kind: 'trashSlices', ...each })
    for (const { ino, usage } of await all('dirUsages', {})) changes.push({ kind: 'putDirUsage', ino, usage })
    for (const { key, quota } of await all('quotas', { type: QUOTA_DIR })) {
      changes.push({ kind: 'putQuota', type: QUOTA_DIR, key, quota })
    }
    return changes
  }

  it('stores equal ACL rules as equal rows', async () => {
    for (const { id } of raw.prepare('SELECT id FROM jfs_acl').all() as { id: number }[]) {
      const rule = (await read(engine, { kind: 'aclRule', id }))!
      assert.equal(await read(engine, { kind: 'aclId', rule }), id)
    }
  })
})
