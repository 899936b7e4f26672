/** The checks of open(2) that belong to the volume. Nothing is stored: open state is the client's own (spec meta-model
 *  section 8). */

import { EACCES, EISDIR, ELOOP, ENOENT, EPERM, EROFS, type Errno } from '../../base/errno.ts'
import { type Ino, livesInTrash } from '../../base/ino.ts'
import { chunk, done, gather, node, type Operation } from '../facts.ts'
import { type Attr, TYPE_DIRECTORY, TYPE_FILE, TYPE_SYMLINK } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import { decodeRecords, type SliceRecord } from '../model/slice.ts'
import type { Volume } from '../model/volume.ts'
import { isAppendOnly, isImmutable, MAY_EXEC, MAY_READ, MAY_WRITE } from '../rules/permission.ts'
import { mayAccessNode } from './may-access.ts'
import type { Asking } from './place.ts'

// Linux, asm-generic/fcntl.h; the same on x86-64 and arm64
const O_ACCMODE = 0o3
const O_RDONLY = 0o0
const O_WRONLY = 0o1
const O_TRUNC = 0o1000
const O_APPEND = 0o2000
/** the kernel's FMODE_EXEC: opened by execve(2) */
const FMODE_EXEC = 0x20

/** EROFS (before anything else), ENOENT, ELOOP (a symlink), EISDIR (a directory, to write), EACCES, and EPERM for writing
 *  what is immutable or in the trash, or writing an append-only file other than by appending. One gather. */
export function* openNode(volume: Volume, caller: Caller, ino: Ino, flags: number): Operation<Attr> {
  if (volume.readOnly && changesFile(flags)) return EROFS
  const [attr] = yield* gather(node(ino))
  if (!attr) return ENOENT
  return (yield* refusal(attr, caller, flags)) ?? done(attr)
}

export interface OpenedToRead {
  readonly attr: Attr
  /** of the first chunk, in list order */
  readonly records: SliceRecord[]
}

/** The same for somebody who will probably read the beginning: one gather for both. */
export function* openToRead(volume: Volume, caller: Caller, ino: Ino, flags: number): Operation<OpenedToRead> {
  if (volume.readOnly && changesFile(flags)) return EROFS
  // In this order: where the reads are not of one moment, the list must not be the older one.
  const [attr, stored] = yield* gather(node(ino), chunk(ino, 0))
  if (!attr) return ENOENT
  const records = stored === null || attr.type !== TYPE_FILE ? [] : decodeRecords(stored)
  return (yield* refusal(attr, caller, flags)) ?? done({ attr, records })
}

const changesFile = (flags: number): boolean => (flags & O_ACCMODE) !== O_RDONLY || (flags & (O_TRUNC | O_APPEND)) !== 0

function* refusal(attr: Attr, caller: Caller, flags: number): Asking<Errno | undefined> {
  const access = flags & O_ACCMODE
  const truncates = (flags & O_TRUNC) !== 0
  const appends = (flags & O_APPEND) !== 0
  const writes = access !== O_RDONLY || truncates
  if (attr.type === TYPE_SYMLINK) return ELOOP
  if (attr.type === TYPE_DIRECTORY && writes) return EISDIR
  const mask =
    (writes ? MAY_WRITE : 0) |
    (access === O_WRONLY || (flags & FMODE_EXEC) !== 0 ? 0 : MAY_READ) |
    ((flags & FMODE_EXEC) !== 0 ? MAY_EXEC : 0)
  if (!(yield* mayAccessNode(attr, caller, mask))) return EACCES
  if (writes && (isImmutable(attr) || livesInTrash(attr.parent))) return EPERM
  return isAppendOnly(attr) && writes && (truncates || !appends) ? EPERM : undefined
}
