/** POSIX record locks as a list of ranges a holder: sorted, disjoint, neighbours of one kind merged
 *  (spec meta-model section 15). Stored as 24-byte records, big-endian, the types as Linux numbers them:
 *
 *     0      4     8         16        24
 *     ├─type─┼─pid─┼──start──┼───end───┤      end inclusive; 2^63 − 1 = to the end of the file, however far that is
 *
 *  In memory "to the end" is Number.MAX_SAFE_INTEGER, and so is every offset beyond what a double counts exactly. */

import { readU64, writeU64 } from '../../base/bytes.ts'
import { Fault } from '../../base/fault.ts'
import type { PlockHolder } from '../facts.ts'
import type { Plock } from '../meta.ts'

export const TO_EOF = Number.MAX_SAFE_INTEGER
const RECORD_BYTES = 24
const STORED_TO_EOF = 0x7fffffffffffffffn
const F_RDLCK = 0
const F_WRLCK = 1

export interface LockedRange {
  readonly type: 'R' | 'W'
  readonly pid: number
  readonly start: number
  readonly end: number
}

/** Fault (EIO) on a length that is no multiple of 24. Unlocked and empty records are left out. */
export function decodePlocks(bytes: Buffer): LockedRange[] {
  if (bytes.length % RECORD_BYTES !== 0) throw new Fault(`damaged lock record of ${bytes.length} bytes`)
  const ranges: LockedRange[] = []
  for (let at = 0; at < bytes.length; at += RECORD_BYTES) {
    const type = bytes.readUInt32BE(at)
    const start = Math.min(readU64(bytes, at + 8), TO_EOF)
    const end = Math.min(readU64(bytes, at + 16), TO_EOF)
    if (type > F_WRLCK || end < start) continue
    ranges.push({ type: type === F_WRLCK ? 'W' : 'R', pid: bytes.readUInt32BE(at + 4), start, end })
  }
  return ranges
}

export function encodePlocks(ranges: readonly LockedRange[]): Buffer {
  const bytes = Buffer.allocUnsafe(ranges.length * RECORD_BYTES)
  ranges.forEach(({ type, pid, start, end }, i) => {
    const at = i * RECORD_BYTES
    bytes.writeUInt32BE(type === 'W' ? F_WRLCK : F_RDLCK, at)
    bytes.writeUInt32BE(pid, at + 4)
    writeU64(bytes, start, at + 8)
    if (end === TO_EOF) bytes.writeBigUInt64BE(STORED_TO_EOF, at + 16)
    else writeU64(bytes, end, at + 16)
  })
  return bytes
}

/** One holder's ranges after `lock` was set over (or, U, taken out of) them. */
export function applyPlock(ranges: readonly LockedRange[], lock: Plock): LockedRange[] {
  const cut: LockedRange[] = []
  for (const held of ranges) {
    if (held.end < lock.start || held.start > lock.end) {
      cut.push(held)
      continue
    }
    if (held.start < lock.start) cut.push({ ...held, end: lock.start - 1 })
    if (held.end > lock.end) cut.push({ ...held, start: lock.end + 1 })
  }
  if (lock.type !== 'U') cut.push({ type: lock.type, pid: lock.pid, start: lock.start, end: lock.end })
  cut.sort((a, b) => a.start - b.start)
  return mergeTouching(cut)
}

function mergeTouching(sorted: readonly LockedRange[]): LockedRange[] {
  const merged: LockedRange[] = []
  for (const range of sorted) {
    const last = merged[merged.length - 1]
    if (last && last.type === range.type && last.pid === range.pid && last.end + 1 === range.start) {
      merged[merged.length - 1] = { ...last, end: range.end }
    } else merged.push(range)
  }
  return merged
}

export interface PlockConflict {
  readonly sid: number
  readonly range: LockedRange
}

/** The first range of another holder that forbids `lock`: they intersect, and one of the two writes. */
export function plockConflict(
  holders: readonly PlockHolder[],
  sid: number,
  owner: string,
  lock: Plock,
): PlockConflict | undefined {
  if (lock.type === 'U') return undefined
  for (const holder of holders) {
    if (holder.sid === sid && holder.owner === owner) continue
    for (const range of decodePlocks(holder.records)) {
      const intersects = range.start <= lock.end && range.end >= lock.start
      if (intersects && (range.type === 'W' || lock.type === 'W')) return { sid: holder.sid, range }
    }
  }
  return undefined
}
