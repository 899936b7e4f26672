/** lseek(2) with SEEK_DATA and SEEK_HOLE from the slices of a file: gaps, and slices without an id, are holes. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { ENXIO, type Errno, isErrno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import { chain, type Maybe } from '../base/maybe.ts'
import type { Meta } from '../meta/meta.ts'
import { CHUNK_BYTES, type SliceRecord } from '../meta/model/slice.ts'

/** Chunks looked at by one call (64 GiB). Then the answer is what lseek(2) allows a simple file system: what was not
 *  looked at is data, and the next hole is the end of the file. A file may have 2^31 chunks, nearly all empty. */
const MAX_CHUNKS = 1024
/** other requests get their turn in between */
const CHUNKS_PER_TURN = 64

type Found = { readonly offset: number } | Errno

/** ENXIO at or behind the end, and where no data follows. */
export function seekData(meta: Meta, ino: Ino, offset: number, length: number): Maybe<Found> {
  return seek(meta, ino, offset, length, s => s.id !== 0, { none: ENXIO, unknown: at => ({ offset: at }) })
}

/** The end of the file counts as a hole. ENXIO at or behind it. */
export function seekHole(meta: Meta, ino: Ino, offset: number, length: number): Maybe<Found> {
  const end = { offset: length }
  return seek(meta, ino, offset, length, s => s.id === 0, { none: end, unknown: () => end })
}

function seek(
  meta: Meta,
  ino: Ino,
  offset: number,
  length: number,
  matches: (segment: SliceRecord) => boolean,
  otherwise: { readonly none: Found; readonly unknown: (at: number) => Found },
): Maybe<Found> {
  if (offset >= length) return ENXIO
  const first = Math.floor(offset / CHUNK_BYTES)
  const step = (index: number): Maybe<Found> => {
    const start = index * CHUNK_BYTES
    if (start >= length) return otherwise.none
    if (index - first >= MAX_CHUNKS) return otherwise.unknown(start)
    if (index > first && (index - first) % CHUNKS_PER_TURN === 0) return nextTurn().then(() => look(index, start))
    return look(index, start)
  }
  const look = (index: number, start: number): Maybe<Found> =>
    chain(meta.readChunk(ino, index), view => {
      if (isErrno(view)) return view
      const from = Math.max(0, offset - start)
      const found = firstMatch(view, from, matches)
      if (found === null) return step(index + 1)
      return start + found < length ? { offset: start + found } : otherwise.none
    })
  return step(first)
}

/** Offset in the chunk of the first byte at or behind `from` in a segment that matches. What no segment covers is a hole. */
function firstMatch(
  view: readonly SliceRecord[],
  from: number,
  matches: (segment: SliceRecord) => boolean,
): number | null {
  let covered = 0
  for (const segment of view) {
    covered = segment.pos + segment.len
    if (covered > from && matches(segment)) return Math.max(from, segment.pos)
  }
  const rest = { pos: covered, id: 0, size: 0, off: 0, len: CHUNK_BYTES - covered }
  return rest.len > 0 && matches(rest) ? Math.max(from, covered) : null
}
