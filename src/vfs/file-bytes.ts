/** The bytes of open files, in and out, and their durability (spec vfs sections 2, 3 and 5, design section 3).
 *
 *  A read needs no flush where it touches nothing that waits: bytes not covered by an unnamed slice are what the metadata
 *  says, whatever else is dirty, and the length is the greater of both. Where it does touch, everything is flushed first. */

import { EBADF, EFBIG, EINVAL, ENOENT, type Errno, isErrno } from '../base/errno.ts'
import { causeText } from '../base/fault.ts'
import type { Ino } from '../base/ino.ts'
import { chain, isPromise, type Maybe } from '../base/maybe.ts'
import type { Attr } from '../meta/model/attr.ts'
import type { Core } from './core.ts'
import { DirtyFiles } from './dirty-files.ts'
import { FileReader } from './file-reader.ts'
import type { Context } from './file-system.ts'
import { FileWriter } from './file-writer.ts'
import type { FileHandle } from './handles.ts'
import type { OpenFile } from './open-file.ts'
import { ReadAhead, ReadAheadBudget } from './read-ahead.ts'

// open(2), asm-generic
const O_APPEND = 0o2000
const O_DSYNC = 0o10000

/** A reader that comes near the end of a file will likely want all of its end: formats with a footer. */
const TAIL_BYTES = 32 << 10
/** of the write and read buffers, for read-ahead */
const READ_AHEAD_SHARE = 0.8
const NOTHING: readonly Buffer[] = []

/** When a write may be answered: when it is durable, or as soon as it is certain that it will be taken. */
type Early = 'durable' | (() => void) | undefined

/** The first of three layers of one object: bytes, changes of a whole file (file-changes.ts), open and close (file-io.ts). */
export abstract class FileBytes {
  protected readonly core: Core
  readonly #reader: FileReader
  readonly #dirty: DirtyFiles
  readonly #readAhead: ReadAheadBudget

  constructor(core: Core) {
    this.core = core
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

  /** of a handle that is opened */
  protected newReadAhead(): ReadAhead {
    return new ReadAhead(this.#readAhead)
  }

  read(ctx: Context, handle: FileHandle, offset: number, size: number): Maybe<readonly Buffer[] | Errno> {
    const { file } = handle
    file.fillsPages = true
    if (file.busy !== null) return file.busy.then(() => this.read(ctx, handle, offset, size))
    if (size === 0) return NOTHING
    if (offset < file.length) return this.#readWithin(ctx, handle, offset, Math.min(offset + size, file.length))
    // Perhaps somebody else made it longer.
    return chain(this.core.refresh(file), attr => {
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
    const { config, clock, meta } = this.core
    if (config.atimeMode === 'noatime' || config.readOnly) return
    const { sec } = clock.now()
    if (sec === file.touchedSec) return
    file.touchedSec = sec
    meta.touch(file.ino, file.attr)
  }

  /** `openFlags` of the request: O_APPEND goes to the end wherever that is now (pages written back by the kernel come
   *  without it, their offset stands), O_DSYNC answers when the data is durable. */
  write(
    handle: FileHandle,
    offset: number,
    data: Buffer,
    openFlags: number,
    accepted?: () => void,
  ): Maybe<undefined | Errno> {
    const { file, ino } = handle
    if (!handle.writesPastPages || !file.fillsPages) return this.#write(file, offset, data, openFlags, accepted)
    // The kernel dropped its pages before it asked us. A reader may have made it fetch them again since, as they were before.
    file.fillsPages = false
    return chain(this.#write(file, offset, data, openFlags), failure =>
      chain(this.core.invalidator.inode(ino, offset, data.length), () => failure),
    )
  }

  #write(
    file: OpenFile,
    offset: number,
    data: Buffer,
    openFlags: number,
    accepted?: () => void,
  ): Maybe<undefined | Errno> {
    const again = (): Maybe<undefined | Errno> => this.#write(file, offset, data, openFlags, accepted)
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
    return chain(this.core.refresh(file), attr => {
      if (isErrno(attr)) return asWriteError(attr)
      return file.busy === null ? this.#append(file, writer, offset, data, early) : file.busy.then(again)
    })
  }

  #append(file: OpenFile, writer: FileWriter, expected: number, data: Buffer, early: Early): Maybe<undefined | Errno> {
    const end = file.length
    const result = this.#put(file, writer, end, data, early)
    // The kernel has put the bytes into its pages where it believed the end to be.
    if (end !== expected) void this.core.invalidator.inode(file.ino, 0, 0)
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
    const { meta, chunks, clock, log, unsynced } = this.core
    file.writer ??= new FileWriter({
      ino: file.ino,
      meta,
      chunks,
      clock,
      log,
      onDirty: writer => this.#dirty.add(writer),
      onCommitted: (ino, slice, attr) => {
        unsynced.add(ino, slice)
        this.core.changed(ino, attr)
      },
    })
    return file.writer
  }

  /** utimens while data waits: the later commit shall not set it back. */
  setMtime(ino: Ino, attr: Attr): void {
    const writer = this.core.files.get(ino)?.writer
    if (writer?.isDirty) writer.setMtime(attr.mtime)
  }

  // ── durability ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Blocks stored, slices named, blocks durable, names durable: in this order (design section 3). */
  async fsync(ino: Ino): Promise<undefined | Errno> {
    const failure = await this.core.files.get(ino)?.writer?.flush()
    if (failure !== undefined) return failure
    await this.core.unsynced.sync(ino)
    await this.core.meta.sync()
  }

  /** Before an end: everything written is named, and as durable as an fsync of each file would make it, since the
   *  metadata will be. What fails is logged: nobody is there to be told. */
  async flushAll(): Promise<void> {
    const { unsynced, meta, log } = this.core
    await Promise.all(this.#dirty.all().map(file => file.flush()))
    try {
      await unsynced.syncAll()
      await meta.sync()
    } catch (error) {
      log.error(`make everything durable: ${causeText(error)}`)
    }
  }
}

/** Spec section 3.1: for the writer a file that is gone, or no file, is a bad descriptor. */
const asWriteError = (errno: Errno): Errno => (errno === ENOENT || errno === EINVAL ? EBADF : errno)
