/** A node's attributes as one binary record: what Redis stores, and the binary backup (spec meta-model section 2).
 *
 *      0     1           3    7    11         23         35         47     51      59    63      71
 *      ├flags┼type|mode──┼uid─┼gid─┼atime 8+4─┼mtime 8+4─┼ctime 8+4─┼nlink─┼length─┼rdev─┼parent─┼…
 *
 *      … [access ACL u32, default ACL u32]  only where one of them is set
 *        [tier u8]                          only where it is set
 *        0                                  always one byte more than the fields
 *
 *  All big-endian. Old clients wrote 63 and 71 bytes. The byte that ends a record without tier reads as tier 0. What a newer
 *  client may have put behind the tier is kept when the record is rewritten. */

import { TWO_32 } from '../../base/bytes.ts'
import type { Time } from '../../base/clock.ts'
import { Fault } from '../../base/fault.ts'
import { type Ino, inoFromHalves, inoHigh, inoLow, inoToString, NO_INO } from '../../base/ino.ts'
import type { Attr } from './attr.ts'

/** where atime, mtime, ctime, nlink, length and rdev begin */
export const ATIME_AT = 11
export const MTIME_AT = 23
const CTIME_AT = 35
export const NLINK_AT = 47
export const LENGTH_AT = 51
export const RDEV_AT = 59
export const PARENT_AT = 63
const FIXED_BYTES = 63
const PARENT_END = 71
const ACL_BYTES = 8
/** seconds i64, nanoseconds u32 */
const TIME_BYTES = 12

/** Fault (EIO) naming the inode where the bytes are no record. A length beyond 2^53 comes back rounded. */
export function decodeAttr(ino: Ino, bytes: Buffer): Attr {
  if (bytes.length < FIXED_BYTES) throw damaged(ino, `${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const typeAndMode = view.getUint16(1)
  const type = typeAndMode >> 12
  if (type < 1 || type > 7) throw damaged(ino, `type ${type}`)
  const { acl, tier } = tailOf(bytes)
  return {
    type,
    flags: view.getUint8(0),
    mode: typeAndMode & 0o7777,
    uid: view.getUint32(3),
    gid: view.getUint32(7),
    atime: timeAt(view, ATIME_AT),
    mtime: timeAt(view, MTIME_AT),
    ctime: timeAt(view, CTIME_AT),
    nlink: view.getUint32(NLINK_AT),
    length: view.getUint32(LENGTH_AT) * TWO_32 + view.getUint32(LENGTH_AT + 4),
    rdev: view.getUint32(RDEV_AT),
    parent:
      bytes.length >= PARENT_END ? inoFromHalves(view.getUint32(PARENT_AT + 4), view.getUint32(PARENT_AT)) : NO_INO,
    accessAcl: acl < 0 ? 0 : view.getUint32(acl),
    defaultAcl: acl < 0 ? 0 : view.getUint32(acl + 4),
    tier: tier < 0 ? 0 : view.getUint8(tier),
  }
}

/** `before`: the record that this one replaces, for the bytes in it that we do not know; null for a new one. */
export function encodeAttr(attr: Attr, before: Buffer | null): Buffer {
  const unknown = before === null ? null : unknownOf(before)
  const hasAcl = attr.accessAcl !== 0 || attr.defaultAcl !== 0 || unknown?.hasAcl === true
  // Without unknown bytes: the tier where there is one, and one byte of 0.
  const behind = unknown?.bytes ?? Buffer.alloc(attr.tier === 0 ? 0 : 1)
  const bytes = Buffer.alloc(PARENT_END + (hasAcl ? ACL_BYTES : 0) + 1 + behind.length)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  view.setUint8(0, attr.flags)
  view.setUint16(1, (attr.type << 12) | attr.mode)
  view.setUint32(3, attr.uid)
  view.setUint32(7, attr.gid)
  putTime(view, ATIME_AT, attr.atime)
  putTime(view, MTIME_AT, attr.mtime)
  putTime(view, CTIME_AT, attr.ctime)
  view.setUint32(NLINK_AT, attr.nlink)
  view.setUint32(LENGTH_AT, Math.floor(attr.length / TWO_32))
  view.setUint32(LENGTH_AT + 4, attr.length % TWO_32)
  view.setUint32(RDEV_AT, attr.rdev)
  view.setUint32(PARENT_AT, inoHigh(attr.parent))
  view.setUint32(PARENT_AT + 4, inoLow(attr.parent))
  let at = PARENT_END
  if (hasAcl) {
    view.setUint32(at, attr.accessAcl)
    view.setUint32(at + 4, attr.defaultAcl)
    at += ACL_BYTES
  }
  view.setUint8(at, attr.tier)
  bytes.set(behind, at + 1)
  return bytes
}

/** The 12 bytes of a time. */
export function encodeTime(time: Time): Buffer {
  const bytes = Buffer.alloc(TIME_BYTES)
  putTime(new DataView(bytes.buffer, bytes.byteOffset, TIME_BYTES), 0, time)
  return bytes
}

/** Where the optional fields begin; −1 = not there. */
function tailOf(bytes: Buffer): { readonly acl: number; readonly tier: number } {
  const hasAcl = bytes.length >= PARENT_END + ACL_BYTES
  const tier = hasAcl ? PARENT_END + ACL_BYTES : PARENT_END
  return { acl: hasAcl ? PARENT_END : -1, tier: bytes.length > tier ? tier : -1 }
}

/** What lies behind the tier, except for the one byte of 0 that ends every record. */
function unknownOf(bytes: Buffer): { readonly hasAcl: boolean; readonly bytes: Buffer } | null {
  const { acl, tier } = tailOf(bytes)
  if (tier < 0 || bytes.length <= tier + 2) return null
  return { hasAcl: acl >= 0, bytes: bytes.subarray(tier + 1) }
}

/** Seconds are signed. */
const timeAt = (view: DataView, at: number): Time => ({
  sec: view.getInt32(at) * TWO_32 + view.getUint32(at + 4),
  nsec: view.getUint32(at + 8),
})
function putTime(view: DataView, at: number, { sec, nsec }: Time): void {
  view.setInt32(at, Math.floor(sec / TWO_32))
  view.setUint32(at + 4, sec - Math.floor(sec / TWO_32) * TWO_32)
  view.setUint32(at + 8, nsec)
}

const damaged = (ino: Ino, how: string): Fault =>
  new Fault(`the node record of inode ${inoToString(ino)} is damaged: ${how}`, { isPermanent: true })
