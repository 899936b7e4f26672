/** copy_file_range(2) without moving a byte: the target names the source's slices again.
 *
 *      source chunk   ├── 7 ──┤8├─ 7 ─┤ zeros ├─ 7 ─┤        what a reader sees of the range, holes written out,
 *      target chunks      ├── 7 ──┤8├─ 7 ┊ 7 ┤ zeros ├─ 7 ─┤  cut at the target's chunk borders, appended
 */

import { assert } from '../../base/assert.ts'
import { EFBIG, EINVAL, ENOENT, EPERM, EROFS, isErrno } from '../../base/errno.ts'
import type { Ino } from '../../base/ino.ts'
import { type Change, chunk, done, gather, node, type Operation } from '../facts.ts'
import { type Attr, TYPE_FILE } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import {
  buildView,
  CHUNK_BYTES,
  decodeRecords,
  encodeRecords,
  MAX_FILE_BYTES,
  type SliceRecord,
} from '../model/slice.ts'
import type { Volume } from '../model/volume.ts'
import { chunkIndex } from '../rules/chunks.ts'
import { isProtected } from '../rules/permission.ts'
import { chargeLength } from './growth.ts'

/** records appended by one operation; the rest of the range is left to the next */
const MAX_RECORDS = 1000
/** source chunks looked at by one operation (4 GiB, more than the kernel asks for) */
const MAX_CHUNKS = 64
/** a chunk before anything is written to it; every hole of it becomes an explicit record */
const ZEROS: SliceRecord = { pos: 0, id: 0, size: 0, off: 0, len: CHUNK_BYTES }

export interface Place {
  readonly ino: Ino
  readonly offset: number
}
export interface RangeCopied {
  /** bytes; less than asked for at the source's end, or where the operation would grow too large: ask again */
  readonly copied: number
  readonly target: Attr
  /** the target as it was just before */
  readonly before: Attr
  /** indexes of the target's chunks that changed */
  readonly chunks: readonly number[]
  /** lengths of their lists now */
  readonly records: readonly number[]
}

/** EINVAL (no regular file; ranges of one file that overlap), EFBIG, EROFS, ENOENT, EPERM (target immutable or
 *  append-only), EDQUOT, ENOSPC. Beyond the source's end nothing is copied and nothing changes. One gather as writeSlice. */
export function* copyRange(
  volume: Volume,
  caller: Caller,
  source: Place,
  target: Place,
  length: number,
): Operation<RangeCopied> {
  if (source.offset < 0 || target.offset < 0 || length < 0) return EINVAL
  if (source.offset + length >= MAX_FILE_BYTES || target.offset + length >= MAX_FILE_BYTES) return EFBIG
  if (source.ino === target.ino && Math.abs(source.offset - target.offset) < length) return EINVAL
  if (volume.readOnly) return EROFS
  const first = chunkIndex(source.offset)
  const last = Math.min(chunkIndex(source.offset + Math.max(length, 1) - 1), first + MAX_CHUNKS - 1)
  const lists = Array.from({ length: last - first + 1 }, (_, i) => chunk(source.ino, first + i))
  const [from, before, ...stored] = yield* gather(node(source.ino), node(target.ino), ...lists)
  if (!from || !before) return ENOENT
  if (from.type !== TYPE_FILE || before.type !== TYPE_FILE) return EINVAL
  if (isProtected(before)) return EPERM
  const sourceEnd = Math.min(source.offset + length, from.length, (last + 1) * CHUNK_BYTES)
  if (source.offset >= sourceEnd) return done({ copied: 0, target: before, before, chunks: [], records: [] })

  const { appended, copied } = collect(stored, first, source.offset, sourceEnd, target.offset)
  const end = target.offset + copied
  const newLength = Math.max(before.length, end)
  const charges = yield* chargeLength(volume, target.ino, before, newLength)
  if (isErrno(charges)) return charges
  const changes: Change[] = []
  for (const [index, records] of appended) {
    changes.push({ kind: 'appendSlices', ino: target.ino, index, records: encodeRecords(records) })
    for (const { id, size } of records) if (id > 0) changes.push({ kind: 'refSlice', id, size, delta: 1 })
  }
  const times = { mtime: caller.now, ctime: caller.now }
  changes.push({ kind: 'extendNode', ino: target.ino, length: end, ...times }, ...charges)
  const attr: Attr = { ...before, length: newLength, ...times }
  const value = { copied, target: attr, before, chunks: [...appended.keys()] }
  const lengths = (results: readonly (number | undefined)[]): number[] =>
    results.flatMap((result, i) => (changes[i]!.kind === 'appendSlices' ? [result!] : []))
  return done(results => ({ ...value, records: lengths(results) }), changes)
}

/** The target's new records by chunk, for `[start, end)` of the source, until there are enough of them. */
function collect(
  stored: readonly (Buffer | null)[],
  firstIndex: number,
  start: number,
  end: number,
  targetStart: number,
): { appended: Map<number, SliceRecord[]>; copied: number } {
  const appended = new Map<number, SliceRecord[]>()
  let count = 0
  let at = start
  for (const [i, bytes] of stored.entries()) {
    const base = (firstIndex + i) * CHUNK_BYTES
    for (const segment of buildView([ZEROS, ...(bytes === null ? [] : decodeRecords(bytes))])) {
      const segmentEnd = Math.min(base + segment.pos + segment.len, end)
      while (at < segmentEnd) {
        if (count === MAX_RECORDS) return { appended, copied: at - start }
        const to = targetStart + (at - start)
        const index = chunkIndex(to)
        const pos = to - index * CHUNK_BYTES
        const len = Math.min(segmentEnd - at, CHUNK_BYTES - pos)
        const { id, size } = segment
        const record = { pos, id, size, off: segment.off + (at - base - segment.pos), len }
        const records = appended.get(index)
        if (records) records.push(record)
        else appended.set(index, [record])
        count++
        at += len
      }
    }
  }
  assert(at === end, 'the views of the source chunks cover the whole range')
  return { appended, copied: end - start }
}
