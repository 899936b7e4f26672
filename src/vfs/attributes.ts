/** Attributes: what stat(2) shows and chmod(1), setfattr(1) and chattr(1) change. Length is a matter of the open file. */

import type { Name } from '../base/bytes.ts'
import { EACCES, ENODATA, ENOENT, ENOSYS, EPERM, type Errno, isErrno } from '../base/errno.ts'
import { type Ino, TRASH_INO } from '../base/ino.ts'
import { chain, type Maybe } from '../base/maybe.ts'
import type { Attr } from '../meta/model/attr.ts'
import type { Caller } from '../meta/model/caller.ts'
import { FileIo } from './file-io.ts'
import type { Context, SetAttr, Usage } from './file-system.ts'
import { inodeFlagsIoctl } from './inode-flags.ts'
import { isVirtual, Names, type VfsOptions } from './names.ts'
import { Xattrs } from './xattrs.ts'

export abstract class Attributes extends Names {
  protected readonly io: FileIo
  readonly #xattrs: Xattrs

  constructor(options: VfsOptions) {
    super(options)
    this.io = new FileIo(this.core)
    this.#xattrs = new Xattrs(options.meta, options.config)
  }

  getattr(_ctx: Context, ino: Ino, _fh: number | null): Maybe<Attr | Errno> {
    return isVirtual(ino) ? this.#virtualAttr(ino) : this.core.attrOf(this.real(ino))
  }

  #virtualAttr(ino: Ino): Attr | Errno {
    return this.internal?.getattr(ino) ?? ENOENT
  }

  setattr(ctx: Context, ino: Ino, set: SetAttr & { readonly size?: number }, fh: number | null): Maybe<Attr | Errno> {
    if (isVirtual(ino)) return set.size === undefined ? this.#virtualAttr(ino) : EPERM
    const { size, ...rest } = set
    const caller = this.caller(ctx)
    const node = this.real(ino)
    if (size === undefined) return this.#setRest(caller, node, rest)
    const handle = fh === null ? undefined : this.core.handles.file(fh)
    if (handle !== undefined && !handle.writable) return EACCES
    return chain(
      this.io.resize(node, () => this.meta.truncate(caller, node, size, handle !== undefined)),
      attr => {
        if (isErrno(attr)) return attr
        const isAll = Object.values(rest).every(value => value === undefined)
        return isAll ? this.core.tell(node, attr) : this.#setRest(caller, node, rest)
      },
    )
  }

  #setRest(caller: Caller, ino: Ino, set: SetAttr): Maybe<Attr | Errno> {
    const moment = this.core.changes.now
    return chain(this.meta.setattr(caller, ino, set), attr => {
      if (isErrno(attr)) return attr
      if (set.mtime !== undefined) this.io.setMtime(ino, attr)
      return this.ownChange(ino, attr, moment)
    })
  }

  access(ctx: Context, ino: Ino, mask: number): Maybe<undefined | Errno> {
    const caller = this.caller(ctx)
    if (!isVirtual(ino)) return this.meta.access(caller, this.real(ino), mask)
    const attr = this.#virtualAttr(ino)
    if (isErrno(attr)) return attr
    const shift = caller.uid === attr.uid ? 6 : caller.gids.includes(attr.gid) ? 3 : 0
    return caller.uid === 0 || ((attr.mode >> shift) & mask) === mask ? undefined : EACCES
  }

  statfs(_ctx: Context, ino: Ino): Maybe<Usage | Errno> {
    return this.meta.statfs(isVirtual(ino) ? this.config.subdirRoot : this.real(ino))
  }

  getxattr(ctx: Context, ino: Ino, name: Name): Maybe<Buffer | Errno> {
    if (isVirtual(ino)) return ENODATA
    const node = this.real(ino)
    return orWithoutTrash(node, this.#xattrs.get(this.caller(ctx), node, name), ENODATA)
  }

  setxattr(ctx: Context, ino: Ino, name: Name, value: Buffer, flags: number): Maybe<undefined | Errno> {
    if (isVirtual(ino)) return EPERM
    const node = this.real(ino)
    return this.#noting(node, this.#xattrs.set(this.caller(ctx), node, name, value, flags))
  }

  listxattr(ctx: Context, ino: Ino): Maybe<readonly Name[] | Errno> {
    if (isVirtual(ino)) return ENODATA
    const node = this.real(ino)
    return orWithoutTrash<readonly Name[]>(node, this.#xattrs.list(this.caller(ctx), node), [])
  }

  removexattr(ctx: Context, ino: Ino, name: Name): Maybe<undefined | Errno> {
    if (isVirtual(ino)) return EPERM
    const node = this.real(ino)
    return this.#noting(node, this.#xattrs.remove(this.caller(ctx), node, name))
  }

  ioctl(ctx: Context, ino: Ino, _fh: number, cmd: number, input: Buffer, outSize: number): Maybe<Buffer | Errno> {
    if (!this.config.enableIoctl) return ENOSYS
    if (isVirtual(ino)) return EPERM
    const node = this.real(ino)
    return this.#noting(node, inodeFlagsIoctl(this.meta, this.caller(ctx), node, cmd, input, outSize))
  }

  #noting<T>(ino: Ino, result: Maybe<T | Errno>): Maybe<T | Errno> {
    return chain(result, value => {
      this.core.changes.note(ino)
      return value
    })
  }
}

/** A volume formatted without a trash has no node for it: it looks like an empty directory (spec meta-model section 18), with
 *  nothing attached. `ls -l` asks. */
const orWithoutTrash = <T>(ino: Ino, asked: Maybe<T | Errno>, nothing: T | Errno): Maybe<T | Errno> =>
  ino === TRASH_INO ? chain(asked, found => (found === ENOENT ? nothing : found)) : asked
