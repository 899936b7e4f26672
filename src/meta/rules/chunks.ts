/** Ranges of a file as ranges of its chunks, and the zero records that make a range read as zeros
 *  (spec meta-model section 9). */

import { CHUNK_BYTES, encodeRecords } from '../model/slice.ts'

/** Stored chunks that one commit zeroes; a file with more of them in the range (64 GiB of data) is zeroed in steps. */
export const CHUNKS_AT_ONCE = 1000

export interface ChunkRange {
  readonly index: number
  /** first byte inside the chunk */
  readonly pos: number
  readonly len: number
}

export const chunkIndex = (offset: number): number => Math.floor(offset / CHUNK_BYTES)

/** One zero record (id 0, no object) over `[pos, pos + len)` of a chunk. */
export const zeroRecord = (pos: number, len: number): Buffer => encodeRecords([{ pos, id: 0, size: 0, off: 0, len }])

/** `[start, end)` of the file inside chunk `index`; the two must overlap. */
export function rangeInChunk(index: number, start: number, end: number): ChunkRange {
  const base = index * CHUNK_BYTES
  const pos = Math.max(start - base, 0)
  return { index, pos, len: Math.min(end - base, CHUNK_BYTES) - pos }
}

/** What truncating from `before` to `after` bytes writes, so that a later extension reads zeros where bytes were:
 *  a zero record in the chunk of the shorter end (even where it has no list), a whole one in every chunk between *that
 *  has a list*, and one in the chunk of the longer end unless that end is a chunk's border. Nothing is removed. */
export function zerosOfTruncate(before: number, after: number, storedBetween: readonly number[]): ChunkRange[] {
  const left = Math.min(before, after)
  const right = Math.max(before, after)
  const first = chunkIndex(left)
  const last = chunkIndex(right)
  const ranges = [rangeInChunk(first, left, right)]
  for (const index of storedBetween) ranges.push({ index, pos: 0, len: CHUNK_BYTES })
  if (last !== first && right % CHUNK_BYTES > 0) ranges.push(rangeInChunk(last, left, right))
  return ranges
}
