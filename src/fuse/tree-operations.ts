/** Names, directories and attributes. */

import { EFBIG, type Errno, isErrno } from '../base/errno.ts'
import { chain, type Maybe } from '../base/maybe.ts'
import type { Attr } from '../meta/model/attr.ts'
import type { Entry, SetAttr, Usage } from '../vfs/file-system.ts'
import type { Call } from './call.ts'
import * as K from './constants.ts'
import { DirentPage, putStatfs } from './encode.ts'
import { type Bench, type Encoded, entryOut, OperationTable, openOut, PAYLOAD } from './operation.ts'
import { asRoot } from './privileges.ts'
import type { FuseRequest } from './wire.ts'

export const treeOperations = new OperationTable()

treeOperations.add(
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
treeOperations.add(
  K.MKNOD,
  'mknod',
  ({ fs }, call, r) => fs.mknod(call, call.ino, r.name(16), r.word(0), r.word(2), r.word(1)),
  entryOut,
)
// mode, umask, name
treeOperations.add(
  K.MKDIR,
  'mkdir',
  ({ fs }, call, r) => fs.mkdir(call, call.ino, r.name(8), r.word(0) & 0o7777, r.word(1)),
  entryOut,
)
// name, target
treeOperations.add(
  K.SYMLINK,
  'symlink',
  ({ fs }, call, r) => {
    const [name, target] = r.names(0)
    return fs.symlink(call, call.ino, name, target)
  },
  entryOut,
)
// w0.. old inode, name
treeOperations.add(K.LINK, 'link', ({ fs }, call, r) => fs.link(call, r.inoAt(0), call.ino, r.name(8)), entryOut)
treeOperations.add(K.UNLINK, 'unlink', ({ fs }, call, r) => fs.unlink(call, call.ino, r.name(0)))
treeOperations.add(K.RMDIR, 'rmdir', ({ fs }, call, r) => fs.rmdir(call, call.ino, r.name(0)))
// w0.. new parent, names
treeOperations.add(K.RENAME, 'rename', ({ fs }, call, r) => {
  const [from, to] = r.names(8)
  return fs.rename(call, call.ino, from, r.inoAt(0), to, 0)
})
// w0.. new parent, w2 flags, –, names
treeOperations.add(K.RENAME2, 'rename', ({ fs }, call, r) => {
  const [from, to] = r.names(16)
  return fs.rename(call, call.ino, from, r.inoAt(0), to, r.word(2))
})
treeOperations.add(
  K.READLINK,
  'readlink',
  ({ fs }, call) => fs.readlink(call, call.ino),
  ({ out }, _, target: string) => out.buf.write(target, K.OUT_HEADER_BYTES, 'latin1'),
)

// w0 flags
treeOperations.add(K.OPENDIR, 'opendir', ({ fs }, call, r) => fs.opendir(call, call.ino, r.word(0)), openOut)

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
treeOperations.add(K.READDIR, 'readdir', (bench, call, r) => readdir(bench, call, r, false), pageOut)
treeOperations.add(K.READDIRPLUS, 'readdir', (bench, call, r) => readdir(bench, call, r, true), pageOut)
treeOperations.add(K.RELEASEDIR, 'releasedir', ({ fs }, call, r) => fs.releasedir(call, call.ino, r.wide(0)))
treeOperations.add(K.FSYNCDIR, 'fsyncdir', ({ fs }, call, r) =>
  fs.fsyncdir(call, call.ino, r.wide(0), (r.word(2) & K.FSYNC_DATA_ONLY) !== 0),
)

const attrOut = ({ entries, out }: Bench, call: Call, attr: Attr): number =>
  entries.attrOut(out.u32, PAYLOAD, call.ino, attr)

// w0 flags, –, w2.. fh
treeOperations.add(
  K.GETATTR,
  'getattr',
  ({ fs }, call, r) => fs.getattr(call, call.ino, r.word(0) & K.GETATTR_FH ? r.wide(2) : null),
  attrOut,
)

// w0 valid, –, w2.. fh, w4.. size, w6.. lock owner, w8.. atime, w10.. mtime, w12.. ctime,
// w14 atime ns, w15 mtime ns, w16 ctime ns, w17 mode, –, w19 uid, w20 gid
treeOperations.add(
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
    const isTimesOnly = (valid & (K.FATTR_MODE | K.FATTR_UID | K.FATTR_GID)) === 0
    const caller = bench.kernelKeepsTimes && isTimesOnly ? asRoot(call) : call
    if (!privileges) return fs.setattr(caller, call.ino, set, fh)
    privileges.forgetAll()
    const changed = fs.setattr(caller, call.ino, set, fh)
    if (!(valid & (K.FATTR_KILL_SUIDGID | K.FATTR_UID | K.FATTR_GID))) return changed
    return chain(changed, attr =>
      isErrno(attr) ? attr : privileges.afterChange(call, call.ino, attr, (valid & K.FATTR_KILL_SUIDGID) !== 0),
    )
  },
  attrOut,
)
// w0 mask
treeOperations.add(K.ACCESS, 'access', ({ fs }, call, r) => fs.access(call, call.ino, r.word(0)))
treeOperations.add(
  K.STATFS,
  'statfs',
  ({ fs }, call) => fs.statfs(call, call.ino),
  ({ out }, _, usage: Usage) => putStatfs(out.u32, PAYLOAD, usage),
)
