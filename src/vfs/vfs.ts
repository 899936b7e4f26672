/** The file system that the kernel sees: names and attributes are meta's, bytes are FileIo's, virtual files somebody
 *  else's; here are the handles in which they meet.
 *
 *  Answers come in the same turn wherever meta and chunks answer so: nothing on those paths is `async`. */

import type { Name } from '../base/bytes.ts'
import { EBADF, EINVAL, ENOENT, ENOSYS, ENOTSUP, EPERM, type Errno, isErrno } from '../base/errno.ts'
import { type Ino, TRASH_INO } from '../base/ino.ts'
import { chain, type Maybe } from '../base/maybe.ts'
import { TYPE_DIRECTORY, TYPE_FILE } from '../meta/model/attr.ts'
import type { Caller } from '../meta/model/caller.ts'
import { Attributes } from './attributes.ts'
import { openDirectory } from './directories.ts'
import type {
  AddEntry,
  Context,
  Entry,
  FileSystem,
  Invalidator,
  KernelAbilities,
  LockOwner,
  Opened,
  Plock,
  Timeouts,
} from './file-system.ts'
import { type DirectoryHandle, type FileHandle, type Handle, isResurrectable } from './handles.ts'
import { KeptListings } from './kept-listings.ts'
import { flockOwner, PosixLockOwners } from './lock-owners.ts'
import { isVirtual, type VfsOptions } from './names.ts'

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

export class Vfs extends Attributes implements FileSystem {
  readonly timeouts: Timeouts
  readonly #posixLocks = new PosixLockOwners()
  readonly #listings: KeptListings

  constructor(options: VfsOptions) {
    super(options)
    this.timeouts = options.config.timeouts
    this.#listings = new KeptListings(options.clock, options.config.timeouts.attr * 1000)
  }

  /** The kernel side, once there is one. */
  setInvalidator(invalidator: Invalidator): void {
    this.core.invalidator = invalidator
  }

  agreed({ dropsOverwrittenPages }: KernelAbilities): void {
    this.io.mayWritePastPages = dropsOverwrittenPages
  }

  get openHandleCount(): number {
    return this.core.handles.size
  }
  /** inodes with open file handles */
  get openFileCount(): number {
    return this.core.files.size
  }

  /** Everything written so far is stored and named, or its writer has its sticky error. Never rejects. */
  flushAll(): Promise<void> {
    return this.io.flushAll()
  }

  // ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────

  open(ctx: Context, ino: Ino, flags: number): Maybe<Opened | Errno> {
    return isVirtual(ino) ? this.#openVirtual(ctx, ino, flags) : this.io.open(ctx, ino, flags)
  }

  #openVirtual(ctx: Context, ino: Ino, flags: number): Opened | Errno {
    if (this.internal === null) return ENOENT
    const fh = this.core.handles.newId(false)
    const refused = this.internal.open(ctx, ino, fh, flags)
    if (refused !== undefined) return refused
    this.core.handles.add({ kind: 'internal', fh, ino })
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
    const refused = this.refusedNewName(parent, name)
    if (refused !== undefined) return refused
    const caller = this.caller(ctx)
    const dir = this.real(parent)
    const what = this.newNode(TYPE_FILE, mode, umask)
    const moment = this.core.changes.now
    return chain(this.meta.create(caller, dir, name, what, flags, (flags & O_EXCL) !== 0), made => {
      if (isErrno(made)) return made
      if (made.created) this.changedEntry(dir, name, made)
      const opened = this.#openedNew(made, moment, flags, made.created)
      if (made.created || (flags & O_TRUNC) === 0) return opened
      // The kernel took the name for new and will not cut the file itself.
      return chain(
        this.io.resize(made.ino, () => this.meta.truncate(caller, made.ino, 0, true)),
        attr => {
          if (!isErrno(attr)) return { ...opened, attr: this.core.tell(made.ino, attr) }
          return chain(this.io.release(this.core.handles.file(opened.fh)!, null), () => attr)
        },
      )
    })
  }

  tmpfile(ctx: Context, parent: Ino, mode: number, umask: number, flags: number): Maybe<(Entry & Opened) | Errno> {
    const moment = this.core.changes.now
    const what = this.newNode(TYPE_FILE, mode, umask)
    return chain(this.meta.createUnnamed(this.caller(ctx), this.real(parent), what), made =>
      isErrno(made) ? made : this.#openedNew(made, moment, (flags & O_ACCMODE) === 0 ? O_RDWR : flags, true),
    )
  }

  /** A file that turned out to be there already may have pages in the kernel that are no longer true. */
  #openedNew(made: Entry, moment: number, flags: number, isNew: boolean): Entry & Opened {
    const handle = this.io.opened(made.ino, made.attr, moment, flags)
    const attr = this.core.tell(made.ino, made.attr)
    return { ino: made.ino, attr, fh: handle.fh, openFlags: this.io.openFlags(handle, isNew) }
  }

  read(ctx: Context, ino: Ino, fh: number, offset: number, size: number): Maybe<readonly Buffer[] | Errno> {
    const handle = this.core.handles.get(fh)
    if (handle?.kind === 'file') return this.io.read(ctx, handle, offset, size)
    if (handle?.kind === 'internal') return this.internal?.read(ctx, ino, fh, offset, size) ?? EBADF
    return chain(this.io.handleOf(ctx, ino, fh), known =>
      isErrno(known) ? known : this.io.read(ctx, known, offset, size),
    )
  }

  write(
    ctx: Context,
    ino: Ino,
    fh: number,
    offset: number,
    data: Buffer,
    openFlags: number,
    accepted?: () => void,
  ): Maybe<undefined | Errno> {
    const handle = this.core.handles.get(fh)
    if (handle?.kind === 'file')
      return handle.writable ? this.io.write(handle, offset, data, openFlags, accepted) : EBADF
    if (handle?.kind === 'internal') return this.internal?.write(ctx, ino, fh, offset, data)
    return EBADF
  }

  flush(_ctx: Context, ino: Ino, fh: number, owner: LockOwner): Maybe<undefined | Errno> {
    const handle = this.core.handles.get(fh)
    if (handle?.kind === 'file') {
      return chain(this.io.flush(handle), failure => {
        handle.lockOwners?.delete(owner)
        if (!this.#posixLocks.remove(handle.ino, owner)) return failure
        return chain(this.meta.setPlock(handle.ino, owner, wholeFile('U'), null), unlocked => failure ?? unlocked)
      })
    }
    if (handle?.kind === 'internal') this.internal?.flush(ino, fh)
    return handle !== undefined || isResurrectable(fh) ? undefined : EBADF
  }

  release(_ctx: Context, ino: Ino, fh: number, _flockOwner: LockOwner | null): Maybe<undefined | Errno> {
    const handle = this.core.handles.get(fh)
    if (handle?.kind === 'file') return this.io.release(handle, this.#unlocking(handle))
    if (handle?.kind === 'internal') {
      this.core.handles.delete(fh)
      this.internal?.release(ino, fh)
    }
    return undefined
  }

  /** What still locks through this handle: its BSD lock, and owners of OFD locks, which no flush names. */
  #unlocking({ ino, flockOwner: flock, lockOwners }: FileHandle): (() => Maybe<unknown>) | null {
    const owners = [...(lockOwners ?? [])].filter(owner => this.#posixLocks.remove(ino, owner))
    if (flock === null && owners.length === 0) return null
    return () =>
      owners.reduce<Maybe<unknown>>(
        (before, owner) => chain(before, () => this.meta.setPlock(ino, owner, wholeFile('U'), null)),
        flock === null ? undefined : this.meta.flock(ino, flock, 'U', null),
      )
  }

  fsync(_ctx: Context, ino: Ino, fh: number, _dataOnly: boolean): Maybe<undefined | Errno> {
    const handle = this.core.handles.get(fh)
    if (handle === undefined && !isResurrectable(fh)) return EBADF
    return handle?.kind === 'internal' ? undefined : this.io.fsync(ino)
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
    const handle = this.core.handles.file(fh)
    return handle === undefined ? EBADF : this.io.fallocate(this.caller(ctx), handle, mode, offset, length)
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
    const to = this.core.handles.file(target.fh)
    if (to === undefined) return EBADF
    return chain(this.io.handleOf(ctx, source.ino, source.fh), from => {
      if (isErrno(from)) return from
      const places = [
        { handle: from, offset: source.offset },
        { handle: to, offset: target.offset },
      ] as const
      return this.io.copyRange(this.caller(ctx), ...places, length)
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
    return chain(this.io.handleOf(ctx, ino, fh), handle =>
      isErrno(handle) ? handle : this.io.lseek(handle, offset, whence),
    )
  }

  // ── directories ─────────────────────────────────────────────────────────────────────────────────────────────────

  opendir(ctx: Context, ino: Ino, _flags: number): Maybe<Opened | Errno> {
    const caller = this.caller(ctx)
    const node = this.real(ino)
    return chain(caller.check ? this.meta.access(caller, node, MAY_READ) : undefined, refused => {
      if (refused !== undefined) return refused
      const { fh } = this.#addDirectory(caller, node, this.core.handles.newId(false))
      if (!this.config.readdirCache) return { fh, openFlags: 0 }
      return { fh, openFlags: FOPEN_CACHE_DIR | (this.#listings.mayKeep(node) ? FOPEN_KEEP_CACHE : 0) }
    })
  }

  #addDirectory(caller: Caller, ino: Ino, fh: number): DirectoryHandle {
    const stream = openDirectory(this.core, caller, ino, this.#rootEntries(ino))
    const handle = { kind: 'directory', fh, ino, stream } as const
    this.core.handles.add(handle)
    this.core.directories.add(ino, stream)
    return handle
  }

  /** What the root lists besides its own entries. */
  #rootEntries(ino: Ino): readonly { readonly name: Name; readonly ino: Ino; readonly type: number }[] {
    if (ino !== this.config.subdirRoot || this.config.hideInternal) return []
    const virtual = (this.internal?.rootEntries ?? []).map(({ name, entry }) => ({
      name,
      ino: entry.ino,
      type: entry.attr.type,
    }))
    return this.trashName === null
      ? virtual
      : [...virtual, { name: this.trashName, ino: TRASH_INO, type: TYPE_DIRECTORY }]
  }

  readdir(ctx: Context, ino: Ino, fh: number, offset: number, attrs: boolean, add: AddEntry): Maybe<undefined | Errno> {
    const handle = this.#directoryOf(ctx, ino, fh)
    return isErrno(handle) ? handle : handle.stream.read(offset, attrs, add)
  }

  /** The handle, or a new one for an id from before a restart. */
  #directoryOf(ctx: Context, ino: Ino, fh: number): DirectoryHandle | Errno {
    const handle: Handle | undefined = this.core.handles.get(fh)
    if (handle !== undefined) return handle.kind === 'directory' ? handle : EBADF
    return isResurrectable(fh) ? this.#addDirectory(this.caller(ctx), this.real(ino), fh) : EBADF
  }

  releasedir(_ctx: Context, _ino: Ino, fh: number): Maybe<undefined | Errno> {
    const handle = this.core.handles.get(fh)
    if (handle?.kind !== 'directory') return undefined
    this.core.handles.delete(fh)
    this.core.directories.remove(handle.ino, handle.stream)
    return undefined
  }

  fsyncdir(_ctx: Context, _ino: Ino, _fh: number, _dataOnly: boolean): Maybe<undefined | Errno> {
    return this.meta.sync().then(() => undefined)
  }

  // ── locks ───────────────────────────────────────────────────────────────────────────────────────────────────────

  getlk(_ctx: Context, ino: Ino, fh: number, owner: LockOwner, lock: Plock): Maybe<Plock | Errno> {
    if (isVirtual(ino)) return EPERM
    return this.core.handles.file(fh) === undefined ? EBADF : this.meta.getPlock(ino, owner, lock)
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
    const handle = this.core.handles.file(fh)
    if (handle === undefined) return EBADF
    const cancel = wait ? ctx : null
    if (flock) {
      const mine = flockOwner(owner, fh)
      if (lock.type !== 'U') handle.flockOwner = mine
      return this.#atBarrier(handle, lock.type, () => this.meta.flock(ino, mine, lock.type, cancel))
    }
    if (lock.type !== 'U') {
      this.#posixLocks.add(ino, owner)
      handle.lockOwners ??= new Set()
      handle.lockOwners.add(owner)
    }
    return this.#atBarrier(handle, lock.type, () => this.meta.setPlock(ino, owner, lock, cancel))
  }

  /** Who holds a lock sees what was written under it before, on whatever client: what waits here is named before a lock is given up
   *  (a failure is for fsync and close to tell), and who gets one looks at the file. */
  #atBarrier(
    { file }: FileHandle,
    type: Plock['type'],
    lock: () => Maybe<undefined | Errno>,
  ): Maybe<undefined | Errno> {
    return chain(type === 'W' ? undefined : file.writer?.flush(), () =>
      chain(lock(), refused => refused ?? (type === 'U' ? undefined : this.io.locked(file))),
    )
  }
}

const wholeFile = (type: Plock['type']): Plock => ({ type, start: 0, end: TO_END, pid: 0 })
