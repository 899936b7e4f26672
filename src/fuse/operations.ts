/** Every request of the kernel: how its arguments are read, what the file system is asked, how the answer is written.
 *
 *  A request's arguments are valid only until `ask` returns; what is needed for the answer is kept in the Call. Beside each
 *  operation stand the words (32 bits) of its arguments as <linux/fuse.h> lays them out; w2.. is a 64-bit field. */

import { EFBIG, EINVAL, ENXIO, ERANGE, type Errno, isErrno } from '../base/errno.ts'
import { chain, type Maybe } from '../base/maybe.ts'
import type { Attr } from '../meta/model/attr.ts'
import type { Entry, FileSystem, Opened, Plock, SetAttr, Usage } from '../vfs/file-system.ts'
import type { Call } from './call.ts'
import * as K from './constants.ts'
import {
  type DirentMemory,
  DirentPage,
  ENTRY_OUT_BYTES,
  type EntryEncoder,
  putOpenOut,
  putStatfs,
  putWide,
} from './encode.ts'
import type { PrivilegeKeeper } from './privileges.ts'
import type { ReplyArea } from './transport.ts'
import { type FuseRequest, lockOwnerAt } from './wire.ts'

/** What operations work with. */
export interface Bench {
  readonly fs: FileSystem
  readonly entries: EntryEncoder
  readonly out: ReplyArea
  /** null: not negotiated */
  readonly privileges: PrivilegeKeeper | null
  takeDirentMemory(bytes: number): DirentMemory
}

/** Payload bytes written into `out`, or buffers that follow the header as they are, or a verdict as negative errno. */
export type Encoded = number | readonly Buffer[]

export interface Operation<T = unknown> {
  /** as metrics and the access log call it */
  readonly name: string
  ask(bench: Bench, call: Call, request: FuseRequest): Maybe<T | Errno>
  /** null: success has no payload */
  readonly encode: ((bench: Bench, call: Call, value: T) => Encoded) | null
}

/** the first word behind the reply header */
const PAYLOAD = K.OUT_HEADER_BYTES / 4
/** the longest answer of COPY_FILE_RANGE: whole pages below 2^31 */
const LONGEST_COPY = 0x7ffff000
const LOCK_TYPES = ['R', 'W', 'U'] as const
const FARTHEST_LOCK = Number.MAX_SAFE_INTEGER

const table: (Operation | undefined)[] = []
function operation<T>(
  opcode: number,
  name: string,
  ask: Operation<T>['ask'],
  encode: Operation<T>['encode'] = null,
): void {
  table[opcode] = { name, ask, encode } as Operation
}

/** By opcode; what is missing here is answered ENOSYS, after which the kernel does not ask again: STATX would only add a birth time, which the format does not have; BMAP and POLL mean nothing for us;
 *  SYNCFS is sent to virtiofs only. */
export const OPERATIONS: readonly (Operation | undefined)[] = table

// ------------------------------------------------------------------------------------------------ names

const entryOut = ({ entries, out }: Bench, _: Call, { ino, attr }: Entry): number =>
  entries.entryOut(out.u32, PAYLOAD, ino, attr)
const attrOut = ({ entries, out }: Bench, call: Call, attr: Attr): number =>
  entries.attrOut(out.u32, PAYLOAD, call.ino, attr)

operation(
  K.LOOKUP,
  'lookup',
  ({ fs }, call, request): Maybe<Entry | Errno> => {
    const name = request.name(0)
    if (name !== '.') return fs.lookup(call, call.ino, name)
    // An exported file system is asked for "." of a handle's inode.
    return chain(fs.getattr(call, call.ino, null), attr => (isErrno(attr) ? attr : { ino: call.ino, attr }))
  },
  entryOut,
)
// mode, rdev, umask, –, name
operation(
  K.MKNOD,
  'mknod',
  ({ fs }, call, r) => fs.mknod(call, call.ino, r.name(16), r.word(0), r.word(2), r.word(1)),
  entryOut,
)
// mode, umask, name
operation(
  K.MKDIR,
  'mkdir',
  ({ fs }, call, r) => fs.mkdir(call, call.ino, r.name(8), r.word(0) & 0o7777, r.word(1)),
  entryOut,
)
// name, target
operation(
  K.SYMLINK,
  'symlink',
  ({ fs }, call, r) => {
    const [name, target] = r.names(0)
    return fs.symlink(call, call.ino, name, target)
  },
  entryOut,
)
// w0.. old inode, name
operation(K.LINK, 'link', ({ fs }, call, r) => fs.link(call, r.inoAt(0), call.ino, r.name(8)), entryOut)
operation(K.UNLINK, 'unlink', ({ fs }, call, r) => fs.unlink(call, call.ino, r.name(0)))
operation(K.RMDIR, 'rmdir', ({ fs }, call, r) => fs.rmdir(call, call.ino, r.name(0)))
// w0.. new parent, names
operation(K.RENAME, 'rename', ({ fs }, call, r) => {
  const [from, to] = r.names(8)
  return fs.rename(call, call.ino, from, r.inoAt(0), to, 0)
})
// w0.. new parent, w2 flags, –, names
operation(K.RENAME2, 'rename', ({ fs }, call, r) => {
  const [from, to] = r.names(16)
  return fs.rename(call, call.ino, from, r.inoAt(0), to, r.word(2))
})
operation(
  K.READLINK,
  'readlink',
  ({ fs }, call) => fs.readlink(call, call.ino),
  ({ out }, _, target: string) => out.buf.write(target, K.OUT_HEADER_BYTES, 'latin1'),
)

// ------------------------------------------------------------------------------------------------ attributes

// w0 flags, –, w2.. fh
operation(
  K.GETATTR,
  'getattr',
  ({ fs }, call, r) => fs.getattr(call, call.ino, r.word(0) & K.GETATTR_FH ? r.wide(2) : null),
  attrOut,
)

// w0 valid, –, w2.. fh, w4.. size, w6.. lock owner, w8.. atime, w10.. mtime, w12.. ctime,
// w14 atime ns, w15 mtime ns, w16 ctime ns, w17 mode, –, w19 uid, w20 gid
operation(
  K.SETATTR,
  'setattr',
  (bench, call, r): Maybe<Attr | Errno> => {
    const valid = r.word(0)
    if (valid & K.FATTR_SIZE && r.tooFar(4)) return EFBIG
    const fh = valid & K.FATTR_FH ? r.wide(2) : null
    const set: { -readonly [Key in keyof (SetAttr & { size: number })]?: (SetAttr & { size: number })[Key] } = {}
    if (valid & K.FATTR_MODE) set.mode = r.word(17) & 0o7777
    if (valid & K.FATTR_UID) set.uid = r.word(19)
    if (valid & K.FATTR_GID) set.gid = r.word(20)
    if (valid & K.FATTR_SIZE) set.size = r.wide(4)
    if (valid & K.FATTR_ATIME_NOW) set.atime = 'now'
    else if (valid & K.FATTR_ATIME) set.atime = { sec: r.signed(8), nsec: r.word(14) }
    if (valid & K.FATTR_MTIME_NOW) set.mtime = 'now'
    else if (valid & K.FATTR_MTIME) set.mtime = { sec: r.signed(10), nsec: r.word(15) }
    const { fs, privileges } = bench
    if (!privileges) return fs.setattr(call, call.ino, set, fh)
    privileges.forgetAll()
    const changed = fs.setattr(call, call.ino, set, fh)
    if (!(valid & (K.FATTR_KILL_SUIDGID | K.FATTR_UID | K.FATTR_GID))) return changed
    return chain(changed, attr =>
      isErrno(attr) ? attr : privileges.afterChange(call, call.ino, attr, (valid & K.FATTR_KILL_SUIDGID) !== 0),
    )
  },
  attrOut,
)
// w0 mask
operation(K.ACCESS, 'access', ({ fs }, call, r) => fs.access(call, call.ino, r.word(0)))
operation(
  K.STATFS,
  'statfs',
  ({ fs }, call) => fs.statfs(call, call.ino),
  ({ out }, _, usage: Usage) => putStatfs(out.u32, PAYLOAD, usage),
)

// ------------------------------------------------------------------------------------------------ files

const openOut = ({ out }: Bench, _: Call, { fh, openFlags }: Opened): number =>
  putOpenOut(out.u32, PAYLOAD, fh, openFlags)
const createOut = (bench: Bench, call: Call, created: Entry & Opened): number =>
  entryOut(bench, call, created) +
  putOpenOut(bench.out.u32, PAYLOAD + ENTRY_OUT_BYTES / 4, created.fh, created.openFlags)

// w0 flags, w1 open flags
operation(K.OPEN, 'open', ({ fs }, call, r) => fs.open(call, call.ino, r.word(0)), openOut)
// w0 flags, w1 mode, w2 umask, w3 open flags, name
operation(
  K.CREATE,
  'create',
  ({ fs, privileges }, call, r) => {
    const created = fs.create(call, call.ino, r.name(16), r.word(1) & 0o7777, r.word(2), r.word(0))
    return privileges
      ? chain(created, value => {
          if (!isErrno(value)) privileges.created(value.fh, value.attr)
          return value
        })
      : created
  },
  createOut,
)
// as CREATE; the name is a placeholder
operation(
  K.TMPFILE,
  'tmpfile',
  ({ fs }, call, r) => fs.tmpfile(call, call.ino, r.word(1) & 0o7777, r.word(2), r.word(0)),
  createOut,
)

// w0.. fh, w2.. offset, w4 size, w5 read flags, w6.. lock owner, w8 flags
operation(
  K.READ,
  'read',
  ({ fs }, call, r): Maybe<readonly Buffer[] | Errno> => {
    call.size = r.word(4)
    if (r.tooFar(2)) return [] // behind every possible end of file
    return fs.read(call, call.ino, r.wide(0), r.wide(2), call.size)
  },
  (_bench, _call, views: readonly Buffer[]) => views,
)

// w0.. fh, w2.. offset, w4 size, w5 write flags, w6.. lock owner, w8 flags, –, data
operation(
  K.WRITE,
  'write',
  ({ fs, privileges }, call, r): Maybe<undefined | Errno> => {
    const size = r.word(4)
    call.size = size
    if (r.tooFar(2) || r.wide(2) + size > Number.MAX_SAFE_INTEGER) return EFBIG
    const fh = r.wide(0)
    const offset = r.wide(2)
    const flags = r.word(8)
    const data = r.bytes(40, size)
    if (data.length !== size) return EINVAL
    if (!privileges || !(r.word(5) & K.WRITE_KILL_SUIDGID) || privileges.isClean(fh))
      return fs.write(call, call.ino, fh, offset, data, flags)
    return chain(privileges.beforeWrite(call, call.ino, fh), () => fs.write(call, call.ino, fh, offset, data, flags))
  },
  ({ out }, call) => {
    out.u32[PAYLOAD] = call.size
    out.u32[PAYLOAD + 1] = 0
    return 8
  },
)

// w0.. fh, –, –, w4.. lock owner
operation(K.FLUSH, 'flush', ({ fs }, call, r) => fs.flush(call, call.ino, r.wide(0), lockOwnerAt(r, 4)))
// w0.. fh, w2 flags, w3 release flags, w4.. lock owner
operation(K.RELEASE, 'release', ({ fs, privileges }, call, r) => {
  const fh = r.wide(0)
  privileges?.released(fh)
  return fs.release(call, call.ino, fh, r.word(3) & K.RELEASE_FLOCK_UNLOCK ? lockOwnerAt(r, 4) : null)
})
// w0.. fh, w2 flags
operation(K.FSYNC, 'fsync', ({ fs }, call, r) =>
  fs.fsync(call, call.ino, r.wide(0), (r.word(2) & K.FSYNC_DATA_ONLY) !== 0),
)

// w0.. fh, w2.. offset, w4.. length, w6 mode
operation(K.FALLOCATE, 'fallocate', ({ fs, privileges }, call, r): Maybe<undefined | Errno> => {
  if (r.tooFar(2) || r.tooFar(4) || r.wide(2) + r.wide(4) > Number.MAX_SAFE_INTEGER) return EFBIG
  const [fh, offset, length, mode] = [r.wide(0), r.wide(2), r.wide(4), r.word(6)]
  if (!privileges || call.uid === 0 || privileges.isClean(fh))
    return fs.fallocate(call, call.ino, fh, mode, offset, length)
  return chain(privileges.beforeWrite(call, call.ino, fh), () => fs.fallocate(call, call.ino, fh, mode, offset, length))
})

// w0.. fh, w2.. offset, w4 whence
operation(
  K.LSEEK,
  'lseek',
  ({ fs }, call, r): Maybe<{ readonly offset: number } | Errno> =>
    r.tooFar(2) ? ENXIO : fs.lseek(call, call.ino, r.wide(0), r.wide(2), r.word(4)),
  ({ out }, _, { offset }: { readonly offset: number }) => {
    putWide(out.u32, PAYLOAD, offset)
    return 8
  },
)

// w0.. source fh, w2.. source offset, w4.. target inode, w6.. target fh, w8.. target offset, w10.. length, w12.. flags
function copyFileRange(
  { fs, privileges }: Bench,
  call: Call,
  r: FuseRequest,
): Maybe<{ readonly copied: number } | Errno> {
  if (r.tooFar(2) || r.tooFar(8)) return EFBIG
  const length = r.tooFar(10) ? LONGEST_COPY : Math.min(r.wide(10), LONGEST_COPY)
  const source = { ino: call.ino, fh: r.wide(0), offset: r.wide(2) }
  const target = { ino: r.inoAt(4), fh: r.wide(6), offset: r.wide(8) }
  const flags = r.word(12)
  if (target.offset + length > Number.MAX_SAFE_INTEGER) return EFBIG
  if (!privileges || call.uid === 0 || privileges.isClean(target.fh))
    return fs.copyFileRange(call, source, target, length, flags)
  return chain(privileges.beforeWrite(call, target.ino, target.fh), () =>
    fs.copyFileRange(call, source, target, length, flags),
  )
}
/** fuse_write_out (size u32, –) and fuse_copy_file_range_out (u64) look the same for what we copy at once */
const copiedOut = ({ out }: Bench, _: Call, { copied }: { readonly copied: number }): number => {
  putWide(out.u32, PAYLOAD, copied)
  return 8
}
operation(K.COPY_FILE_RANGE, 'copy_file_range', copyFileRange, copiedOut)
operation(K.COPY_FILE_RANGE_64, 'copy_file_range', copyFileRange, copiedOut)

// ------------------------------------------------------------------------------------------------ directories

// w0 flags
operation(K.OPENDIR, 'opendir', ({ fs }, call, r) => fs.opendir(call, call.ino, r.word(0)), openOut)

// w0.. fh, w2.. offset, w4 size
function readdir(bench: Bench, call: Call, r: FuseRequest, attrs: boolean): Maybe<undefined | Errno> {
  const size = r.word(4)
  const memory = bench.takeDirentMemory(size)
  const page = new DirentPage(memory, size, attrs ? bench.entries : null)
  call.size = size
  call.pageMemory = memory
  call.page = page
  return bench.fs.readdir(call, call.ino, r.wide(0), r.wide(2), attrs, (name, ino, type, attr, nextOffset) =>
    page.add(name, ino, type, attr, nextOffset),
  )
}
const pageOut = (_: Bench, call: Call): Encoded => [call.page!.filled()]
operation(K.READDIR, 'readdir', (bench, call, r) => readdir(bench, call, r, false), pageOut)
operation(K.READDIRPLUS, 'readdir', (bench, call, r) => readdir(bench, call, r, true), pageOut)
operation(K.RELEASEDIR, 'releasedir', ({ fs }, call, r) => fs.releasedir(call, call.ino, r.wide(0)))
operation(K.FSYNCDIR, 'fsyncdir', ({ fs }, call, r) =>
  fs.fsyncdir(call, call.ino, r.wide(0), (r.word(2) & K.FSYNC_DATA_ONLY) !== 0),
)

// ------------------------------------------------------------------------------------------------ extended attributes

/** A caller with size 0 asks how long the value is. */
function valueOut({ out }: Bench, call: Call, value: Buffer): Encoded {
  if (call.size === 0) {
    out.u32[PAYLOAD] = value.length
    out.u32[PAYLOAD + 1] = 0
    return 8
  }
  return value.length > call.size ? -ERANGE : [value]
}

// w0 size, w1 flags, w2 setxattr flags, –, name, value (SETXATTR_EXT agreed on)
operation(K.SETXATTR, 'setxattr', ({ fs, privileges }, call, r) => setxattr(fs, privileges, call, r, 16))
/** The layout of kernels without SETXATTR_EXT: w0 size, w1 flags, name, value. */
export const SETXATTR_SHORT: Operation = {
  name: 'setxattr',
  ask: ({ fs, privileges }, call, r) => setxattr(fs, privileges, call, r, 8),
  encode: null,
}
function setxattr(fs: FileSystem, privileges: PrivilegeKeeper | null, call: Call, r: FuseRequest, headBytes: number) {
  const size = r.word(0)
  const flags = r.word(1)
  const losesGroupBit = headBytes === 16 && (r.word(2) & K.SETXATTR_ACL_KILL_SGID) !== 0
  const nameEnd = r.memory.buf.indexOf(0, r.arg + headBytes)
  const name = r.memory.buf.toString('latin1', r.arg + headBytes, nameEnd)
  // A copy, since values are small and the memory of the request is not held for them.
  const value = Buffer.from(r.bytes(nameEnd + 1 - r.arg, size))
  if (value.length !== size) return EINVAL
  privileges?.forgetAll()
  const done = fs.setxattr(call, call.ino, name, value, flags)
  if (!losesGroupBit) return done
  return chain(done as Maybe<undefined | Errno>, verdict => (isErrno(verdict) ? verdict : withoutGroupBit(fs, call)))
}
/** Who sets an ACL without being in the file's group does not leave set-group-id behind. */
function withoutGroupBit(fs: FileSystem, call: Call): Maybe<undefined | Errno> {
  return chain(fs.getattr(call, call.ino, null), attr => {
    if (isErrno(attr) || (attr.mode & 0o2000) === 0) return undefined
    return chain(fs.setattr(call, call.ino, { mode: attr.mode & ~0o2000 }, null), () => undefined)
  })
}
// w0 size, –, name
operation(
  K.GETXATTR,
  'getxattr',
  ({ fs }, call, r) => {
    call.size = r.word(0)
    return fs.getxattr(call, call.ino, r.name(8))
  },
  valueOut,
)
// w0 size
operation(
  K.LISTXATTR,
  'listxattr',
  ({ fs }, call, r) => {
    call.size = r.word(0)
    return fs.listxattr(call, call.ino)
  },
  (bench, call, names: readonly string[]) =>
    valueOut(bench, call, Buffer.from(names.map(name => `${name}\0`).join(''), 'latin1')),
)
operation(K.REMOVEXATTR, 'removexattr', ({ fs }, call, r) => fs.removexattr(call, call.ino, r.name(0)))

// ------------------------------------------------------------------------------------------------ locks, ioctl

// w0.. fh, w2.. owner, w4.. start, w6.. end, w8 type, w9 pid, w10 lock flags
function lockAt(r: FuseRequest): Plock | Errno {
  const type = LOCK_TYPES[r.word(8)]
  if (!type) return EINVAL
  if (r.tooFar(4)) return EFBIG
  return { type, start: r.wide(4), end: r.tooFar(6) ? FARTHEST_LOCK : r.wide(6), pid: r.word(9) }
}
function setlk({ fs }: Bench, call: Call, r: FuseRequest, wait: boolean): Maybe<undefined | Errno> {
  const lock = lockAt(r)
  if (isErrno(lock)) return lock
  return fs.setlk(call, call.ino, r.wide(0), lockOwnerAt(r, 2), lock, wait, (r.word(10) & K.LK_FLOCK) !== 0)
}
operation(
  K.GETLK,
  'getlk',
  ({ fs }, call, r): Maybe<Plock | Errno> => {
    const lock = lockAt(r)
    return isErrno(lock) ? lock : fs.getlk(call, call.ino, r.wide(0), lockOwnerAt(r, 2), lock)
  },
  ({ out: { u32 } }, _, lock: Plock) => {
    putWide(u32, PAYLOAD, lock.start)
    if (lock.end >= FARTHEST_LOCK) {
      u32[PAYLOAD + 2] = 0xffffffff
      u32[PAYLOAD + 3] = 0x7fffffff
    } else putWide(u32, PAYLOAD + 2, lock.end)
    u32[PAYLOAD + 4] = LOCK_TYPES.indexOf(lock.type)
    u32[PAYLOAD + 5] = lock.pid
    return 24
  },
)
operation(K.SETLK, 'setlk', (bench, call, r) => setlk(bench, call, r, false))
operation(K.SETLKW, 'setlk', (bench, call, r) => setlk(bench, call, r, true))

// w0.. fh, w2 flags, w3 command, w4.. argument, w6 input bytes, w7 output bytes, input
operation(
  K.IOCTL,
  'ioctl',
  ({ fs }, call, r) => {
    call.size = r.word(7)
    return fs.ioctl(call, call.ino, r.wide(0), r.word(3), Buffer.from(r.bytes(32, r.word(6))), call.size)
  },
  // fuse_ioctl_out: result, flags, in_iovs, out_iovs, then the output
  ({ out }, call, output: Buffer) => {
    if (output.length > call.size) return -EINVAL
    out.u32.fill(0, PAYLOAD, PAYLOAD + 4)
    output.copy(out.buf, K.OUT_HEADER_BYTES + 16)
    return 16 + output.length
  },
)
