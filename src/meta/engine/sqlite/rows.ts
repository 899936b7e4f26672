/** How numbers cross the border to SQLite exactly (what the columns hold is sql/columns.ts's).
 *
 *  A JavaScript number reaches SQLite as a REAL, and a 64-bit integer comes back rounded to a double. Therefore:
 *  - columns of INTEGER affinity turn an integral REAL below 2^53 back into an integer, stored and compared (tested);
 *  - inodes of the trash are folded in SQL on the way out (`foldedIno`) and bound as BigInt on the way in (`bindIno`):
 *    a lookup costs 4 µs this way, and as much with `safeIntegers`, which makes 21 BigInts a row;
 *  - lock owners travel as their 16 hex digits. */

import { type Ino, inoToBigInt, isSpecial } from '../../../base/ino.ts'
import type { Attr } from '../../model/attr.ts'
import { microsOf, NODE_COLUMNS, nanosOf } from '../sql/columns.ts'

export const bindIno = (ino: Ino): number | bigint => (isSpecial(ino) ? inoToBigInt(ino) : ino)

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
