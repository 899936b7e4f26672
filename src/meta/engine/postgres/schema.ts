/** Tables, columns and indexes in PostgreSQL: what is there, and the statements that add what is missing. */

import { EINVAL } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import { type ColumnType, indexName, TABLES, type Table } from '../sql/schema.ts'
import type { Answer, Statement } from './flight.ts'
import type { Tables } from './tables.ts'

const TYPES: Readonly<Record<ColumnType, string>> = {
  bigint: 'BIGINT NOT NULL',
  int: 'INTEGER NOT NULL',
  maybeBigint: 'BIGINT NULL',
  maybeInt: 'INTEGER NULL',
  nanos: 'INTEGER DEFAULT 0 NOT NULL',
  key: 'BIGINT PRIMARY KEY NOT NULL',
  serial: 'BIGSERIAL PRIMARY KEY NOT NULL',
  intSerial: 'SERIAL PRIMARY KEY NOT NULL',
  nameKey: 'VARCHAR(255) PRIMARY KEY NOT NULL',
  varchar: 'VARCHAR(255) NOT NULL',
  text: 'TEXT NOT NULL',
  nameBytes: 'BYTEA NOT NULL',
  targetBytes: 'BYTEA NOT NULL',
  bytes: 'BYTEA NOT NULL',
  maybeBytes: 'BYTEA NULL',
}
/** Columns that newer clients added to tables of older ones: these may be missing. */
const isLate = (type: ColumnType): boolean => type.startsWith('maybe') || type === 'nanos'

/** What kind of values a column holds, so that a table of somebody else is told from ours. */
function familyOf(type: ColumnType | string): string {
  if (/bytea|bytes/i.test(type)) return 'bytes'
  if (/char|text|name/i.test(type)) return 'text'
  return /int|serial|nanos|key/i.test(type) ? 'numbers' : type
}

/** The server cuts what is longer. */
const LONGEST_NAME = 63

/** What the database has of a volume. */
export interface Stored {
  /** table (without prefix) → column → type, as PostgreSQL names it */
  readonly columns: ReadonlyMap<string, ReadonlyMap<string, string>>
  readonly indexes: ReadonlySet<string>
}

/** Asks for all tables of the volume, by the names that statements use. */
export function schemaQuestion(tables: Tables): Statement {
  const names = TABLES.map(table => tables.name(table.name))
  return {
    name: '',
    text: `SELECT f.i::text, a.attname, format_type(a.atttypid, NULL), NULL
        FROM unnest($1::text[]) WITH ORDINALITY AS f(name, i)
        JOIN pg_attribute a ON a.attrelid = to_regclass(f.name) AND a.attnum > 0 AND NOT a.attisdropped
      UNION ALL
      SELECT f.i::text, NULL, NULL, c.relname
        FROM unnest($1::text[]) WITH ORDINALITY AS f(name, i)
        JOIN pg_index x ON x.indrelid = to_regclass(f.name) JOIN pg_class c ON c.oid = x.indexrelid`,
    values: [`{${names.map(name => `"${name.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`).join()}}`],
  }
}

export function storedOf(answer: Answer): Stored {
  const columns = new Map<string, Map<string, string>>()
  const indexes = new Set<string>()
  for (const [i, column, type, index] of answer.rows) {
    const { name } = TABLES[Number(i) - 1]!
    if (index) indexes.add(index)
    if (!column) continue
    const known = columns.get(name) ?? new Map<string, string>()
    columns.set(name, known.set(column, type!))
  }
  return { columns, indexes }
}

/** The statements that make the schema complete. Fault (EINVAL) naming a table that is somebody else's. */
export function missing(stored: Stored, tables: Tables): string[] {
  const statements: string[] = []
  for (const table of TABLES) {
    const present = stored.columns.get(table.name)
    const full = tables.name(table.name)
    if (present === undefined) statements.push(createTable(table, full))
    else {
      for (const column of lateColumns(table, present, tables)) {
        statements.push(`ALTER TABLE ${full} ADD COLUMN IF NOT EXISTS "${column}" ${TYPES[table.columns[column]!]}`)
      }
    }
    for (const [pattern, keys] of Object.entries(table.indexes ?? {})) {
      const index = indexName(pattern, tables.prefix + table.name)
      if (stored.indexes.has(index.slice(0, LONGEST_NAME))) continue
      const unique = index.startsWith('UQE') ? 'UNIQUE ' : ''
      statements.push(`CREATE ${unique}INDEX IF NOT EXISTS "${index}" ON ${full} (${quoted(keys)})`)
    }
  }
  return statements
}

function createTable({ columns, key }: Table, full: string): string {
  const lines = Object.entries(columns).map(([column, type]) => `"${column}" ${TYPES[type]}`)
  if (key) lines.push(`PRIMARY KEY (${quoted(key)})`)
  return `CREATE TABLE IF NOT EXISTS ${full} (${lines.join(', ')})`
}

function lateColumns(table: Table, present: ReadonlyMap<string, string>, tables: Tables): string[] {
  const late: string[] = []
  for (const [column, type] of Object.entries(table.columns)) {
    const found = present.get(column)
    const foreign = `table ${tables.prefix}${table.name} in the database is not a volume's`
    if (found === undefined) {
      if (!isLate(type)) throw new Fault(`${foreign}: it has no column ${column}`, { errno: EINVAL })
      late.push(column)
    } else if (familyOf(found) !== familyOf(type)) {
      throw new Fault(`${foreign}: its column ${column} is of type ${found}`, { errno: EINVAL })
    }
  }
  return late
}

const quoted = (columns: readonly string[]): string => columns.map(column => `"${column}"`).join(', ')
