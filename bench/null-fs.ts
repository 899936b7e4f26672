/** A file system that does nothing, served by the real transport and dispatcher: the ceiling that the real one is compared
 *  with. Ends at SIGTERM or SIGINT and prints requests and CPU time of this process a request.
 *
 *    node bench/null-fs.ts MOUNTPOINT [max_write [seconds [LIST [pages]]]]     seconds: the kernel keeps attributes and names, default 0
 *
 *  big, bigd     4 GiB of the letter x; bigd is opened with direct I/O. With LIST: the bytes of the files that it names, one behind
 *                the other, each line `bytes path`, all but the last as long as the first: one pread(2) a piece, and nothing else
 *  What is written through a handle for writing alone passes by the kernel's pages, as on a mount (docs/design/004); with `pages` it does not.
 *  sink, sinkd   take what is written and forget it; sinkd with direct I/O
 *  d<N>          a directory of N entries, by name e0 … e<N-1>
 *  anything else can be created, written (the length is kept), looked at and removed, in directories too */

import fs from 'node:fs'
import type { Name } from '../src/base/bytes.ts'
import { EISDIR, ENOENT, ENOSYS, ENOTDIR, type Errno } from '../src/base/errno.ts'
import { type Ino, ROOT_INO } from '../src/base/ino.ts'
import { openLog } from '../src/base/log.ts'
import { mountFuse } from '../src/fuse/mount.ts'
import { FuseServer } from '../src/fuse/serve.ts'
import { unmountFuse } from '../src/fuse/unmount.ts'
import { type Attr, TYPE_DIRECTORY, TYPE_FILE } from '../src/meta/model/attr.ts'
import type { AddEntry, Context, Entry, FileSystem, Opened, SetAttr, Timeouts, Usage } from '../src/vfs/file-system.ts'

const FOPEN_DIRECT_IO = 1
// open(2)
const O_ACCMODE = 0o3
const O_WRONLY = 0o1
const maxWrite = Number(process.argv[3] ?? 1 << 20)
const TIME = { sec: 1_700_000_000, nsec: 0 }
const PIECE = Buffer.alloc(1 << 20, 'x')
/** inodes of synthetic directory entries begin here; the directory's own inode is DIRECTORY + its number of entries */
const DIRECTORY = 2 ** 40
const ENTRY = 2 ** 41

function attrOf(type: number, length: number): Attr {
  return {
    type,
    flags: 0,
    mode: type === TYPE_DIRECTORY ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    atime: TIME,
    mtime: TIME,
    ctime: TIME,
    nlink: 1,
    length,
    rdev: 0,
    parent: ROOT_INO,
    accessAcl: 0,
    defaultAcl: 0,
    tier: 0,
  }
}
const DIRECTORY_ATTR = attrOf(TYPE_DIRECTORY, 4096)
const EMPTY_ATTR = attrOf(TYPE_FILE, 0)

/** Files that are read as one. */
class Pieces {
  readonly length: number
  readonly #pieceBytes: number
  readonly #descriptors: readonly number[]
  /** An answer is sent before the next request is served. */
  readonly #answer = Buffer.alloc(maxWrite)

  constructor(list: string) {
    const lines = fs.readFileSync(list, 'utf8').trimEnd().split('\n')
    const lengths = lines.map(line => Number.parseInt(line, 10))
    this.#pieceBytes = lengths[0]!
    this.length = lengths.reduce((sum, length) => sum + length, 0)
    this.#descriptors = lines.map(line => fs.openSync(line.slice(line.indexOf(' ') + 1), 'r'))
  }

  read(offset: number, size: number): readonly Buffer[] {
    const end = Math.min(offset + size, this.length)
    let filled = 0
    while (offset + filled < end) {
      const index = Math.floor((offset + filled) / this.#pieceBytes)
      const within = offset + filled - index * this.#pieceBytes
      const wanted = Math.min(this.#pieceBytes - within, end - offset - filled)
      const got = fs.readSync(this.#descriptors[index]!, this.#answer, filled, wanted, within)
      if (got === 0) throw new Error('a listed file has become shorter')
      filled += got
    }
    return [this.#answer.subarray(0, filled)]
  }
}

/** Handles for writing alone pass by the kernel's pages (docs/design/004). */
const asMountsAnswer = (flags: number): number =>
  (flags & O_ACCMODE) === O_WRONLY && process.argv[6] !== 'pages' ? FOPEN_DIRECT_IO : 0

class NullFileSystem implements FileSystem {
  readonly timeouts: Timeouts
  readonly #big: Pieces | null
  /** names by directory */
  readonly #directories = new Map<Ino, Map<Name, Ino>>([[ROOT_INO, new Map()]])
  readonly #attrs = new Map<Ino, Attr>()
  readonly #direct = new Set<Ino>()
  #nextIno = 100

  constructor(keepSeconds: number, list: string | undefined) {
    this.timeouts = { attr: keepSeconds, entry: keepSeconds, dirEntry: keepSeconds, negativeEntry: 0 }
    this.#big = list === undefined ? null : new Pieces(list)
    const bigLength = this.#big?.length ?? 2 ** 32
    for (const [name, length] of [
      ['big', bigLength],
      ['bigd', bigLength],
      ['sink', 0],
      ['sinkd', 0],
    ] as const) {
      const { ino } = this.#add(this.#directories.get(ROOT_INO)!, name, length)
      if (name.endsWith('d')) this.#direct.add(ino)
    }
  }

  #add(names: Map<Name, Ino>, name: Name, length: number): Entry {
    const ino = this.#nextIno++ as Ino
    const attr = length === 0 ? EMPTY_ATTR : attrOf(TYPE_FILE, length)
    names.set(name, ino)
    this.#attrs.set(ino, attr)
    return { ino, attr }
  }
  #attr(ino: Ino): Attr {
    return (
      this.#attrs.get(ino) ??
      (this.#directories.has(ino) || (ino >= DIRECTORY && ino < ENTRY) ? DIRECTORY_ATTR : EMPTY_ATTR)
    )
  }

  lookup(_ctx: Context, parent: Ino, name: Name): Entry | Errno {
    const names = this.#directories.get(parent)
    if (names === undefined) return { ino: (ENTRY + Number(name.slice(1))) as Ino, attr: EMPTY_ATTR }
    const ino = names.get(name)
    if (ino !== undefined) return { ino, attr: this.#attr(ino) }
    if (parent !== ROOT_INO) return ENOENT
    const entries = /^d(\d+)$/.exec(name)
    return entries ? { ino: (DIRECTORY + Number(entries[1])) as Ino, attr: DIRECTORY_ATTR } : ENOENT
  }
  getattr(_ctx: Context, ino: Ino): Attr {
    return this.#attr(ino)
  }
  setattr(_ctx: Context, ino: Ino, set: SetAttr & { readonly size?: number }): Attr {
    if (set.size !== undefined && this.#attrs.has(ino)) this.#attrs.set(ino, attrOf(TYPE_FILE, set.size))
    return this.#attr(ino)
  }
  create(
    _ctx: Context,
    parent: Ino,
    name: Name,
    _mode: number,
    _umask: number,
    flags: number,
  ): (Entry & Opened) | Errno {
    const names = this.#directories.get(parent)
    return names ? { ...this.#add(names, name, 0), fh: 1, openFlags: asMountsAnswer(flags) } : ENOTDIR
  }
  mknod(_ctx: Context, parent: Ino, name: Name): Entry | Errno {
    const names = this.#directories.get(parent)
    return names ? this.#add(names, name, 0) : ENOTDIR
  }
  mkdir(_ctx: Context, parent: Ino, name: Name): Entry | Errno {
    const names = this.#directories.get(parent)
    if (!names) return ENOTDIR
    const ino = this.#nextIno++ as Ino
    names.set(name, ino)
    this.#directories.set(ino, new Map())
    return { ino, attr: DIRECTORY_ATTR }
  }
  rmdir(_ctx: Context, parent: Ino, name: Name): undefined | Errno {
    const ino = this.#directories.get(parent)?.get(name)
    if (ino === undefined) return ENOENT
    this.#directories.get(parent)?.delete(name)
    this.#directories.delete(ino)
    return undefined
  }
  unlink(_ctx: Context, parent: Ino, name: Name): undefined | Errno {
    const ino = this.#directories.get(parent)?.get(name)
    if (ino === undefined) return ENOENT
    this.#directories.get(parent)?.delete(name)
    this.#attrs.delete(ino)
    return undefined
  }
  rename(_ctx: Context, parent: Ino, name: Name, newParent: Ino, newName: Name): undefined | Errno {
    const ino = this.#directories.get(parent)?.get(name)
    if (ino === undefined) return ENOENT
    this.#directories.get(parent)?.delete(name)
    this.#directories.get(newParent)?.set(newName, ino)
    return undefined
  }

  open(_ctx: Context, ino: Ino, flags: number): Opened | Errno {
    if (this.#attr(ino) === DIRECTORY_ATTR) return EISDIR
    return { fh: 1, openFlags: this.#direct.has(ino) ? FOPEN_DIRECT_IO : asMountsAnswer(flags) }
  }
  read(_ctx: Context, ino: Ino, _fh: number, offset: number, size: number): readonly Buffer[] {
    const { length } = this.#attr(ino)
    if (length === this.#big?.length) return this.#big.read(offset, size)
    const left = Math.max(0, length - offset)
    return [size <= left ? PIECE.subarray(0, size) : PIECE.subarray(0, left)]
  }
  write(_ctx: Context, ino: Ino, _fh: number, offset: number, data: Buffer): undefined {
    const end = offset + data.length
    if (this.#attr(ino).length < end) this.#attrs.set(ino, attrOf(TYPE_FILE, end))
  }
  opendir(): Opened {
    return { fh: 1, openFlags: 0 }
  }
  readdir(_ctx: Context, ino: Ino, _fh: number, offset: number, attrs: boolean, add: AddEntry): undefined {
    if (ino >= DIRECTORY) {
      const count = ino - DIRECTORY
      for (let i = offset; i < count; i++)
        if (!add(`e${i}`, (ENTRY + i) as Ino, TYPE_FILE, attrs ? EMPTY_ATTR : null, i + 1)) return
      return
    }
    let i = 0
    for (const [name, child] of this.#directories.get(ino) ?? [])
      if (i++ >= offset && !add(name, child, TYPE_FILE, attrs ? this.#attr(child) : null, i)) return
  }
  statfs(): Usage {
    return { total: 2 ** 50, available: 2 ** 50, usedInodes: this.#attrs.size, availableInodes: 10 ** 7 }
  }

  flush(): undefined {}
  release(): undefined {}
  releasedir(): undefined {}
  fsync(): undefined {}
  fsyncdir(): undefined {}
  access(): undefined {}
  readlink = (): Errno => ENOSYS
  symlink = (): Errno => ENOSYS
  link = (): Errno => ENOSYS
  tmpfile = (): Errno => ENOSYS
  fallocate = (): Errno => ENOSYS
  copyFileRange = (): Errno => ENOSYS
  lseek = (): Errno => ENOSYS
  getxattr = (): Errno => ENOSYS
  setxattr = (): Errno => ENOSYS
  listxattr = (): Errno => ENOSYS
  removexattr = (): Errno => ENOSYS
  getlk = (): Errno => ENOSYS
  setlk = (): Errno => ENOSYS
  ioctl = (): Errno => ENOSYS
}

const mountPoint = process.argv[2]
if (mountPoint === undefined) {
  process.stderr.write('usage: null-fs.ts MOUNTPOINT [max_write [seconds [LIST]]]\n')
  process.exit(2)
}
const log = openLog({ level: 'INFO', colour: false, id: '', write: line => process.stderr.write(line) })
let requests = 0
const transport = await mountFuse({
  mountPoint,
  source: 'null-fs',
  options: [],
  allowOther: true,
  defaultPermissions: true,
  maxWrite,
  log,
})
const server = new FuseServer(
  transport,
  new NullFileSystem(Number(process.argv[4] ?? 0), process.argv[5] || undefined),
  {
    maxWrite,
    acl: false,
    writebackCache: false,
    asyncDio: false,
    log,
    onRequest: () => {
      requests++
    },
  },
)
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.on(signal, () => void unmountFuse(mountPoint, { lazy: true }))
await server.start()
process.stdout.write('ready\n')
const before = process.cpuUsage()
await server.closed
const { user, system } = process.cpuUsage(before)
process.stdout.write(`${requests} requests, ${((user + system) / Math.max(1, requests)).toFixed(2)} us CPU a request\n`)
