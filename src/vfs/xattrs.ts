/** Extended attributes as a mount offers them: names, limits, switches, and ACLs under their xattr names (spec vfs
 *  sections 1 and 11.5, xattr(7)). */

import type { Name } from '../base/bytes.ts'
import { EINVAL, ENODATA, ENOSYS, ENOTSUP, ERANGE, type Errno, isErrno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import { chain, type Maybe } from '../base/maybe.ts'
import type { Meta } from '../meta/meta.ts'
import { ACL_UNSET, type AclRule } from '../meta/model/acl.ts'
import type { Caller } from '../meta/model/caller.ts'
import { decodeAclXattr, encodeAclXattr } from '../meta/rules/acl.ts'
import type { VfsConfig } from './config.ts'

const MAX_NAME_BYTES = 255
const MAX_VALUE_BYTES = 65_536
const ACL_NAMES: ReadonlyMap<Name, 'access' | 'default'> = new Map([
  ['system.posix_acl_access', 'access'],
  ['system.posix_acl_default', 'default'],
])
const NO_RULE: AclRule = {
  owner: ACL_UNSET,
  group: ACL_UNSET,
  mask: ACL_UNSET,
  other: ACL_UNSET,
  namedUsers: [],
  namedGroups: [],
}

export class Xattrs {
  readonly #meta: Meta
  readonly #config: VfsConfig

  constructor(meta: Meta, config: VfsConfig) {
    this.#meta = meta
    this.#config = config
  }

  /** The whole value; the reply's size is the kernel's matter. */
  get(caller: Caller, ino: Ino, name: Name): Maybe<Buffer | Errno> {
    if (!this.#offered) return ENOSYS
    const refused = refusedName(name)
    if (refused !== undefined) return refused
    if (!this.#allows(name)) return ENODATA
    const which = ACL_NAMES.get(name)
    if (which === undefined) return this.#meta.getXattr(caller, ino, name)
    return chain(this.#meta.getAcl(caller, ino, which), rule => {
      if (isErrno(rule)) return rule
      return rule === null ? ENODATA : encodeAclXattr(rule)
    })
  }

  set(caller: Caller, ino: Ino, name: Name, value: Buffer, flags: number): Maybe<undefined | Errno> {
    if (!this.#offered) return ENOSYS
    const refused = refusedName(name)
    if (refused !== undefined) return refused
    if (value.length > MAX_VALUE_BYTES) return ERANGE
    if (!this.#allows(name)) return ENOTSUP
    const which = ACL_NAMES.get(name)
    if (which === undefined) return this.#meta.setXattr(caller, ino, name, Buffer.from(value), flags)
    const rule = decodeAclXattr(value)
    return rule === null ? EINVAL : this.#meta.setAcl(caller, ino, which, rule)
  }

  list(caller: Caller, ino: Ino): Maybe<readonly Name[] | Errno> {
    return this.#offered ? this.#meta.listXattr(caller, ino) : ENOSYS
  }

  remove(caller: Caller, ino: Ino, name: Name): Maybe<undefined | Errno> {
    if (!this.#offered) return ENOSYS
    const refused = refusedName(name)
    if (refused !== undefined) return refused
    if (!this.#allows(name)) return ENOTSUP
    const which = ACL_NAMES.get(name)
    return which === undefined
      ? this.#meta.removeXattr(caller, ino, name)
      : this.#meta.setAcl(caller, ino, which, NO_RULE)
  }

  /** Off: ENOSYS once, and the kernel does not ask again. */
  get #offered(): boolean {
    return this.#config.enableXattr || this.#config.acl
  }

  #allows(name: Name): boolean {
    if (name === 'security.capability') return this.#config.enableCap
    if (name === 'security.selinux') return this.#config.enableSelinux
    return this.#config.acl || !ACL_NAMES.has(name)
  }
}

function refusedName(name: Name): Errno | undefined {
  if (name.length === 0) return EINVAL
  return name.length > MAX_NAME_BYTES ? ERANGE : undefined
}
