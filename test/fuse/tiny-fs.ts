/** A small file system in memory for the tests of the protocol: real enough for rename, locks and holes, and now and then
 *  answering later, as one with a database behind it does. Permissions are the kernel's business. */

import type { Name } from '../../src/base/bytes.ts'
import {
  EAGAIN,
  EEXIST,
  EINTR,
  EISDIR,
  ENODATA,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  ENOTTY,
  type Errno,
  isErrno,
} from '../../src/base/errno.ts'
import { Fault } from '../../src/base/fault.ts'
import { type Ino, ROOT_INO } from '../../src/base/ino.ts'
import { type Attr, TYPE_DIRECTORY, TYPE_FILE, TYPE_SYMLINK, typeOfMode } from '../../src/meta/model/attr.ts'
import type {
  AddEntry,
  Context,
  Entry,
  FileSystem,
  LockOwner,
  Opened,
  Plock,
  SetAttr,
  Usage,
} from '../../src/vfs/file-system.ts'

interface Node {
  attr: Attr
  data: Buffer
  target: Name
  readonly children: Map<Name, Ino>
  readonly xattrs: Map<Name, Buffer>
}

const later = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

export class TinyFileSystem implements FileSystem {
  readonly timeouts = { attr: 1, entry: 1, dirEntry: 1, negativeEntry: 0 }
  readonly #nodes = new Map<Ino, Node>()
  readonly #holders = new Map<Ino, LockOwner>()
  readonly #waiters = new Map<Ino, (() => void)[]>()
  #nextIno = 2
  #nextFh = 1

  constructor() {
    this.#nodes.set(ROOT_INO, this.#newNode(TYPE_DIRECTORY, 0o755, { uid: 0, gid: 0 }))
  }

  #newNode(type: number, mode: number, owner: { uid: number; gid: number }, rdev = 0): Node {
    const time = { sec: 1_700_000_000, nsec: 123_456_789 }
    const attr = {
      type,
      flags: 0,
      mode: mode & 0o7777,
      uid: owner.uid,
      gid: owner.gid,
      atime: time,
      mtime: time,
      ctime: time,
      nlink: type === TYPE_DIRECTORY ? 2 : 1,
      length: type === TYPE_DIRECTORY ? 4096 : 0,
      rdev,
      parent: ROOT_INO,
      accessAcl: 0,
      defaultAcl: 0,
      tier: 0,
    }
    return { attr, data: Buffer.alloc(0), target: '', children: new Map(), xattrs: new Map() }
  }
  #add(ctx: Context, parent: Ino, name: Name, type: number, mode: number, rdev = 0): Entry | Errno {
    const directory = this.#nodes.get(parent)
    if (!directory) return ENOENT
    if (directory.children.has(name)) return EEXIST
    const ino = this.#nextIno++ as Ino
    const node = this.#newNode(type, mode, ctx, rdev)
    this.#nodes.set(ino, node)
    directory.children.set(name, ino)
    return { ino, attr: node.attr }
  }
  #resize(node: Node, length: number): void {
    const data = Buffer.alloc(length)
    node.data.copy(data)
    node.data = data
    node.attr = { ...node.attr, length }
  }

  lookup(_ctx: Context, parent: Ino, name: Name): Entry | Errno {
    if (name === 'broken') throw new Fault('ask the database', { cause: new Error('gone') })
    if (name === 'buggy') throw new TypeError('undefined is not a function')
    const ino = this.#nodes.get(parent)?.children.get(name)
    return ino === undefined ? ENOENT : { ino, attr: this.#nodes.get(ino)!.attr }
  }
  getattr(_ctx: Context, ino: Ino): Attr | Errno {
    return this.#nodes.get(ino)?.attr ?? ENOENT
  }
  async setattr(_ctx: Context, ino: Ino, set: SetAttr & { readonly size?: number }): Promise<Attr | Errno> {
    await later()
    const node = this.#nodes.get(ino)
    if (!node) return ENOENT
    const now = { sec: Math.floor(Date.now() / 1000), nsec: 0 }
    if (set.size !== undefined) this.#resize(node, set.size)
    const { attr } = node
    node.attr = {
      ...attr,
      mode: set.mode ?? attr.mode,
      uid: set.uid ?? attr.uid,
      gid: set.gid ?? attr.gid,
      atime: set.atime === 'now' ? now : (set.atime ?? attr.atime),
      mtime: set.mtime === 'now' ? now : (set.mtime ?? attr.mtime),
    }
    return node.attr
  }
  readlink(_ctx: Context, ino: Ino): Name {
    return this.#nodes.get(ino)!.target
  }
  mknod(ctx: Context, parent: Ino, name: Name, mode: number, _umask: number, rdev: number): Entry | Errno {
    return this.#add(ctx, parent, name, typeOfMode(mode) || TYPE_FILE, mode, rdev)
  }
  async mkdir(ctx: Context, parent: Ino, name: Name, mode: number): Promise<Entry | Errno> {
    await later()
    return this.#add(ctx, parent, name, TYPE_DIRECTORY, mode)
  }
  symlink(ctx: Context, parent: Ino, name: Name, target: Name): Entry | Errno {
    const made = this.#add(ctx, parent, name, TYPE_SYMLINK, 0o777)
    if (isErrno(made)) return made
    const node = this.#nodes.get(made.ino)!
    node.target = target
    node.attr = { ...node.attr, length: target.length }
    return { ino: made.ino, attr: node.attr }
  }
  link(_ctx: Context, ino: Ino, parent: Ino, name: Name): Entry | Errno {
    const directory = this.#nodes.get(parent)!
    if (directory.children.has(name)) return EEXIST
    const node = this.#nodes.get(ino)!
    directory.children.set(name, ino)
    node.attr = { ...node.attr, nlink: node.attr.nlink + 1 }
    return { ino, attr: node.attr }
  }
  unlink(_ctx: Context, parent: Ino, name: Name): undefined | Errno {
    const directory = this.#nodes.get(parent)!
    const ino = directory.children.get(name)
    if (ino === undefined) return ENOENT
    directory.children.delete(name)
    const node = this.#nodes.get(ino)!
    node.attr = { ...node.attr, nlink: node.attr.nlink - 1 }
    return undefined
  }
  rmdir(_ctx: Context, parent: Ino, name: Name): undefined | Errno {
    const directory = this.#nodes.get(parent)!
    const ino = directory.children.get(name)
    if (ino === undefined) return ENOENT
    const node = this.#nodes.get(ino)!
    if (node.attr.type !== TYPE_DIRECTORY) return ENOTDIR
    if (node.children.size > 0) return ENOTEMPTY
    directory.children.delete(name)
    return undefined
  }
  async rename(
    _ctx: Context,
    parent: Ino,
    name: Name,
    newParent: Ino,
    newName: Name,
    flags: number,
  ): Promise<undefined | Errno> {
    await later()
    const from = this.#nodes.get(parent)!.children
    const to = this.#nodes.get(newParent)!.children
    const ino = from.get(name)
    const replaced = to.get(newName)
    if (ino === undefined) return ENOENT
    if (flags === 1 && replaced !== undefined) return EEXIST
    from.delete(name)
    to.set(newName, ino)
    if (flags === 2 && replaced !== undefined) from.set(name, replaced)
    return undefined
  }

  open(_ctx: Context, ino: Ino): Opened | Errno {
    return this.#nodes.get(ino)!.attr.type === TYPE_DIRECTORY ? EISDIR : { fh: this.#nextFh++, openFlags: 0 }
  }
  create(ctx: Context, parent: Ino, name: Name, mode: number): (Entry & Opened) | Errno {
    const made = this.#add(ctx, parent, name, TYPE_FILE, mode)
    return isErrno(made) ? made : { ...made, fh: this.#nextFh++, openFlags: 0 }
  }
  tmpfile(ctx: Context, _parent: Ino, mode: number): Entry & Opened {
    const ino = this.#nextIno++ as Ino
    const node = this.#newNode(TYPE_FILE, mode, ctx)
    node.attr = { ...node.attr, nlink: 0 }
    this.#nodes.set(ino, node)
    return { ino, attr: node.attr, fh: this.#nextFh++, openFlags: 0 }
  }
  read(_ctx: Context, ino: Ino, _fh: number, offset: number, size: number): readonly Buffer[] {
    const { data } = this.#nodes.get(ino)!
    const middle = Math.min(offset + Math.ceil(size / 2), data.length)
    return [data.subarray(offset, middle), data.subarray(middle, offset + size)]
  }
  /** Copies after an await, so that a request whose memory is used again too early shows. */
  async write(_ctx: Context, ino: Ino, _fh: number, offset: number, data: Buffer): Promise<undefined> {
    await later()
    const node = this.#nodes.get(ino)!
    if (node.data.length < offset + data.length) this.#resize(node, offset + data.length)
    data.copy(node.data, offset)
  }
  flush(): undefined {}
  release(_ctx: Context, ino: Ino, _fh: number, flockOwner: LockOwner | null): undefined {
    if (flockOwner !== null && this.#holders.get(ino) === flockOwner) this.#unlock(ino)
  }
  fsync(): undefined {}
  fallocate(_ctx: Context, ino: Ino, _fh: number, _mode: number, offset: number, length: number): undefined {
    const node = this.#nodes.get(ino)!
    if (node.data.length < offset + length) this.#resize(node, offset + length)
  }
  copyFileRange(
    _ctx: Context,
    source: { ino: Ino; offset: number },
    target: { ino: Ino; offset: number },
    length: number,
  ): { copied: number } {
    const bytes = this.#nodes.get(source.ino)!.data.subarray(source.offset, source.offset + length)
    const node = this.#nodes.get(target.ino)!
    if (node.data.length < target.offset + bytes.length) this.#resize(node, target.offset + bytes.length)
    bytes.copy(node.data, target.offset)
    return { copied: bytes.length }
  }
  lseek(_ctx: Context, ino: Ino, _fh: number, offset: number, whence: number): { offset: number } {
    return { offset: whence === 3 ? offset : this.#nodes.get(ino)!.data.length }
  }

  opendir(): Opened {
    return { fh: this.#nextFh++, openFlags: 0 }
  }
  readdir(_ctx: Context, ino: Ino, _fh: number, offset: number, attrs: boolean, add: AddEntry): undefined {
    const entries: [Name, Ino][] = [['.', ino], ['..', ROOT_INO], ...this.#nodes.get(ino)!.children]
    for (let i = offset; i < entries.length; i++) {
      const [name, child] = entries[i]!
      const { attr } = this.#nodes.get(child)!
      if (!add(name, child, attr.type, attrs ? attr : null, i + 1)) return
    }
  }
  releasedir(): undefined {}
  fsyncdir(): undefined {}
  statfs(): Usage {
    return { total: 2 ** 40, available: 2 ** 39, usedInodes: this.#nodes.size, availableInodes: 1000 }
  }
  access(): undefined {}
  getxattr(_ctx: Context, ino: Ino, name: Name): Buffer | Errno {
    return this.#nodes.get(ino)!.xattrs.get(name) ?? ENODATA
  }
  setxattr(_ctx: Context, ino: Ino, name: Name, value: Buffer): undefined {
    this.#nodes.get(ino)!.xattrs.set(name, value)
  }
  listxattr(_ctx: Context, ino: Ino): readonly Name[] {
    return [...this.#nodes.get(ino)!.xattrs.keys()]
  }
  removexattr(_ctx: Context, ino: Ino, name: Name): undefined | Errno {
    return this.#nodes.get(ino)!.xattrs.delete(name) ? undefined : ENODATA
  }

  /** One exclusive lock a file, whatever its kind and range. */
  getlk(_ctx: Context, ino: Ino, _fh: number, owner: LockOwner, lock: Plock): Plock {
    const holder = this.#holders.get(ino)
    if (holder === undefined || holder === owner) return { ...lock, type: 'U' }
    return { type: 'W', start: 0, end: Number.MAX_SAFE_INTEGER, pid: 4711 }
  }
  async setlk(
    ctx: Context,
    ino: Ino,
    _fh: number,
    owner: LockOwner,
    lock: Plock,
    wait: boolean,
  ): Promise<undefined | Errno> {
    if (lock.type === 'U') {
      if (this.#holders.get(ino) === owner) this.#unlock(ino)
      return undefined
    }
    while ((this.#holders.get(ino) ?? owner) !== owner) {
      if (!wait) return EAGAIN
      await new Promise<void>(resolve => {
        this.#waiters.set(ino, [...(this.#waiters.get(ino) ?? []), resolve])
        ctx.onCancel(resolve)
      })
      if (ctx.cancelled) return EINTR
    }
    this.#holders.set(ino, owner)
    return undefined
  }
  #unlock(ino: Ino): void {
    this.#holders.delete(ino)
    const waiters = this.#waiters.get(ino) ?? []
    this.#waiters.delete(ino)
    for (const wake of waiters) wake()
  }
  ioctl(_ctx: Context, _ino: Ino, _fh: number, cmd: number, input: Buffer, outSize: number): Buffer | Errno {
    return cmd === 0x80086601 ? Buffer.alloc(outSize, 7) : cmd === 1 ? Buffer.from(input).reverse() : ENOTTY
  }
}
