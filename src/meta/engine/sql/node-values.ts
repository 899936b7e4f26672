/** A node's columns as they are bound. The servers' integers are signed: a uid, gid or device number of 2^31 and more cannot be
 *  stored, as in the reference (spec meta-sql section 2). */

import { EOVERFLOW } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import type { Attr } from '../../model/attr.ts'
import { microsOf, NODE_COLUMNS, nanosOf } from './columns.ts'

const LARGEST_INT = 2 ** 31 - 1

/** A number, or its digits. */
export type NodeValue = number | bigint | string

/** The value of one column. Fault (EOVERFLOW) where the number does not fit into the column of this `server`. */
export function nodeValue(ino: Ino, attr: Attr, column: string, server: 'MySQL' | 'PostgreSQL'): NodeValue {
  const int = (value: number): number => {
    if (value <= LARGEST_INT) return value
    const what = `store inode ${inoToString(ino)}: ${column} ${value} is beyond 2^31 − 1, ${server} cannot hold it`
    throw new Fault(what, { errno: EOVERFLOW })
  }
  switch (column) {
    case 'type':
      return attr.type
    case 'flags':
      return attr.flags
    case 'mode':
      return attr.mode
    case 'uid':
      return int(attr.uid)
    case 'gid':
      return int(attr.gid)
    case 'atime':
      return microsOf(attr.atime)
    case 'mtime':
      return microsOf(attr.mtime)
    case 'ctime':
      return microsOf(attr.ctime)
    case 'atimensec':
      return nanosOf(attr.atime)
    case 'mtimensec':
      return nanosOf(attr.mtime)
    case 'ctimensec':
      return nanosOf(attr.ctime)
    case 'nlink':
      return int(attr.nlink)
    case 'length':
      return attr.length
    case 'rdev':
      return int(attr.rdev)
    case 'parent':
      return inoToString(attr.parent)
    case 'access_acl_id':
      return attr.accessAcl
    case 'default_acl_id':
      return attr.defaultAcl
    default:
      return attr.tier
  }
}

/** All of them, in the order of NODE_COLUMNS. */
export const nodeValues = (ino: Ino, attr: Attr, server: 'MySQL' | 'PostgreSQL'): NodeValue[] =>
  NODE_COLUMNS.map(column => nodeValue(ino, attr, column, server))
