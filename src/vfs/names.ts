/** Names: what an entry may be called, what it leads to, how entries are made, moved and removed. The virtual files and the
 *  trash appear at the root; inode 1 becomes the mount's root, and requests get their caller. */

import type { Name } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { EEXIST, ENAMETOOLONG, EPERM, type Errno, isErrno } from '../base/errno.ts'
import { type Ino, isSpecial, isTrash, ROOT_INO, TRASH_INO } from '../base/ino.ts'
import type { Log } from '../base/log.ts'
import { chain, type Maybe } from '../base/maybe.ts'
import type { ChunkStore } from '../chunk/chunk-store.ts'
import type { Meta, NewNode } from '../meta/meta.ts'
import { type Attr, TYPE_DIRECTORY, TYPE_FILE, TYPE_SYMLINK, typeOfMode } from '../meta/model/attr.ts'
import type { Caller } from '../meta/model/caller.ts'
import type { VfsConfig } from './config.ts'
import { Core } from './core.ts'
import type { Context, Entry } from './file-system.ts'
import type { InternalFiles } from './internal-files.ts'

const MAX_NAME_BYTES = 255
/** symlink targets are shorter than this */
const PATH_BYTES = 4096
const DOT = 46
/** renameat2(2) */
const RENAME_EXCHANGE = 2

export interface VfsOptions {
  readonly meta: Meta
  readonly chunks: ChunkStore
  readonly clock: Clock
  readonly config: VfsConfig
  readonly log: Log
  readonly internal?: InternalFiles
}

/** The first of three layers of one object: names, attributes (attributes.ts), handles (vfs.ts). */
export abstract class Names {
  protected readonly core: Core
  protected readonly meta: Meta
  protected readonly config: VfsConfig
  protected readonly internal: InternalFiles | null
  /** the trash's name at the root; null where it is not shown (a mounted subdirectory) */
  protected readonly trashName: Name | null

  constructor(options: VfsOptions) {
    this.core = new Core(options)
    this.meta = options.meta
    this.config = options.config
    this.internal = options.internal ?? null
    const isWhole = options.config.subdirRoot === ROOT_INO
    this.trashName = isWhole ? (options.config.prefixInternal ? '.jfs.trash' : '.trash') : null
  }

  lookup(ctx: Context, parent: Ino, name: Name): Maybe<Entry | Errno> {
    if (name.length > MAX_NAME_BYTES) return ENAMETOOLONG
    if (name.charCodeAt(0) === DOT) {
      const special = this.#lookupSpecial(parent, name)
      if (special !== undefined) return special
    }
    const moment = this.core.changes.now
    return chain(this.meta.lookup(this.caller(ctx), this.real(parent), name), found => {
      if (isErrno(found)) return found
      return chain(this.core.fresh(found.ino, found.attr, moment), attr =>
        isErrno(attr) ? attr : { ino: found.ino, attr },
      )
    })
  }

  /** Virtual files, the trash, `.` and `..` (which the kernel asks for on behalf of NFS only). */
  #lookupSpecial(parent: Ino, name: Name): Maybe<Entry | Errno> | undefined {
    if (parent === ROOT_INO && name === this.trashName) return this.#entryOf(TRASH_INO)
    if (name === '.') return this.#entryOf(this.real(parent))
    if (name === '..') {
      if (parent === ROOT_INO) return this.#entryOf(this.real(parent))
      return chain(this.meta.getattr(this.real(parent)), attr => (isErrno(attr) ? attr : this.#entryOf(attr.parent)))
    }
    return this.internal?.lookup(parent, name)
  }

  #entryOf(ino: Ino): Maybe<Entry | Errno> {
    const shown = ino === this.config.subdirRoot ? ROOT_INO : ino
    return chain(this.core.attrOf(ino), attr => (isErrno(attr) ? attr : { ino: shown, attr }))
  }

  mknod(ctx: Context, parent: Ino, name: Name, mode: number, umask: number, rdev: number): Maybe<Entry | Errno> {
    return this.#make(ctx, parent, name, this.newNode(typeOfMode(mode) || TYPE_FILE, mode, umask, rdev))
  }

  mkdir(ctx: Context, parent: Ino, name: Name, mode: number, umask: number): Maybe<Entry | Errno> {
    return this.#make(ctx, parent, name, this.newNode(TYPE_DIRECTORY, mode, umask))
  }

  symlink(ctx: Context, parent: Ino, name: Name, target: Name): Maybe<Entry | Errno> {
    if (target.length >= PATH_BYTES) return ENAMETOOLONG
    return this.#make(ctx, parent, name, { type: TYPE_SYMLINK, mode: 0o777, umask: 0, rdev: 0, target })
  }

  #make(ctx: Context, parent: Ino, name: Name, what: NewNode): Maybe<Entry | Errno> {
    const refused = this.refusedNewName(parent, name)
    if (refused !== undefined) return refused
    const dir = this.real(parent)
    return chain(this.meta.make(this.caller(ctx), dir, name, what), made => {
      if (isErrno(made)) return made
      this.changedEntry(dir, name, made)
      return { ino: made.ino, attr: this.core.tell(made.ino, made.attr) }
    })
  }

  /** We changed what a name leads to (OpenDirectories.changed). */
  protected changedEntry(dir: Ino, name: Name, entry: Entry | null | undefined): void {
    this.core.changes.note(dir)
    this.core.directories.changed(dir, name, entry)
  }

  protected newNode(type: number, mode: number, umask: number, rdev = 0): NewNode {
    return { type, mode: mode & 0o7777, umask: this.config.umask ?? umask, rdev, target: '' }
  }

  link(ctx: Context, ino: Ino, parent: Ino, name: Name): Maybe<Entry | Errno> {
    if (isSpecial(ino) || this.#isReserved(parent, name)) return EPERM
    if (name.length > MAX_NAME_BYTES) return ENAMETOOLONG
    const dir = this.real(parent)
    const moment = this.core.changes.now
    return chain(this.meta.link(this.caller(ctx), ino, dir, name), linked => {
      if (isErrno(linked)) return linked
      this.changedEntry(dir, name, linked)
      return chain(this.ownChange(ino, linked.attr, moment), attr => (isErrno(attr) ? attr : { ino, attr }))
    })
  }

  unlink(ctx: Context, parent: Ino, name: Name): Maybe<undefined | Errno> {
    const refused = this.#refusedOldName(parent, name)
    if (refused !== undefined) return refused
    const dir = this.real(parent)
    return chain(this.meta.unlink(this.caller(ctx), dir, name), gone => this.#removed(dir, name, gone))
  }

  rmdir(ctx: Context, parent: Ino, name: Name): Maybe<undefined | Errno> {
    const refused = this.#refusedOldName(parent, name)
    if (refused !== undefined) return refused
    const dir = this.real(parent)
    return chain(this.meta.rmdir(this.caller(ctx), dir, name), gone => this.#removed(dir, name, gone))
  }

  #removed(dir: Ino, name: Name, gone: Entry | Errno): undefined | Errno {
    if (isErrno(gone)) return gone
    const { changes, files, unsynced } = this.core
    this.changedEntry(dir, name, null)
    changes.note(gone.ino)
    if (gone.attr.nlink === 0 && files.get(gone.ino) === undefined) unsynced.forget(gone.ino)
    return undefined
  }

  rename(
    ctx: Context,
    parent: Ino,
    name: Name,
    newParent: Ino,
    newName: Name,
    flags: number,
  ): Maybe<undefined | Errno> {
    const refused = this.#refusedOldName(parent, name) ?? this.#refusedOldName(newParent, newName)
    if (refused !== undefined) return refused
    const from = { parent: this.real(parent), name }
    const to = { parent: this.real(newParent), name: newName }
    return chain(this.meta.rename(this.caller(ctx), from, to, flags), renamed => {
      if (isErrno(renamed)) return renamed
      const { changes } = this.core
      this.changedEntry(from.parent, name, flags === RENAME_EXCHANGE ? undefined : null)
      this.changedEntry(to.parent, newName, renamed.moved)
      for (const ino of [renamed.moved.ino, renamed.replaced]) if (ino > 0) changes.note(ino)
      return undefined
    })
  }

  readlink(ctx: Context, ino: Ino): Maybe<Name | Errno> {
    return this.meta.readlink(this.caller(ctx), ino)
  }

  protected refusedNewName(parent: Ino, name: Name): Errno | undefined {
    if (name.length > MAX_NAME_BYTES) return ENAMETOOLONG
    return this.#isReserved(parent, name) ? EEXIST : undefined
  }

  #refusedOldName(parent: Ino, name: Name): Errno | undefined {
    if (name.length > MAX_NAME_BYTES) return ENAMETOOLONG
    return this.#isReserved(parent, name) ? EPERM : undefined
  }

  /** Names of virtual files and of the trash at the root are nobody's to make, move or remove. */
  #isReserved(parent: Ino, name: Name): boolean {
    if (parent !== ROOT_INO || name.charCodeAt(0) !== DOT) return false
    return name === this.trashName || this.internal?.lookup(parent, name) !== undefined
  }

  protected caller(ctx: Context): Caller {
    return this.core.callers.of(ctx)
  }

  /** The kernel calls the mount's root 1, whatever directory that is. */
  protected real(ino: Ino): Ino {
    return ino === ROOT_INO ? this.config.subdirRoot : ino
  }

  /** Attributes as a change asked for at `moment` left them, unless another one of ours came in between. */
  protected ownChange(ino: Ino, attr: Attr, moment: number): Maybe<Attr | Errno> {
    const current = this.core.fresh(ino, attr, moment)
    this.core.changes.note(ino)
    return current
  }
}

/** Virtual files; the trash lies among the special inodes but consists of real nodes. */
export const isVirtual = (ino: Ino): boolean => isSpecial(ino) && !isTrash(ino)
