/** Extended attributes: bytes under a name, a map an inode. They do not touch ctime (spec meta-model sections 5 and 15).
 *  Who may see which name space, the kernel checks; names with switches (ACL, capabilities) are vfs's. */

import type { Name } from '../../base/bytes.ts'
import { EEXIST, EINVAL, ENODATA, ENOENT, EROFS } from '../../base/errno.ts'
import type { Ino } from '../../base/ino.ts'
import { done, gather, node, type Operation, xattr } from '../facts.ts'
import type { Volume } from '../model/volume.ts'

const XATTR_CREATE = 1
const XATTR_REPLACE = 2

/** EINVAL (empty name), ENODATA. */
export function* getXattr(ino: Ino, name: Name): Operation<{ readonly value: Buffer }> {
  if (name === '') return EINVAL
  const [value] = yield* gather(xattr(ino, name))
  return value === null ? ENODATA : done({ value })
}

/** `flags`: 0, XATTR_CREATE 1, XATTR_REPLACE 2. EROFS, EINVAL (empty name, other flags), ENOENT, EEXIST, ENODATA. */
export function* setXattr(volume: Volume, ino: Ino, name: Name, value: Buffer, flags: number): Operation<undefined> {
  if (volume.readOnly) return EROFS
  if (name === '' || (flags !== 0 && flags !== XATTR_CREATE && flags !== XATTR_REPLACE)) return EINVAL
  const [attr, found] = yield* gather(node(ino), xattr(ino, name))
  if (!attr) return ENOENT
  if (flags === XATTR_CREATE && found !== null) return EEXIST
  if (flags === XATTR_REPLACE && found === null) return ENODATA
  return done(undefined, [{ kind: 'putXattr', ino, name, value }])
}

/** Stored names; those of the ACL are not stored. ENOENT. */
export function* listXattr(ino: Ino): Operation<{ readonly names: readonly Name[] }> {
  const [attr, names] = yield* gather(node(ino), { kind: 'xattrNames', ino })
  return attr ? done({ names }) : ENOENT
}

/** EROFS, EINVAL (empty name), ENODATA. */
export function* removeXattr(volume: Volume, ino: Ino, name: Name): Operation<undefined> {
  if (volume.readOnly) return EROFS
  if (name === '') return EINVAL
  const [found] = yield* gather(xattr(ino, name))
  return found === null ? ENODATA : done(undefined, [{ kind: 'delXattr', ino, name }])
}
