/** The table of open handles. Ids start at 1; read-only files, directories and virtual files get odd ones, files open for
 *  writing even ones, so that an id from before a restart tells what it was (spec vfs section 4). */

import type { Ino } from '../base/ino.ts'
import type { LockOwner } from '../meta/meta.ts'
import type { DirectoryStream } from './directory.ts'
import type { OpenFile } from './open-file.ts'
import type { ReadAhead } from './read-ahead.ts'

export interface FileHandle {
  readonly kind: 'file'
  readonly fh: number
  readonly ino: Ino
  readonly writable: boolean
  /** The kernel hands us what is written without putting it into its pages. */
  readonly writesPastPages: boolean
  readonly file: OpenFile
  readonly readAhead: ReadAhead
  /** owners that took POSIX or OFD locks through this handle */
  lockOwners: Set<LockOwner> | null
  /** the owner of this handle's BSD lock, if it ever took one */
  flockOwner: LockOwner | null
}
export interface DirectoryHandle {
  readonly kind: 'directory'
  readonly fh: number
  readonly ino: Ino
  readonly stream: DirectoryStream
}
export interface InternalHandle {
  readonly kind: 'internal'
  readonly fh: number
  readonly ino: Ino
}
export type Handle = FileHandle | DirectoryHandle | InternalHandle

export class Handles {
  readonly #handles = new Map<number, Handle>()
  #next = 1

  get size(): number {
    return this.#handles.size
  }

  /** A fresh id of the right parity. */
  newId(writable: boolean): number {
    const isEven = this.#next % 2 === 0
    const fh = isEven === writable ? this.#next : this.#next + 1
    this.#next = fh + 1
    return fh
  }

  add(handle: Handle): void {
    this.#handles.set(handle.fh, handle)
    if (handle.fh >= this.#next) this.#next = handle.fh + 1
  }

  get(fh: number): Handle | undefined {
    return this.#handles.get(fh)
  }

  file(fh: number): FileHandle | undefined {
    const handle = this.#handles.get(fh)
    return handle?.kind === 'file' ? handle : undefined
  }

  delete(fh: number): void {
    this.#handles.delete(fh)
  }
}

/** Could an unknown id be a handle from before a restart that needs nothing but its inode? */
export const isResurrectable = (fh: number): boolean => fh % 2 === 1
