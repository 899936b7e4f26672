/** What changes a file as a whole, by metadata alone (spec vfs section 2): its length, holes, ranges copied from another file.
 *
 *  What waits to be written is named first, and nothing else happens to the file meanwhile. */

import { EACCES, EBADF, EFBIG, EINVAL, type Errno, isErrno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import { chain, isPromise, type Maybe } from '../base/maybe.ts'
import type { Attr } from '../meta/model/attr.ts'
import type { Caller } from '../meta/model/caller.ts'
import { FileBytes } from './file-bytes.ts'
import type { FileHandle } from './handles.ts'
import type { OpenFile } from './open-file.ts'

/** of one copy_file_range; the kernel counts the result in 32 bits */
const MAX_COPY_BYTES = 2 ** 32 - 2 ** 26

export abstract class FileChanges extends FileBytes {
  /** Changes length or content by a metadata operation: what waits is named first, nothing else happens meanwhile.
   *  An earlier failure of the writer does not forbid it: cutting a file may be the way out of a full volume. */
  resize(ino: Ino, change: () => Maybe<Attr | Errno>): Maybe<Attr | Errno> {
    const file = this.core.files.get(ino)
    const changeAndNote = (): Maybe<Attr | Errno> =>
      chain(change(), attr => {
        if (!isErrno(attr)) this.core.changed(ino, attr)
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
      this.resize(ino, () => this.core.meta.fallocate(caller, ino, mode, offset, length)),
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
    const part = this.core.meta.copyRange(
      caller,
      { ino: source.ino, offset: source.offset + done },
      { ino: target.ino, offset: target.offset + done },
      length - done,
    )
    return chain(part, result => {
      if (isErrno(result)) return done > 0 ? { copied: done } : result
      if (result.copied > 0) {
        this.core.unsynced.share(source.ino, target.ino)
        this.core.changed(target.ino, result.target)
      }
      const copied = done + result.copied
      return result.copied === 0 || copied === length ? { copied } : this.#copy(caller, source, target, length, copied)
    })
  }

  #holding<T>(file: OpenFile, action: () => Maybe<T>): Maybe<T> {
    const { files } = this.core
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
