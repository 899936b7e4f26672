/** Gives a node one more name. */

import type { Name } from '../../base/bytes.ts'
import { EEXIST, ENOENT, EPERM, EROFS, isErrno } from '../../base/errno.ts'
import { type Ino, isTrash, livesInTrash, NO_INO } from '../../base/ino.ts'
import { type Change, dentry, done, gather, node, type Operation } from '../facts.ts'
import type { Entry } from '../meta.ts'
import { TYPE_DIRECTORY } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import type { Volume } from '../model/volume.ts'
import { chargeDirectories } from '../rules/charge.ts'
import { nameRefusal } from '../rules/names.ts'
import { isProtected } from '../rules/permission.ts'
import { dirTimesDue } from '../rules/times.ts'
import { isTrashName } from '../rules/trash.ts'
import { aboveIfCharged, changeRefusal, enter, entryCharge, payers } from './place.ts'

/** Also names a file that is unlinked and open in session `sid` (O_TMPFILE, then linkat). EPERM (trash), EEXIST for dots,
 *  EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, EACCES (X), EEXIST, EROFS, EPERM, EACCES (W), EPERM (source protected or a
 *  directory), ENOENT (source without a name, not ours), EDQUOT. One round trip, one more for
 *  an ACL on the directory and for a source without a name. */
export function* link(
  volume: Volume,
  caller: Caller,
  ino: Ino,
  parent: Ino,
  name: Name,
  options: { readonly sid: number },
): Operation<Entry> {
  if (isTrash(parent) || isTrashName(parent, name)) return EPERM
  const badName = nameRefusal(name, EEXIST)
  if (badName !== undefined) return badName
  const [source, dir, found, path] = yield* gather(
    node(ino),
    node(parent),
    dentry(parent, name),
    ...aboveIfCharged(volume, parent),
  )
  const above = payers(parent, path)
  if (!source) return ENOENT
  const entered = yield* enter(dir, caller)
  if (isErrno(entered)) return entered
  if (livesInTrash(entered.attr.parent)) return ENOENT
  if (found) return EEXIST
  if (volume.readOnly) return EROFS
  const refusal = changeRefusal(entered, caller)
  if (refusal !== undefined) return refusal
  if (isProtected(source) || source.type === TYPE_DIRECTORY) return EPERM

  const changes: Change[] = []
  let parentNow: Ino = NO_INO
  if (source.nlink === 0) {
    const [ours] = yield* gather({ kind: 'sustained', sid: options.sid, ino })
    if (!ours) return ENOENT
    changes.push({ kind: 'unsustain', sid: options.sid, ino })
    // With one name again it has one parent again, unless its parents are counted already.
    if (source.parent !== NO_INO) parentNow = parent
  }
  const charge = entryCharge(source, 1)
  const growth = { uid: source.uid, gid: source.gid, ancestors: above, space: charge.space, inodes: 1 }
  const full = volume.limits.refuses({ ...growth, onlyDirectories: true })
  if (full !== undefined) return full

  const attr = { ...source, nlink: source.nlink + 1, parent: parentNow, ctime: caller.now }
  changes.push({ kind: 'putNode', ino, attr }, { kind: 'setDentry', parent, name, ino, type: source.type })
  if (parentNow === NO_INO) {
    if (source.parent !== NO_INO) changes.push({ kind: 'linkParent', ino, parent: source.parent, delta: 1 })
    changes.push({ kind: 'linkParent', ino, parent, delta: 1 })
  }
  changes.push({ kind: 'adjustDir', ino: parent, nlink: 0, at: dirTimesDue(entered.attr, volume, caller.now) })
  changes.push(...chargeDirectories(volume, parent, above, charge))
  return done({ ino, attr }, changes)
}
