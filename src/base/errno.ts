/** Verdicts of POSIX as numbers: an operation *returns* one, nobody throws it (faults are thrown, see fault.ts).
 *  The values are those of Linux on x86-64 and arm64 (asm-generic/errno.h), which is what the kernel's FUSE wire carries. */

declare const errnoBrand: unique symbol
export type Errno = number & { readonly [errnoBrand]: true }

const e = (n: number): Errno => n as Errno

export const EPERM = e(1)
export const ENOENT = e(2)
export const EINTR = e(4)
export const EIO = e(5)
export const ENXIO = e(6)
export const EBADF = e(9)
export const EAGAIN = e(11)
export const ENOMEM = e(12)
export const EACCES = e(13)
export const EBUSY = e(16)
export const EEXIST = e(17)
export const EXDEV = e(18)
export const ENODEV = e(19)
export const ENOTDIR = e(20)
export const EISDIR = e(21)
export const EINVAL = e(22)
export const ENOTTY = e(25)
export const EFBIG = e(27)
export const ENOSPC = e(28)
export const ESPIPE = e(29)
export const EROFS = e(30)
export const EMLINK = e(31)
export const EPIPE = e(32)
export const ERANGE = e(34)
export const EDEADLK = e(35)
export const ENAMETOOLONG = e(36)
export const ENOSYS = e(38)
export const ENOTEMPTY = e(39)
export const ELOOP = e(40)
export const ENODATA = e(61)
export const EOVERFLOW = e(75)
export const ENOTSUP = e(95)
export const ETIMEDOUT = e(110)
export const ENOTCONN = e(107)
export const ECANCELED = e(125)
export const ESTALE = e(116)
export const EDQUOT = e(122)

/** name and C-library text, as `.accesslog` and the metrics print them */
const table: ReadonlyMap<number, readonly [name: string, text: string]> = new Map([
  [1, ['EPERM', 'operation not permitted']],
  [2, ['ENOENT', 'no such file or directory']],
  [4, ['EINTR', 'interrupted system call']],
  [5, ['EIO', 'input/output error']],
  [6, ['ENXIO', 'no such device or address']],
  [9, ['EBADF', 'bad file descriptor']],
  [11, ['EAGAIN', 'resource temporarily unavailable']],
  [12, ['ENOMEM', 'cannot allocate memory']],
  [13, ['EACCES', 'permission denied']],
  [16, ['EBUSY', 'device or resource busy']],
  [17, ['EEXIST', 'file exists']],
  [18, ['EXDEV', 'invalid cross-device link']],
  [19, ['ENODEV', 'no such device']],
  [20, ['ENOTDIR', 'not a directory']],
  [21, ['EISDIR', 'is a directory']],
  [22, ['EINVAL', 'invalid argument']],
  [25, ['ENOTTY', 'inappropriate ioctl for device']],
  [27, ['EFBIG', 'file too large']],
  [28, ['ENOSPC', 'no space left on device']],
  [29, ['ESPIPE', 'illegal seek']],
  [30, ['EROFS', 'read-only file system']],
  [31, ['EMLINK', 'too many links']],
  [32, ['EPIPE', 'broken pipe']],
  [34, ['ERANGE', 'numerical result out of range']],
  [35, ['EDEADLK', 'resource deadlock avoided']],
  [36, ['ENAMETOOLONG', 'file name too long']],
  [38, ['ENOSYS', 'function not implemented']],
  [39, ['ENOTEMPTY', 'directory not empty']],
  [40, ['ELOOP', 'too many levels of symbolic links']],
  [61, ['ENODATA', 'no data available']],
  [75, ['EOVERFLOW', 'value too large for defined data type']],
  [95, ['ENOTSUP', 'operation not supported']],
  [107, ['ENOTCONN', 'transport endpoint is not connected']],
  [110, ['ETIMEDOUT', 'connection timed out']],
  [116, ['ESTALE', 'stale file handle']],
  [122, ['EDQUOT', 'disk quota exceeded']],
  [125, ['ECANCELED', 'operation canceled']],
])

/** `ENOENT` for 2; a number without a name comes back as `E<number>`. */
export const errnoName = (errno: number): string => table.get(errno)?.[0] ?? `E${errno}`

/** The C library's words in lower case (`no such file or directory`), as the access log writes them. */
export const errnoText = (errno: number): string => table.get(errno)?.[1] ?? `errno ${errno}`

/** The errno of a Node system error (`err.code`), or EIO where it has none that we know. */
export function errnoOf(error: unknown): Errno {
  const code = (error as { code?: unknown } | null)?.code
  if (typeof code === 'string') for (const [n, [name]] of table) if (name === code) return n as Errno
  return EIO
}

/** Is this result a verdict of failure? Operations return `T | Errno` where T is an object (or undefined). */
export const isErrno = (value: unknown): value is Errno => typeof value === 'number'
