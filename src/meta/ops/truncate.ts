/** truncate(2), ftruncate(2), O_TRUNC. */

import { EACCES, EFBIG, EINVAL, ENOENT, EPERM, EROFS, isErrno } from '../../base/errno.ts'
import { type Ino, livesInTrash } from '../../base/ino.ts'
import { type Change, done, gather, node, type Operation } from '../facts.ts'
import { type Attr, TYPE_FILE } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import { MAX_FILE_BYTES } from '../model/slice.ts'
import type { Volume } from '../model/volume.ts'
import { chunkIndex, zeroRecord, zerosOfTruncate } from '../rules/chunks.ts'
import { isProtected, MAY_WRITE } from '../rules/permission.ts'
import { chargeLength } from './growth.ts'
import { mayAccessNode } from './may-access.ts'

export interface Resized {
  readonly attr: Attr
  /** the node as it was just before */
  readonly before: Attr
  readonly changed: boolean
}

/** Sets a file's length. `viaHandle`: it is open for writing here, so neither the mode nor the trash is asked.
 *  EINVAL, EFBIG, EROFS, ENOENT, EPERM (no regular file, immutable, append-only, in the trash), EACCES, EDQUOT, ENOSPC.
 *  The same length changes nothing. Two gathers, the second for the chunks between the two ends. */
export function* truncate(
  volume: Volume,
  caller: Caller,
  ino: Ino,
  length: number,
  viaHandle: boolean,
): Operation<Resized> {
  if (length < 0) return EINVAL
  if (length >= MAX_FILE_BYTES) return EFBIG
  if (volume.readOnly) return EROFS
  const [before] = yield* gather(node(ino))
  if (!before) return ENOENT
  if (before.type !== TYPE_FILE || isProtected(before)) return EPERM
  if (!viaHandle && livesInTrash(before.parent)) return EPERM
  if (!viaHandle && !(yield* mayAccessNode(before, caller, MAY_WRITE))) return EACCES
  if (length === before.length) return done({ attr: before, before, changed: false })
  const charges = yield* chargeLength(volume, ino, before, length)
  if (isErrno(charges)) return charges

  const from = chunkIndex(Math.min(length, before.length)) + 1
  const to = chunkIndex(Math.max(length, before.length))
  const stored = from < to ? (yield* gather({ kind: 'chunkIndexes', ino, from, to }))[0] : []
  const zeros = zerosOfTruncate(before.length, length, stored).map(
    ({ index, pos, len }): Change => ({ kind: 'appendSlices', ino, index, records: zeroRecord(pos, len) }),
  )
  const attr: Attr = { ...before, length, mtime: caller.now, ctime: caller.now }
  return done({ attr, before, changed: true }, [{ kind: 'putNode', ino, attr }, ...zeros, ...charges])
}
