/** A node's attributes: one record an inode, the same in every engine (spec meta-model section 2). */

import type { Time } from '../../base/clock.ts'
import type { Ino } from '../../base/ino.ts'

export const TYPE_FILE = 1
export const TYPE_DIRECTORY = 2
export const TYPE_SYMLINK = 3
export const TYPE_FIFO = 4
export const TYPE_BLOCK = 5
export const TYPE_CHAR = 6
export const TYPE_SOCKET = 7

export const FLAG_IMMUTABLE = 0x01
export const FLAG_APPEND = 0x02
export const FLAG_SKIP_TRASH = 0x20

/** Immutable once made: an operation that changes a node makes a new one. */
export interface Attr {
  readonly type: number
  readonly flags: number
  /** permission bits only, 0…0o7777 */
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly atime: Time
  readonly mtime: Time
  readonly ctime: Time
  readonly nlink: number
  /** bytes; 4096 for a directory, the target's length for a symlink, 0 for the rest */
  readonly length: number
  readonly rdev: number
  /** 0 once the node has (had) several names: then the parents are counted (spec section 6) */
  readonly parent: Ino
  /** 0 = none */
  readonly accessAcl: number
  readonly defaultAcl: number
  readonly tier: number
}

/** stat(2)'s file type bits by our type, index 1…7. */
export const S_IFMT_BY_TYPE: readonly number[] = [
  0, 0o100000, 0o040000, 0o120000, 0o010000, 0o060000, 0o020000, 0o140000,
]

/** The type of an `st_mode`; 0 where the bits name none. */
export const typeOfMode = (stMode: number): number => Math.max(0, S_IFMT_BY_TYPE.indexOf(stMode & 0o170000, 1))

/** Bytes that a node of this length takes from the volume: whole 4 KiB, at least one (spec section 4). */
export const align4K = (length: number): number => (length === 0 ? 4096 : Math.ceil(length / 4096) * 4096)

/** What a node takes from the volume's space: a file by its length, everything else one 4 KiB unit. */
export const spaceOf = (attr: Attr): number => (attr.type === TYPE_FILE ? align4K(attr.length) : 4096)
