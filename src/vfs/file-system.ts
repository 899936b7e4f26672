/** What the kernel may ask, without the kernel's wire: fuse/dispatch decodes a request, calls one of these, encodes the
 *  answer. `vfs.ts` implements it; so do the null file systems of the benchmarks.
 *
 *  Answers are `T | Errno` (an Errno is a number), now or later. Buffers received are borrowed until the call settles;
 *  buffers returned are frozen. Offsets and lengths are bytes; what lies at or beyond 2^53 never arrives (EFBIG). */

import type { Name } from '../base/bytes.ts'
import type { Errno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import type { Maybe } from '../base/maybe.ts'
import type { Cancel, Entry, LockOwner, Plock, SetAttr, Usage } from '../meta/meta.ts'
import type { Attr } from '../meta/model/attr.ts'

/** One request's origin. Small and made anew for each request, so that it may be kept across an await. */
export interface Context extends Cancel {
  readonly uid: number
  readonly gid: number
  readonly pid: number
}
export interface Opened {
  readonly fh: number
  /** FOPEN_DIRECT_IO, FOPEN_KEEP_CACHE, FOPEN_CACHE_DIR … of <linux/fuse.h> */
  readonly openFlags: number
}
/** Takes one directory entry; false = the reply is full, the entry was not taken. */
export type AddEntry = (name: Name, ino: Ino, type: number, attr: Attr | null, nextOffset: number) => boolean

export interface Timeouts {
  /** seconds */
  readonly attr: number
  readonly entry: number
  readonly dirEntry: number
  readonly negativeEntry: number
}

/** What the kernel said it can do, that a file system has to know. */
export interface KernelAbilities {
  /** A write through a handle with FOPEN_DIRECT_IO drops the pages that it overwrites, and files may be mapped besides
   *  (FUSE_DIRECT_IO_ALLOW_MMAP, Linux 6.6); and no pages are dirty but those that are mapped (no FUSE_WRITEBACK_CACHE). */
  readonly dropsOverwrittenPages: boolean
}

export interface FileSystem {
  readonly timeouts: Timeouts
  /** Before the first request, once. */
  agreed?(kernel: KernelAbilities): void
  lookup(ctx: Context, parent: Ino, name: Name): Maybe<Entry | Errno>
  getattr(ctx: Context, ino: Ino, fh: number | null): Maybe<Attr | Errno>
  /** `size` together with attributes: truncate first, then the rest */
  setattr(ctx: Context, ino: Ino, set: SetAttr & { readonly size?: number }, fh: number | null): Maybe<Attr | Errno>
  readlink(ctx: Context, ino: Ino): Maybe<Name | Errno>
  /** `mode` is a full st_mode */
  mknod(ctx: Context, parent: Ino, name: Name, mode: number, umask: number, rdev: number): Maybe<Entry | Errno>
  mkdir(ctx: Context, parent: Ino, name: Name, mode: number, umask: number): Maybe<Entry | Errno>
  symlink(ctx: Context, parent: Ino, name: Name, target: Name): Maybe<Entry | Errno>
  link(ctx: Context, ino: Ino, parent: Ino, name: Name): Maybe<Entry | Errno>
  unlink(ctx: Context, parent: Ino, name: Name): Maybe<undefined | Errno>
  rmdir(ctx: Context, parent: Ino, name: Name): Maybe<undefined | Errno>
  rename(ctx: Context, parent: Ino, name: Name, newParent: Ino, newName: Name, flags: number): Maybe<undefined | Errno>

  open(ctx: Context, ino: Ino, flags: number): Maybe<Opened | Errno>
  create(
    ctx: Context,
    parent: Ino,
    name: Name,
    mode: number,
    umask: number,
    flags: number,
  ): Maybe<(Entry & Opened) | Errno>
  tmpfile(ctx: Context, parent: Ino, mode: number, umask: number, flags: number): Maybe<(Entry & Opened) | Errno>
  /** Views in order; shorter than asked only at the end of the file. */
  read(ctx: Context, ino: Ino, fh: number, offset: number, size: number): Maybe<readonly Buffer[] | Errno>
  /** All of `data`, or an errno. `openFlags`: the handle's O_APPEND and O_DSYNC as the kernel passes them. `accepted`: called, if
   *  at all, once nothing can refuse the bytes any more and before they are copied, in the same turn: a good time to answer. */
  write(
    ctx: Context,
    ino: Ino,
    fh: number,
    offset: number,
    data: Buffer,
    openFlags: number,
    accepted?: () => void,
  ): Maybe<undefined | Errno>
  flush(ctx: Context, ino: Ino, fh: number, owner: LockOwner): Maybe<undefined | Errno>
  release(ctx: Context, ino: Ino, fh: number, flockOwner: LockOwner | null): Maybe<undefined | Errno>
  fsync(ctx: Context, ino: Ino, fh: number, dataOnly: boolean): Maybe<undefined | Errno>
  fallocate(ctx: Context, ino: Ino, fh: number, mode: number, offset: number, length: number): Maybe<undefined | Errno>
  copyFileRange(
    ctx: Context,
    source: { ino: Ino; fh: number; offset: number },
    target: { ino: Ino; fh: number; offset: number },
    length: number,
    flags: number,
  ): Maybe<{ readonly copied: number } | Errno>
  /** whence: SEEK_DATA 3, SEEK_HOLE 4 */
  lseek(ctx: Context, ino: Ino, fh: number, offset: number, whence: number): Maybe<{ readonly offset: number } | Errno>

  opendir(ctx: Context, ino: Ino, flags: number): Maybe<Opened | Errno>
  /** Adds entries from the one at `offset` on until `add` says no or the directory ends. */
  readdir(ctx: Context, ino: Ino, fh: number, offset: number, attrs: boolean, add: AddEntry): Maybe<undefined | Errno>
  releasedir(ctx: Context, ino: Ino, fh: number): Maybe<undefined | Errno>
  fsyncdir(ctx: Context, ino: Ino, fh: number, dataOnly: boolean): Maybe<undefined | Errno>

  statfs(ctx: Context, ino: Ino): Maybe<Usage | Errno>
  access(ctx: Context, ino: Ino, mask: number): Maybe<undefined | Errno>
  getxattr(ctx: Context, ino: Ino, name: Name): Maybe<Buffer | Errno>
  setxattr(ctx: Context, ino: Ino, name: Name, value: Buffer, flags: number): Maybe<undefined | Errno>
  listxattr(ctx: Context, ino: Ino): Maybe<readonly Name[] | Errno>
  removexattr(ctx: Context, ino: Ino, name: Name): Maybe<undefined | Errno>
  getlk(ctx: Context, ino: Ino, fh: number, owner: LockOwner, lock: Plock): Maybe<Plock | Errno>
  /** `wait`: block until granted or `ctx` is cancelled (EINTR). `flock`: a BSD lock of the whole file. */
  setlk(
    ctx: Context,
    ino: Ino,
    fh: number,
    owner: LockOwner,
    lock: Plock,
    wait: boolean,
    flock: boolean,
  ): Maybe<undefined | Errno>
  ioctl(ctx: Context, ino: Ino, fh: number, cmd: number, input: Buffer, outSize: number): Maybe<Buffer | Errno>
}

/** What vfs asks of the kernel side: to forget. Never waits for the kernel in the caller's turn. */
export interface Invalidator {
  /** Cached attributes, and pages of [offset, offset + length) (length 0 = to the end; offset −1 = attributes only).
   *  A returned promise resolves when the kernel has been told; open waits for it (with offset −1, which takes no lock in
   *  the kernel), so that the opener does not see the attributes from before. It never rejects. */
  inode(ino: Ino, offset: number, length: number): Maybe<void>
  entry(parent: Ino, name: Name): void
}

export type { Cancel, Entry, LockOwner, Plock, SetAttr, Usage } from '../meta/meta.ts'
