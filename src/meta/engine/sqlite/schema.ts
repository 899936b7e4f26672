/** The tables, exactly as the reference client makes them: its schema sync compares names, types and nullability at every
 *  session start and must find nothing to do (spec meta-sql section 2; the texts are those of `sqlite_master` in a volume
 *  that it wrote). Older volumes lack tables and columns: `ensureSchema` adds them, as the reference does. */

import type { Database } from 'better-sqlite3'
import { type ColumnType, indexName, TABLES } from '../sql/schema.ts'

const TYPES: Readonly<Record<ColumnType, string>> = {
  bigint: 'INTEGER NOT NULL',
  int: 'INTEGER NOT NULL',
  nanos: 'INTEGER DEFAULT 0 NOT NULL',
  maybeBigint: 'INTEGER NULL',
  maybeInt: 'INTEGER NULL',
  key: 'INTEGER PRIMARY KEY NOT NULL',
  serial: 'INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL',
  intSerial: 'INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL',
  nameKey: 'TEXT PRIMARY KEY NOT NULL',
  varchar: 'TEXT NOT NULL',
  text: 'TEXT NOT NULL',
  nameBytes: 'BLOB NOT NULL',
  targetBytes: 'BLOB NOT NULL',
  bytes: 'BLOB NOT NULL',
  maybeBytes: 'BLOB NULL',
}

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
  for (const { name, columns, key, indexes } of TABLES) {
    const table = prefix + name
    if (!stored.has(table)) {
      const lines = Object.entries(columns).map(([column, type]) => `\`${column}\` ${TYPES[type]}`)
      if (key) lines.push(`PRIMARY KEY ( ${quoted(key)} )`)
      statements.push(`CREATE TABLE \`${table}\` (${lines.join(', ')})`)
    } else {
      const present = columnsOf(db, table)
      for (const [column, type] of Object.entries(columns)) {
        if (!present.has(column)) statements.push(`ALTER TABLE \`${table}\` ADD COLUMN \`${column}\` ${TYPES[type]}`)
      }
    }
    for (const [pattern, keys] of Object.entries(indexes ?? {})) {
      const index = indexName(pattern, table)
      if (stored.has(index)) continue
      const unique = index.startsWith('UQE') ? 'UNIQUE ' : ''
      statements.push(`CREATE ${unique}INDEX \`${index}\` ON \`${table}\` (${quoted(keys)})`)
    }
  }
  return statements
}

const quoted = (columns: readonly string[]): string => columns.map(column => `\`${column}\``).join(',')
