/** The first request, and what we agree on (spec vfs section 11.2, design section 4).
 *
 *  fuse_init_in:  0 major   1 minor   2 max_readahead   3 flags   4 flags2   5… –
 *  fuse_init_out: 0 major   1 minor   2 max_readahead   3 flags   4 max_background u16, congestion_threshold u16   5 max_write
 *                 6 time_gran   7 max_pages u16, map_alignment u16   8 flags2   9… –     (64 bytes) */

import {
  ASYNC_DIO,
  ASYNC_READ,
  AUTO_INVAL_DATA,
  BIG_WRITES,
  CACHE_SYMLINKS,
  DIRECT_IO_ALLOW_MMAP,
  DO_READDIRPLUS,
  DONT_MASK,
  EXPORT_SUPPORT,
  FILE_OPS,
  FLOCK_LOCKS,
  HANDLE_KILLPRIV_V2,
  INIT_EXT,
  MAX_PAGES,
  PARALLEL_DIROPS,
  POSIX_ACL,
  POSIX_LOCKS,
  READDIRPLUS_AUTO,
  SETXATTR_EXT,
  WRITEBACK_CACHE,
} from './constants.ts'

export const MAJOR = 7
const MINOR = 45
/** The oldest kernel interface served: 5.4 of 2019. Older ones differ in the length of structures. */
export const OLDEST_MINOR = 31
export const INIT_OUT_BYTES = 64
const PAGE_BYTES = 4096
const MAX_READAHEAD_BYTES = 1 << 20

export interface InitOptions {
  readonly maxWrite: number
  readonly maxBackground: number
  readonly acl: boolean
  readonly writebackCache: boolean
  readonly asyncDio: boolean
  readonly posixLocks: boolean
  readonly flockLocks: boolean
  readonly readdirplus: boolean
  readonly killPrivileges: boolean
}
export interface KernelInit {
  readonly major: number
  readonly minor: number
  readonly maxReadahead: number
  readonly flags: number
  readonly flags2: number
}
export interface Agreed {
  readonly minor: number
  readonly maxReadahead: number
  /** unsigned */
  readonly flags: number
  readonly flags2: number
}

/** Only flags that the kernel offers are taken; an old kernel without INIT_EXT has no second word. */
export function agree(kernel: KernelInit, options: InitOptions): Agreed {
  let wanted =
    ASYNC_READ |
    BIG_WRITES |
    FILE_OPS |
    EXPORT_SUPPORT |
    AUTO_INVAL_DATA |
    PARALLEL_DIROPS |
    MAX_PAGES |
    CACHE_SYMLINKS |
    SETXATTR_EXT |
    INIT_EXT
  if (options.readdirplus) wanted |= DO_READDIRPLUS | READDIRPLUS_AUTO
  if (options.posixLocks) wanted |= POSIX_LOCKS
  if (options.flockLocks) wanted |= FLOCK_LOCKS
  if (options.acl) wanted |= POSIX_ACL | DONT_MASK
  if (options.writebackCache) wanted |= WRITEBACK_CACHE
  if (options.asyncDio) wanted |= ASYNC_DIO
  if (options.killPrivileges) wanted |= HANDLE_KILLPRIV_V2
  const flags = (wanted & kernel.flags) >>> 0
  return {
    minor: Math.min(MINOR, kernel.minor),
    maxReadahead: Math.min(kernel.maxReadahead, MAX_READAHEAD_BYTES),
    flags,
    flags2: flags & INIT_EXT ? kernel.flags2 & DIRECT_IO_ALLOW_MMAP : 0,
  }
}

export function putInitOut(u32: Uint32Array, at: number, agreed: Agreed, options: InitOptions): number {
  u32.fill(0, at, at + INIT_OUT_BYTES / 4)
  u32[at] = MAJOR
  u32[at + 1] = agreed.minor
  u32[at + 2] = agreed.maxReadahead
  u32[at + 3] = agreed.flags
  u32[at + 4] = options.maxBackground | (Math.floor((options.maxBackground * 3) / 4) << 16)
  u32[at + 5] = options.maxWrite
  u32[at + 6] = 1
  u32[at + 7] = Math.ceil(options.maxWrite / PAGE_BYTES)
  u32[at + 8] = agreed.flags2
  return INIT_OUT_BYTES
}
