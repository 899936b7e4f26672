/** Open files: bytes in and out, length, durability (spec vfs sections 2 to 5, design section 3).
 *
 *  A read needs no flush where it touches nothing that waits: bytes not covered by an unnamed slice are what the metadata
 *  says, whatever else is dirty, and the length is the greater of both. Where it does touch, everything is flushed first. */

import { EACCES, EBADF, EFBIG, EINVAL, ENOENT, type Errno, isErrno } from '../base/errno.ts'
import { causeText } from '../base/fault.ts'
import { type Ino, livesInTrash } from '../base/ino.ts'
import { chain, isPromise, type Maybe } from '../base/maybe.ts'
import type { Attr } from '../meta/model/attr.ts'
import type { Caller } from '../meta/model/caller.ts'
import type { Core } from './core.ts'
import { DirtyFiles } from './dirty-files.ts'
import { FileReader } from './file-reader.ts'
import type { Context, Opened } from './file-system.ts'
import { FileWriter } from './file-writer.ts'
import { type FileHandle, isResurrectable } from './handles.ts'
import type { OpenFile } from './open-file.ts'
import { ReadAhead, ReadAheadBudget } from './read-ahead.ts'
import { seekData, seekHole } from './seek.ts'

// open(2), asm-generic
const O_ACCMODE = 0o3
const O_RDONLY = 0o0
const O_TRUNC = 0o1000
const O_APPEND = 0o2000
const O_DSYNC = 0o10000
// <linux/fuse.h>
const FOPEN_DIRECT_IO = 1 << 0
const FOPEN_KEEP_CACHE = 1 << 1
const SEEK_DATA = 3
const SEEK_HOLE = 4

/** A reader that comes near the end of a file will likely want all of its end: formats with a footer. */
const TAIL_BYTES = 32 << 10
/** of the write and read buffers, for read-ahead */
const READ_AHEAD_SHARE = 0.8
/** of one copy_file_range; the kernel counts the result in 32 bits */
const MAX_COPY_BYTES = 2 ** 32 - 2 ** 26
const NOTHING: readonly Buffer[] = []

/** When a write may be answered: when it is durable, or as soon as it is certain that it will be taken. */
type Early = 'durable' | (() => void) | undefined

export class FileIo {
  readonly #core: Core
  readonly #reader: FileReader
  readonly #dirty: DirtyFiles
  readonly #readAhead: ReadAheadBudget

  constructor(core: Core) {
    this.#core = core
    const { bufferBytes, blockBytes, maxReadaheadBytes, readaheadGrows } = core.config
    const totalBytes = bufferBytes * READ_AHEAD_SHARE
    this.#reader = new FileReader({ meta: core.meta, chunks: core.chunks, ioRetries: core.config.ioRetries })
    this.#dirty = new DirtyFiles(core.clock, core.config)
    this.#readAhead = new ReadAheadBudget({
      blockBytes,
      maxBytes: maxReadaheadBytes,
      ...(readaheadGrows && { mostBytes: Math.max(maxReadaheadBytes, totalBytes / 3) }),
      totalBytes,
    })
  }

  // ── open and close ──────────────────────────────────────────────────────────────────────────────────────────────

  open(ctx: Context, ino: Ino, flags: number): Maybe<Opened | Errno> {
    const { meta, callers, changes, files, told } = this.#core
    const caller = callers.of(ctx)
    const moment = changes.now
    const isHeld = files.get(ino) !== undefined
    return chain(meta.open(caller, ino, flags), opened => {
      if (isErrno(opened)) return opened
      // Another client has removed the name by which it is opened: the trash is no place to open it from unknowingly.
      if (!isHeld && livesInTrash(opened.attr.parent) && told.isElsewhere(ino, opened.attr))
        return chain(meta.close(ino), () => ENOENT)
      const handle = this.opened(ino, opened.attr, moment, flags)
      const cut = (flags & O_TRUNC) !== 0 ? this.resize(ino, () => meta.truncate(caller, ino, 0, true)) : undefined
      return chain(cut, attr => {
        if (isErrno(attr)) return chain(this.release(handle, null), () => attr)
        return chain(this.#pageCache(handle.file, opened.unchanged), openFlags => ({ fh: handle.fh, openFlags }))
      })
    })
  }

  /** A handle for what meta counts as open. `attr` was asked for at `moment`. */
  opened(ino: Ino, attr: Attr, moment: number, flags: number): FileHandle {
    const { files, handles, changes } = this.#core
    const known = files.get(ino)
    const file = files.hold(ino, known && changes.since(ino, moment) ? known.attr : attr)
    const writable = (flags & O_ACCMODE) !== O_RDONLY
    return this.#addHandle(handles.newId(writable), file, writable)
  }

  #addHandle(fh: number, file: OpenFile, writable: boolean): FileHandle {
    const readAhead = new ReadAhead(this.#readAhead)
    const handle: FileHandle = {
      kind: 'file',
      fh,
      ino: file.ino,
      writable,
      file,
      readAhead,
      lockOwners: null,
      flockOwner: null,
    }
    this.#core.handles.add(handle)
    return handle
  }

  /** A lock on the file was got: what earlier holders wrote, on whatever client, is seen from now on through handles that are open
   *  already. Asked for after the lock was committed: what was read to get it may be older than the last holder's writes. The kernel
   *  must drop its pages itself: it may ignore attributes, and with them a new mtime, where two answers cross. */
  locked(file: OpenFile): Maybe<undefined> {
    return chain(this.#core.refresh(file, true), attr => {
      if (isErrno(attr)) return undefined
      const { mtime } = attr
      const known = file.lockedMtime
      if (known !== null && known.sec === mtime.sec && known.nsec === mtime.nsec) return undefined
      return chain(this.#core.invalidator.inode(file.ino, 0, 0), () => {
        file.lockedMtime = mtime
        return undefined
      })
    })
  }

  /** What the kernel may keep of the file. Where it may not, it must not go on believing older attributes either. */
  #pageCache(file: OpenFile, unchanged: boolean): Maybe<number> {
    const { config, told, invalidator } = this.#core
    const shown = file.writer?.shown(file.attr) ?? file.attr
    const mustForget = told.differs(file.ino, shown)
    const openFlags = config.directIo ? FOPEN_DIRECT_IO : unchanged ? FOPEN_KEEP_CACHE : 0
    return chain(mustForget ? invalidator.inode(file.ino, -1, 0) : undefined, () => openFlags)
  }

  /** The handle, or one for an id from before a restart: read-only, opened now. */
  handleOf(ctx: Context, ino: Ino, fh: number): Maybe<FileHandle | Errno> {
    const { handles, meta, callers, files } = this.#core
    const known = handles.get(fh)
    if (known !== undefined) return known.kind === 'file' ? known : EBADF
    if (!isResurrectable(fh)) return EBADF
    return chain(meta.open(callers.of(ctx), ino, O_RDONLY), opened => {
      if (isErrno(opened)) return opened === ENOENT ? EBADF : opened
      const other = handles.file(fh) // somebody else waited for the same
      if (other === undefined) return this.#addHandle(fh, files.hold(ino, opened.attr), false)
      return chain(meta.close(ino), () => other)
    })
  }

  /** close(2): what was written is named, and known to have been or not. */
  flush(handle: FileHandle): Maybe<undefined | Errno> {
    return handle.writable ? handle.file.writer?.flush() : undefined
  }

  /** The last use of a handle. `before` runs when its data is named (locks go then), whatever became of it. */
  release(handle: FileHandle, before: (() => Maybe<unknown>) | null): Maybe<undefined> {
    const { handles, files, meta } = this.#core
    handles.delete(handle.fh)
    handle.readAhead.close()
    return chain(this.flush(handle), () =>
      chain(before === null ? undefined : settled(before), () => {
        files.letGo(handle.file)
        return meta.close(handle.ino)
      }),
    )
  }

  /** Before an end: everything written is named, and as durable as an fsync of each file would make it, since the
   *  metadata will be. What fails is logged: nobody is there to be told. */
  async flushAll(): Promise<void> {
    const { unsynced, meta, log } = this.#core
    await Promise.all(this.#dirty.all().map(file => file.flush()))
    try {
      await unsynced.syncAll()
      await meta.sync()
    } catch (error) {
      log.error(`make everything durable: ${causeText(error)}`)
    }
  }

  // ── bytes ───────────────────────────────────────────────────────────────────────────────────────────────────────

  read(ctx: Context, handle: FileHandle, offset: number, size: number): Maybe<readonly Buffer[] | Errno> {
    const { file } = handle
    if (file.busy !== null) return file.busy.then(() => this.read(ctx, handle, offset, size))
    if (size === 0) return NOTHING
    if (offset < file.length) return this.#readWithin(ctx, handle, offset, Math.min(offset + size, file.length))
    // Perhaps somebody else made it longer.
    return chain(this.#core.refresh(file), attr => {
      if (isErrno(attr)) return attr === ENOENT ? EBADF : attr
      return offset < file.length
        ? this.#readWithin(ctx, handle, offset, Math.min(offset + size, file.length))
        : NOTHING
    })
  }

  #readWithin(ctx: Context, handle: FileHandle, from: number, to: number): Maybe<readonly Buffer[] | Errno> {
    const { file, ino } = handle
    const { writer } = file
    if (writer?.isDirty && writer.overlaps(from, to)) {
      // What went wrong is for the writer to hear.
      return chain(writer.flush(), () => this.#reader.read(ctx, ino, from, to))
    }
    const bytes = this.#reader.read(ctx, ino, from, to)
    this.#lookAhead(handle, from, to, isPromise(bytes))
    this.#touch(file)
    return bytes
  }

  #lookAhead({ file, ino, readAhead }: FileHandle, from: number, to: number, waits: boolean): void {
    if (this.#readAhead.limits.maxBytes <= 0) return
    const { length } = file
    const next = readAhead.plan(from, to, length, waits)
    if (next !== null) this.#reader.prefetch(ino, next.from, next.to)
    const tail = Math.max(0, length - TAIL_BYTES)
    if (to > tail && (from > tail || to < length)) this.#reader.prefetch(ino, tail, length)
  }

  /** Offers the access time to the metadata, which knows the rule, at most once a second. */
  #touch(file: OpenFile): void {
    const { config, clock, meta } = this.#core
    if (config.atimeMode === 'noatime' || config.readOnly) return
    const { sec } = clock.now()
    if (sec === file.touchedSec) return
    file.touchedSec = sec
    meta.touch(file.ino, file.attr)
  }

  /** `openFlags` of the request: O_APPEND goes to the end wherever that is now (pages written back by the kernel come
   *  without it, their offset stands), O_DSYNC answers when the data is durable. */
  write(
    file: OpenFile,
    offset: number,
    data: Buffer,
    openFlags: number,
    accepted?: () => void,
  ): Maybe<undefined | Errno> {
    const again = (): Maybe<undefined | Errno> => this.write(file, offset, data, openFlags, accepted)
    if (file.busy !== null) return file.busy.then(again)
    const writer = this.#writerOf(file)
    if (writer.failure !== undefined) return asWriteError(writer.failure)
    const room = writer.room()
    if (room !== undefined) {
      this.#dirty.relieve()
      return room.then(again)
    }
    const early = (openFlags & O_DSYNC) !== 0 ? 'durable' : accepted
    if ((openFlags & O_APPEND) === 0) return this.#put(file, writer, offset, data, early)
    if (writer.isDirty) return this.#append(file, writer, offset, data, early)
    // Another client may have made it longer since we looked; while we have data waiting its place is decided.
    return chain(this.#core.refresh(file), attr => {
      if (isErrno(attr)) return asWriteError(attr)
      return file.busy === null ? this.#append(file, writer, offset, data, early) : file.busy.then(again)
    })
  }

  #append(file: OpenFile, writer: FileWriter, expected: number, data: Buffer, early: Early): Maybe<undefined | Errno> {
    const end = file.length
    const result = this.#put(file, writer, end, data, early)
    // The kernel has put the bytes into its pages where it believed the end to be.
    if (end !== expected) void this.#core.invalidator.inode(file.ino, 0, 0)
    return result
  }

  /** Nothing can refuse the bytes any more once `early` is told: the writer goes on while they are copied. */
  #put(file: OpenFile, writer: FileWriter, offset: number, data: Buffer, early: Early): Maybe<undefined | Errno> {
    if (offset + data.length > Number.MAX_SAFE_INTEGER) return EFBIG
    if (typeof early === 'function') early()
    try {
      writer.write(offset, data, file.attr.length)
    } catch (error) {
      writer.lost()
      throw error
    }
    return early === 'durable' ? this.fsync(file.ino) : undefined
  }

  #writerOf(file: OpenFile): FileWriter {
    const { meta, chunks, clock, log, unsynced } = this.#core
    file.writer ??= new FileWriter({
      ino: file.ino,
      meta,
      chunks,
      clock,
      log,
      onDirty: writer => this.#dirty.add(writer),
      onCommitted: (ino, slice, attr) => {
        unsynced.add(ino, slice)
        this.#core.changed(ino, attr)
      },
    })
    return file.writer
  }

  // ── the whole file ──────────────────────────────────────────────────────────────────────────────────────────────

  /** Changes length or content by a metadata operation: what waits is named first, nothing else happens meanwhile.
   *  An earlier failure of the writer does not forbid it: cutting a file may be the way out of a full volume. */
  resize(ino: Ino, change: () => Maybe<Attr | Errno>): Maybe<Attr | Errno> {
    const file = this.#core.files.get(ino)
    const changeAndNote = (): Maybe<Attr | Errno> =>
      chain(change(), attr => {
        if (!isErrno(attr)) this.#core.changed(ino, attr)
        return attr
      })
    if (file === undefined) return changeAndNote()
    return this.#holding(file, () => file.exclusively(() => chain(file.writer?.flush(), changeAndNote)))
  }

  fallocate(
    caller: Caller,
    handle: FileHandle,
    mode: number,
    offset: number,
    length: number,
  ): Maybe<undefined | Errno> {
    if (!handle.writable) return EBADF
    if (offset + length > Number.MAX_SAFE_INTEGER) return EFBIG
    const { ino } = handle
    return chain(
      this.resize(ino, () => this.#core.meta.fallocate(caller, ino, mode, offset, length)),
      attr => (isErrno(attr) ? attr : undefined),
    )
  }

  /** By metadata alone; the result may be shorter than asked for where a later part fails. */
  copyRange(
    caller: Caller,
    source: { handle: FileHandle; offset: number },
    target: { handle: FileHandle; offset: number },
    length: number,
  ): Maybe<{ readonly copied: number } | Errno> {
    const from = source.handle.file
    const to = target.handle.file
    if (!target.handle.writable) return EACCES
    const wanted = Math.min(length, MAX_COPY_BYTES)
    if (Math.max(source.offset, target.offset) + wanted > Number.MAX_SAFE_INTEGER) return EFBIG
    if (from === to && Math.abs(source.offset - target.offset) < wanted) return EINVAL
    return this.#holding(to, () =>
      to.exclusively(() =>
        chain(to.writer?.flush(), () =>
          chain(from.writer?.flush(), () =>
            this.#copy(
              caller,
              { ino: from.ino, offset: source.offset },
              { ino: to.ino, offset: target.offset },
              wanted,
              0,
            ),
          ),
        ),
      ),
    )
  }

  #copy(
    caller: Caller,
    source: { ino: Ino; offset: number },
    target: { ino: Ino; offset: number },
    length: number,
    done: number,
  ): Maybe<{ readonly copied: number } | Errno> {
    const part = this.#core.meta.copyRange(
      caller,
      { ino: source.ino, offset: source.offset + done },
      { ino: target.ino, offset: target.offset + done },
      length - done,
    )
    return chain(part, result => {
      if (isErrno(result)) return done > 0 ? { copied: done } : result
      if (result.copied > 0) {
        this.#core.unsynced.share(source.ino, target.ino)
        this.#core.changed(target.ino, result.target)
      }
      const copied = done + result.copied
      return result.copied === 0 || copied === length ? { copied } : this.#copy(caller, source, target, length, copied)
    })
  }

  lseek(handle: FileHandle, offset: number, whence: number): Maybe<{ readonly offset: number } | Errno> {
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return EINVAL
    const { file, ino } = handle
    return chain(file.writer?.flush(), () =>
      chain(this.#core.refresh(file), attr => {
        if (isErrno(attr)) return attr === ENOENT ? EBADF : attr
        return (whence === SEEK_DATA ? seekData : seekHole)(this.#core.meta, ino, offset, file.length)
      }),
    )
  }

  /** Blocks stored, slices named, blocks durable, names durable: in this order (design section 3). */
  async fsync(ino: Ino): Promise<undefined | Errno> {
    const failure = await this.#core.files.get(ino)?.writer?.flush()
    if (failure !== undefined) return failure
    await this.#core.unsynced.sync(ino)
    await this.#core.meta.sync()
  }

  /** utimens while data waits: the later commit shall not set it back. */
  setMtime(ino: Ino, attr: Attr): void {
    const writer = this.#core.files.get(ino)?.writer
    if (writer?.isDirty) writer.setMtime(attr.mtime)
  }

  #holding<T>(file: OpenFile, action: () => Maybe<T>): Maybe<T> {
    const { files } = this.#core
    file.users++
    let result: Maybe<T>
    try {
      result = action()
    } catch (error) {
      files.letGo(file)
      throw error
    }
    if (isPromise(result)) return result.finally(() => files.letGo(file))
    files.letGo(file)
    return result
  }
}

/** Spec section 3.1: for the writer a file that is gone, or no file, is a bad descriptor. */
const asWriteError = (errno: Errno): Errno => (errno === ENOENT || errno === EINVAL ? EBADF : errno)

/** Runs `action`; a fault in it must not keep a handle from being freed. */
function settled(action: () => Maybe<unknown>): Maybe<unknown> {
  try {
    const result = action()
    return isPromise(result) ? result.catch(() => {}) : result
  } catch {
    return undefined
  }
}
