/** A node's columns as they are bound. MySQL's INT is signed: a uid, gid or device number of 2^31 and more cannot be stored, as
 *  in the reference (spec meta-sql section 2). */

import { EOVERFLOW } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import type { Attr } from '../../model/attr.ts'
import { microsOf, NODE_COLUMNS, nanosOf } from '../sql/columns.ts'
import type { Bound } from './statement.ts'

const LARGEST_INT = 2 ** 31 - 1

/** Fault (EOVERFLOW) where the number does not fit into the column. */
function intBound(ino: Ino, name: string, value: number): Bound {
  if (value > LARGEST_INT) {
    throw new Fault(`store inode ${inoToString(ino)}: ${name} ${value} is beyond 2^31 − 1, MySQL cannot hold it`, {
      errno: EOVERFLOW,
    })
  }
  return value
}

export function nodeBound(ino: Ino, attr: Attr, column: string): Bound {
  switch (column) {
    case 'type':
      return attr.type
    case 'flags':
      return attr.flags
    case 'mode':
      return attr.mode
    case 'uid':
      return intBound(ino, 'uid', attr.uid)
    case 'gid':
      return intBound(ino, 'gid', attr.gid)
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
      return intBound(ino, 'nlink', attr.nlink)
    case 'length':
      return attr.length
    case 'rdev':
      return intBound(ino, 'rdev', attr.rdev)
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
export const nodeBounds = (ino: Ino, attr: Attr): Bound[] => NODE_COLUMNS.map(column => nodeBound(ino, attr, column))
