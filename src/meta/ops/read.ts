/** What a reader needs: the records of a chunk, the target of a symlink. */

import type { Name } from '../../base/bytes.ts'
import { EINVAL, EIO, ENOENT, EPERM } from '../../base/errno.ts'
import type { Ino } from '../../base/ino.ts'
import { chunk, done, gather, node, type Operation } from '../facts.ts'
import { TYPE_FILE, TYPE_SYMLINK } from '../model/attr.ts'
import { decodeRecords, type SliceRecord } from '../model/slice.ts'

/** The chunk's records in list order, none for a hole. Only a missing list makes us look at the node: ENOENT, or EPERM
 *  where it is no regular file. A damaged list is a fault. */
export function* readChunk(ino: Ino, index: number): Operation<{ readonly records: SliceRecord[] }> {
  const [stored] = yield* gather(chunk(ino, index))
  if (stored !== null && stored.length > 0) return done({ records: decodeRecords(stored) })
  const [attr] = yield* gather(node(ino))
  if (!attr) return ENOENT
  if (attr.type !== TYPE_FILE) return EPERM
  return done({ records: [] })
}

/** ENOENT, EINVAL (no symlink), EIO (the target's record is missing). */
export function* readlink(ino: Ino): Operation<{ readonly target: Name }> {
  const [attr, target] = yield* gather(node(ino), { kind: 'symlink', ino })
  if (!attr) return ENOENT
  if (attr.type !== TYPE_SYMLINK) return EINVAL
  if (target === null) return EIO
  return done({ target })
}
