/** Random steps as plain data, so that a sequence can be printed, shortened and played again; and what each does to the
 *  product and to the reference tree. */

import { type Errno, isErrno } from '../../src/base/errno.ts'
import { type Ino, NO_INO, ROOT_INO } from '../../src/base/ino.ts'
import { Driver } from '../../src/meta/driver.ts'
import type { Engine } from '../../src/meta/engine.ts'
import type { Operation } from '../../src/meta/facts.ts'
import { TYPE_DIRECTORY, TYPE_FILE, TYPE_SYMLINK } from '../../src/meta/model/attr.ts'
import type { Caller } from '../../src/meta/model/caller.ts'
import { CHUNK_BYTES } from '../../src/meta/model/slice.ts'
import { setattr } from '../../src/meta/ops/attributes.ts'
import { copyRange } from '../../src/meta/ops/copy-range.ts'
import { fallocate } from '../../src/meta/ops/fallocate.ts'
import { initVolume } from '../../src/meta/ops/init-volume.ts'
import { link } from '../../src/meta/ops/link.ts'
import { lookup } from '../../src/meta/ops/lookup.ts'
import { make } from '../../src/meta/ops/make.ts'
import { openNode } from '../../src/meta/ops/open.ts'
import { rename } from '../../src/meta/ops/rename.ts'
import { rmdir } from '../../src/meta/ops/rmdir.ts'
import { putSession, releaseSustained } from '../../src/meta/ops/session.ts'
import { truncate } from '../../src/meta/ops/truncate.ts'
import { unlink } from '../../src/meta/ops/unlink.ts'
import { writeSlice } from '../../src/meta/ops/write-slice.ts'
import { removeXattr, setXattr } from '../../src/meta/ops/xattr.ts'
import { volumeWith } from '../conformance/engine/harness.ts'
import type { Random } from '../simulation/random.ts'
import { CELL_BYTES, type ReferenceTree, type TreeNode } from './reference-tree.ts'

type Path = readonly string[]
export type Step =
  | { readonly kind: 'make'; readonly path: Path; readonly type: TreeNode['type']; readonly mode: number }
  | { readonly kind: 'link'; readonly from: Path; readonly path: Path }
  | { readonly kind: 'unlink'; readonly path: Path }
  | { readonly kind: 'rmdir'; readonly path: Path }
  | { readonly kind: 'rename'; readonly from: Path; readonly path: Path; readonly flags: number }
  | { readonly kind: 'chmod'; readonly path: Path; readonly mode: number }
  | {
      readonly kind: 'setXattr'
      readonly path: Path
      readonly name: string
      readonly value: string
      readonly flags: number
    }
  | { readonly kind: 'removeXattr'; readonly path: Path; readonly name: string }
  | { readonly kind: 'open'; readonly path: Path }
  | { readonly kind: 'close' }
  /** to the file that was opened last, or to the path */
  | { readonly kind: 'write'; readonly path: Path | null; readonly first: number; readonly count: number }
  | { readonly kind: 'truncate'; readonly path: Path | null; readonly count: number }
  | {
      readonly kind: 'fallocate'
      readonly path: Path | null
      readonly mode: number
      readonly first: number
      readonly count: number
    }
  | {
      readonly kind: 'copy'
      readonly from: Path
      readonly at: number
      readonly path: Path
      readonly first: number
      readonly count: number
    }

const DIRECTORIES = ['A', 'B']
const FILES = ['f', 'g']
const CELLS = 12
const CELLS_A_CHUNK = CHUNK_BYTES / CELL_BYTES

const WEIGHTS = {
  make: 14,
  link: 5,
  unlink: 6,
  rmdir: 4,
  rename: 12,
  chmod: 2,
  setXattr: 3,
  removeXattr: 2,
  open: 3,
  close: 3,
  write: 8,
  truncate: 4,
  fallocate: 4,
  copy: 5,
}

export function randomStep(random: Random): Step {
  const kind = random.weighted(WEIGHTS)
  const [first, count] = [random.below(CELLS), 1 + random.below(5)]
  /** Mostly what fits the step: names of files hold files, of directories directories, unless chance wants otherwise. */
  const path = (last: readonly string[]): Path => {
    const above = Array.from({ length: random.skewed([0, 0, 1, 2]) }, () => nameOf(random, DIRECTORIES))
    return [...above, nameOf(random, last)]
  }
  const file = (): Path => path(FILES)
  const orOpen = (): Path | null => (random.oneIn(3) ? null : file())
  switch (kind) {
    case 'make': {
      const type = random.pick(['file', 'file', 'directory', 'directory', 'symlink'] as const)
      return { kind, path: path(type === 'directory' ? DIRECTORIES : FILES), type, mode: random.below(0o1000) }
    }
    case 'link':
      return { kind, from: file(), path: file() }
    case 'rename': {
      const names = random.oneIn(2) ? FILES : DIRECTORIES
      return { kind, from: path(names), path: path(names), flags: random.pick([0, 0, 0, 1, 2]) }
    }
    case 'rmdir':
      return { kind, path: path(DIRECTORIES) }
    case 'chmod':
      return { kind, path: path(random.oneIn(2) ? FILES : DIRECTORIES), mode: random.below(0o1000) }
    case 'setXattr': {
      const [name, value] = [random.pick(['user.a', 'user.b']), `${random.below(100)}`]
      return { kind, path: file(), name, value, flags: random.below(3) }
    }
    case 'removeXattr':
      return { kind, path: file(), name: random.pick(['user.a', 'user.b']) }
    case 'write': {
      const inChunk = CELLS_A_CHUNK - (first % CELLS_A_CHUNK)
      return { kind, path: orOpen(), first, count: Math.min(count, inChunk) }
    }
    case 'truncate':
      return { kind, path: orOpen(), count: random.below(CELLS + 1) }
    case 'fallocate':
      return { kind, path: orOpen(), mode: random.pick([0, 3, 0x10, 0x11]), first, count }
    case 'copy':
      return { kind, from: file(), at: random.below(CELLS), path: file(), first, count }
    case 'close':
      return { kind }
    default:
      return { kind, path: file() }
  }
}

const nameOf = (random: Random, names: readonly string[]): string =>
  random.skewed(random.oneIn(12) ? [...DIRECTORIES, ...FILES] : names)

const TYPES = { file: TYPE_FILE, directory: TYPE_DIRECTORY, symlink: TYPE_SYMLINK } as const
const SID = 1

/** The product and the reference tree, side by side. */
export class Pair {
  readonly engine: Engine
  readonly tree: ReferenceTree
  readonly #driver: Driver
  readonly #open: { readonly ino: Ino; readonly node: TreeNode }[] = []
  #nextIno = 2
  #nextSlice = 1
  #nowSec = 1_800_000_000

  constructor(engine: Engine, tree: ReferenceTree) {
    this.engine = engine
    this.tree = tree
    this.#driver = new Driver(engine, { random: () => 0, onEffect: () => undefined })
  }

  async start(): Promise<void> {
    await this.engine.prepare()
    await this.#run(() => initVolume('{}', { isNew: true, trash: false, now: this.#caller().now }))
    await this.#run(() => putSession(SID, 2 ** 31, Buffer.from('{}')))
    await this.engine.commit([], [{ kind: 'newDirUsage', ino: ROOT_INO }])
    this.#nextIno = (await this.engine.allocate('nextInode', 1 << 20)) + 1
    this.#nextSlice = await this.engine.allocate('nextChunk', 1 << 20)
  }

  /** Everything that was open is closed. */
  async finish(): Promise<void> {
    while (this.#open.length > 0) await this.step({ kind: 'close' })
  }

  /** Both do it; what each said: an errno, or 0. */
  async step(step: Step): Promise<{ readonly ours: number; readonly expected: number }> {
    switch (step.kind) {
      case 'close': {
        const closed = this.#open.pop()
        if (closed === undefined || this.#isOpen(closed.ino)) return { ours: 0, expected: 0 }
        const { now } = this.#caller()
        return said(await this.#run(() => releaseSustained(volume, SID, closed.ino, now)), closed.node)
      }
      case 'make':
        return await this.#inDirectory(step.path, (caller, parent, name, dir) => {
          const what = {
            type: TYPES[step.type],
            mode: step.mode,
            umask: 0,
            rdev: 0,
            target: step.type === 'symlink' ? 'to' : '',
          }
          const ino = this.#nextIno++ as Ino
          return [
            () => make(volume, caller, parent, name, ino, what, { orExisting: false }),
            () => this.tree.make(dir, name, step.type, step.type === 'symlink' ? 0o777 : step.mode, what.target),
          ]
        })
      case 'unlink':
        return await this.#inDirectory(step.path, (caller, parent, name, dir) => [
          () => unlink(volume, caller, parent, name, this.#removal),
          () => this.tree.unlink(dir, name),
        ])
      case 'rmdir':
        return await this.#inDirectory(step.path, (caller, parent, name, dir) => [
          () => rmdir(volume, caller, parent, name, this.#removal),
          () => this.tree.rmdir(dir, name),
        ])
      case 'link': {
        const source = await this.#find(step.from)
        if (isErrno(source)) return this.#unknown(source, step.from)
        return await this.#inDirectory(step.path, (caller, parent, name, dir) => [
          () => link(volume, caller, source.ino, parent, name, { sid: SID }),
          () => this.tree.link(source.node, dir, name),
        ])
      }
      case 'rename': {
        const [fromPath, fromName] = [step.from.slice(0, -1), step.from.at(-1)!]
        const from = await this.#find(fromPath)
        if (isErrno(from)) return this.#unknown(from, fromPath)
        const flags = { noReplace: step.flags === 1, exchange: step.flags === 2 }
        return await this.#inDirectory(step.path, (caller, parent, name, dir) => [
          () =>
            rename(volume, caller, { parent: from.ino, name: fromName }, { parent, name }, step.flags, this.#removal),
          () => this.tree.rename(from.node, fromName, dir, name, flags),
        ])
      }
      case 'copy': {
        const source = await this.#find(step.from)
        if (isErrno(source)) return this.#unknown(source, step.from)
        const target = await this.#find(step.path)
        if (isErrno(target)) return this.#unknown(target, step.path)
        const caller = this.#caller()
        const [from, to] = [
          { ino: source.ino, offset: step.at * CELL_BYTES },
          { ino: target.ino, offset: step.first * CELL_BYTES },
        ]
        const ours = await this.#run(() => copyRange(volume, caller, from, to, step.count * CELL_BYTES))
        return said(ours, this.tree.copy(source.node, step.at, target.node, step.first, step.count))
      }
      default:
        return await this.#onNode(step)
    }
  }

  async #onNode(step: Exclude<Step, { kind: 'make' | 'link' | 'unlink' | 'rmdir' | 'rename' | 'copy' | 'close' }>) {
    const found = step.path === null ? (this.#open.at(-1) ?? null) : await this.#find(step.path)
    if (found === null) return { ours: 0, expected: 0 }
    if (isErrno(found)) return this.#unknown(found, step.path!)
    const { ino, node } = found
    const caller = this.#caller()
    const { tree } = this
    switch (step.kind) {
      case 'chmod': {
        const ours = await this.#run(() => setattr(volume, caller, ino, { mode: step.mode }))
        node.mode = step.mode
        return said(ours, node)
      }
      case 'setXattr': {
        const value = Buffer.from(step.value)
        const ours = await this.#run(() => setXattr(volume, ino, step.name, value, step.flags))
        return said(ours, tree.setXattr(node, step.name, step.value, step.flags))
      }
      case 'removeXattr':
        return said(await this.#run(() => removeXattr(volume, ino, step.name)), tree.removeXattr(node, step.name))
      case 'open': {
        const ours = await this.#run(() => openNode(volume, caller, ino, 1))
        const expected = tree.open(node)
        if (!isErrno(ours)) this.#open.push({ ino, node })
        return said(ours, expected)
      }
      case 'write': {
        const size = step.count * CELL_BYTES
        const slice = { id: this.#nextSlice++, size, off: 0, len: size }
        const index = Math.floor(step.first / CELLS_A_CHUNK)
        const pos = (step.first % CELLS_A_CHUNK) * CELL_BYTES
        const ours = await this.#run(() => writeSlice(volume, caller.now, ino, index, pos, slice, caller.now))
        return said(ours, tree.write(node, step.first, step.count, slice.id))
      }
      case 'truncate': {
        const ours = await this.#run(() => truncate(volume, caller, ino, step.count * CELL_BYTES, true))
        return said(ours, tree.truncate(node, step.count))
      }
      case 'fallocate': {
        const [at, length] = [step.first * CELL_BYTES, step.count * CELL_BYTES]
        const ours = await this.#run(() => fallocate(volume, caller, ino, step.mode, at, length))
        const expected =
          step.mode === 0
            ? tree.preallocate(node, step.first, step.count)
            : tree.zero(node, step.first, step.count, (step.mode & 1) !== 0)
        return said(ours, expected)
      }
    }
  }

  /** Finds the directory of a path on both sides, then does the two things that `both` returns. */
  async #inDirectory(
    path: Path,
    both: (
      caller: Caller,
      parent: Ino,
      name: string,
      dir: TreeNode,
    ) => [ours: () => Operation<unknown>, expected: () => TreeNode | Errno],
  ) {
    const above = path.slice(0, -1)
    const found = await this.#find(above)
    if (isErrno(found)) return this.#unknown(found, above)
    const [ours, expected] = both(this.#caller(), found.ino, path.at(-1)!, found.node)
    return said(await this.#run(ours), expected())
  }

  /** By lookups on our side, and by walking on the other; where one of them finds nothing, our errno. */
  async #find(path: Path): Promise<{ readonly ino: Ino; readonly node: TreeNode } | Errno> {
    let ino: Ino = ROOT_INO
    for (const name of path) {
      const found = await this.#run(() => lookup(this.#caller(), ino, name))
      if (isErrno(found)) return found
      ino = found.ino
    }
    const node = this.tree.find(path)
    if (isErrno(node)) throw new Error(`/${path.join('/')} is found, and should not be there`)
    return { ino, node }
  }

  #unknown(ours: Errno, path: Path) {
    return said(ours, this.tree.find(path))
  }

  readonly #isOpen = (ino: Ino): boolean => this.#open.some(each => each.ino === ino)
  readonly #removal = { trash: NO_INO, isOpen: this.#isOpen, sid: SID }

  async #run<T>(operation: () => Operation<T>): Promise<T | Errno> {
    return await this.#driver.run('change', operation)
  }

  #caller(): Caller {
    return { uid: 0, gid: 0, gids: [0], now: { sec: this.#nowSec++, nsec: 0 }, check: true }
  }
}

const volume = volumeWith({})

const said = (ours: unknown, expected: TreeNode | Errno) => ({
  ours: isErrno(ours) ? ours : 0,
  expected: isErrno(expected) ? expected : 0,
})
