/** A client of the simulation: the driver and the operations of the product, and around them what a mounted client does:
 *  it keeps files open, puts what it removes into the directory of the hour, stores blocks before it names them, and does
 *  its share of the background work. The inodes it works on may be gone, as those in the kernel's caches. */

import { ENOENT, type Errno, isErrno } from '../../src/base/errno.ts'
import { type Ino, NO_INO, TRASH_INO } from '../../src/base/ino.ts'
import { Driver } from '../../src/meta/driver.ts'
import type { Engine } from '../../src/meta/engine.ts'
import type { Operation } from '../../src/meta/facts.ts'
import { KnownFacts } from '../../src/meta/known-facts.ts'
import { TYPE_DIRECTORY, TYPE_FILE, TYPE_SYMLINK } from '../../src/meta/model/attr.ts'
import { type Caller, systemCaller } from '../../src/meta/model/caller.ts'
import { setAcl } from '../../src/meta/ops/acl.ts'
import { setattr } from '../../src/meta/ops/attributes.ts'
import { copyRange } from '../../src/meta/ops/copy-range.ts'
import { fallocate } from '../../src/meta/ops/fallocate.ts'
import { flock } from '../../src/meta/ops/flock.ts'
import { link } from '../../src/meta/ops/link.ts'
import { lookup } from '../../src/meta/ops/lookup.ts'
import { make } from '../../src/meta/ops/make.ts'
import { openNode } from '../../src/meta/ops/open.ts'
import type { Removal } from '../../src/meta/ops/remove.ts'
import { rename } from '../../src/meta/ops/rename.ts'
import { rmdir } from '../../src/meta/ops/rmdir.ts'
import { putSession, releaseSustained } from '../../src/meta/ops/session.ts'
import { truncate } from '../../src/meta/ops/truncate.ts'
import { unlink } from '../../src/meta/ops/unlink.ts'
import { writeSlice } from '../../src/meta/ops/write-slice.ts'
import { removeXattr, setXattr } from '../../src/meta/ops/xattr.ts'
import { hourName } from '../../src/meta/rules/trash.ts'
import { background, endSession } from './background.ts'
import { Lost, type Turns } from './scheduler.ts'
import { DIRECTORY_NAMES, FILE_NAMES, type World } from './world.ts'

/** how often each thing is done */
const WEIGHTS = {
  lookup: 8,
  wander: 4,
  create: 12,
  mkdir: 8,
  symlink: 2,
  link: 8,
  unlink: 16,
  rmdir: 12,
  rename: 14,
  write: 12,
  truncate: 5,
  fallocate: 3,
  copy: 5,
  setattr: 5,
  xattr: 3,
  acl: 2,
  lock: 2,
  open: 8,
  shut: 8,
  compact: 3,
  cleanSession: 2,
  deleteDead: 5,
  deleteUnused: 3,
  expireSlices: 2,
  emptyTrash: 2,
} as const
export type Deed = keyof typeof WEIGHTS
type OwnDeed = Exclude<Deed, keyof typeof background>

export class Client {
  readonly id: number
  readonly world: World
  readonly engine: Engine
  readonly scheduler: Turns
  readonly #driver: Driver
  readonly #deeds: Readonly<Record<Deed, number>>
  readonly #open = new Map<Ino, number>()
  #hour: { readonly name: string; readonly ino: Ino } | null = null
  #stopped = false
  sid = 0
  conflicts = 0
  lost = 0
  /** of its deeds, milliseconds */
  slowestMs = 0
  readonly done = new Map<string, number>()

  constructor(options: { id: number; world: World; engine: Engine; scheduler: Turns; only?: readonly Deed[] }) {
    this.id = options.id
    this.world = options.world
    this.engine = options.engine
    this.scheduler = options.scheduler
    const { only } = options
    this.#deeds = only ? (Object.fromEntries(only.map(deed => [deed, 1])) as Record<Deed, number>) : WEIGHTS
    this.#driver = new Driver(this.engine, {
      random: this.world.random.next,
      onEffect: () => undefined, // what has to be done is found in the records, by whoever does it
      onConflict: () => this.conflicts++,
      sleep: ms => options.scheduler.pause(this.id, ms),
      // Every other client begins its changes with what it knows, which nothing here makes old.
      known: this.id % 2 === 0 && this.engine.isLocal !== true ? new KnownFacts(() => 0) : undefined,
    })
  }

  async start(): Promise<void> {
    this.sid = await this.engine.allocate('nextSession', 1)
    await this.#surely(() => putSession(this.sid, 2 ** 31, Buffer.from('{}')))
  }

  /** One thread of requests, until `stop`. */
  async live(): Promise<void> {
    this.#stopped = false
    while (!this.#stopped) {
      const deed = this.world.random.weighted(this.#deeds)
      const startMs = performance.now()
      try {
        const result = await (deed in background
          ? background[deed as keyof typeof background](this)
          : this[deed as OwnDeed]())
        const key = isErrno(result) ? `${deed} errno ${result}` : deed
        this.done.set(key, (this.done.get(key) ?? 0) + 1)
      } catch (error) {
        if (!(error instanceof Lost)) throw error
        this.lost++
      }
      this.slowestMs = Math.max(this.slowestMs, performance.now() - startMs)
      // A deed may have had nothing to do; others want to live too.
      await this.scheduler.pause(this.id, 0)
    }
  }

  stop(): void {
    this.#stopped = true
  }

  /** Unmounts: files that were kept open go. */
  async close(): Promise<void> {
    await endSession(this, this.sid)
  }

  // ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async lookup() {
    const [parent, name] = [this.#directory(), this.#anyName()]
    const found = await this.look(() => lookup(this.world.caller(), parent, name))
    if (!isErrno(found)) this.#learn(found.ino, found.attr.type)
    return found
  }

  async wander() {
    await this.world.wander()
  }

  create() {
    return this.#make(TYPE_FILE, this.#fileName(), this.world.random.oneIn(2))
  }
  mkdir() {
    return this.#make(TYPE_DIRECTORY, this.#directoryName(), false)
  }
  symlink() {
    return this.#make(TYPE_SYMLINK, this.#fileName(), false)
  }

  async #make(type: number, name: string, orExisting: boolean) {
    const [caller, parent] = [this.world.caller(), this.#directory()]
    const ino = (await this.engine.allocate('nextInode', 1)) as Ino
    const what = { type, mode: 0o777, umask: 0o22, rdev: 0, target: 'somewhere' }
    const made = await this.change(
      () => make(this.world.volume, caller, parent, name, ino, what, { orExisting }),
      parent,
    )
    if (!isErrno(made)) this.#learn(made.ino, type)
    return made
  }

  async link() {
    const [caller, ino, parent, name] = [this.world.caller(), this.file(), this.#directory(), this.#fileName()]
    return await this.change(() => link(this.world.volume, caller, ino, parent, name, { sid: this.sid }), parent)
  }

  async unlink() {
    const [caller, parent] = [this.world.caller(), this.#directory()]
    const name = (await this.#listed(parent, false)) ?? this.#fileName()
    return await this.remove(caller, parent, name, await this.#removal(caller))
  }

  async remove(caller: Caller, parent: Ino, name: string, removal: Removal) {
    const gone = await this.change(() => unlink(this.world.volume, caller, parent, name, removal), parent)
    if (!isErrno(gone) && gone.attr.nlink === 0) await this.#nameless(gone.ino)
    return gone
  }

  async rmdir() {
    const [caller, parent] = [this.world.caller(), this.#directory()]
    const name = (await this.#listed(parent, true)) ?? this.#directoryName()
    const removal = await this.#removal(caller)
    return await this.change(() => rmdir(this.world.volume, caller, parent, name, removal), parent)
  }

  async rename() {
    const { random, options, volume } = this.world
    const flags = random.pick([0, 0, 0, 1, 2])
    const parent = this.#directory()
    let from = { parent, name: (await this.#listed(parent, false)) ?? this.#fileName() }
    let to = { parent: this.#directory(), name: this.#fileName() }
    if (options.quota) {
      if (random.oneIn(2)) {
        from = { parent, name: (await this.#listed(parent, true)) ?? this.#directoryName() }
        to = { parent, name: this.#directoryName() }
      }
    } else if (random.below(3) > 0) {
      from = { parent, name: (await this.#listed(parent, true)) ?? this.#directoryName() }
      to = { ...to, name: random.oneIn(5) ? this.#fileName() : this.#directoryName() }
    }
    const caller = this.world.caller()
    const removal = await this.#removal(caller)
    const renamed = await this.change(() => rename(volume, caller, from, to, flags, removal), to.parent)
    if (!isErrno(renamed) && renamed.replacedIsGone) await this.#nameless(renamed.replaced)
    return renamed
  }

  // ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async write() {
    const { random, volume } = this.world
    const [{ now }, ino, index] = [this.world.caller(), this.file(), random.pick([0, 0, 0, 1, 3])]
    const [pos, size] = [random.nearPowerOfTwo(24), 1 + random.nearPowerOfTwo(16)]
    const id = await this.store()
    const slice = { id, size, off: 0, len: size }
    const written = await this.change(() => writeSlice(volume, now, ino, index, pos, slice, now), ino)
    if (isErrno(written)) this.world.objects.delete(id)
    return written
  }

  async truncate() {
    const [caller, ino, length] = [this.world.caller(), this.file(), this.world.random.nearPowerOfTwo(28)]
    return await this.change(() => truncate(this.world.volume, caller, ino, length, true), ino)
  }

  async fallocate() {
    const { random, volume } = this.world
    const [caller, ino, mode] = [this.world.caller(), this.file(), random.pick([0, 1, 3, 0x10, 0x11])]
    const [offset, length] = [random.nearPowerOfTwo(27), 1 + random.nearPowerOfTwo(27)]
    return await this.change(() => fallocate(volume, caller, ino, mode, offset, length), ino)
  }

  async copy() {
    const { random, volume } = this.world
    const caller = this.world.caller()
    const source = { ino: this.file(), offset: random.nearPowerOfTwo(20) }
    const target = { ino: this.file(), offset: random.nearPowerOfTwo(27) }
    const length = 1 + random.nearPowerOfTwo(26)
    return await this.change(() => copyRange(volume, caller, source, target, length), target.ino)
  }

  async setattr() {
    const { random, volume } = this.world
    const ino = random.oneIn(2) ? this.file() : this.#directory()
    const set = random.pick([{ mode: random.below(0o1000) }, { uid: random.below(3) }, { mtime: 'now' as const }])
    const caller = systemCaller(this.world.caller().now)
    return await this.change(() => setattr(volume, caller, ino, set), ino)
  }

  async xattr() {
    const [ino, name] = [this.file(), this.world.random.pick(['user.a', 'user.b'])]
    if (this.world.random.oneIn(3)) return await this.change(() => removeXattr(this.world.volume, ino, name), ino)
    const value = Buffer.from([this.world.random.below(256)])
    return await this.change(() => setXattr(this.world.volume, ino, name, value, 0), ino)
  }

  async acl() {
    const { random, volume } = this.world
    const ino = this.#directory()
    const rule = {
      owner: 7,
      group: 5,
      mask: random.below(8),
      other: 5,
      namedUsers: [{ id: 1000, perm: 7 }],
      namedGroups: [],
    }
    const caller = systemCaller(this.world.caller().now)
    return await this.change(() => setAcl(volume, caller, ino, random.pick(['access', 'default']), rule), ino)
  }

  async lock() {
    const [ino, type] = [this.file(), this.world.random.pick(['R', 'W', 'U', 'U'] as const)]
    return await this.change(() => flock(ino, this.sid, '00000000000000aa', type), ino)
  }

  async open() {
    const [caller, ino] = [this.world.caller(), this.file()]
    const attr = await this.look(() => openNode(this.world.volume, caller, ino, 0))
    if (!isErrno(attr) && attr.type === TYPE_FILE) this.#open.set(ino, (this.#open.get(ino) ?? 0) + 1)
    return attr
  }

  async shut() {
    if (this.#open.size === 0) return ENOENT
    const ino = this.world.random.pick([...this.#open.keys()])
    const count = this.#open.get(ino)! - 1
    if (count > 0) this.#open.set(ino, count)
    else this.#open.delete(ino)
    return count > 0 ? undefined : await this.#nameless(ino)
  }

  // ── what the deeds share ────────────────────────────────────────────────────────────────────────────────────────

  async look<T>(operation: () => Operation<T>): Promise<T | Errno> {
    return await this.#driver.run('look', operation)
  }

  async change<T>(operation: () => Operation<T>, key?: Ino): Promise<T | Errno> {
    return await this.#driver.run('change', operation, key)
  }

  /** Again until it is known to be done. */
  async #surely<T>(operation: () => Operation<T>): Promise<T | Errno> {
    for (;;) {
      try {
        return await this.change(operation)
      } catch (error) {
        if (!(error instanceof Lost)) throw error
      }
    }
  }

  readonly isOpen = (ino: Ino): boolean => this.#open.has(ino)

  /** It lost its last name, or its last handle: without either it goes. */
  async #nameless(ino: Ino): Promise<unknown> {
    if (this.#open.has(ino)) return undefined
    const { now } = this.world.caller()
    return await this.change(() => releaseSustained(this.world.volume, this.sid, ino, now), ino)
  }

  /** A slice's blocks are stored before anybody names it. */
  async store(): Promise<number> {
    const id = await this.engine.allocate('nextChunk', 1)
    await this.scheduler.later(this.id, () => this.world.objects.add(id))
    return id
  }

  async #removal({ now }: Caller): Promise<Removal> {
    const trash = this.world.options.trash && this.world.random.oneIn(2) ? await this.#trashOf(now) : NO_INO
    return { trash, isOpen: this.isOpen, sid: this.sid }
  }

  async #trashOf(now: Caller['now']): Promise<Ino> {
    const name = hourName(now.sec)
    if (this.#hour?.name === name) return this.#hour.ino
    const caller = systemCaller(now)
    const found = await this.look(() => lookup(caller, TRASH_INO, name))
    let ino = isErrno(found) ? NO_INO : found.ino
    if (ino === NO_INO) {
      const fresh = (TRASH_INO + (await this.engine.allocate('nextTrash', 1))) as Ino
      const what = { type: TYPE_DIRECTORY, mode: 0o555, umask: 0, rdev: 0, target: '' }
      const options = { orExisting: false, inTrash: true }
      const made = await this.change(() => make(this.world.volume, caller, TRASH_INO, name, fresh, what, options))
      if (isErrno(made)) return await this.#trashOf(now) // somebody else was faster
      ino = made.ino
    }
    this.#hour = { name, ino }
    return ino
  }

  #learn(ino: Ino, type: number): void {
    if (type === TYPE_DIRECTORY) this.world.directories.add(ino)
    else if (type === TYPE_FILE) this.world.files.add(ino)
  }

  #directory(): Ino {
    return this.world.directories.pick(this.world.random)
  }
  file(): Ino {
    return this.world.files.pick(this.world.random)
  }
  /** A name that is there now, three times in four. */
  async #listed(parent: Ino, isDirectory: boolean): Promise<string | undefined> {
    return this.world.random.oneIn(4) ? undefined : await this.world.nameIn(parent, isDirectory)
  }
  #fileName(): string {
    return this.world.random.skewed(FILE_NAMES)
  }
  #directoryName(): string {
    return this.world.random.skewed(DIRECTORY_NAMES)
  }
  #anyName(): string {
    return this.world.random.oneIn(2) ? this.#fileName() : this.#directoryName()
  }
}
