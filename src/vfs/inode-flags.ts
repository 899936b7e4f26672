/** chattr(1) and lsattr(1) through ioctl (spec vfs section 11.4). Numbers of <linux/fs.h>; the values are little-endian, as
 *  on every machine we run on. */

import { EINVAL, ENOTSUP, ENOTTY, EPERM, type Errno, isErrno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import { chain, type Maybe } from '../base/maybe.ts'
import type { Meta } from '../meta/meta.ts'
import { FLAG_APPEND, FLAG_IMMUTABLE, FLAG_SKIP_TRASH } from '../meta/model/attr.ts'
import type { Caller } from '../meta/model/caller.ts'

const FS_IOC_GETFLAGS = 0x80086601
const FS_IOC32_GETFLAGS = 0x80046601
const FS_IOC_SETFLAGS = 0x40086602
const FS_IOC32_SETFLAGS = 0x40046602
const FS_IOC_FSGETXATTR = 0x801c581f
const FSXATTR_BYTES = 28

/** `s` of chattr, secure deletion: means "not into the trash" here, as in the reference */
const FS_SECRM_FL = 0x01
const FS_IMMUTABLE_FL = 0x10
const FS_APPEND_FL = 0x20
const FS_XFLAG_IMMUTABLE = 0x08
const FS_XFLAG_APPEND = 0x10

/** ENOTTY for anything else, EINVAL for a buffer of the wrong size. */
export function inodeFlagsIoctl(
  meta: Meta,
  caller: Caller,
  ino: Ino,
  cmd: number,
  input: Buffer,
  outSize: number,
): Maybe<Buffer | Errno> {
  switch (cmd >>> 0) {
    // The command's number says 8 bytes, applications pass a long; but the kernel (5.13 and later) asks with an int.
    case FS_IOC_GETFLAGS:
    case FS_IOC32_GETFLAGS:
      return outSize === 8 || outSize === 4 ? get(meta, ino, outSize, fsFlags) : EINVAL
    case FS_IOC_FSGETXATTR:
      return outSize === FSXATTR_BYTES ? get(meta, ino, FSXATTR_BYTES, fsXflags) : EINVAL
    case FS_IOC_SETFLAGS:
    case FS_IOC32_SETFLAGS:
      return input.length === 8 || input.length === 4 ? set(meta, caller, ino, input.readUInt32LE(0)) : EINVAL
    default:
      return ENOTTY
  }
}

function get(meta: Meta, ino: Ino, bytes: number, spell: (flags: number) => number): Maybe<Buffer | Errno> {
  return chain(meta.getattr(ino), attr => {
    if (isErrno(attr)) return attr
    const output = Buffer.alloc(bytes)
    output.writeUInt32LE(spell(attr.flags), 0)
    return output
  })
}

function set(meta: Meta, caller: Caller, ino: Ino, wanted: number): Maybe<Buffer | Errno> {
  if ((wanted & ~(FS_SECRM_FL | FS_IMMUTABLE_FL | FS_APPEND_FL)) !== 0) return ENOTSUP
  if (wanted !== 0 && caller.check && caller.uid !== 0) return EPERM
  const flags =
    (wanted & FS_SECRM_FL ? FLAG_SKIP_TRASH : 0) |
    (wanted & FS_IMMUTABLE_FL ? FLAG_IMMUTABLE : 0) |
    (wanted & FS_APPEND_FL ? FLAG_APPEND : 0)
  return chain(meta.setattr(caller, ino, { flags }), attr => (isErrno(attr) ? attr : Buffer.alloc(0)))
}

const fsFlags = (flags: number): number =>
  (flags & FLAG_SKIP_TRASH ? FS_SECRM_FL : 0) |
  (flags & FLAG_IMMUTABLE ? FS_IMMUTABLE_FL : 0) |
  (flags & FLAG_APPEND ? FS_APPEND_FL : 0)

const fsXflags = (flags: number): number =>
  (flags & FLAG_IMMUTABLE ? FS_XFLAG_IMMUTABLE : 0) | (flags & FLAG_APPEND ? FS_XFLAG_APPEND : 0)
