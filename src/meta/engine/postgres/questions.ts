/** How each kind of fact is asked for.
 *
 *  Every question is a SELECT of the same three columns, so that the questions of a gather make one statement and are
 *  answered from one snapshot:
 *
 *      i   which question                 n   numbers, as the text of a bigint[]      b   bytes, as hexadecimal digits
 *
 *  sql/fact-rows.ts makes facts of such rows. */

import { nameToBytes } from '../../../base/bytes.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import { QUOTA_DIR, type Read } from '../../facts.ts'
import { attrColumns, foldedIno } from '../sql/columns.ts'
import type { FactRow } from '../sql/fact-rows.ts'
import type { Bound } from './flight.ts'
import type { Tables } from './tables.ts'

/** a chain of parents longer than this is a loop */
const DEEPEST = 4096
const TRASH = '9223372032828243968'

/** Gives the place of the next value: `$3::bigint`. */
export type Place = (type: 'bigint' | 'int' | 'text' | 'bytea') => string

const numbers = (...columns: string[]): string => `ARRAY[${columns.join(', ')}]::bigint[]::text`
const bytes = (column: string): string => `encode(${column}, 'hex')`
const NO_NUMBERS = `'{}'`
const NO_BYTES = 'NULL::text'

/** The SELECT of question `i`; `valuesOf` has its values, in the order of the places. */
export function questionOf(read: Exclude<Read, { kind: 'aclId' }>, i: number, tables: Tables, $: Place): string {
  const t = tables.name
  const select = (n: string, b: string, rest: string): string => `SELECT ${i} AS i, ${n} AS n, ${b} AS b FROM ${rest}`
  switch (read.kind) {
    case 'node':
      return select(numbers(attrColumns('', tables.nodeColumns)), NO_BYTES, `${t('node')} WHERE inode = ${$('bigint')}`)
    case 'dentry': {
      const target = [foldedIno('e.inode'), 'e.type', '(n.inode IS NOT NULL)::int']
      const empty = read.empty === true ? `EXISTS (SELECT FROM ${t('edge')} c WHERE c.parent = e.inode)::int` : '0'
      return select(
        numbers(...target, empty, attrColumns('n.', tables.nodeColumns)),
        NO_BYTES,
        `${t('edge')} e LEFT JOIN ${t('node')} n ON n.inode = e.inode
          WHERE e.parent = ${$('bigint')} AND e.name = ${$('bytea')}`,
      )
    }
    case 'chunk':
      return select(
        NO_NUMBERS,
        bytes('slices'),
        `${t('chunk')} WHERE inode = ${$('bigint')} AND indx = ${$('bigint')}`, // 2^32 − 1 may be asked for
      )
    case 'chunkIndexes':
      return select(
        numbers('indx'),
        NO_BYTES,
        `${t('chunk')} WHERE inode = ${$('bigint')} AND indx >= ${$('bigint')} AND indx < ${$('bigint')} ORDER BY indx`,
      )
    case 'symlink':
      return select(NO_NUMBERS, bytes('target'), `${t('symlink')} WHERE inode = ${$('bigint')}`)
    case 'xattr':
      return select(NO_NUMBERS, bytes('value'), `${t('xattr')} WHERE inode = ${$('bigint')} AND name = ${$('text')}`)
    case 'xattrNames':
      return select(
        NO_NUMBERS,
        bytes(`convert_to(name, 'UTF8')`),
        `${t('xattr')} WHERE inode = ${$('bigint')} ORDER BY name COLLATE "C"`,
      )
    case 'flocks':
      return select(
        numbers('sid', 'ltype'),
        bytes('int8send(owner)'),
        `${t('flock')} WHERE inode = ${$('bigint')} ORDER BY sid, owner`,
      )
    case 'plocks':
      return select(
        numbers('sid'),
        bytes('int8send(owner) || records'),
        `${t('plock')} WHERE inode = ${$('bigint')} ORDER BY sid, owner`,
      )
    case 'parents':
      return select(
        numbers(foldedIno('parent'), 'count(*)'),
        NO_BYTES,
        `${t('edge')} WHERE inode = ${$('bigint')} GROUP BY parent ORDER BY parent`,
      )
    case 'ancestors':
      return `WITH RECURSIVE up(inode, parent, depth) AS (
          SELECT inode, coalesce(parent, 0), 0 FROM ${t('node')} WHERE inode = ${$('bigint')}
          UNION ALL SELECT n.inode, coalesce(n.parent, 0), up.depth + 1 FROM up JOIN ${t('node')} n ON n.inode = up.parent
            WHERE up.inode <> 1 AND up.inode < ${TRASH} AND up.depth < ${DEEPEST})
        ${select(numbers(foldedIno('inode')), NO_BYTES, 'up ORDER BY depth')}`
    case 'aclRule':
      return select(
        numbers(
          ...['owner', '"group"', 'mask', 'other'].map(column => `coalesce(${column}, 0)`),
          'coalesce(length(named_users), 0)',
        ),
        bytes(`coalesce(named_users, '') || coalesce(named_groups, '')`),
        `${t('acl')} WHERE id = ${$('bigint')}`,
      )
    case 'sliceRefs':
      return select(
        numbers('refs'),
        NO_BYTES,
        `${t('chunk_ref')} WHERE chunkid = ${$('bigint')} AND size = ${$('bigint')}`,
      )
    case 'sustained':
      return select(NO_NUMBERS, NO_BYTES, `${t('sustained')} WHERE sid = ${$('bigint')} AND inode = ${$('bigint')}`)
    case 'deadFile':
      return select(numbers('length', 'expire'), NO_BYTES, `${t('delfile')} WHERE inode = ${$('bigint')}`)
    case 'trashedSlices':
      return select(
        NO_NUMBERS,
        bytes('slices'),
        `${t('delslices')} WHERE chunkid = ${$('bigint')} AND deleted = ${$('bigint')}`,
      )
    case 'dirUsage':
      return select(
        numbers('data_length', 'used_space', 'used_inodes'),
        NO_BYTES,
        `${t('dir_stats')} WHERE inode = ${$('bigint')}`,
      )
    case 'quota': {
      const columns = numbers('max_space', 'max_inodes', 'used_space', 'used_inodes')
      return read.type === QUOTA_DIR
        ? select(columns, NO_BYTES, `${t('dir_quota')} WHERE inode = ${$('bigint')}`)
        : select(columns, NO_BYTES, `${t('user_group_quota')} WHERE qtype = ${$('int')} AND qkey = ${$('bigint')}`)
    }
    case 'counter':
      return select(
        numbers(`coalesce((SELECT value FROM ${t('counter')} WHERE name = ${$('text')}), 0)`),
        NO_BYTES,
        '(VALUES (0)) AS one',
      )
    case 'session':
      return select(numbers('expire'), bytes('info'), `${t('session2')} WHERE sid = ${$('bigint')}`)
    case 'format':
      return select(NO_NUMBERS, bytes(`convert_to(value, 'UTF8')`), `${t('setting')} WHERE name = 'format'`)
  }
}

export function valuesOf(read: Read): Bound[] {
  switch (read.kind) {
    case 'dentry':
      return [inoToString(read.parent), nameToBytes(read.name)]
    case 'chunk':
      return [inoToString(read.ino), String(read.index)]
    case 'chunkIndexes':
      return [inoToString(read.ino), String(read.from), String(read.to)]
    case 'xattr':
      return [inoToString(read.ino), nameToBytes(read.name)]
    case 'aclRule':
      return [String(read.id)]
    case 'sliceRefs':
      return [String(read.id), String(read.size)]
    case 'sustained':
      return [String(read.sid), inoToString(read.ino)]
    case 'trashedSlices':
      return [String(read.id), String(read.at)]
    case 'quota':
      return read.type === QUOTA_DIR ? [inoToString(read.key as Ino)] : [String(read.type), String(read.key)]
    case 'counter':
      return [read.name]
    case 'session':
      return [String(read.sid)]
    case 'format':
    case 'aclId':
      return []
    default:
      return [inoToString(read.ino)]
  }
}

/** Columns n and b of a row as the server sends them. */
export const rowFrom = (n: string, b: string | null): FactRow => ({
  n: n === '{}' ? [] : n.slice(1, -1).split(',').map(Number),
  b: b === null ? null : Buffer.from(b, 'hex'),
})
