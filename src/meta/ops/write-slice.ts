/** Names a slice that is stored already: the moment a write becomes part of the file. */

import type { Time } from '../../base/clock.ts'
import { EFBIG, ENOENT, EPERM, EROFS, isErrno } from '../../base/errno.ts'
import type { Ino } from '../../base/ino.ts'
import { done, gather, node, type Operation } from '../facts.ts'
import { type Attr, TYPE_FILE } from '../model/attr.ts'
import { CHUNK_BYTES, encodeRecords, MAX_FILE_BYTES, type Slice } from '../model/slice.ts'
import type { Volume } from '../model/volume.ts'
import { chargeLength } from './growth.ts'

export interface SliceWritten {
  readonly attr: Attr
  /** the node as it was just before; its times are certain only where `exact` was asked, or gather and commit are one */
  readonly before: Attr
  /** length of the chunk's list now */
  readonly records: number
}

/** Appends the record at `pos` of chunk `index` and extends the file to cover it. `mtime` is when the buffered bytes were
 *  last changed, `now` becomes ctime. `exact`: nobody else may have touched the file between reading and writing it, so that
 *  the caller learns of every other writer by the times of `before`; without, writers of one file do not collide. Flags and trash are not asked: the open was, and the data is stored already.
 *  ENOENT, EPERM (no regular file), EROFS, EFBIG, EDQUOT, ENOSPC: then the caller removes the objects again.
 *  One gather while the length stays, or grows in a file with one name on a volume without directory quotas. */
export function* writeSlice(
  volume: Volume,
  now: Time,
  ino: Ino,
  index: number,
  pos: number,
  slice: Slice,
  mtime: Time,
  exact = false,
): Operation<SliceWritten> {
  if (volume.readOnly) return EROFS
  const end = index * CHUNK_BYTES + pos + slice.len
  if (end >= MAX_FILE_BYTES) return EFBIG
  const [before] = yield* gather(node(ino))
  if (!before) return ENOENT
  if (before.type !== TYPE_FILE) return EPERM
  const length = Math.max(before.length, end)
  const charges = yield* chargeLength(volume, ino, before, length)
  if (isErrno(charges)) return charges
  const attr: Attr = { ...before, length, mtime, ctime: now }
  const { id, size, off, len } = slice
  return done(
    results => ({ attr, before, records: results[0]! }),
    [
      { kind: 'appendSlices', ino, index, records: encodeRecords([{ pos, id, size, off, len }]) },
      { kind: 'newSlice', id, size, refs: 1 },
      // `end`, not the length we saw: a file that was truncated meanwhile must not grow back.
      exact ? { kind: 'putNode', ino, attr } : { kind: 'extendNode', ino, length: end, mtime, ctime: now },
      ...charges,
    ],
  )
}
