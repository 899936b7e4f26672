/** A directory's statistics, recounted by listing it because the record was missing or absurd (spec meta-model section 12). */

import { ENOENT, ENOTDIR } from '../../base/errno.ts'
import type { Ino } from '../../base/ino.ts'
import { type DirUsage, done, gather, node, type Operation } from '../facts.ts'
import { TYPE_DIRECTORY } from '../model/attr.ts'

/** Stores the recounted numbers. What others add between the listing and this commit is lost: statistics, not truth.
 *  ENOENT, ENOTDIR: no record is left behind for what is no directory. */
export function* storeDirUsage(ino: Ino, usage: DirUsage): Operation<undefined> {
  const [attr] = yield* gather(node(ino))
  if (!attr) return ENOENT
  if (attr.type !== TYPE_DIRECTORY) return ENOTDIR
  return done(undefined, [{ kind: 'putDirUsage', ino, usage }])
}
