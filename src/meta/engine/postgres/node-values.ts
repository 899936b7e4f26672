/** A node's columns as they are bound. PostgreSQL's integers are signed: a uid, gid or device number of 2^31 and more cannot
 *  be stored, as in the reference (spec meta-sql section 2). */

import { EOVERFLOW } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import type { Attr } from '../../model/attr.ts'
import { microsOf, NODE_COLUMNS, nanosOf } from '../sql/columns.ts'
import type { Bound } from './flight.ts'

const LARGEST_INT = 2 ** 31 - 1

/** Fault (EOVERFLOW) where the number does not fit into the column. */
export function intBound(ino: Ino, name: string, value: number): string {
  if (value > LARGEST_INT) {
    throw new Fault(`store inode ${inoToString(ino)}: ${name} ${value} is beyond 2^31 − 1, PostgreSQL cannot hold it`, {
      errno: EOVERFLOW,
    })
  }
  return String(value)
}

export function nodeBound(ino: Ino, attr: Attr, column: string): Bound {
  switch (column) {
    case 'type':
      return String(attr.type)
    case 'flags':
      return String(attr.flags)
    case 'mode':
      return String(attr.mode)
    case 'uid':
      return intBound(ino, 'uid', attr.uid)
    case 'gid':
      return intBound(ino, 'gid', attr.gid)
    case 'atime':
      return String(microsOf(attr.atime))
    case 'mtime':
      return String(microsOf(attr.mtime))
    case 'ctime':
      return String(microsOf(attr.ctime))
    case 'atimensec':
      return String(nanosOf(attr.atime))
    case 'mtimensec':
      return String(nanosOf(attr.mtime))
    case 'ctimensec':
      return String(nanosOf(attr.ctime))
    case 'nlink':
      return intBound(ino, 'nlink', attr.nlink)
    case 'length':
      return String(attr.length)
    case 'rdev':
      return intBound(ino, 'rdev', attr.rdev)
    case 'parent':
      return inoToString(attr.parent)
    case 'access_acl_id':
      return String(attr.accessAcl)
    case 'default_acl_id':
      return String(attr.defaultAcl)
    default:
      return String(attr.tier)
  }
}

/** All of them, in the order of NODE_COLUMNS. */
export const nodeBounds = (ino: Ino, attr: Attr): Bound[] => NODE_COLUMNS.map(column => nodeBound(ino, attr, column))
