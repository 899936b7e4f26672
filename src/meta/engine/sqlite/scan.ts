/** Paged reads. A page is one query that ends before it returns: an open iterator would keep SQLite from writing on this
 *  connection. The cursor is the last key of the page before. */

import { type Name, nameFromBytes, nameToBytes } from '../../../base/bytes.ts'
import type { Ino } from '../../../base/ino.ts'
import type { Cursor, DirEntry, Page, ScanKind, Scans } from '../../engine.ts'
import { QUOTA_DIR } from '../../facts.ts'
import { attrColumns, attrFromRow, bytesOf, flockTypeOf, foldedIno, quotaFromRow, type Row } from '../sql/columns.ts'
import { bindIno, ownerColumn } from './rows.ts'
import type { Bound, Statements } from './statements.ts'

/** Every query selects its cursor's key first, takes its arguments, the cursor and the limit, in this order. */
interface Query {
  readonly sql: string
  readonly bind: readonly Bound[]
  readonly start: Bound
}

export class Scanner {
  readonly #statements: Statements
  #packed: ReturnType<Statements['rows']> | undefined
  readonly #prepared = new Map<string, ReturnType<Statements['rows']>>()

  constructor(statements: Statements) {
    this.#statements = statements
  }

  page<K extends ScanKind>(
    kind: K,
    args: Scans[K]['args'],
    cursor: Cursor | null,
    limit: number,
  ): Page<Scans[K]['row']> {
    if (kind === 'entries' && !(args as Scans['entries']['args']).attrs) {
      const packed = this.#packedEntries((args as Scans['entries']['args']).parent, cursor, limit)
      if (packed !== null) return packed as Page<Scans[K]['row']>
    }
    const { sql, bind, start } = this.#query(kind, args)
    let statement = this.#prepared.get(sql)
    if (statement === undefined) this.#prepared.set(sql, (statement = this.#statements.rows(sql)))
    const after = cursor === null ? start : typeof cursor === 'string' ? nameToBytes(cursor) : bindIno(cursor as Ino)
    const rows = statement.all(...bind, after, limit)
    const last = rows.length < limit ? undefined : rows[rows.length - 1]?.[0]
    const next = last === undefined ? null : Buffer.isBuffer(last) ? nameFromBytes(last) : (last as number)
    return { rows: rows.map(decoders[kind]) as Scans[K]['row'][], next }
  }

  /** Entries without attributes, a page in one row of two long values: a row an entry costs four times as much, most of it for its
   *  buffer (100,000 entries in 30 instead of 224 ms). Names come in order since the inner query is limited, so it is run as it stands. A
   *  bound of `(SELECT ?)` keeps SQLite from planning the statement anew at each call (STAT4). Null where a page cannot be told
   *  apart again (`unpacked`): then row by row. */
  #packedEntries(parent: Ino, cursor: Cursor | null, limit: number): Page<DirEntry> | null {
    this.#packed ??= this.#statements.rows(
      `SELECT CAST(group_concat(CAST(name AS TEXT), '/') AS BLOB), CAST(group_concat(number) AS BLOB)
        FROM (SELECT name, inode * ${TYPES} + (type & ${TYPES - 1}) AS number FROM ${this.#statements.table('edge')}
          WHERE parent = (SELECT ?) AND name > (SELECT ?) ORDER BY name LIMIT ?)`,
    )
    const after = cursor === null ? Buffer.alloc(0) : nameToBytes(cursor as Name)
    const [names, numbers] = this.#packed.get(bindIno(parent), after, limit)!
    if (names === null) return { rows: [], next: null }
    const rows = unpacked(nameFromBytes(names as Buffer), numbers as Buffer)
    return rows && { rows, next: rows.length < limit ? null : rows.at(-1)!.name }
  }

  #query(kind: ScanKind, args: Scans[ScanKind]['args']): Query {
    const t = this.#statements.table
    const columns = (alias: string) => attrColumns(alias, this.#statements.nodeColumns)
    const ino = (args as { ino?: Ino | null }).ino ?? null
    const sid = (args as { sid?: number }).sid ?? 0
    const before = (args as { before?: number }).before ?? 0
    const START = -1
    switch (kind) {
      case 'entries': {
        const { parent, attrs } = args as Scans['entries']['args']
        const where = `WHERE e.parent = (SELECT ?) AND e.name > (SELECT ?) ORDER BY e.name LIMIT ?`
        const edge = `e.name, ${foldedIno('e.inode')}, e.type`
        return {
          sql: attrs
            ? `SELECT ${edge}, n.inode, ${columns('n.')}
              FROM ${t('edge')} e LEFT JOIN ${t('node')} n ON n.inode = e.inode ${where}`
            : `SELECT ${edge}, NULL FROM ${t('edge')} e ${where}`,
          bind: [bindIno(parent)],
          start: Buffer.alloc(0),
        }
      }
      case 'sessions':
        return all(`SELECT sid, expire, CAST(info AS BLOB) FROM ${t('session2')} WHERE sid > ? ORDER BY sid LIMIT ?`)
      case 'sustained':
        return {
          sql: `SELECT ${foldedIno('inode')} FROM ${t('sustained')} WHERE sid = ? AND inode > ? ORDER BY inode LIMIT ?`,
          bind: [sid],
          start: START,
        }
      case 'flocksOf':
        return {
          sql: `SELECT id, ${foldedIno('inode')}, ${ownerColumn}, ltype FROM ${t('flock')}
            WHERE sid = ? AND id > ? ORDER BY id LIMIT ?`,
          bind: [sid],
          start: START,
        }
      case 'plocksOf':
        return {
          sql: `SELECT id, ${foldedIno('inode')}, ${ownerColumn}, CAST(records AS BLOB) FROM ${t('plock')}
            WHERE sid = ? AND id > ? ORDER BY id LIMIT ?`,
          bind: [sid],
          start: START,
        }
      case 'deadFiles':
        return {
          sql: `SELECT ${foldedIno('inode')}, length, expire FROM ${t('delfile')}
            WHERE expire < ? AND inode > ? ORDER BY inode LIMIT ?`,
          bind: [before],
          start: START,
        }
      case 'trashedSlices':
        return {
          sql: `SELECT chunkid, deleted, CAST(slices AS BLOB) FROM ${t('delslices')}
            WHERE deleted < ? AND chunkid > ? ORDER BY chunkid LIMIT ?`,
          bind: [before],
          start: START,
        }
      case 'unusedSlices':
        return all(
          `SELECT chunkid, size FROM ${t('chunk_ref')} WHERE refs <= 0 AND chunkid > 0 AND chunkid > ?
            ORDER BY chunkid LIMIT ?`,
        )
      case 'chunks':
        return ino === null
          ? all(
              `SELECT id, ${foldedIno('inode')}, indx, CAST(slices AS BLOB) FROM ${t('chunk')}
                WHERE id > ? ORDER BY id LIMIT ?`,
            )
          : {
              sql: `SELECT indx, ${foldedIno('inode')}, indx, CAST(slices AS BLOB) FROM ${t('chunk')}
                WHERE inode = ? AND indx > ? ORDER BY indx LIMIT ?`,
              bind: [bindIno(ino)],
              start: START,
            }
      case 'quotas': {
        const { type } = args as Scans['quotas']['args']
        const columns = 'max_space, max_inodes, used_space, used_inodes'
        return type === QUOTA_DIR
          ? all(
              `SELECT ${foldedIno('inode')}, ${columns} FROM ${t('dir_quota')} WHERE inode > ? ORDER BY inode LIMIT ?`,
            )
          : {
              sql: `SELECT qkey, ${columns} FROM ${t('user_group_quota')}
                WHERE qtype = ? AND qkey > ? ORDER BY qkey LIMIT ?`,
              bind: [type],
              start: START,
            }
      }
      case 'dirUsages':
        return all(
          `SELECT ${foldedIno('inode')}, data_length, used_space, used_inodes FROM ${t('dir_stats')}
            WHERE inode > ? ORDER BY inode LIMIT ?`,
        )
      case 'nodes':
        return all(
          `SELECT ${foldedIno('inode')}, ${columns('')} FROM ${t('node')} WHERE inode > ? ORDER BY inode LIMIT ?`,
        )
      case 'sliceRefs':
        return all(`SELECT chunkid, size, refs FROM ${t('chunk_ref')} WHERE chunkid > ? ORDER BY chunkid LIMIT ?`)
    }
  }
}

const all = (sql: string): Query => ({ sql, bind: [], start: -1 })

const decoders: { readonly [K in ScanKind]: (row: Row) => Scans[K]['row'] } = {
  entries: row => {
    const ino = row[1] as Ino
    const attr = row[3] === null ? null : attrFromRow(ino, row, 4)
    return { name: nameFromBytes(row[0] as Buffer), ino, type: row[2] as number, attr }
  },
  sessions: ([sid, expire, info]) => ({ sid: sid as number, expire: expire as number, info: info as Buffer | null }),
  sustained: ([ino]) => ({ ino: ino as Ino }),
  flocksOf: ([, ino, owner, ltype]) => ({ ino: ino as Ino, owner: owner as string, type: flockTypeOf(ltype) }),
  plocksOf: ([, ino, owner, records]) => ({ ino: ino as Ino, owner: owner as string, records: bytesOf(records) }),
  deadFiles: ([ino, length, at]) => ({ ino: ino as Ino, length: length as number, at: at as number }),
  trashedSlices: ([id, at, items]) => ({ id: id as number, at: at as number, items: bytesOf(items) }),
  unusedSlices: ([id, size]) => ({ id: id as number, size: size as number }),
  chunks: ([, ino, index, records]) => ({ ino: ino as Ino, index: index as number, records: bytesOf(records) }),
  quotas: row => ({ key: row[0] as number, quota: quotaFromRow(row, 1) }),
  dirUsages: ([ino, length, space, inodes]) => ({
    ino: ino as Ino,
    usage: { length: length as number, space: space as number, inodes: inodes as number },
  }),
  nodes: row => ({ ino: row[0] as Ino, attr: attrFromRow(row[0] as Ino, row, 1) }),
  sliceRefs: ([id, size, refs]) => ({ id: id as number, size: size as number, refs: refs as number }),
}

/** an inode and a type in one number: inode * TYPES + type */
const TYPES = 16
const [COMMA, ZERO] = [44, 48]

/** `a/b`, `17,33` → the entries a and b. Null where they do not fit together: a name holds the separator, which no kernel lets through, or
 *  a number is not what was packed, since it is too large (the trash's) or the record is damaged. */
function unpacked(names: string, numbers: Buffer): DirEntry[] | null {
  const rows: DirEntry[] = []
  let from = 0
  let number = 0
  for (let at = 0; at <= numbers.length; at++) {
    const byte = at < numbers.length ? numbers[at]! : COMMA
    if (byte !== COMMA) {
      if (byte < ZERO || byte > ZERO + 9) return null
      number = number * 10 + (byte - ZERO) // in this order: no sum on the way is rounded
      continue
    }
    const slash = names.indexOf('/', from)
    const isLast = at === numbers.length
    if (number > Number.MAX_SAFE_INTEGER || isLast !== (slash === -1)) return null
    const name = names.slice(from, isLast ? undefined : slash)
    rows.push({ name, ino: Math.floor(number / TYPES) as Ino, type: number % TYPES, attr: null })
    from = slash + 1
    number = 0
  }
  return rows
}
