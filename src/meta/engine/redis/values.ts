/** Values that are small enough to be taken apart in a line or two. */

import { Fault } from '../../../base/fault.ts'
import { type Ino, inoFromHalves, inoHigh, inoLow } from '../../../base/ino.ts'
import type { Quota } from '../../facts.ts'
import type { Reply } from './instruction.ts'

/** type u8, inode u64 */
const ENTRY_BYTES = 9

export function encodeEntry(ino: Ino, type: number): Buffer {
  const bytes = Buffer.alloc(ENTRY_BYTES)
  bytes.writeUInt8(type, 0)
  bytes.writeUInt32BE(inoHigh(ino), 1)
  bytes.writeUInt32BE(inoLow(ino), 5)
  return bytes
}
export function decodeEntry(bytes: Buffer): { readonly ino: Ino; readonly type: number } {
  if (bytes.length < ENTRY_BYTES)
    throw new Fault(`damaged directory entry: ${bytes.length} bytes`, { isPermanent: true })
  return { ino: inoFromHalves(bytes.readUInt32BE(5), bytes.readUInt32BE(1)), type: bytes.readUInt8(0) }
}

/** maxSpace i64, maxInodes i64 */
export function encodeLimits({ maxSpace, maxInodes }: Pick<Quota, 'maxSpace' | 'maxInodes'>): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeBigInt64BE(BigInt(maxSpace), 0)
  bytes.writeBigInt64BE(BigInt(maxInodes), 8)
  return bytes
}
export function decodeLimits(bytes: Buffer): Pick<Quota, 'maxSpace' | 'maxInodes'> {
  if (bytes.length < 16) throw new Fault(`damaged quota: ${bytes.length} bytes`, { isPermanent: true })
  return { maxSpace: Number(bytes.readBigInt64BE(0)), maxInodes: Number(bytes.readBigInt64BE(8)) }
}
/** of users and groups without limits */
export const NO_LIMITS = Buffer.alloc(16, 0xff)

/** Decimal text, or 0 where there is none. */
export const numberOf = (reply: Reply | undefined): number => {
  if (typeof reply === 'number') return reply
  const value = Buffer.isBuffer(reply) ? Number(reply.toString('latin1')) : 0
  if (Number.isNaN(value)) throw new Fault('a counter is no number', { isPermanent: true })
  return value
}
export const bytesOf = (reply: Reply | undefined): Buffer | null => (Buffer.isBuffer(reply) ? reply : null)
export const listOf = (reply: Reply | undefined): readonly Reply[] => (Array.isArray(reply) ? reply : [])
/** Elements of a list that holds nothing but bulk strings. */
export const buffersOf = (reply: Reply | undefined): Buffer[] => listOf(reply).filter(each => Buffer.isBuffer(each))
export const textOf = (bytes: Buffer): string => bytes.toString('latin1')
/** Fields and values, members and scores, that come one after the other. */
export function pairsOf(reply: Reply | undefined): [Buffer, Buffer][] {
  const all = buffersOf(reply)
  return all.flatMap((each, i): [Buffer, Buffer][] => (i % 2 === 0 ? [[each, all[i + 1]!]] : []))
}
