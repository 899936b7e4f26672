/** How each kind of fact is asked for. Every question is a SELECT of the same three columns, so that the questions of a gather
 *  make one statement and are answered from one snapshot:
 *
 *      i   which question                 n   numbers, with commas between            b   bytes
 *
 *  Their rows come in no order: MySQL drops an ORDER BY inside a UNION. */

import { nameToBytes } from '../../../base/bytes.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import { QUOTA_DIR, type Read } from '../../facts.ts'
import { attrColumns, foldedIno } from '../sql/columns.ts'
import type { FactRow } from '../sql/fact-rows.ts'
import { type Bound, characters, type Place } from './statement.ts'
import type { Tables } from './tables.ts'

/** a chain of parents longer than this is a loop */
export const DEEPEST = 4096
const TRASH = '9223372032828243968'

export const numbers = (...columns: string[]): string => `concat_ws(',', ${columns.join(', ')})`
/** The 8 bytes of a lock owner. */
const OWNER = `unhex(lpad(hex(owner), 16, '0'))`
export const ownerWith = (bytes?: string): string => (bytes === undefined ? OWNER : `concat(${OWNER}, ${bytes})`)
/** Characters as the bytes of their UTF-8: compared like this, no collation says that two of them are the same. */
export const utf8 = (column: string): string => `CAST(CONVERT(${column} USING utf8mb4) AS BINARY)`
/** Of the node's attributes, and whether it is there. */
export const nodeNumbers = (alias: string, tables: Tables): string => attrColumns(alias, tables.nodeColumns, 'DIV')
const NO_NUMBERS = `''`
const NO_BYTES = 'NULL'

/** Reads of one fact that stands in rows of its own. */
export type Question = Exclude<Read, { kind: 'aclId' }>

/** The SELECT of question `i`; `valuesOf` has its values, in the order of the places. */
export function questionOf(read: Question, i: number, tables: Tables, $: Place): string {
  const t = tables.name
  const select = (n: string, b: string, rest: string): string => `SELECT ${i} AS i, ${n} AS n, ${b} AS b FROM ${rest}`
  switch (read.kind) {
    case 'node':
      return select(numbers(nodeNumbers('', tables)), NO_BYTES, `${t('node')} WHERE inode = ${$()}`)
    case 'dentry': {
      const target = [foldedIno('e.inode'), 'e.type', 'n.inode IS NOT NULL']
      const empty = read.empty === true ? `EXISTS (SELECT 1 FROM ${t('edge')} c WHERE c.parent = e.inode)` : '0'
      return select(
        numbers(...target, empty, nodeNumbers('n.', tables)),
        NO_BYTES,
        `${t('edge')} e LEFT JOIN ${t('node')} n ON n.inode = e.inode WHERE e.parent = ${$()} AND e.name = ${$()}`,
      )
    }
    case 'chunk':
      return select(NO_NUMBERS, 'slices', `${t('chunk')} WHERE inode = ${$()} AND indx = ${$()}`)
    case 'chunkIndexes':
      return select(
        numbers('indx'),
        NO_BYTES,
        `${t('chunk')} WHERE inode = ${$()} AND indx >= ${$()} AND indx < ${$()}`,
      )
    case 'symlink':
      return select(NO_NUMBERS, 'target', `${t('symlink')} WHERE inode = ${$()}`)
    case 'xattr':
      return select(NO_NUMBERS, 'value', `${t('xattr')} WHERE inode = ${$()} AND ${utf8('name')} = ${$()}`)
    case 'xattrNames':
      return select(NO_NUMBERS, utf8('name'), `${t('xattr')} WHERE inode = ${$()}`)
    case 'flocks':
      return select(numbers('sid', 'ltype'), ownerWith(), `${t('flock')} WHERE inode = ${$()}`)
    case 'plocks':
      return select(numbers('sid'), ownerWith('records'), `${t('plock')} WHERE inode = ${$()}`)
    case 'parents':
      return select(
        numbers(foldedIno('parent'), 'count(*)'),
        NO_BYTES,
        `${t('edge')} WHERE inode = ${$()} GROUP BY parent`,
      )
    case 'ancestors':
      // Inside a table of its own: a WITH cannot stand in a UNION everywhere.
      return select(
        numbers(foldedIno('inode'), 'depth'),
        NO_BYTES,
        `(WITH RECURSIVE up(inode, parent, depth) AS (
          SELECT inode, coalesce(parent, 0), 0 FROM ${t('node')} WHERE inode = ${$()}
          UNION ALL SELECT n.inode, coalesce(n.parent, 0), up.depth + 1 FROM up JOIN ${t('node')} n ON n.inode = up.parent
            WHERE up.inode <> 1 AND up.inode < ${TRASH} AND up.depth < ${DEEPEST})
        SELECT inode, depth FROM up) AS line`,
      )
    case 'aclRule':
      return select(
        numbers(
          ...['owner', '`group`', 'mask', 'other'].map(column => `coalesce(${column}, 0)`),
          'coalesce(length(named_users), 0)',
        ),
        `concat(coalesce(named_users, x''), coalesce(named_groups, x''))`,
        `${t('acl')} WHERE id = ${$()}`,
      )
    case 'sliceRefs':
      return select(numbers('refs'), NO_BYTES, `${t('chunk_ref')} WHERE chunkid = ${$()} AND size = ${$()}`)
    case 'sustained':
      return select(NO_NUMBERS, NO_BYTES, `${t('sustained')} WHERE sid = ${$()} AND inode = ${$()}`)
    case 'deadFile':
      return select(numbers('length', 'expire'), NO_BYTES, `${t('delfile')} WHERE inode = ${$()}`)
    case 'trashedSlices':
      return select(NO_NUMBERS, 'slices', `${t('delslices')} WHERE chunkid = ${$()} AND deleted = ${$()}`)
    case 'dirUsage': {
      const columns = numbers('data_length', 'used_space', 'used_inodes')
      return select(columns, NO_BYTES, `${t('dir_stats')} WHERE inode = ${$()}`)
    }
    case 'quota': {
      const columns = numbers('max_space', 'max_inodes', 'used_space', 'used_inodes')
      return read.type === QUOTA_DIR
        ? select(columns, NO_BYTES, `${t('dir_quota')} WHERE inode = ${$()}`)
        : select(columns, NO_BYTES, `${t('user_group_quota')} WHERE qtype = ${$()} AND qkey = ${$()}`)
    }
    case 'counter':
      return select(
        numbers(`coalesce((SELECT value FROM ${t('counter')} WHERE name = ${$()}), 0)`),
        NO_BYTES,
        '(SELECT 0) AS one',
      )
    case 'session':
      return select(numbers('expire'), 'info', `${t('session2')} WHERE sid = ${$()}`)
    case 'format':
      return select(NO_NUMBERS, utf8('value'), `${t('setting')} WHERE name = 'format'`)
  }
}

export function valuesOf(read: Question): Bound[] {
  switch (read.kind) {
    case 'dentry':
      return [inoToString(read.parent), nameToBytes(read.name)]
    case 'chunk':
      return [inoToString(read.ino), read.index]
    case 'chunkIndexes':
      return [inoToString(read.ino), read.from, read.to]
    case 'xattr':
      return [inoToString(read.ino), nameToBytes(read.name)]
    case 'aclRule':
      return [read.id]
    case 'sliceRefs':
      return [read.id, read.size]
    case 'sustained':
      return [read.sid, inoToString(read.ino)]
    case 'trashedSlices':
      return [read.id, read.at]
    case 'quota':
      return read.type === QUOTA_DIR ? [inoToString(read.key as Ino)] : [read.type, read.key]
    case 'counter':
      return [characters(read.name)]
    case 'session':
      return [read.sid]
    case 'format':
      return []
    default:
      return [inoToString(read.ino)]
  }
}

/** Columns n and b as the driver gives them. */
export const rowFrom = (n: unknown, b: unknown): FactRow => ({
  n: n === '' ? [] : String(n).split(',').map(Number),
  b: Buffer.isBuffer(b) ? b : null,
})

/** Puts the rows of one question into the order of the fact. */
export function sortRows(read: Question, rows: FactRow[]): void {
  if (rows.length < 2) return
  const key = read.kind === 'ancestors' ? 1 : 0
  rows.sort((x, y) => (x.n[key] ?? 0) - (y.n[key] ?? 0) || Buffer.compare(x.b ?? NOTHING, y.b ?? NOTHING))
}
const NOTHING = Buffer.alloc(0)
