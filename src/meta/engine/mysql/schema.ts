/** Tables, columns and indexes in MySQL: what is there, and the statements that add what is missing.
 *
 *  Our tables compare names of extended attributes byte by byte (the database's own default may say that `user.A` is `user.a`);
 *  the reference does not look at collations. */

import { EINVAL } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import { type ColumnType, indexName, TABLES, type Table } from '../sql/schema.ts'
import { type Answer, characters, literal, type Statement } from './statement.ts'
import type { Tables } from './tables.ts'

const TYPES: Readonly<Record<ColumnType, string>> = {
  bigint: 'BIGINT(20) NOT NULL',
  int: 'INT NOT NULL',
  maybeBigint: 'BIGINT(20) NULL',
  maybeInt: 'INT NULL',
  nanos: 'INT DEFAULT 0 NOT NULL',
  key: 'BIGINT(20) PRIMARY KEY NOT NULL',
  serial: 'BIGINT(20) PRIMARY KEY AUTO_INCREMENT NOT NULL',
  intSerial: 'INT PRIMARY KEY AUTO_INCREMENT NOT NULL',
  nameKey: 'VARCHAR(255) PRIMARY KEY NOT NULL',
  varchar: 'VARCHAR(255) NOT NULL',
  text: 'TEXT NOT NULL',
  nameBytes: 'VARBINARY(255) NOT NULL',
  targetBytes: 'VARBINARY(4096) NOT NULL',
  bytes: 'BLOB NOT NULL',
  maybeBytes: 'BLOB NULL',
}
/** Columns that newer clients added to tables of older ones: these may be missing. */
const isLate = (type: ColumnType): boolean => type.startsWith('maybe') || type === 'nanos'

/** What kind of values a column holds, so that a table of somebody else is told from ours. */
function familyOf(type: ColumnType | string): string {
  if (/binary|blob|bytes/i.test(type)) return 'bytes'
  if (/char|text|name/i.test(type)) return 'text'
  return /int|serial|nanos|key/i.test(type) ? 'numbers' : type
}

/** What the database has of a volume. */
export interface Stored {
  /** table (without prefix) → column → type, as MySQL names it */
  readonly columns: ReadonlyMap<string, ReadonlyMap<string, string>>
  readonly indexes: ReadonlySet<string>
  /** table (without prefix) → its storage engine */
  readonly engines: ReadonlyMap<string, string>
}

/** Asks for columns, indexes and storage engines of all tables of the volume. */
export function schemaQuestions(tables: Tables): Statement[] {
  const names = TABLES.map(({ name }) => literal(characters(tables.prefix + name))).join(', ')
  const ours = `table_schema = DATABASE() AND table_name IN (${names})`
  return [
    { text: `SELECT table_name, column_name, data_type FROM information_schema.columns WHERE ${ours}`, values: [] },
    { text: `SELECT index_name FROM information_schema.statistics WHERE ${ours}`, values: [] },
    { text: `SELECT table_name, engine FROM information_schema.tables WHERE ${ours}`, values: [] },
  ]
}

export function storedOf([columnRows, indexRows, tableRows]: readonly Answer[], tables: Tables): Stored {
  // A server that keeps names of tables in lower case gives them back so.
  const ours = new Map(TABLES.map(({ name }) => [(tables.prefix + name).toLowerCase(), name]))
  const tableOf = (name: unknown): string => ours.get(String(name).toLowerCase())!
  const columns = new Map<string, Map<string, string>>()
  for (const [table, column, type] of columnRows!.rows) {
    const known = columns.get(tableOf(table)) ?? new Map<string, string>()
    columns.set(tableOf(table), known.set(String(column), String(type)))
  }
  return {
    columns,
    indexes: new Set(indexRows!.rows.map(([index]) => String(index))),
    engines: new Map(tableRows!.rows.map(([table, engine]) => [tableOf(table), String(engine)])),
  }
}

/** The statements that make the schema complete. Fault (EINVAL) naming a table that is somebody else's, or that knows no
 *  transactions. `collation`: compares byte by byte. */
export function missing({ columns, indexes, engines }: Stored, tables: Tables, collation: string): string[] {
  const statements: string[] = []
  for (const table of TABLES) {
    const present = columns.get(table.name)
    const full = tables.name(table.name)
    if (present === undefined) {
      statements.push(createTable(table, tables, collation))
      continue
    }
    if (engines.get(table.name) !== 'InnoDB') {
      const words = `table ${tables.prefix}${table.name} is of engine ${engines.get(table.name)}: only InnoDB is safe`
      throw new Fault(words, { errno: EINVAL })
    }
    for (const column of lateColumns(table, present, tables)) {
      statements.push(`ALTER TABLE ${full} ADD COLUMN \`${column}\` ${TYPES[table.columns[column]!]}`)
    }
    for (const [pattern, keys] of Object.entries(table.indexes ?? {})) {
      const index = indexName(pattern, tables.prefix + table.name)
      if (indexes.has(index)) continue
      const unique = index.startsWith('UQE') ? 'UNIQUE ' : ''
      statements.push(`CREATE ${unique}INDEX \`${index}\` ON ${full} (${quoted(keys)})`)
    }
  }
  return statements
}

/** With its indexes, all at once: nobody ever finds the table without them. */
function createTable({ name, columns, key, indexes }: Table, tables: Tables, collation: string): string {
  const lines = Object.entries(columns).map(([column, type]) => `\`${column}\` ${TYPES[type]}`)
  if (key) lines.push(`PRIMARY KEY (${quoted(key)})`)
  for (const [pattern, keys] of Object.entries(indexes ?? {})) {
    const index = indexName(pattern, tables.prefix + name)
    lines.push(`${index.startsWith('UQE') ? 'UNIQUE ' : ''}INDEX \`${index}\` (${quoted(keys)})`)
  }
  return `CREATE TABLE IF NOT EXISTS ${tables.name(name)} (${lines.join(', ')})
    ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET utf8mb4 COLLATE ${collation}`
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

const quoted = (columns: readonly string[]): string => columns.map(column => `\`${column}\``).join(', ')
