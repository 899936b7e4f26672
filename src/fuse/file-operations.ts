/** Opening, reading, writing: what works on the data of a file. */

import { EFBIG, EINVAL, ENXIO, type Errno, isErrno } from '../base/errno.ts'
import { chain, type Maybe } from '../base/maybe.ts'
import type { Call } from './call.ts'
import * as K from './constants.ts'
import { putWide } from './encode.ts'
import { type Bench, createOut, OperationTable, openOut, PAYLOAD } from './operation.ts'
import { type FuseRequest, lockOwnerAt } from './wire.ts'

/** the longest answer of COPY_FILE_RANGE: whole pages below 2^31 */
const LONGEST_COPY = 0x7ffff000

export const fileOperations = new OperationTable()

// w0 flags, w1 open flags
fileOperations.add(K.OPEN, 'open', ({ fs }, call, r) => fs.open(call, call.ino, r.word(0)), openOut)
// w0 flags, w1 mode, w2 umask, w3 open flags, name
fileOperations.add(
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
fileOperations.add(
  K.TMPFILE,
  'tmpfile',
  ({ fs }, call, r) => fs.tmpfile(call, call.ino, r.word(1) & 0o7777, r.word(2), r.word(0)),
  createOut,
)

// w0.. fh, w2.. offset, w4 size, w5 read flags, w6.. lock owner, w8 flags
fileOperations.add(
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
fileOperations.add(
  K.WRITE,
  'write',
  ({ fs, privileges, answerNow }, call, r): Maybe<undefined | Errno> => {
    const size = r.word(4)
    call.size = size
    if (r.tooFar(2) || r.wide(2) + size > Number.MAX_SAFE_INTEGER) return EFBIG
    const fh = r.wide(0)
    const offset = r.wide(2)
    const flags = r.word(8)
    const data = r.bytes(40, size)
    if (data.length !== size) return EINVAL
    if (!privileges || !(r.word(5) & K.WRITE_KILL_SUIDGID) || privileges.isClean(fh))
      return fs.write(call, call.ino, fh, offset, data, flags, () => answerNow(call, undefined))
    return chain(privileges.beforeWrite(call, call.ino, fh), () => fs.write(call, call.ino, fh, offset, data, flags))
  },
  ({ out }, call) => {
    out.u32[PAYLOAD] = call.size
    out.u32[PAYLOAD + 1] = 0
    return 8
  },
)

// w0.. fh, –, –, w4.. lock owner
fileOperations.add(K.FLUSH, 'flush', ({ fs }, call, r) => fs.flush(call, call.ino, r.wide(0), lockOwnerAt(r, 4)))
// w0.. fh, w2 flags, w3 release flags, w4.. lock owner
fileOperations.add(K.RELEASE, 'release', ({ fs, privileges }, call, r) => {
  const fh = r.wide(0)
  privileges?.released(fh)
  return fs.release(call, call.ino, fh, r.word(3) & K.RELEASE_FLOCK_UNLOCK ? lockOwnerAt(r, 4) : null)
})
// w0.. fh, w2 flags
fileOperations.add(K.FSYNC, 'fsync', ({ fs }, call, r) =>
  fs.fsync(call, call.ino, r.wide(0), (r.word(2) & K.FSYNC_DATA_ONLY) !== 0),
)

// w0.. fh, w2.. offset, w4.. length, w6 mode
fileOperations.add(K.FALLOCATE, 'fallocate', ({ fs, privileges }, call, r): Maybe<undefined | Errno> => {
  if (r.tooFar(2) || r.tooFar(4) || r.wide(2) + r.wide(4) > Number.MAX_SAFE_INTEGER) return EFBIG
  const [fh, offset, length, mode] = [r.wide(0), r.wide(2), r.wide(4), r.word(6)]
  if (!privileges || call.uid === 0 || privileges.isClean(fh))
    return fs.fallocate(call, call.ino, fh, mode, offset, length)
  return chain(privileges.beforeWrite(call, call.ino, fh), () => fs.fallocate(call, call.ino, fh, mode, offset, length))
})

// w0.. fh, w2.. offset, w4 whence
fileOperations.add(
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
fileOperations.add(K.COPY_FILE_RANGE, 'copy_file_range', copyFileRange, copiedOut)
fileOperations.add(K.COPY_FILE_RANGE_64, 'copy_file_range', copyFileRange, copiedOut)
