/** With HANDLE_KILLPRIV_V2 the kernel leaves it to us to take away what a writer must not leave behind: set-user-id,
 *  set-group-id (where the group may execute) and the capabilities of a program. In exchange it does not ask for the
 *  `security.capability` of a file before every write.
 *
 *  The kernel flags every write of a process without CAP_FSETID, set bits or not. Asking for the attributes each time would
 *  cost more than the flag saves, so a handle is looked at on its first such write and again after any change of modes or
 *  capabilities through this mount (a chmod by another client while the handle is open goes unnoticed, as it does with the
 *  kernel's own cached attributes). */

import { type Errno, isErrno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import { chain, type Maybe } from '../base/maybe.ts'
import { type Attr, TYPE_FILE } from '../meta/model/attr.ts'
import type { Context, FileSystem } from '../vfs/file-system.ts'

const S_ISUID = 0o4000
const S_ISGID = 0o2000
const S_IXGRP = 0o010
const CAPABILITY = 'security.capability'
/** Handles that were never released are bugs elsewhere; this set must not grow with them. */
const MOST_HANDLES = 65_536

/** Does this attribute hold bits that a write or truncation takes away? */
const holdsPrivileges = (attr: Attr): boolean =>
  attr.type === TYPE_FILE && ((attr.mode & S_ISUID) !== 0 || (attr.mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP))

/** set-group-id without the right to execute means mandatory locking and stays. */
const modeWithoutPrivileges = (mode: number): number => mode & ~(S_ISUID | ((mode & S_IXGRP) !== 0 ? S_ISGID : 0))

export class PrivilegeKeeper {
  readonly #fs: FileSystem
  readonly #clean = new Set<number>()

  constructor(fs: FileSystem) {
    this.#fs = fs
  }

  isClean(fh: number): boolean {
    return this.#clean.has(fh)
  }
  #markClean(fh: number): void {
    if (this.#clean.size >= MOST_HANDLES) this.#clean.clear()
    this.#clean.add(fh)
  }
  released(fh: number): void {
    this.#clean.delete(fh)
  }
  /** A mode or a capability changed: look again. */
  forgetAll(): void {
    this.#clean.clear()
  }

  /** A new file has nothing to lose. */
  created(fh: number, attr: Attr): void {
    if (attr.length === 0 && !holdsPrivileges(attr)) this.#markClean(fh)
  }

  /** Before a write through a handle that is not clean. Failing to look fails nothing: the write tells what is wrong. */
  beforeWrite(ctx: Context, ino: Ino, fh: number): Maybe<unknown> {
    return chain(this.#fs.getattr(ctx, ino, null), attr => {
      if (isErrno(attr)) return undefined
      return chain(this.afterChange(ctx, ino, attr, true), () => this.#markClean(fh))
    })
  }

  /** After a truncation (`killsBits`) or a change of owner, which the metadata room has taken the bits away for already. */
  afterChange(ctx: Context, ino: Ino, attr: Attr, killsBits: boolean): Maybe<Attr | Errno> {
    if (attr.type !== TYPE_FILE) return attr
    const changed: Maybe<Attr | Errno> =
      killsBits && holdsPrivileges(attr)
        ? this.#fs.setattr(asRoot(ctx), ino, { mode: modeWithoutPrivileges(attr.mode) }, null)
        : attr
    return chain(changed, after => chain(this.#killCapability(ctx, ino), () => after))
  }

  #killCapability(ctx: Context, ino: Ino): Maybe<unknown> {
    return chain(this.#fs.getxattr(asRoot(ctx), ino, CAPABILITY), value =>
      isErrno(value) ? undefined : this.#fs.removexattr(asRoot(ctx), ino, CAPABILITY),
    )
  }
}

/** For what the kernel does on nobody's behalf: whoever writes need not own the file that loses its bits. */
export const asRoot = (ctx: Context): Context => ({
  uid: 0,
  gid: 0,
  pid: ctx.pid,
  get cancelled() {
    return ctx.cancelled
  },
  onCancel: notify => ctx.onCancel(notify),
})
