/** getfacl and setfacl (spec meta-model section 13). Rules are stored once and numbered; a node refers to its two by id. */

import { EACCES, ENOENT, ENOTSUP, EPERM, EROFS } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import { type Ino, inoToString, isSpecial } from '../../base/ino.ts'
import { done, gather, node, type Operation } from '../facts.ts'
import type { AclRule } from '../model/acl.ts'
import { type Attr, TYPE_DIRECTORY } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import type { Volume } from '../model/volume.ts'
import { fillAcl, isEmptyAcl, isMinimalAcl, modeOfAcl } from '../rules/acl.ts'
import { callerInGroup, isImmutable } from '../rules/permission.ts'

/** The rule, or null where the node has none of this kind. ENOENT; a fault where the rule it names is not stored. */
export function* getAcl(ino: Ino, which: 'access' | 'default'): Operation<{ readonly rule: AclRule | null }> {
  const [attr] = yield* gather(node(ino))
  if (!attr) return ENOENT
  const id = which === 'access' ? attr.accessAcl : attr.defaultAcl
  if (id === 0) return done({ rule: null })
  const [rule] = yield* gather({ kind: 'aclRule', id })
  if (rule === null) throw new Fault(`read ${which} rule ${id} of inode ${inoToString(ino)}`)
  return done({ rule })
}

/** Sets a rule; an empty one removes it. An access rule and the mode follow each other; a minimal one becomes the mode.
 *  ENOTSUP (volume without ACLs), EROFS, EPERM (virtual node, not the owner, immutable), ENOENT, EACCES (a default rule on
 *  what is no directory). Two gathers, one where no rule is stored. */
export function* setAcl(
  volume: Volume,
  caller: Caller,
  ino: Ino,
  which: 'access' | 'default',
  rule: AclRule,
): Operation<Attr> {
  if (!volume.acl) return ENOTSUP
  if (isSpecial(ino)) return EPERM
  if (volume.readOnly) return EROFS
  const [before] = yield* gather(node(ino))
  if (!before) return ENOENT
  if (caller.uid !== 0 && caller.uid !== before.uid) return EPERM
  if (isImmutable(before)) return EPERM

  const isEmpty = isEmptyAcl(rule)
  const filled = fillAcl(rule, before.mode)
  let after: Attr
  if (which === 'default') {
    if (before.type !== TYPE_DIRECTORY && !isEmpty) return EACCES
    after = { ...before, defaultAcl: isEmpty ? 0 : (yield* gather({ kind: 'aclId', rule: filled }))[0] }
  } else {
    // As Linux: whoever changes the mode of a file of a group not their own loses its sgid.
    const keepsSgid = caller.uid === 0 || callerInGroup(caller, before.gid)
    const mode = keepsSgid ? before.mode : before.mode & ~0o2000
    if (isEmpty) after = { ...before, mode, accessAcl: 0 }
    else if (isMinimalAcl(rule)) after = { ...before, mode: modeOfAcl(filled, mode), accessAcl: 0 }
    else {
      const [accessAcl] = yield* gather({ kind: 'aclId', rule: filled })
      after = { ...before, mode: modeOfAcl(filled, mode), accessAcl }
    }
  }
  if (after.mode === before.mode && after.accessAcl === before.accessAcl && after.defaultAcl === before.defaultAcl) {
    return done(before)
  }
  const attr: Attr = { ...after, ctime: caller.now }
  return done(attr, [{ kind: 'putNode', ino, attr }])
}
