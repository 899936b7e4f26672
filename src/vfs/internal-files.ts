/** The virtual files (`.control`, `.accesslog`, `.stats`, `.config`) as vfs sees them. The trash is not among them: its
 *  directories are real nodes. Handles of virtual files are numbered by vfs. */

import type { Name } from '../base/bytes.ts'
import type { Errno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import type { Maybe } from '../base/maybe.ts'
import type { Attr } from '../meta/model/attr.ts'
import type { Context, Entry } from './file-system.ts'

export interface InternalFiles {
  /** `parent` as the kernel numbers it (the mount's root is 1). Only `.control` is found below other directories. */
  lookup(parent: Ino, name: Name): Entry | undefined
  getattr(ino: Ino): Attr | Errno
  /** EACCES where the file is not for writing; else `fh` is open until `release`. */
  open(ctx: Context, ino: Ino, fh: number, flags: number): Errno | undefined
  read(ctx: Context, ino: Ino, fh: number, offset: number, size: number): Maybe<readonly Buffer[] | Errno>
  /** `data` is borrowed until the answer. */
  write(ctx: Context, ino: Ino, fh: number, offset: number, data: Buffer): Maybe<undefined | Errno>
  /** A close(2) of the handle: whatever runs for it is told to stop. */
  flush(ino: Ino, fh: number): void
  release(ino: Ino, fh: number): void
  /** what a listing of the root shows, unless internal files are hidden */
  readonly rootEntries: readonly { readonly name: Name; readonly entry: Entry }[]
}
