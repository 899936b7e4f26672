/** How facts are spelled in columns, the same in every SQL database (spec meta-sql, "Encodings").
 *
 *  Numbers come out of SQL folded and split, so that all of them are exact as doubles: inodes of the trash by `foldedIno`
 *  (base/ino.ts in SQL), times as seconds and microseconds, since microseconds leave the doubles in the year 2255. */

import type { Time } from '../../../base/clock.ts'
import { Fault } from '../../../base/fault.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import type { Quota } from '../../facts.ts'
import type { AclEntry, AclRule } from '../../model/acl.ts'
import type { Attr } from '../../model/attr.ts'

/** a row as an array of its columns */
export type Row = readonly unknown[]

/** base/ino.ts in SQL: 0x7FFFFFFF_00000000 and above becomes 2^52 + low word. */
export const foldedIno = (column: string): string =>
  `CASE WHEN ${column} >= 9223372032559808512 THEN ${column} - 9218868432932438016 ELSE ${column} END`

/** Columns of the node table behind its key, in the order of the table. */
export const NODE_COLUMNS = [
  'type',
  'flags',
  'mode',
  'uid',
  'gid',
  'atime',
  'mtime',
  'ctime',
  'atimensec',
  'mtimensec',
  'ctimensec',
  'nlink',
  'length',
  'rdev',
  'parent',
  'access_acl_id',
  'default_acl_id',
  'tier_id',
] as const
/** how many columns `attrColumns` selects */
const ATTR_WIDTH = NODE_COLUMNS.length + 3

/** What to select of a node for `attrFromRow`. `alias`: '' or `n.`. Columns that an old volume lacks read as 0.
 *  `divide`: the operator of integer division (MySQL's `/` is none). */
export const attrColumns = (alias: string, present: ReadonlySet<string>, divide: '/' | 'DIV' = '/'): string =>
  NODE_COLUMNS.map(name => {
    const column = alias + name
    if (!present.has(name)) return '0'
    if (name === 'atime' || name === 'mtime' || name === 'ctime') {
      return `${column} ${divide} 1000000, ${column} % 1000000`
    }
    return name === 'parent' ? foldedIno(`coalesce(${column}, 0)`) : `coalesce(${column}, 0)`
  }).join(', ')

/** The attributes that start at `row[at]`. Fault (EIO) naming the inode where a column does not hold a number. */
export function attrFromRow(ino: Ino, row: Row, at: number): Attr {
  for (let i = at; i < at + ATTR_WIDTH; i++) if (typeof row[i] !== 'number') throw damaged(ino, 'a column is no number')
  const r = row as readonly number[]
  const type = r[at]!
  if (!(type >= 1 && type <= 7)) throw damaged(ino, `type ${type}`)
  return {
    type,
    flags: r[at + 1]!,
    mode: r[at + 2]!,
    uid: r[at + 3]!,
    gid: r[at + 4]!,
    atime: timeOf(r[at + 5]!, r[at + 6]!, r[at + 11]!),
    mtime: timeOf(r[at + 7]!, r[at + 8]!, r[at + 12]!),
    ctime: timeOf(r[at + 9]!, r[at + 10]!, r[at + 13]!),
    nlink: r[at + 14]!,
    length: r[at + 15]!,
    rdev: r[at + 16]!,
    parent: r[at + 17]! as Ino,
    accessAcl: r[at + 18]!,
    defaultAcl: r[at + 19]!,
    tier: r[at + 20]!,
  }
}

const damaged = (ino: Ino, how: string): Fault =>
  new Fault(`the node record of inode ${inoToString(ino)} is damaged: ${how}`)

/** SQL's division truncates, so before 1970 the microseconds are negative. */
function timeOf(sec: number, micros: number, nanos: number): Time {
  return micros < 0 ? { sec: sec - 1, nsec: (micros + 1e6) * 1000 + nanos } : { sec, nsec: micros * 1000 + nanos }
}

const INT64_MAX = 2n ** 63n - 1n
/** microseconds since 1970; BigInt where a double would round. Beyond ±292,000 years it stays at the end of the column. */
export function microsOf(time: Time): number | bigint {
  const micros = time.sec * 1e6 + Math.floor(time.nsec / 1000)
  if (Number.isSafeInteger(micros)) return micros
  const exact = BigInt(time.sec) * 1_000_000n + BigInt(Math.floor(time.nsec / 1000))
  return exact > INT64_MAX ? INT64_MAX : exact < -INT64_MAX ? -INT64_MAX : exact
}
/** the 0…999 nanoseconds beside the microseconds */
export const nanosOf = (time: Time): number => time.nsec % 1000

export const quotaFromRow = (row: Row, at: number): Quota => ({
  maxSpace: row[at] as number,
  maxInodes: row[at + 1] as number,
  usedSpace: row[at + 2] as number,
  usedInodes: row[at + 3] as number,
})

/** Lock owners are unsigned 64-bit, 16 hex digits here, in a signed column. */
export const signedOwner = (owner: string): bigint => BigInt.asIntN(64, BigInt(`0x${owner}`))

/** ltype is the ASCII code of the letter. */
export const flockTypeOf = (ltype: unknown): 'R' | 'W' => (ltype === 87 ? 'W' : 'R')
export const flockCode = (type: 'R' | 'W'): number => type.charCodeAt(0)

/** n × (id u32, perm u16), without a count. */
export function aclEntries(column: unknown): AclEntry[] {
  const bytes = bytesOf(column)
  if (bytes.length % 6 !== 0) throw new Fault(`damaged ACL rule: ${bytes.length} bytes of entries`)
  const entries: AclEntry[] = []
  for (let at = 0; at < bytes.length; at += 6) {
    entries.push({ id: bytes.readUInt32BE(at), perm: bytes.readUInt16BE(at + 4) })
  }
  return entries
}

export function aclBytes(entries: readonly AclEntry[]): Buffer {
  const bytes = Buffer.alloc(entries.length * 6)
  entries.forEach(({ id, perm }, i) => {
    bytes.writeUInt32BE(id, i * 6)
    bytes.writeUInt16BE(perm, i * 6 + 4)
  })
  return bytes
}

/** The columns that make two rules equal, in the order of the table. */
export const aclValues = (rule: AclRule): (number | Buffer)[] => [
  rule.owner,
  rule.group,
  rule.mask,
  rule.other,
  aclBytes(rule.namedUsers),
  aclBytes(rule.namedGroups),
]

/** A column of bytes that may be NULL. */
export const bytesOf = (column: unknown): Buffer => (Buffer.isBuffer(column) ? column : Buffer.alloc(0))
