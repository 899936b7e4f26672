/** A volume that JuiceFS wrote on PostgreSQL: every row is decoded as it is there, the tables we make are its tables, and what
 *  we write from our facts is its rows again. */

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'
import { type Ino, inoFromString, ROOT_INO, TRASH_INO } from '../../src/base/ino.ts'
import type { PostgresEngine } from '../../src/meta/engine/postgres/engine.ts'
import { type Change, type CounterName, QUOTA_DIR } from '../../src/meta/facts.ts'
import { TYPE_DIRECTORY, TYPE_SYMLINK } from '../../src/meta/model/attr.ts'
import { all, postgresSkip, read, TestServer, write } from '../meta/postgres/harness.ts'
import { goldenSkip, unpackGolden } from './volumes.ts'

function goldenSql(): string {
  const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-golden-rows-'))
  try {
    unpackGolden(dir, 'postgres/volume.sql')
    return readFileSync(join(dir, 'postgres', 'volume.sql'), 'utf8')
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Columns with types, defaults and nullability; keys and indexes; sequences. */
const CATALOG = `SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attnum,
    pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'S') AND a.attnum > 0 ORDER BY 1, 5;
  SELECT conname, contype, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace ORDER BY 1;
  SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1;
  SELECT seqrelid::regclass, format_type(seqtypid, NULL), seqstart, seqincrement, seqmax FROM pg_sequence ORDER BY seqrelid::regclass::text`

const WRITTEN: readonly (readonly [table: string, columns: string])[] = [
  ['setting', '*'],
  ['counter', '*'],
  ['node', '*'],
  ['edge', 'parent, name, inode, type'],
  ['symlink', '*'],
  ['xattr', 'inode, name, value'],
  ['chunk', 'inode, indx, slices'],
  ['chunk_ref', '*'],
  ['delslices', '*'],
  ['delfile', '*'],
  ['dir_stats', '*'],
  ['dir_quota', '*'],
]

describe('rows of a volume that JuiceFS wrote on PostgreSQL', { skip: postgresSkip || goldenSkip }, () => {
  const test = new TestServer()
  let database: string
  let engine: PostgresEngine
  const rows = (sql: string, name = database): string[][] => {
    const text = test.server.sql(sql, name)
    return text === '' ? [] : text.split('\n').map(line => line.split('|'))
  }
  before(async () => {
    database = test.server.newDatabase()
    test.server.sql(goldenSql(), database)
    engine = await test.open(database)
  })

  it('decodes every field of every node', async () => {
    const stored = rows('SELECT * FROM jfs_node ORDER BY inode')
    assert.ok(stored.length > 900)
    const scanned = await all(engine, 'nodes', {})
    assert.equal(scanned.length, stored.length)
    const nanos = ({ sec, nsec }: { sec: number; nsec: number }) => BigInt(sec) * 1_000_000_000n + BigInt(nsec)
    for (const [i, row] of stored.entries()) {
      const { ino, attr } = scanned[i]!
      assert.deepEqual(await read(engine, { kind: 'node', ino }), attr)
      const [inode, type, flags, mode, uid, gid, atime, mtime, ctime, atimensec, mtimensec, ctimensec, ...rest] = row
      const [nlink, length, rdev, parent, access, fallback, tier] = rest
      assert.equal(inoFromString(inode!), ino)
      assert.equal(inoFromString(parent!), attr.parent)
      assert.deepEqual(
        [attr.type, attr.flags, attr.mode, attr.uid, attr.gid, attr.nlink, attr.length, attr.rdev],
        [type, flags, mode, uid, gid, nlink, length, rdev].map(Number),
      )
      assert.deepEqual([attr.accessAcl, attr.defaultAcl, attr.tier], [access, fallback, tier].map(Number))
      assert.deepEqual(
        [attr.atime, attr.mtime, attr.ctime].map(nanos),
        [`${atime} ${atimensec}`, `${mtime} ${mtimensec}`, `${ctime} ${ctimensec}`].map(text => {
          const [micros, rest] = text.split(' ').map(BigInt) as [bigint, bigint]
          return micros * 1000n + rest
        }),
      )
    }
  })

  it('finds every name, trash included, by look-up and by listing', async () => {
    const stored = rows("SELECT parent, encode(name, 'hex'), inode, type FROM jfs_edge ORDER BY parent, name")
    const byParent = Map.groupBy(stored, ([parent]) => parent!)
    assert.ok([...byParent.keys()].some(parent => inoFromString(parent) === TRASH_INO + 1))
    for (const [parent, edges] of byParent) {
      const entries = await all(engine, 'entries', { parent: inoFromString(parent)!, attrs: true })
      assert.deepEqual(
        entries.map(({ name, ino, type }) => [Buffer.from(name, 'latin1').toString('hex'), ino, type]),
        edges.map(([, name, ino, type]) => [name, inoFromString(ino!), Number(type)]),
      )
      for (const { name, ino, attr } of entries) {
        const found = await read(engine, { kind: 'dentry', parent: inoFromString(parent)!, name })
        assert.deepEqual({ ino: found?.ino, attr: found?.attr }, { ino, attr })
      }
    }
  })

  it('makes the very tables, keys, indexes and sequences that JuiceFS makes', async () => {
    const fresh = test.server.newDatabase()
    await (await test.open(fresh)).prepare()
    assert.deepEqual(rows(CATALOG, fresh), rows(CATALOG))
    const before = rows(CATALOG)
    await engine.prepare()
    assert.deepEqual(rows(CATALOG), before, 'and finds nothing to do in its')
  })

  it('writes its own rows again from the facts it read', async () => {
    const name = test.server.newDatabase()
    const fresh = await test.open(name)
    await fresh.prepare()
    const changes = await everything()
    for (let at = 0; at < changes.length; at += 200) {
      await write(fresh, ...changes.slice(at, at + 200))
    }
    for (const [table, columns] of WRITTEN) {
      const query = `SELECT ${columns} FROM jfs_${table} AS t ORDER BY t::text COLLATE "C"`
      const sorted = (where: string) =>
        rows(query, where)
          .map(row => row.join('|'))
          .sort()
      assert.deepEqual(sorted(name), sorted(database), table)
    }
  })

  /** The whole volume as changes. */
  async function everything(): Promise<Change[]> {
    const changes: Change[] = [{ kind: 'putFormat', json: (await read(engine, { kind: 'format' }))! }]
    for (const [name] of rows('SELECT name FROM jfs_counter')) {
      const counter = name as CounterName
      changes.push({ kind: 'putCounter', name: counter, value: await read(engine, { kind: 'counter', name: counter }) })
    }
    const dirs = new Set<Ino>([ROOT_INO, TRASH_INO])
    for (const { ino, attr } of await all(engine, 'nodes', {})) {
      changes.push({ kind: 'putNode', ino, attr })
      if (attr.type === TYPE_DIRECTORY) dirs.add(ino)
      if (attr.type === TYPE_SYMLINK) {
        changes.push({ kind: 'putSymlink', ino, target: (await read(engine, { kind: 'symlink', ino }))! })
      }
      for (const name of await read(engine, { kind: 'xattrNames', ino })) {
        changes.push({ kind: 'putXattr', ino, name, value: (await read(engine, { kind: 'xattr', ino, name }))! })
      }
    }
    for (const parent of dirs) {
      for (const { name, ino, type } of await all(engine, 'entries', { parent, attrs: false })) {
        changes.push({ kind: 'setDentry', parent, name, ino, type })
      }
    }
    for (const { ino, index, records } of await all(engine, 'chunks', { ino: null })) {
      changes.push({ kind: 'appendSlices', ino, index, records })
    }
    for (const slice of await all(engine, 'sliceRefs', {})) changes.push({ kind: 'newSlice', ...slice })
    for (const each of await all(engine, 'trashedSlices', { before: 2 ** 40 })) {
      changes.push({ kind: 'trashSlices', ...each })
    }
    for (const each of await all(engine, 'deadFiles', { before: 2 ** 40 })) changes.push({ kind: 'deadFile', ...each })
    for (const { ino, usage } of await all(engine, 'dirUsages', {})) changes.push({ kind: 'putDirUsage', ino, usage })
    for (const { key, quota } of await all(engine, 'quotas', { type: QUOTA_DIR })) {
      changes.push({ kind: 'putQuota', type: QUOTA_DIR, key, quota })
    }
    return changes
  }
})
