/** Extended attributes. */

import { EINVAL, ERANGE, type Errno, isErrno } from '../base/errno.ts'
import { chain, type Maybe } from '../base/maybe.ts'
import type { FileSystem } from '../vfs/file-system.ts'
import type { Call } from './call.ts'
import * as K from './constants.ts'
import { type Bench, type Encoded, type Operation, OperationTable, PAYLOAD } from './operation.ts'
import type { PrivilegeKeeper } from './privileges.ts'
import type { FuseRequest } from './wire.ts'

export const xattrOperations = new OperationTable()

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
xattrOperations.add(K.SETXATTR, 'setxattr', ({ fs, privileges }, call, r) => setxattr(fs, privileges, call, r, 16))
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
xattrOperations.add(
  K.GETXATTR,
  'getxattr',
  ({ fs }, call, r) => {
    call.size = r.word(0)
    return fs.getxattr(call, call.ino, r.name(8))
  },
  valueOut,
)
// w0 size
xattrOperations.add(
  K.LISTXATTR,
  'listxattr',
  ({ fs }, call, r) => {
    call.size = r.word(0)
    return fs.listxattr(call, call.ino)
  },
  (bench, call, names: readonly string[]) =>
    valueOut(bench, call, Buffer.from(names.map(name => `${name}\0`).join(''), 'latin1')),
)
xattrOperations.add(K.REMOVEXATTR, 'removexattr', ({ fs }, call, r) => fs.removexattr(call, call.ino, r.name(0)))
