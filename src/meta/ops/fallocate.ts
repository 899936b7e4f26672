/** fallocate(2): preallocation, which here is only a length, and holes, which are zero records. */

import {
  EACCES,
  EFBIG,
  EINVAL,
  EISDIR,
  ENOENT,
  ENOTSUP,
  EPERM,
  EPIPE,
  EROFS,
  type Errno,
  isErrno,
} from '../../base/errno.ts'
import type { Ino } from '../../base/ino.ts'
import { type Change, done, gather, node, type Operation } from '../facts.ts'
import { type Attr, TYPE_DIRECTORY, TYPE_FIFO, TYPE_FILE } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import { CHUNK_BYTES, MAX_FILE_BYTES } from '../model/slice.ts'
import type { Volume } from '../model/volume.ts'
import { CHUNKS_AT_ONCE, chunkIndex, rangeInChunk, zeroRecord } from '../rules/chunks.ts'
import { isAppendOnly, isImmutable, MAY_WRITE } from '../rules/permission.ts'
import { chargeLength } from './growth.ts'
import { mayAccessNode } from './may-access.ts'

const KEEP_SIZE = 0x01
const PUNCH_HOLE = 0x02
const COLLAPSE_RANGE = 0x08
const ZERO_RANGE = 0x10
const INSERT_RANGE = 0x20
const OFFERED = KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE

export interface Allocated {
  readonly attr: Attr
  /** the node as it was just before */
  readonly before: Attr
  /** Only this step was made: bytes of the range from here on are zeros. Run it again with this number. */
  readonly zeroedFrom?: number
}

/** EINVAL and ENOTSUP as fallocate(2) has them, EFBIG, EROFS, ENOENT, EPIPE (fifo), EISDIR, EPERM (no regular file,
 *  immutable, append-only unless it merely preallocates), EACCES, EDQUOT, ENOSPC. Every success sets mtime and ctime.
 *  Two gathers where a range is zeroed: a chunk without a list reads as zeros already and gets no record, so the work is
 *  bounded by what is stored. Where that is more than CHUNKS_AT_ONCE chunks, the range is zeroed in steps from the back; the
 *  length changes with the last one. */
export function* fallocate(
  volume: Volume,
  caller: Caller,
  ino: Ino,
  mode: number,
  offset: number,
  length: number,
  zeroedFrom = Number.POSITIVE_INFINITY,
): Operation<Allocated> {
  const refused = refusedMode(mode)
  if (refused !== undefined) return refused
  const end = offset + length
  if (offset < 0 || length <= 0) return EINVAL
  if (end >= MAX_FILE_BYTES) return EFBIG
  if (volume.readOnly) return EROFS
  const [before] = yield* gather(node(ino))
  if (!before) return ENOENT
  if (before.type === TYPE_FIFO) return EPIPE
  if (before.type === TYPE_DIRECTORY) return EISDIR
  if (before.type !== TYPE_FILE || isImmutable(before)) return EPERM
  if (!(yield* mayAccessNode(before, caller, MAY_WRITE))) return EACCES
  if (isAppendOnly(before) && (mode & ~KEEP_SIZE) !== 0) return EPERM

  const newLength = (mode & KEEP_SIZE) !== 0 ? before.length : Math.max(before.length, end)
  const charges = yield* chargeLength(volume, ino, before, newLength)
  if (isErrno(charges)) return charges
  const zeroEnd = Math.min(end, before.length, zeroedFrom)
  let stored: readonly number[] = []
  if ((mode & (PUNCH_HOLE | ZERO_RANGE)) !== 0 && offset < zeroEnd) {
    const range = { from: chunkIndex(offset), to: chunkIndex(zeroEnd - 1) + 1 }
    stored = (yield* gather({ kind: 'chunkIndexes', ino, ...range }))[0]
  }
  const isStep = stored.length > CHUNKS_AT_ONCE
  const behind = isStep ? stored.slice(-CHUNKS_AT_ONCE) : stored
  const zeros = behind.map((index): Change => {
    const { pos, len } = rangeInChunk(index, offset, zeroEnd)
    return { kind: 'appendSlices', ino, index, records: zeroRecord(pos, len) }
  })
  const attr: Attr = { ...before, length: isStep ? before.length : newLength, mtime: caller.now, ctime: caller.now }
  const value = { attr, before, ...(isStep ? { zeroedFrom: behind[0]! * CHUNK_BYTES } : {}) }
  return done(value, [{ kind: 'putNode', ino, attr }, ...zeros, ...(isStep ? [] : charges)])
}

function refusedMode(mode: number): Errno | undefined {
  for (const alone of [COLLAPSE_RANGE, INSERT_RANGE]) {
    if ((mode & alone) !== 0) return mode === alone ? ENOTSUP : EINVAL
  }
  if ((mode & ~OFFERED) !== 0) return ENOTSUP
  if ((mode & PUNCH_HOLE) !== 0 && (mode & KEEP_SIZE) === 0) return EINVAL
  return (mode & PUNCH_HOLE) !== 0 && (mode & ZERO_RANGE) !== 0 ? ENOTSUP : undefined
}
