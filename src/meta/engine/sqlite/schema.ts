/** The tables, exactly as the reference client makes them: its schema sync compares names, types and nullability at every
 *  session start and must find nothing to do (spec meta-sql section 2; the texts are those of `sqlite_master` in a volume
 *  that it wrote). Older volumes lack tables and columns: `ensureSchema` adds them, as the reference does. */

import type { Database } from 'better-sqlite3'

const NUMBER = 'INTEGER NOT NULL'
const MAYBE_NUMBER = 'INTEGER NULL'
const NANOS = 'INTEGER DEFAULT 0 NOT NULL'
const KEY = 'INTEGER PRIMARY KEY NOT NULL'
const SERIAL = 'INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL'
const BYTES = 'BLOB NOT NULL'
const MAYBE_BYTES = 'BLOB NULL'
const TEXT = 'TEXT NOT NULL'
const TEXT_KEY = 'TEXT PRIMARY KEY NOT NULL'

interface Table {
  readonly name: string
  readonly columns: Readonly<Record<string, string>>
  /** after the columns: a key of several */
  readonly constraint?: string
  /** index name → its columns; a name that begins with UQE is unique */
  readonly indexes?: Readonly<Record<string, readonly string[]>>
}

/** In the order in which the reference makes them; `T` in an index name is the full table name. */
const TABLES: readonly Table[] = [
  { name: 'setting', columns: { name: TEXT_KEY, value: TEXT } },
  { name: 'counter', columns: { name: TEXT_KEY, value: NUMBER } },
  {
    name: 'edge',
    columns: { id: SERIAL, parent: NUMBER, name: BYTES, inode: NUMBER, type: NUMBER },
    indexes: { UQE_T_edge: ['parent', 'name'], IDX_T_inode: ['inode'] },
  },
  {
    name: 'node',
    columns: {
      inode: KEY,
      type: NUMBER,
      flags: NUMBER,
      mode: NUMBER,
      uid: NUMBER,
      gid: NUMBER,
      atime: NUMBER,
      mtime: NUMBER,
      ctime: NUMBER,
      atimensec: NANOS,
      mtimensec: NANOS,
      ctimensec: NANOS,
      nlink: NUMBER,
      length: NUMBER,
      rdev: MAYBE_NUMBER,
      parent: MAYBE_NUMBER,
      access_acl_id: MAYBE_NUMBER,
      default_acl_id: MAYBE_NUMBER,
      tier_id: MAYBE_NUMBER,
    },
  },
  { name: 'symlink', columns: { inode: KEY, target: BYTES } },
  {
    name: 'xattr',
    columns: { id: SERIAL, inode: NUMBER, name: TEXT, value: BYTES },
    indexes: { UQE_T_name: ['inode', 'name'] },
  },
  {
    name: 'chunk',
    columns: { id: SERIAL, inode: NUMBER, indx: NUMBER, slices: BYTES },
    indexes: { UQE_T_chunk: ['inode', 'indx'] },
  },
  {
    name: 'chunk_ref',
    columns: { chunkid: KEY, size: NUMBER, refs: NUMBER },
    indexes: { IDX_T_refs: ['refs'] },
  },
  { name: 'delslices', columns: { chunkid: KEY, deleted: NUMBER, slices: BYTES } },
  { name: 'session2', columns: { sid: KEY, expire: NUMBER, info: MAYBE_BYTES } },
  {
    name: 'sustained',
    columns: { id: SERIAL, sid: NUMBER, inode: NUMBER },
    indexes: { UQE_T_sustained: ['sid', 'inode'] },
  },
  { name: 'delfile', columns: { inode: KEY, length: NUMBER, expire: NUMBER } },
  {
    name: 'flock',
    columns: { id: SERIAL, inode: NUMBER, sid: NUMBER, owner: NUMBER, ltype: NUMBER },
    indexes: { UQE_T_flock: ['inode', 'sid', 'owner'] },
  },
  {
    name: 'plock',
    columns: { id: SERIAL, inode: NUMBER, sid: NUMBER, owner: NUMBER, records: BYTES },
    indexes: { UQE_T_plock: ['inode', 'sid', 'owner'] },
  },
  {
    name: 'dir_quota',
    columns: { inode: KEY, max_space: NUMBER, max_inodes: NUMBER, used_space: NUMBER, used_inodes: NUMBER },
  },
  {
    name: 'user_group_quota',
    columns: {
      qtype: NUMBER,
      qkey: NUMBER,
      max_space: NUMBER,
      max_inodes: NUMBER,
      used_space: NUMBER,
      used_inodes: NUMBER,
    },
    constraint: 'PRIMARY KEY ( `qtype`,`qkey` )',
  },
  { name: 'dir_stats', columns: { inode: KEY, data_length: NUMBER, used_space: NUMBER, used_inodes: NUMBER } },
  { name: 'detached_node', columns: { inode: KEY, added: NUMBER } },
  {
    name: 'acl',
    columns: {
      id: SERIAL,
      owner: MAYBE_NUMBER,
      group: MAYBE_NUMBER,
      mask: MAYBE_NUMBER,
      other: MAYBE_NUMBER,
      named_users: MAYBE_BYTES,
      named_groups: MAYBE_BYTES,
    },
  },
  { name: 'delegation_token', columns: { id: SERIAL, token: MAYBE_BYTES } },
  { name: 'change_log', columns: { id: SERIAL, entry: TEXT } },
]

/** Is there nothing to add? Reads only; two milliseconds. */
export const schemaIsComplete = (db: Database, prefix: string): boolean => missing(db, prefix).length === 0

/** Adds the tables, columns and indexes that are missing, inside the caller's transaction. Was there anything to add? */
export function ensureSchema(db: Database, prefix: string): boolean {
  const statements = missing(db, prefix)
  for (const statement of statements) db.exec(statement)
  return statements.length > 0
}

/** Which columns a stored table has; none where there is no such table. */
export const columnsOf = (db: Database, table: string): ReadonlySet<string> =>
  new Set(db.prepare('SELECT name FROM pragma_table_info(?)').pluck().all(table) as string[])

/** The statements that make this database's schema complete. */
function missing(db: Database, prefix: string): string[] {
  const stored = new Set(db.prepare('SELECT name FROM sqlite_master').pluck().all() as string[])
  const statements: string[] = []
  for (const { name, columns, constraint, indexes } of TABLES) {
    const table = prefix + name
    if (!stored.has(table)) {
      const lines = Object.entries(columns).map(([column, type]) => `\`${column}\` ${type}`)
      if (constraint) lines.push(constraint)
      statements.push(`CREATE TABLE \`${table}\` (${lines.join(', ')})`)
    } else {
      const present = columnsOf(db, table)
      for (const [column, type] of Object.entries(columns)) {
        if (!present.has(column)) statements.push(`ALTER TABLE \`${table}\` ADD COLUMN \`${column}\` ${type}`)
      }
    }
    for (const [pattern, keys] of Object.entries(indexes ?? {})) {
      const index = pattern.replace('_T_', `_${table}_`)
      if (stored.has(index)) continue
      const unique = index.startsWith('UQE') ? 'UNIQUE ' : ''
      statements.push(`CREATE ${unique}INDEX \`${index}\` ON \`${table}\` (${keys.map(key => `\`${key}\``).join(',')})`)
    }
  }
  return statements
}
