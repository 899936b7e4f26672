/** truncate(2), ftruncate(2), O_TRUNC. */

import { EACCES, EFBIG, EINVAL, ENOENT, EPERM, EROFS, isErrno } from '../../base/errno.ts'
import { type Ino, livesInTrash } from '../../base/ino.ts'
import { type Change, done, gather, node, type Operation } from '../facts.ts'
import { type Attr, TYPE_FILE } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import { CHUNK_BYTES, MAX_FILE_BYTES } from '../model/slice.ts'
import type { Volume } from '../model/volume.ts'
import { CHUNKS_AT_ONCE, chunkIndex, zeroRecord, zerosOfTruncate } from '../rules/chunks.ts'
import { isProtected, MAY_WRITE } from '../rules/permission.ts'
import { chargeLength } from './growth.ts'
import { mayAccessNode } from './may-access.ts'

export interface Resized {
  readonly attr: Attr
  /** the node as it was just before */
  readonly before: Attr
  /** Only this step was made: bytes from here on are gone, or are zeros. Run it again with this number. */
  readonly zeroedFrom?: number
}

/** Sets a file's length. `viaHandle`: it is open for writing here, so neither the mode nor the trash is asked.
 *  EINVAL, EFBIG, EROFS, ENOENT, EPERM (no regular file, immutable, append-only, in the trash), EACCES, EDQUOT, ENOSPC.
 *  The same length sets the times only, as Linux does: `: > stamp` is how a build touches an empty file. (JuiceFS leaves them.) Two
 *  gathers, the second for the chunks between the two ends.
 *
 *  Where more than CHUNKS_AT_ONCE stored chunks lie between the ends, it is done in steps from the back, each a state that the
 *  file may be left in: a shrinking file gets shorter and shorter; before a growing one gets its length, what lies behind its
 *  end is zeroed, which nobody can see. The records are those that one step would have written. */
export function* truncate(
  volume: Volume,
  caller: Caller,
  ino: Ino,
  length: number,
  viaHandle: boolean,
  zeroedFrom = Number.POSITIVE_INFINITY,
): Operation<Resized> {
  if (length < 0) return EINVAL
  if (length >= MAX_FILE_BYTES) return EFBIG
  if (volume.readOnly) return EROFS
  const [before] = yield* gather(node(ino))
  if (!before) return ENOENT
  if (before.type !== TYPE_FILE || isProtected(before)) return EPERM
  if (!viaHandle && livesInTrash(before.parent)) return EPERM
  if (!viaHandle && !(yield* mayAccessNode(before, caller, MAY_WRITE))) return EACCES
  if (length === before.length) {
    const attr: Attr = { ...before, mtime: caller.now, ctime: caller.now }
    return done({ attr, before }, [{ kind: 'putNode', ino, attr }])
  }
  const grows = length > before.length
  const whole = yield* chargeLength(volume, ino, before, length)
  if (isErrno(whole)) return whole

  const from = chunkIndex(Math.min(length, before.length)) + 1
  const to = chunkIndex(grows ? Math.min(length, zeroedFrom) : before.length)
  const stored = from < to ? (yield* gather({ kind: 'chunkIndexes', ino, from, to }))[0] : []
  const isStep = stored.length > CHUNKS_AT_ONCE
  const behind = isStep ? stored.slice(-CHUNKS_AT_ONCE) : stored
  const edge = (behind[0] ?? 0) * CHUNK_BYTES
  if (isStep && grows) {
    // The record as it was: nobody may have extended the file meanwhile into what is zeroed here.
    const unchanged: Change = { kind: 'putNode', ino, attr: before }
    return done({ attr: before, before, zeroedFrom: edge }, [unchanged, ...behind.map(zeroChunk(ino))])
  }
  const target = isStep ? edge : length
  const charges = isStep ? yield* chargeLength(volume, ino, before, target) : whole
  if (isErrno(charges)) return charges
  const between = isStep ? behind.slice(1) : behind
  const zeros = zerosOfTruncate(before.length, target, between).map(
    ({ index, pos, len }): Change => ({ kind: 'appendSlices', ino, index, records: zeroRecord(pos, len) }),
  )
  const attr: Attr = { ...before, length: target, mtime: caller.now, ctime: caller.now }
  const value = { attr, before, ...(isStep ? { zeroedFrom: edge } : {}) }
  return done(value, [{ kind: 'putNode', ino, attr }, ...zeros, ...charges])
}

const zeroChunk =
  (ino: Ino) =>
  (index: number): Change => ({ kind: 'appendSlices', ino, index, records: zeroRecord(0, CHUNK_BYTES) })
