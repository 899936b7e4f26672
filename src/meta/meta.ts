/** The face of the metadata room: what vfs, jobs and cmd may ask of a volume's names and attributes.
 *
 *  Results are `T | Errno` (a verdict is a number, base/errno.ts), now or later (`Maybe`): an engine in this process
 *  answers in the same turn. Faults are thrown (or reject). `client.ts` implements it over any engine. */

import type { Name } from '../base/bytes.ts'
import type { Time } from '../base/clock.ts'
import type { Errno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import type { Maybe } from '../base/maybe.ts'
import type { Cursor, DirEntry, Page } from './engine.ts'
import type { AclRule } from './model/acl.ts'
import type { Attr } from './model/attr.ts'
import type { Caller } from './model/caller.ts'
import type { Format } from './model/format.ts'
import type { Slice, SliceRecord } from './model/slice.ts'

export interface Entry {
  readonly ino: Ino
  readonly attr: Attr
}
/** Fields that are undefined stay as they are. Length is changed by `truncate`. */
export interface SetAttr {
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly atime?: Time | 'now'
  readonly mtime?: Time | 'now'
  readonly flags?: number
}
export interface NewNode {
  readonly type: number
  readonly mode: number
  readonly umask: number
  readonly rdev: number
  /** target of a symlink, else '' */
  readonly target: Name
}
export interface Usage {
  /** bytes */
  readonly total: number
  readonly available: number
  readonly usedInodes: number
  readonly availableInodes: number
}
/** `end` is inclusive; 2^63 − 1 ("to the end") is Number.MAX_SAFE_INTEGER here. */
export interface Plock {
  readonly type: 'R' | 'W' | 'U'
  readonly start: number
  readonly end: number
  readonly pid: number
}
/** A lock owner: 64 bits as 16 hex digits. */
export type LockOwner = string

/** A wait that can be given up (FUSE_INTERRUPT). */
export interface Cancel {
  readonly cancelled: boolean
  onCancel(notify: () => void): void
}

export interface Meta {
  readonly format: Format
  /** 0 on a read-only mount or before `newSession` */
  readonly sid: number

  // names
  lookup(caller: Caller, parent: Ino, name: Name): Maybe<Entry | Errno>
  getattr(ino: Ino): Maybe<Attr | Errno>
  /** The same, whatever `--open-cache` would believe. */
  look(ino: Ino): Maybe<Attr | Errno>
  make(caller: Caller, parent: Ino, name: Name, what: NewNode): Maybe<Entry | Errno>
  /** Creates a regular file or, unless `exclusive`, opens the one that is there; it counts as open until `close`. */
  create(
    caller: Caller,
    parent: Ino,
    name: Name,
    what: NewNode,
    flags: number,
    exclusive: boolean,
  ): Maybe<(Entry & { readonly created: boolean }) | Errno>
  /** An open file without a name (O_TMPFILE): made in `parent`, already unlinked, gone with the last close unless linked. */
  createUnnamed(caller: Caller, parent: Ino, what: NewNode): Maybe<Entry | Errno>
  link(caller: Caller, ino: Ino, parent: Ino, name: Name): Maybe<Entry | Errno>
  unlink(caller: Caller, parent: Ino, name: Name, options?: { readonly skipTrash?: boolean }): Maybe<Entry | Errno>
  rmdir(caller: Caller, parent: Ino, name: Name, options?: { readonly skipTrash?: boolean }): Maybe<Entry | Errno>
  /** flags: RENAME_NOREPLACE 1, RENAME_EXCHANGE 2 (renameat2(2)). Returns the moved node, and the one it replaced. */
  rename(
    caller: Caller,
    from: { parent: Ino; name: Name },
    to: { parent: Ino; name: Name },
    flags: number,
  ): Maybe<{ readonly moved: Entry; readonly replaced: Ino } | Errno>
  readlink(caller: Caller, ino: Ino): Maybe<Name | Errno>
  /** A page of entries without . and .., in the order of the engine (by name on most); `cursor`: null = from the start, else
   *  `next` of the page before, null after the last one. A page may be empty before the last one, and an engine without an
   *  order of its own may tell an entry twice when the directory changes meanwhile. Nothing else is missed or told twice. */
  readdir(caller: Caller, ino: Ino, cursor: Cursor | null, limit: number, attrs: boolean): Maybe<Page<DirEntry> | Errno>
  /** The entries of these names (at most 1,000) as they are now, with attributes; null where there is none. */
  entriesOf(ino: Ino, names: readonly Name[]): Maybe<readonly (DirEntry | null)[]>

  // attributes
  access(caller: Caller, ino: Ino, mask: number): Maybe<undefined | Errno>
  setattr(caller: Caller, ino: Ino, set: SetAttr): Maybe<Attr | Errno>
  getXattr(caller: Caller, ino: Ino, name: Name): Maybe<Buffer | Errno>
  /** flags: XATTR_CREATE 1, XATTR_REPLACE 2 */
  setXattr(caller: Caller, ino: Ino, name: Name, value: Buffer, flags: number): Maybe<undefined | Errno>
  listXattr(caller: Caller, ino: Ino): Maybe<readonly Name[] | Errno>
  removeXattr(caller: Caller, ino: Ino, name: Name): Maybe<undefined | Errno>
  /** null = the node has no rule of this kind */
  getAcl(caller: Caller, ino: Ino, which: 'access' | 'default'): Maybe<AclRule | null | Errno>
  setAcl(caller: Caller, ino: Ino, which: 'access' | 'default', rule: AclRule): Maybe<undefined | Errno>

  // data
  /** Checks and counts the open. `unchanged`: mtime is what the last open of this inode saw, so kernel pages may stay. */
  open(caller: Caller, ino: Ino, flags: number): Maybe<{ readonly attr: Attr; readonly unchanged: boolean } | Errno>
  /** The last close of an unlinked file lets it go. */
  close(ino: Ino): Maybe<undefined>
  /** What a reader sees of a chunk (model/slice.ts buildView); cached until this client changes the chunk or the file is opened anew. */
  readChunk(ino: Ino, index: number): Maybe<readonly SliceRecord[] | Errno>
  /** Drops the cached lists of a file (all, or one chunk): after a failed read, or a changed mtime. */
  forgetChunks(ino: Ino, index?: number): void
  newSliceId(): Maybe<number>
  /** Names a stored slice: appends the record, extends the file. Slices of one chunk are committed in creation order. */
  writeSlice(ino: Ino, index: number, pos: number, slice: Slice, mtime: Time): Maybe<Attr | Errno>
  truncate(caller: Caller, ino: Ino, length: number, viaHandle: boolean): Maybe<Attr | Errno>
  /** mode bits of fallocate(2) */
  fallocate(caller: Caller, ino: Ino, mode: number, offset: number, length: number): Maybe<Attr | Errno>
  copyRange(
    caller: Caller,
    source: { ino: Ino; offset: number },
    target: { ino: Ino; offset: number },
    length: number,
  ): Maybe<{ readonly copied: number; readonly target: Attr } | Errno>
  /** atime by the mount's atime mode; nothing to wait for */
  touch(ino: Ino, attr: Attr): void

  // locks
  flock(ino: Ino, owner: LockOwner, type: 'R' | 'W' | 'U', wait: Cancel | null): Maybe<undefined | Errno>
  setPlock(ino: Ino, owner: LockOwner, lock: Plock, wait: Cancel | null): Maybe<undefined | Errno>
  /** The first conflicting lock, or one of type 'U' */
  getPlock(ino: Ino, owner: LockOwner, lock: Plock): Maybe<Plock | Errno>

  // the volume
  statfs(ino: Ino): Maybe<Usage>
  /** Everything committed so far survives a power cut when this resolves. */
  sync(): Promise<void>
  /** Full paths of a node inside the volume, one a name; [] if none is found. */
  paths(ino: Ino): Promise<Name[]>
  /** Recursive totals for `info`, `summary` and quotas; `length` of files, `size` in 4 KiB units. Strict: by listing, else from directory statistics. */
  summarize(ino: Ino, strict: boolean): Promise<{ length: number; size: number; files: number; dirs: number }>
}
