/** Replies as the kernel reads them: structures of <linux/fuse.h>, little-endian, written as 32-bit words.
 *  `at` counts words, so word 4 is the first one behind the 16-byte reply header. */

import type { Name } from '../base/bytes.ts'
import { TWO_32 } from '../base/bytes.ts'
import { type Ino, inoHigh, inoLow, isSpecial, isTrash } from '../base/ino.ts'
import { type Attr, S_IFMT_BY_TYPE, TYPE_DIRECTORY } from '../meta/model/attr.ts'
import type { Timeouts, Usage } from '../vfs/file-system.ts'

export const ATTR_BYTES = 88
const ATTR_OUT_BYTES = 16 + ATTR_BYTES
export const ENTRY_OUT_BYTES = 40 + ATTR_BYTES
const OPEN_OUT_BYTES = 16
const STATFS_OUT_BYTES = 80

/** What stat(2) advises as the size of an I/O. */
const IO_BYTES = 65536
const STATFS_BLOCK_BYTES = 4096
const LONGEST_NAME = 255
/** The client's own files never change their names. */
const VIRTUAL_FILE_SECONDS = 3600

/** A whole number below 2^53, or a negative one (times before 1970), as 64 bits. */
export function putWide(u32: Uint32Array, at: number, value: number): void {
  u32[at] = value
  u32[at + 1] = value >= 0 && value < TWO_32 ? 0 : Math.floor(value / TWO_32)
}
export function putIno(u32: Uint32Array, at: number, ino: Ino): void {
  u32[at] = inoLow(ino)
  u32[at + 1] = inoHigh(ino)
}

/** fuse_attr, 22 words:
 *
 *      0 ino          2 size         4 blocks (512 B)   6 atime    8 mtime    10 ctime     (64 bits each)
 *     12 atimensec   13 mtimensec   14 ctimensec       15 mode    16 nlink   17 uid   18 gid   19 rdev   20 blksize   21 flags */
function putAttr(u32: Uint32Array, at: number, ino: Ino, attr: Attr): void {
  putIno(u32, at, ino)
  putWide(u32, at + 2, attr.length)
  putWide(u32, at + 4, Math.ceil(attr.length / 512))
  putWide(u32, at + 6, attr.atime.sec)
  putWide(u32, at + 8, attr.mtime.sec)
  putWide(u32, at + 10, attr.ctime.sec)
  u32[at + 12] = attr.atime.nsec
  u32[at + 13] = attr.mtime.nsec
  u32[at + 14] = attr.ctime.nsec
  u32[at + 15] = S_IFMT_BY_TYPE[attr.type]! | attr.mode
  u32[at + 16] = attr.nlink
  u32[at + 17] = attr.uid
  u32[at + 18] = attr.gid
  u32[at + 19] = attr.rdev
  u32[at + 20] = IO_BYTES
  u32[at + 21] = 0
}

/** A life time in seconds as the two fields of the wire. */
class Validity {
  readonly sec: number
  readonly nsec: number
  constructor(seconds: number) {
    this.sec = Math.floor(seconds)
    this.nsec = Math.round((seconds - this.sec) * 1e9)
  }
}

/** Encodes what the kernel caches, with how long it may. */
export class EntryEncoder {
  readonly #attr: Validity
  readonly #entry: Validity
  readonly #dirEntry: Validity
  readonly #negative: Validity
  readonly #virtual = new Validity(VIRTUAL_FILE_SECONDS)
  /** May the kernel remember that a name does not exist? */
  readonly remembersAbsence: boolean

  constructor(timeouts: Timeouts) {
    this.#attr = new Validity(timeouts.attr)
    this.#entry = new Validity(timeouts.entry)
    this.#dirEntry = new Validity(timeouts.dirEntry)
    this.#negative = new Validity(timeouts.negativeEntry)
    this.remembersAbsence = timeouts.negativeEntry > 0
  }

  /** fuse_attr_out: 0 attr_valid (64)   2 attr_valid_nsec   3 –   4 fuse_attr */
  attrOut(u32: Uint32Array, at: number, ino: Ino, attr: Attr): number {
    const valid = isVirtual(ino) ? this.#virtual : this.#attr
    u32[at] = valid.sec
    u32[at + 1] = 0
    u32[at + 2] = valid.nsec
    u32[at + 3] = 0
    putAttr(u32, at + 4, ino, attr)
    return ATTR_OUT_BYTES
  }

  /** fuse_entry_out: 0 nodeid   2 generation   4 entry_valid   6 attr_valid (64 each)   8 entry_valid_nsec   9 attr_valid_nsec   10 fuse_attr */
  entryOut(u32: Uint32Array, at: number, ino: Ino, attr: Attr): number {
    const virtual = isVirtual(ino)
    const entry = virtual ? this.#virtual : attr.type === TYPE_DIRECTORY ? this.#dirEntry : this.#entry
    const valid = virtual ? this.#virtual : this.#attr
    putIno(u32, at, ino)
    // Inode numbers are never used again, so one generation is enough (NFS export asks).
    u32[at + 2] = 1
    u32[at + 3] = 0
    u32[at + 4] = entry.sec
    u32[at + 5] = 0
    u32[at + 6] = valid.sec
    u32[at + 7] = 0
    u32[at + 8] = entry.nsec
    u32[at + 9] = valid.nsec
    putAttr(u32, at + 10, ino, attr)
    return ENTRY_OUT_BYTES
  }

  /** "There is none, and you may remember that": an entry with node id 0. */
  absentOut(u32: Uint32Array, at: number): number {
    u32.fill(0, at, at + ENTRY_OUT_BYTES / 4)
    u32[at + 4] = this.#negative.sec
    u32[at + 8] = this.#negative.nsec
    return ENTRY_OUT_BYTES
  }
}

const isVirtual = (ino: Ino): boolean => isSpecial(ino) && !isTrash(ino)

/** fuse_open_out: 0 fh (64)   2 open_flags   3 backing_id */
export function putOpenOut(u32: Uint32Array, at: number, fh: number, openFlags: number): number {
  putWide(u32, at, fh)
  u32[at + 2] = openFlags
  u32[at + 3] = 0
  return OPEN_OUT_BYTES
}

/** fuse_kstatfs: 0 blocks   2 bfree   4 bavail   6 files   8 ffree (64 each)   10 bsize   11 namelen   12 frsize   13… spare */
export function putStatfs(u32: Uint32Array, at: number, usage: Usage): number {
  u32.fill(0, at, at + STATFS_OUT_BYTES / 4)
  const available = Math.floor(usage.available / STATFS_BLOCK_BYTES)
  putWide(u32, at, Math.max(1, Math.floor(usage.total / STATFS_BLOCK_BYTES)))
  putWide(u32, at + 2, available)
  putWide(u32, at + 4, available)
  putWide(u32, at + 6, usage.usedInodes + usage.availableInodes)
  putWide(u32, at + 8, usage.availableInodes)
  u32[at + 10] = STATFS_BLOCK_BYTES
  u32[at + 11] = LONGEST_NAME
  u32[at + 12] = STATFS_BLOCK_BYTES
  return STATFS_OUT_BYTES
}

/** A page of directory entries, of at most the size that the kernel asked for.
 *
 *  fuse_dirent: 0 ino   2 off (64 each)   4 namelen   5 type   6 name, padded with zeros to 8 bytes; READDIRPLUS puts a
 *  fuse_entry_out before each, all zeros where no attributes are given. */
export class DirentPage {
  readonly #buf: Buffer
  readonly #u32: Uint32Array
  readonly #limit: number
  readonly #entries: EntryEncoder | null
  #used = 0
  count = 0

  /** `entries`: null for READDIR. `memory` holds at least `limit` bytes. */
  constructor(memory: DirentMemory, limit: number, entries: EntryEncoder | null) {
    this.#buf = memory.buf
    this.#u32 = memory.u32
    this.#limit = Math.min(limit, memory.buf.length)
    this.#entries = entries
  }

  add(name: Name, ino: Ino, type: number, attr: Attr | null, nextOffset: number): boolean {
    const padded = (name.length + 7) & ~7
    const before = this.#entries ? ENTRY_OUT_BYTES : 0
    const bytes = before + 24 + padded
    if (this.#used + bytes > this.#limit) return false
    const u32 = this.#u32
    let at = this.#used >>> 2
    if (this.#entries) {
      if (attr && name !== '.' && name !== '..') this.#entries.entryOut(u32, at, ino, attr)
      else u32.fill(0, at, at + ENTRY_OUT_BYTES / 4)
      at += ENTRY_OUT_BYTES / 4
    }
    putIno(u32, at, ino)
    putWide(u32, at + 2, nextOffset)
    u32[at + 4] = name.length
    u32[at + 5] = S_IFMT_BY_TYPE[type]! >>> 12
    if (padded > 0) {
      u32[at + 4 + padded / 4] = 0
      u32[at + 5 + padded / 4] = 0
    }
    this.#buf.write(name, (at + 6) * 4, 'latin1')
    this.#used += bytes
    this.count++
    return true
  }

  filled(): Buffer {
    return this.#buf.subarray(0, this.#used)
  }
}

export class DirentMemory {
  readonly buf: Buffer
  readonly u32: Uint32Array
  constructor(bytes: number) {
    const memory = new ArrayBuffer(bytes)
    this.buf = Buffer.from(memory)
    this.u32 = new Uint32Array(memory)
  }
}
