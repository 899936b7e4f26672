/** Open files: how they are opened and closed, and what the kernel may believe of them meanwhile (spec vfs section 4). */

import { EBADF, EINVAL, ENOENT, type Errno, isErrno } from '../base/errno.ts'
import { type Ino, livesInTrash } from '../base/ino.ts'
import { chain, isPromise, type Maybe } from '../base/maybe.ts'
import type { Attr } from '../meta/model/attr.ts'
import { FileChanges } from './file-changes.ts'
import type { Context, Opened } from './file-system.ts'
import { type FileHandle, isResurrectable } from './handles.ts'
import type { OpenFile } from './open-file.ts'
import { seekData, seekHole } from './seek.ts'

// open(2), asm-generic
const O_ACCMODE = 0o3
const O_RDONLY = 0o0
const O_WRONLY = 0o1
const O_TRUNC = 0o1000
// <linux/fuse.h>
const FOPEN_DIRECT_IO = 1 << 0
const FOPEN_KEEP_CACHE = 1 << 1
// lseek(2)
const SEEK_DATA = 3
const SEEK_HOLE = 4

export class FileIo extends FileChanges {
  /** Handles that are open for writing alone write past the kernel's pages: a file that is written in one go costs one copy and its
   *  length in memory less (docs/design/004). */
  mayWritePastPages = false

  open(ctx: Context, ino: Ino, flags: number): Maybe<Opened | Errno> {
    const { meta, callers, changes, files, told } = this.core
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
        return chain(this.#pageCache(handle, opened.unchanged), openFlags => ({ fh: handle.fh, openFlags }))
      })
    })
  }

  /** A handle for what meta counts as open. `attr` was asked for at `moment`. */
  opened(ino: Ino, attr: Attr, moment: number, flags: number): FileHandle {
    const { files, handles, changes } = this.core
    const known = files.get(ino)
    const file = files.hold(ino, known && changes.since(ino, moment) ? known.attr : attr)
    const writable = (flags & O_ACCMODE) !== O_RDONLY
    const isWriteOnly = (flags & O_ACCMODE) === O_WRONLY
    return this.#addHandle(handles.newId(writable), file, writable, isWriteOnly && this.mayWritePastPages)
  }

  #addHandle(fh: number, file: OpenFile, writable: boolean, writesPastPages: boolean): FileHandle {
    const handle: FileHandle = {
      kind: 'file',
      fh,
      ino: file.ino,
      writable,
      writesPastPages,
      file,
      readAhead: this.newReadAhead(),
      lockOwners: null,
      flockOwner: null,
    }
    this.core.handles.add(handle)
    return handle
  }

  /** A lock on the file was got: what earlier holders wrote, on whatever client, is seen from now on through handles that are open
   *  already. Asked for after the lock was committed: what was read to get it may be older than the last holder's writes. The kernel
   *  must drop its pages itself: it may ignore attributes, and with them new times, where two answers cross. A new ctime tells, since whoever
   *  writes may set the mtime back. */
  locked(file: OpenFile): Maybe<undefined> {
    return chain(this.core.refresh(file), attr => {
      if (isErrno(attr)) return undefined
      const { ctime } = attr
      const known = file.lockedCtime
      if (known !== null && known.sec === ctime.sec && known.nsec === ctime.nsec) return undefined
      return chain(this.core.invalidator.inode(file.ino, 0, 0), () => {
        file.lockedCtime = ctime
        return undefined
      })
    })
  }

  /** What the kernel may keep of the file. Where it may not, it must not go on believing older attributes either. */
  #pageCache(handle: FileHandle, unchanged: boolean): Maybe<number> {
    const { file } = handle
    const { told, invalidator } = this.core
    const shown = file.writer?.shown(file.attr) ?? file.attr
    const mustForget = told.differs(file.ino, shown)
    return chain(mustForget ? invalidator.inode(file.ino, -1, 0) : undefined, () => this.openFlags(handle, unchanged))
  }

  /** `unchanged`: what the kernel has of the file is still true. */
  openFlags(handle: FileHandle, unchanged: boolean): number {
    if (this.core.config.directIo) return FOPEN_DIRECT_IO
    return (handle.writesPastPages ? FOPEN_DIRECT_IO : 0) | (unchanged ? FOPEN_KEEP_CACHE : 0)
  }

  /** The handle, or one for an id from before a restart: read-only, opened now. */
  handleOf(ctx: Context, ino: Ino, fh: number): Maybe<FileHandle | Errno> {
    const { handles, meta, callers, files } = this.core
    const known = handles.get(fh)
    if (known !== undefined) return known.kind === 'file' ? known : EBADF
    if (!isResurrectable(fh)) return EBADF
    return chain(meta.open(callers.of(ctx), ino, O_RDONLY), opened => {
      if (isErrno(opened)) return opened === ENOENT ? EBADF : opened
      const other = handles.file(fh) // somebody else waited for the same
      if (other === undefined) return this.#addHandle(fh, files.hold(ino, opened.attr), false, false)
      return chain(meta.close(ino), () => other)
    })
  }

  /** close(2): what was written is named, and known to have been or not. */
  flush(handle: FileHandle): Maybe<undefined | Errno> {
    return handle.writable ? handle.file.writer?.flush() : undefined
  }

  /** The last use of a handle. `before` runs when its data is named (locks go then), whatever became of it. */
  release(handle: FileHandle, before: (() => Maybe<unknown>) | null): Maybe<undefined> {
    const { handles, files, meta } = this.core
    handles.delete(handle.fh)
    handle.readAhead.close()
    return chain(this.flush(handle), () =>
      chain(before === null ? undefined : settled(before), () => {
        files.letGo(handle.file)
        return meta.close(handle.ino)
      }),
    )
  }

  lseek(handle: FileHandle, offset: number, whence: number): Maybe<{ readonly offset: number } | Errno> {
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return EINVAL
    const { file, ino } = handle
    return chain(file.writer?.flush(), () =>
      chain(this.core.refresh(file), attr => {
        if (isErrno(attr)) return attr === ENOENT ? EBADF : attr
        return (whence === SEEK_DATA ? seekData : seekHole)(this.core.meta, ino, offset, file.length)
      }),
    )
  }
}

/** Runs `action`; a fault in it must not keep a handle from being freed. */
function settled(action: () => Maybe<unknown>): Maybe<unknown> {
  try {
    const result = action()
    return isPromise(result) ? result.catch(() => {}) : result
  } catch {
    return undefined
  }
}
