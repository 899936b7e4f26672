/** Removes the name of anything but a directory. */

import type { Name } from '../../base/bytes.ts'
import { EISDIR, ENOENT, EPERM, EROFS, isErrno } from '../../base/errno.ts'
import { type Ino, isTrash } from '../../base/ino.ts'
import { type Change, done, type Operation } from '../facts.ts'
import type { Entry } from '../meta.ts'
import { TYPE_DIRECTORY } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import type { Volume } from '../model/volume.ts'
import { chargeDirectories } from '../rules/charge.ts'
import { isDots } from '../rules/names.ts'
import { dirTimesDue } from '../rules/times.ts'
import { isTrashName, mayTakeFrom } from '../rules/trash.ts'
import { enter, entryCharge, gatherPlace, takeRefusal } from './place.ts'
import { dropName, type Removal } from './remove.ts'

export type Unlinked = Entry & {
  /** it goes on without a name until its last close */
  readonly isSustained: boolean
}

/** Returns the node as it is afterwards (nlink 0: that was its last name). EPERM (trash), EROFS, EISDIR for `.` and `..`,
 *  ENOENT, ENOTDIR, EACCES (X), ENOENT (name), EPERM, EACCES (W), EPERM (append-only, sticky, protected node), EISDIR.
 *  One round trip, one more for an ACL on the directory, for the trash of a node with several names, and for the last name
 *  of an empty file. */
export function* unlink(
  volume: Volume,
  caller: Caller,
  parent: Ino,
  name: Name,
  removal: Removal,
): Operation<Unlinked> {
  if (isTrashName(parent, name) || !mayTakeFrom(parent, caller)) return EPERM
  if (volume.readOnly) return EROFS
  if (isDots(name)) return EISDIR
  const place = { parent, name }
  const { dir, found, above } = yield* gatherPlace(volume, place, { empty: false })
  const entered = yield* enter(dir, caller)
  if (isErrno(entered)) return entered
  if (!found) return ENOENT
  const refusal = takeRefusal(entered, found.attr, caller)
  if (refusal !== undefined) return refusal
  if (found.type === TYPE_DIRECTORY) return EISDIR

  const loss = yield* dropName(volume, caller, place, found, removal)
  const changes: Change[] = [{ kind: 'delDentry', parent, name }, ...loss.changes]
  if (!isTrash(parent)) {
    changes.push({ kind: 'adjustDir', ino: parent, nlink: 0, at: dirTimesDue(entered.attr, volume, caller.now) })
  }
  changes.push(...chargeDirectories(volume, parent, above, entryCharge(found.attr, -1)))
  return done({ ino: found.ino, attr: loss.attr, isSustained: loss.isSustained === true }, changes, loss.effects)
}
