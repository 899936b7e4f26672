/** The file system that the kernel sees: names and attributes are meta's, bytes are FileIo's, virtual files somebody
 *  else's; here they meet, inode 1 becomes the mount's root, and requests get their caller.
 *
 *  Answers come in the same turn wherever meta and chunks answer so: nothing on those paths is `async`. */

import type { Name } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import {
  EACCES,
  EBADF,
  EEXIST,
  EINVAL,
  ENAMETOOLONG,
  ENODATA,
  ENOENT,
  ENOSYS,
  ENOTSUP,
  EPERM,
  type Errno,
  isErrno,
} from '../base/errno.ts'
import { type Ino, isSpecial, isTrash, ROOT_INO, TRASH_INO } from '../base/ino.ts'
import type { Log } from '../base/log.ts'
import { chain, type Maybe } from '../base/maybe.ts'
import type { ChunkStore } from '../chunk/chunk-store.ts'
import type { Meta, NewNode } from '../meta/meta.ts'
import { type Attr, TYPE_DIRECTORY, TYPE_FILE, TYPE_SYMLINK, typeOfMode } from '../meta/model/attr.ts'
import type { Caller } from '../meta/model/caller.ts'
import type { VfsConfig } from './config.ts'
import { Core, verdictOnly } from './core.ts'
import { openDirectory } from './directories.ts'
import { FileIo } from './file-io.ts'
import type {
  AddEntry,
  Context,
  Entry,
  FileSystem,
  Invalidator,
  LockOwner,
  Opened,
  Plock,
  SetAttr,
  Timeouts,
  Usage,
} from './file-system.ts'
import { type DirectoryHandle, type FileHandle, type Handle, isResurrectable } from './handles.ts'
import { inodeFlagsIoctl } from './inode-flags.ts'
import type { InternalFiles } from './internal-files.ts'
import { flockOwner, PosixLockOwners } from './lock-owners.ts'
import { Xattrs } from './xattrs.ts'

const MAX_NAME_BYTES = 255
/** symlink targets are shorter than this */
const PATH_BYTES = 4096
const DOT = 46
const O_ACCMODE = 0o3
const O_EXCL = 0o200
const O_TRUNC = 0o1000
const O_RDWR = 0o2
const FOPEN_DIRECT_IO = 1 << 0
const FOPEN_KEEP_CACHE = 1 << 1
const FOPEN_CACHE_DIR = 1 << 3
const MAY_READ = 4
/** of a lock that reaches to the end of any file */
const TO_END = Number.MAX_SAFE_INTEGER

export interface VfsOptions {
  readonly meta: Meta
  readonly chunks: ChunkStore
  readonly clock: Clock
  readonly config: VfsConfig
  readonly log: Log
  readonly internal?: InternalFiles
}

export class Vfs implements FileSystem {
  readonly timeouts: Timeouts
  readonly #core: Core
  readonly #io: FileIo
  readonly #meta: Meta
  readonly #config: VfsConfig
  readonly #xattrs: Xattrs
  readonly #internal: InternalFiles | null
  readonly #posixLocks = new PosixLockOwners()
  /** the trash's name at the root; null where it is not shown (a mounted subdirectory) */
  readonly #trashName: Name | null

  constructor(options: VfsOptions) {
    this.#core = new Core(options)
    this.#io = new FileIo(this.#core)
    this.#meta = options.meta
    this.#config = options.config
    this.#xattrs = new Xattrs(options.meta, options.config)
    this.#internal = options.internal ?? null
    this.timeouts = options.config.timeouts
    const isWhole = options.config.subdirRoot === ROOT_INO
    this.#trashName = isWhole ? (options.config.prefixInternal ? '.jfs.trash' : '.trash') : null
  }

  /** The kernel side, once there is one. */
  setInvalidator(invalidator: Invalidator): void {
    this.#core.invalidator = invalidator
  }

  get openHandleCount(): number {
    return this.#core.handles.size
  }
  /** inodes with open file handles */
  get openFileCount(): number {
    return this.#core.files.size
  }

  /** Everything written so far is stored and named, or its writer has its sticky error. Never rejects. */
  flushAll(): Promise<void> {
    return this.#io.flushAll()
  }

  // ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────

  lookup(ctx: Context, parent: Ino, name: Name): Maybe<Entry | Errno> {
    if (name.length > MAX_NAME_BYTES) return ENAMETOOLONG
    if (name.charCodeAt(0) === DOT) {
      const special = this.#lookupSpecial(parent, name)
      if (special !== undefined) return special
    }
    const moment = this.#core.changes.now
    return chain(this.#meta.lookup(this.#caller(ctx), this.#real(parent), name), found => {
      if (isErrno(found)) return found
      return chain(this.#core.fresh(found.ino, found.attr, moment), attr =>
        isErrno(attr) ? attr : { ino: found.ino, attr },
      )
    })
  }

  /** Virtual files, the trash, `.` and `..` (which the kernel asks for on behalf of NFS only). */
  #lookupSpecial(parent: Ino, name: Name): Maybe<Entry | Errno> | undefined {
    if (parent === ROOT_INO && name === this.#trashName) return this.#entryOf(TRASH_INO)
    if (name === '.') return this.#entryOf(this.#real(parent))
    if (name === '..') {
      if (parent === ROOT_INO) return this.#entryOf(this.#real(parent))
      return chain(this.#meta.getattr(this.#real(parent)), attr => (isErrno(attr) ? attr : this.#entryOf(attr.parent)))
    }
    return this.#internal?.lookup(parent, name)
  }

  #entryOf(ino: Ino): Maybe<Entry | Errno> {
    const shown = ino === this.#config.subdirRoot ? ROOT_INO : ino
    return chain(this.#core.attrOf(ino), attr => (isErrno(attr) ? attr : { ino: shown, attr }))
  }

  mknod(ctx: Context, parent: Ino, name: Name, mode: number, umask: number, rdev: number): Maybe<Entry | Errno> {
    return this.#make(ctx, parent, name, this.#newNode(typeOfMode(mode) || TYPE_FILE, mode, umask, rdev))
  }

  mkdir(ctx: Context, parent: Ino, name: Name, mode: number, umask: number): Maybe<Entry | Errno> {
    return this.#make(ctx, parent, name, this.#newNode(TYPE_DIRECTORY, mode, umask))
  }

  symlink(ctx: Context, parent: Ino, name: Name, target: Name): Maybe<Entry | Errno> {
    if (target.length >= PATH_BYTES) return ENAMETOOLONG
    return this.#make(ctx, parent, name, { type: TYPE_SYMLINK, mode: 0o777, umask: 0, rdev: 0, target })
  }

  #make(ctx: Context, parent: Ino, name: Name, what: NewNode): Maybe<Entry | Errno> {
    const refused = this.#refusedNewName(parent, name)
    if (refused !== undefined) return refused
    const dir = this.#real(parent)
    return chain(this.#meta.make(this.#caller(ctx), dir, name, what), made => this.#made(dir, made))
  }

  #made(dir: Ino, made: Entry | Errno): Entry | Errno {
    if (isErrno(made)) return made
    this.#core.changes.note(dir)
    return { ino: made.ino, attr: this.#core.tell(made.ino, made.attr) }
  }

  #newNode(type: number, mode: number, umask: number, rdev = 0): NewNode {
    return { type, mode: mode & 0o7777, umask: this.#config.umask ?? umask, rdev, target: '' }
  }

  link(ctx: Context, ino: Ino, parent: Ino, name: Name): Maybe<Entry | Errno> {
    if (isSpecial(ino) || this.#isReserved(parent, name)) return EPERM
    if (name.length > MAX_NAME_BYTES) return ENAMETOOLONG
    const dir = this.#real(parent)
    const moment = this.#core.changes.now
    return chain(this.#meta.link(this.#caller(ctx), ino, dir, name), linked => {
      if (isErrno(linked)) return linked
      this.#core.changes.note(dir)
      return chain(this.#ownChange(ino, linked.attr, moment), attr => (isErrno(attr) ? attr : { ino, attr }))
    })
  }

  unlink(ctx: Context, parent: Ino, name: Name): Maybe<undefined | Errno> {
    const refused = this.#refusedOldName(parent, name)
    if (refused !== undefined) return refused
    const dir = this.#real(parent)
    return chain(this.#meta.unlink(this.#caller(ctx), dir, name), gone => this.#removed(dir, gone))
  }

  rmdir(ctx: Context, parent: Ino, name: Name): Maybe<undefined | Errno> {
    const refused = this.#refusedOldName(parent, name)
    if (refused !== undefined) return refused
    const dir = this.#real(parent)
    return chain(this.#meta.rmdir(this.#caller(ctx), dir, name), gone => this.#removed(dir, gone))
  }

  #removed(dir: Ino, gone: Entry | Errno): undefined | Errno {
    if (isErrno(gone)) return gone
    const { changes, files, unsynced } = this.#core
    changes.note(dir)
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
    const from = { parent: this.#real(parent), name }
    const to = { parent: this.#real(newParent), name: newName }
    return chain(this.#meta.rename(this.#caller(ctx), from, to, flags), renamed => {
      if (isErrno(renamed)) return renamed
      const { changes } = this.#core
      for (const ino of [from.parent, to.parent, renamed.moved.ino, renamed.replaced]) if (ino > 0) changes.note(ino)
      return undefined
    })
  }

  readlink(ctx: Context, ino: Ino): Maybe<Name | Errno> {
    return this.#meta.readlink(this.#caller(ctx), ino)
  }

  #refusedNewName(parent: Ino, name: Name): Errno | undefined {
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
    return name === this.#trashName || this.#internal?.lookup(parent, name) !== undefined
  }

  // ── attributes ──────────────────────────────────────────────────────────────────────────────────────────────────

  getattr(_ctx: Context, ino: Ino, _fh: number | null): Maybe<Attr | Errno> {
    return isVirtual(ino) ? this.#virtualAttr(ino) : this.#core.attrOf(this.#real(ino))
  }

  #virtualAttr(ino: Ino): Attr | Errno {
    return this.#internal?.getattr(ino) ?? ENOENT
  }

  setattr(ctx: Context, ino: Ino, set: SetAttr & { readonly size?: number }, fh: number | null): Maybe<Attr | Errno> {
    if (isVirtual(ino)) return set.size === undefined ? this.#virtualAttr(ino) : EPERM
    const { size, ...rest } = set
    const caller = this.#caller(ctx)
    const node = this.#real(ino)
    if (size === undefined) return this.#setRest(caller, node, rest)
    const handle = fh === null ? undefined : this.#core.handles.file(fh)
    if (handle !== undefined && !handle.writable) return EACCES
    return chain(
      this.#io.resize(node, () => this.#meta.truncate(caller, node, size, handle !== undefined)),
      attr => {
        if (isErrno(attr)) return attr
        const isAll = Object.values(rest).every(value => value === undefined)
        return isAll ? this.#core.tell(node, attr) : this.#setRest(caller, node, rest)
      },
    )
  }

  #setRest(caller: Caller, ino: Ino, set: SetAttr): Maybe<Attr | Errno> {
    const moment = this.#core.changes.now
    return chain(this.#meta.setattr(caller, ino, set), attr => {
      if (isErrno(attr)) return attr
      if (set.mtime !== undefined) this.#io.setMtime(ino, attr)
      return this.#ownChange(ino, attr, moment)
    })
  }

  /** Attributes as a change asked for at `moment` left them, unless another one of ours came in between. */
  #ownChange(ino: Ino, attr: Attr, moment: number): Maybe<Attr | Errno> {
    const current = this.#core.fresh(ino, attr, moment)
    this.#core.changes.note(ino)
    return current
  }

  access(ctx: Context, ino: Ino, mask: number): Maybe<undefined | Errno> {
    const caller = this.#caller(ctx)
    if (!isVirtual(ino)) return this.#meta.access(caller, this.#real(ino), mask)
    const attr = this.#virtualAttr(ino)
    if (isErrno(attr)) return attr
    const shift = caller.uid === attr.uid ? 6 : caller.gids.includes(attr.gid) ? 3 : 0
    return caller.uid === 0 || ((attr.mode >> shift) & mask) === mask ? undefined : EACCES
  }

  statfs(_ctx: Context, ino: Ino): Maybe<Usage | Errno> {
    return this.#meta.statfs(isVirtual(ino) ? this.#config.subdirRoot : this.#real(ino))
  }

  getxattr(ctx: Context, ino: Ino, name: Name): Maybe<Buffer | Errno> {
    return isVirtual(ino) ? ENODATA : this.#xattrs.get(this.#caller(ctx), this.#real(ino), name)
  }

  setxattr(ctx: Context, ino: Ino, name: Name, value: Buffer, flags: number): Maybe<undefined | Errno> {
    if (isVirtual(ino)) return EPERM
    const node = this.#real(ino)
    return this.#noting(node, this.#xattrs.set(this.#caller(ctx), node, name, value, flags))
  }

  listxattr(ctx: Context, ino: Ino): Maybe<readonly Name[] | Errno> {
    return isVirtual(ino) ? ENODATA : this.#xattrs.list(this.#caller(ctx), this.#real(ino))
  }

  removexattr(ctx: Context, ino: Ino, name: Name): Maybe<undefined | Errno> {
    if (isVirtual(ino)) return EPERM
    const node = this.#real(ino)
    return this.#noting(node, this.#xattrs.remove(this.#caller(ctx), node, name))
  }

  ioctl(ctx: Context, ino: Ino, _fh: number, cmd: number, input: Buffer, outSize: number): Maybe<Buffer | Errno> {
    if (!this.#config.enableIoctl) return ENOSYS
    if (isVirtual(ino)) return EPERM
    const node = this.#real(ino)
    return this.#noting(node, inodeFlagsIoctl(this.#meta, this.#caller(ctx), node, cmd, input, outSize))
  }

  #noting<T>(ino: Ino, result: Maybe<T | Errno>): Maybe<T | Errno> {
    return chain(result, value => {
      this.#core.changes.note(ino)
      return value
    })
  }

  // ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────

  open(ctx: Context, ino: Ino, flags: number): Maybe<Opened | Errno> {
    return isVirtual(ino) ? this.#openVirtual(ctx, ino, flags) : this.#io.open(ctx, ino, flags)
  }

  #openVirtual(ctx: Context, ino: Ino, flags: number): Opened | Errno {
    if (this.#internal === null) return ENOENT
    const fh = this.#core.handles.newId(false)
    const refused = this.#internal.open(ctx, ino, fh, flags)
    if (refused !== undefined) return refused
    this.#core.handles.add({ kind: 'internal', fh, ino })
    return { fh, openFlags: FOPEN_DIRECT_IO }
  }

  create(
    ctx: Context,
    parent: Ino,
    name: Name,
    mode: number,
    umask: number,
    flags: number,
  ): Maybe<(Entry & Opened) | Errno> {
    const refused = this.#refusedNewName(parent, name)
    if (refused !== undefined) return refused
    const caller = this.#caller(ctx)
    const dir = this.#real(parent)
    const what = this.#newNode(TYPE_FILE, mode, umask)
    const moment = this.#core.changes.now
    return chain(this.#meta.create(caller, dir, name, what, flags, (flags & O_EXCL) !== 0), made => {
      if (isErrno(made)) return made
      if (made.created) this.#core.changes.note(dir)
      const opened = this.#openedNew(made, moment, flags)
      if (made.created || (flags & O_TRUNC) === 0) return opened
      // The kernel took the name for new and will not cut the file itself.
      return chain(
        this.#io.resize(made.ino, () => this.#meta.truncate(caller, made.ino, 0, true)),
        attr => {
          if (!isErrno(attr)) return { ...opened, attr: this.#core.tell(made.ino, attr) }
          return chain(this.#io.release(this.#core.handles.file(opened.fh)!, null), () => attr)
        },
      )
    })
  }

  tmpfile(ctx: Context, parent: Ino, mode: number, umask: number, flags: number): Maybe<(Entry & Opened) | Errno> {
    const moment = this.#core.changes.now
    const what = this.#newNode(TYPE_FILE, mode, umask)
    return chain(this.#meta.createUnnamed(this.#caller(ctx), this.#real(parent), what), made =>
      isErrno(made) ? made : this.#openedNew(made, moment, (flags & O_ACCMODE) === 0 ? O_RDWR : flags),
    )
  }

  #openedNew(made: Entry, moment: number, flags: number): Entry & Opened {
    const { fh } = this.#io.opened(made.ino, made.attr, moment, flags)
    const attr = this.#core.tell(made.ino, made.attr)
    return { ino: made.ino, attr, fh, openFlags: this.#config.directIo ? FOPEN_DIRECT_IO : FOPEN_KEEP_CACHE }
  }

  read(ctx: Context, ino: Ino, fh: number, offset: number, size: number): Maybe<readonly Buffer[] | Errno> {
    const handle = this.#core.handles.get(fh)
    if (handle?.kind === 'file') return this.#io.read(ctx, handle, offset, size)
    if (handle?.kind === 'internal') return this.#internal?.read(ctx, ino, fh, offset, size) ?? EBADF
    return chain(this.#io.handleOf(ctx, ino, fh), known =>
      isErrno(known) ? known : this.#io.read(ctx, known, offset, size),
    )
  }

  write(ctx: Context, ino: Ino, fh: number, offset: number, data: Buffer, openFlags: number): Maybe<undefined | Errno> {
    const handle = this.#core.handles.get(fh)
    if (handle?.kind === 'file') return handle.writable ? this.#io.write(handle.file, offset, data, openFlags) : EBADF
    if (handle?.kind === 'internal') return this.#internal?.write(ctx, ino, fh, offset, data)
    return EBADF
  }

  flush(_ctx: Context, ino: Ino, fh: number, owner: LockOwner): Maybe<undefined | Errno> {
    const handle = this.#core.handles.get(fh)
    if (handle?.kind === 'file') {
      return chain(this.#io.flush(handle), failure => {
        handle.lockOwners?.delete(owner)
        if (!this.#posixLocks.remove(handle.ino, owner)) return failure
        return chain(this.#meta.setPlock(handle.ino, owner, wholeFile('U'), null), unlocked => failure ?? unlocked)
      })
    }
    if (handle?.kind === 'internal') this.#internal?.flush(ino, fh)
    return handle !== undefined || isResurrectable(fh) ? undefined : EBADF
  }

  release(_ctx: Context, ino: Ino, fh: number, _flockOwner: LockOwner | null): Maybe<undefined | Errno> {
    const handle = this.#core.handles.get(fh)
    if (handle?.kind === 'file') return this.#io.release(handle, this.#unlocking(handle))
    if (handle?.kind === 'internal') {
      this.#core.handles.delete(fh)
      this.#internal?.release(ino, fh)
    }
    return undefined
  }

  /** What still locks through this handle: its BSD lock, and owners of OFD locks, which no flush names. */
  #unlocking({ ino, flockOwner: flock, lockOwners }: FileHandle): (() => Maybe<unknown>) | null {
    const owners = [...(lockOwners ?? [])].filter(owner => this.#posixLocks.remove(ino, owner))
    if (flock === null && owners.length === 0) return null
    return () =>
      owners.reduce<Maybe<unknown>>(
        (before, owner) => chain(before, () => this.#meta.setPlock(ino, owner, wholeFile('U'), null)),
        flock === null ? undefined : this.#meta.flock(ino, flock, 'U', null),
      )
  }

  fsync(_ctx: Context, ino: Ino, fh: number, _dataOnly: boolean): Maybe<undefined | Errno> {
    const handle = this.#core.handles.get(fh)
    if (handle === undefined && !isResurrectable(fh)) return EBADF
    return handle?.kind === 'internal' ? undefined : this.#io.fsync(ino)
  }

  fallocate(
    ctx: Context,
    ino: Ino,
    fh: number,
    mode: number,
    offset: number,
    length: number,
  ): Maybe<undefined | Errno> {
    if (isVirtual(ino)) return EPERM
    const handle = this.#core.handles.file(fh)
    return handle === undefined ? EBADF : this.#io.fallocate(this.#caller(ctx), handle, mode, offset, length)
  }

  copyFileRange(
    ctx: Context,
    source: { ino: Ino; fh: number; offset: number },
    target: { ino: Ino; fh: number; offset: number },
    length: number,
    flags: number,
  ): Maybe<{ readonly copied: number } | Errno> {
    if (isVirtual(source.ino)) return ENOTSUP
    if (isVirtual(target.ino)) return EPERM
    if (flags !== 0) return EINVAL
    const to = this.#core.handles.file(target.fh)
    if (to === undefined) return EBADF
    return chain(this.#io.handleOf(ctx, source.ino, source.fh), from => {
      if (isErrno(from)) return from
      const places = [
        { handle: from, offset: source.offset },
        { handle: to, offset: target.offset },
      ] as const
      return this.#io.copyRange(this.#caller(ctx), ...places, length)
    })
  }

  lseek(
    ctx: Context,
    ino: Ino,
    fh: number,
    offset: number,
    whence: number,
  ): Maybe<{ readonly offset: number } | Errno> {
    if (isVirtual(ino)) return ENOSYS
    return chain(this.#io.handleOf(ctx, ino, fh), handle =>
      isErrno(handle) ? handle : this.#io.lseek(handle, offset, whence),
    )
  }

  // ── directories ─────────────────────────────────────────────────────────────────────────────────────────────────

  opendir(ctx: Context, ino: Ino, _flags: number): Maybe<Opened | Errno> {
    const caller = this.#caller(ctx)
    const node = this.#real(ino)
    return chain(caller.check ? this.#meta.access(caller, node, MAY_READ) : undefined, refused => {
      if (refused !== undefined) return refused
      const { fh } = this.#addDirectory(caller, node, this.#core.handles.newId(false))
      return { fh, openFlags: this.#config.readdirCache ? FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE : 0 }
    })
  }

  #addDirectory(caller: Caller, ino: Ino, fh: number): DirectoryHandle {
    const stream = openDirectory(this.#core, caller, ino, this.#rootEntries(ino))
    const handle = { kind: 'directory', fh, ino, stream } as const
    this.#core.handles.add(handle)
    return handle
  }

  /** What the root lists besides its own entries. */
  #rootEntries(ino: Ino): readonly { readonly name: Name; readonly ino: Ino; readonly type: number }[] {
    if (ino !== this.#config.subdirRoot || this.#config.hideInternal) return []
    const virtual = (this.#internal?.rootEntries ?? []).map(({ name, entry }) => ({
      name,
      ino: entry.ino,
      type: entry.attr.type,
    }))
    return this.#trashName === null
      ? virtual
      : [...virtual, { name: this.#trashName, ino: TRASH_INO, type: TYPE_DIRECTORY }]
  }

  readdir(ctx: Context, ino: Ino, fh: number, offset: number, attrs: boolean, add: AddEntry): Maybe<undefined | Errno> {
    const handle = this.#directoryOf(ctx, ino, fh)
    return isErrno(handle) ? handle : handle.stream.read(offset, attrs, add)
  }

  /** The handle, or a new one for an id from before a restart. */
  #directoryOf(ctx: Context, ino: Ino, fh: number): DirectoryHandle | Errno {
    const handle: Handle | undefined = this.#core.handles.get(fh)
    if (handle !== undefined) return handle.kind === 'directory' ? handle : EBADF
    return isResurrectable(fh) ? this.#addDirectory(this.#caller(ctx), this.#real(ino), fh) : EBADF
  }

  releasedir(_ctx: Context, _ino: Ino, fh: number): Maybe<undefined | Errno> {
    if (this.#core.handles.get(fh)?.kind === 'directory') this.#core.handles.delete(fh)
    return undefined
  }

  fsyncdir(_ctx: Context, _ino: Ino, _fh: number, _dataOnly: boolean): Maybe<undefined | Errno> {
    return this.#meta.sync().then(() => undefined)
  }

  // ── locks ───────────────────────────────────────────────────────────────────────────────────────────────────────

  getlk(_ctx: Context, ino: Ino, fh: number, owner: LockOwner, lock: Plock): Maybe<Plock | Errno> {
    if (isVirtual(ino)) return EPERM
    return this.#core.handles.file(fh) === undefined ? EBADF : this.#meta.getPlock(ino, owner, lock)
  }

  setlk(
    ctx: Context,
    ino: Ino,
    fh: number,
    owner: LockOwner,
    lock: Plock,
    wait: boolean,
    flock: boolean,
  ): Maybe<undefined | Errno> {
    if (isVirtual(ino)) return EPERM
    const handle = this.#core.handles.file(fh)
    if (handle === undefined) return EBADF
    const cancel = wait ? ctx : null
    if (flock) {
      const mine = flockOwner(owner, fh)
      if (lock.type !== 'U') handle.flockOwner = mine
      return this.#meta.flock(ino, mine, lock.type, cancel)
    }
    if (lock.type !== 'U') {
      this.#posixLocks.add(ino, owner)
      handle.lockOwners ??= new Set()
      handle.lockOwners.add(owner)
    }
    return verdictOnly(this.#meta.setPlock(ino, owner, lock, cancel))
  }

  // ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #caller(ctx: Context): Caller {
    return this.#core.callers.of(ctx)
  }

  /** The kernel calls the mount's root 1, whatever directory that is. */
  #real(ino: Ino): Ino {
    return ino === ROOT_INO ? this.#config.subdirRoot : ino
  }
}

/** Virtual files; the trash lies among the special inodes but consists of real nodes. */
const isVirtual = (ino: Ino): boolean => isSpecial(ino) && !isTrash(ino)

const wholeFile = (type: Plock['type']): Plock => ({ type, start: 0, end: TO_END, pid: 0 })
