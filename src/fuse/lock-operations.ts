/** Locks, and ioctl. */

import { EFBIG, EINVAL, type Errno, isErrno } from '../base/errno.ts'
import type { Maybe } from '../base/maybe.ts'
import type { Plock } from '../vfs/file-system.ts'
import type { Call } from './call.ts'
import * as K from './constants.ts'
import { putWide } from './encode.ts'
import { type Bench, OperationTable, PAYLOAD } from './operation.ts'
import { type FuseRequest, lockOwnerAt } from './wire.ts'

const LOCK_TYPES = ['R', 'W', 'U'] as const
const FARTHEST_LOCK = Number.MAX_SAFE_INTEGER

export const lockOperations = new OperationTable()

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
lockOperations.add(
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
lockOperations.add(K.SETLK, 'setlk', (bench, call, r) => setlk(bench, call, r, false))
lockOperations.add(K.SETLKW, 'setlk', (bench, call, r) => setlk(bench, call, r, true))

// w0.. fh, w2 flags, w3 command, w4.. argument, w6 input bytes, w7 output bytes, input
lockOperations.add(
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
