/** Removes an empty directory. */

import type { Name } from '../../base/bytes.ts'
import { EINVAL, ENOENT, ENOTDIR, ENOTEMPTY, EPERM, EROFS, isErrno } from '../../base/errno.ts'
import { type Ino, isTrash, TRASH_INO } from '../../base/ino.ts'
import { type Change, done, type Operation } from '../facts.ts'
import type { Entry } from '../meta.ts'
import { TYPE_DIRECTORY } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import type { Volume } from '../model/volume.ts'
import { chargeDirectories } from '../rules/charge.ts'
import { isPastHour, isTrashName, mayTakeFrom } from '../rules/trash.ts'
import { enter, entryCharge, gatherPlace, takeRefusal } from './place.ts'
import { dropDirectory, type Removal } from './remove.ts'

/** Returns the node as it is afterwards. EINVAL for `.`, ENOTEMPTY for `..`, EPERM (trash; the directory of the running
 *  hour), EROFS, ENOENT, ENOTDIR, EACCES (X), ENOENT (name), EPERM, EACCES (W), EPERM (append-only, sticky, protected),
 *  ENOTDIR, ENOTEMPTY. One round trip, one more for an ACL on the parent. */
export function* rmdir(volume: Volume, caller: Caller, parent: Ino, name: Name, removal: Removal): Operation<Entry> {
  if (name === '.') return EINVAL
  if (name === '..') return ENOTEMPTY
  if (isTrashName(parent, name) || !mayTakeFrom(parent, caller)) return EPERM
  if (parent === TRASH_INO && !isPastHour(parent, name, caller.now)) return EPERM
  if (volume.readOnly) return EROFS
  const place = { parent, name }
  const { dir, found, above } = yield* gatherPlace(volume, place, { empty: true })
  const entered = yield* enter(dir, caller)
  if (isErrno(entered)) return entered
  if (!found) return ENOENT
  const refusal = takeRefusal(entered, found.attr, caller)
  if (refusal !== undefined) return refusal
  if (found.type !== TYPE_DIRECTORY) return ENOTDIR
  if (!found.empty) return ENOTEMPTY

  const loss = dropDirectory(volume, caller, place, found, removal)
  const changes: Change[] = [{ kind: 'delDentry', parent, name }, ...loss.changes]
  if (!isTrash(parent)) changes.push({ kind: 'adjustDir', ino: parent, nlink: -1, at: caller.now })
  // The trash root has no statistics: its hours are made without them.
  if (parent !== TRASH_INO) changes.push(...chargeDirectories(volume, parent, above, entryCharge(found.attr, -1)))
  return done({ ino: found.ino, attr: loss.attr }, changes, loss.effects)
}
