/** Numbers of <linux/fuse.h> (protocol 7.45). Declared here because installed headers are older than running kernels. */

export const LOOKUP = 1
export const FORGET = 2
export const GETATTR = 3
export const SETATTR = 4
export const READLINK = 5
export const SYMLINK = 6
export const MKNOD = 8
export const MKDIR = 9
export const UNLINK = 10
export const RMDIR = 11
export const RENAME = 12
export const LINK = 13
export const OPEN = 14
export const READ = 15
export const WRITE = 16
export const STATFS = 17
export const RELEASE = 18
export const FSYNC = 20
export const SETXATTR = 21
export const GETXATTR = 22
export const LISTXATTR = 23
export const REMOVEXATTR = 24
export const FLUSH = 25
export const INIT = 26
export const OPENDIR = 27
export const READDIR = 28
export const RELEASEDIR = 29
export const FSYNCDIR = 30
export const GETLK = 31
export const SETLK = 32
export const SETLKW = 33
export const ACCESS = 34
export const CREATE = 35
export const INTERRUPT = 36
export const BMAP = 37
export const DESTROY = 38
export const IOCTL = 39
export const POLL = 40
export const BATCH_FORGET = 42
export const FALLOCATE = 43
export const READDIRPLUS = 44
export const RENAME2 = 45
export const LSEEK = 46
export const COPY_FILE_RANGE = 47
export const SYNCFS = 50
export const TMPFILE = 51
export const STATX = 52
export const COPY_FILE_RANGE_64 = 53

/** of the request header: len u32, opcode u32, unique u64, nodeid u64, uid u32, gid u32, pid u32, extlen u16, pad u16 */
export const IN_HEADER_BYTES = 40
/** of the reply header: len u32, error i32, unique u64 */
export const OUT_HEADER_BYTES = 16
/** what a read buffer must offer above max_write: request header and write arguments, rounded up to a page */
export const HEADER_ROOM_BYTES = 4096

// INIT flags, low word
export const ASYNC_READ = 1 << 0
export const POSIX_LOCKS = 1 << 1
export const FILE_OPS = 1 << 2
export const EXPORT_SUPPORT = 1 << 4
export const BIG_WRITES = 1 << 5
export const DONT_MASK = 1 << 6
export const FLOCK_LOCKS = 1 << 10
export const AUTO_INVAL_DATA = 1 << 12
export const DO_READDIRPLUS = 1 << 13
export const READDIRPLUS_AUTO = 1 << 14
export const ASYNC_DIO = 1 << 15
export const WRITEBACK_CACHE = 1 << 16
export const PARALLEL_DIROPS = 1 << 18
export const POSIX_ACL = 1 << 20
export const MAX_PAGES = 1 << 22
export const CACHE_SYMLINKS = 1 << 23
export const HANDLE_KILLPRIV_V2 = 1 << 28
export const SETXATTR_EXT = 1 << 29
export const INIT_EXT = 1 << 30
// INIT flags, high word (`flags2`)
export const DIRECT_IO_ALLOW_MMAP = 1 << 4

// SETATTR: which fields are meant
export const FATTR_MODE = 1 << 0
export const FATTR_UID = 1 << 1
export const FATTR_GID = 1 << 2
export const FATTR_SIZE = 1 << 3
export const FATTR_ATIME = 1 << 4
export const FATTR_MTIME = 1 << 5
export const FATTR_FH = 1 << 6
export const FATTR_ATIME_NOW = 1 << 7
export const FATTR_MTIME_NOW = 1 << 8
export const FATTR_KILL_SUIDGID = 1 << 11

export const GETATTR_FH = 1 << 0
export const WRITE_KILL_SUIDGID = 1 << 2
export const RELEASE_FLOCK_UNLOCK = 1 << 1
export const FSYNC_DATA_ONLY = 1 << 0
export const LK_FLOCK = 1 << 0
export const OPEN_KILL_SUIDGID = 1 << 0
export const SETXATTR_ACL_KILL_SGID = 1 << 0

/** notifications, in place of an errno in a reply header whose `unique` is 0 */
export const NOTIFY_INVAL_INODE = 2
export const NOTIFY_INVAL_ENTRY = 3

/** largest offset that a number holds exactly, plus one, as the high 32-bit half */
export const TOO_FAR_HIGH = 0x200000

/** How the mount table names mounts of ours; the part behind the dot is the subtype. */
export const FUSE_TYPE = 'fuse.juicefs'
