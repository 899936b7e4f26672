/** How facts are spelled in columns (spec meta-sql, "Encodings"), and how numbers cross the border to SQLite exactly.
 *
 *  A JavaScript number reaches SQLite as a REAL, and a 64-bit integer comes back rounded to a double. Therefore:
 *  - columns of INTEGER affinity turn an integral REAL below 2^53 back into an integer, stored and compared (tested);
 *  - inodes of the trash are folded in SQL on the way out (`foldedIno`) and bound as BigInt on the way in (`bindIno`):
 *    a lookup costs 4 µs this way, and as much with `safeIntegers`, which makes 21 BigInts a row;
 *  - times are split into seconds and microseconds in SQL, since microseconds leave the doubles in the year 2255;
 *  - lock owners travel as their 16 hex digits. */

import type { Time } from '../../../base/clock.ts'
import { Fault } from '../../../base/fault.ts'
import { type Ino, inoToBigInt, inoToString, isSpecial } from '../../../base/ino.ts'
import type { AclEntry, AclRule } from '../../model/acl.ts'
import type { Attr } from '../../model/attr.ts'

/** a row as `.raw()` returns it */
export type Row = readonly unknown[]

/** base/ino.ts in SQL: 0x7FFFFFFF_00000000 and above becomes 2^52 + low word. */
export const foldedIno = (column: string): string =>
  `iif(${column} >= 9223372032559808512, ${column} - 9218868432932438016, ${column})`

export const bindIno = (ino: Ino): number | bigint => (isSpecial(ino) ? inoToBigInt(ino) : ino)

const NODE_COLUMNS = [
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
export const ATTR_WIDTH = NODE_COLUMNS.length + 3

/** What to select of a node for `attrFromRow`. `alias`: '' or `n.`. Columns that an old volume lacks read as 0. */
export const attrColumns = (alias: string, present: ReadonlySet<string>): string =>
  NODE_COLUMNS.map(name => {
    const column = alias + name
    if (!present.has(name)) return '0'
    if (name === 'atime' || name === 'mtime' || name === 'ctime') return `${column} / 1000000, ${column} % 1000000`
    return name === 'parent' ? foldedIno(`ifnull(${column}, 0)`) : `ifnull(${column}, 0)`
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

/** SQLite's division truncates, so before 1970 the microseconds are negative. */
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

/** A node's columns for INSERT and UPDATE, in the order of `nodeValues`. */
export const NODE_NAMES = NODE_COLUMNS.join(', ')
export const NODE_PLACES = NODE_COLUMNS.map(() => '?').join(', ')
export const NODE_ASSIGNMENTS = NODE_COLUMNS.map(name => `${name} = ?`).join(', ')
export const nodeValues = (attr: Attr): (number | bigint)[] => [
  attr.type,
  attr.flags,
  attr.mode,
  attr.uid,
  attr.gid,
  microsOf(attr.atime),
  microsOf(attr.mtime),
  microsOf(attr.ctime),
  nanosOf(attr.atime),
  nanosOf(attr.mtime),
  nanosOf(attr.ctime),
  attr.nlink,
  attr.length,
  attr.rdev,
  bindIno(attr.parent),
  attr.accessAcl,
  attr.defaultAcl,
  attr.tier,
]

/** Lock owners are unsigned 64-bit, stored in a signed column. */
export const ownerColumn = "printf('%016x', owner)"
export const bindOwner = (owner: string): bigint => BigInt.asIntN(64, BigInt(`0x${owner}`))

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

/** A BLOB column that may be NULL. */
export const bytesOf = (column: unknown): Buffer => (Buffer.isBuffer(column) ? column : Buffer.alloc(0))
