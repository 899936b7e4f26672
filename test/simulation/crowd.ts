/** Clients that crowd into one directory and remember what they were told, so that every answer can be proven wrong:
 *
 *  - names of their own: nobody else touches them, so EEXIST or ENOENT is a lie (something was lost, or happened twice);
 *  - names of all: made and removed by everybody, in turn by number: made less removed is 0 or 1, and is there at the end or not;
 *  - slices appended to files of their own: each id must be there once.
 *
 *  A fault (where faults are part of the game) leaves a client in doubt: it looks, and takes for true what it finds. */

import { SystemClock } from '../../src/base/clock.ts'
import { EEXIST, ENOENT, type Errno, errnoName, isErrno } from '../../src/base/errno.ts'
import { Fault } from '../../src/base/fault.ts'
import type { Ino } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import { openEngine } from '../../src/cmd/volume.ts'
import { MetaClient } from '../../src/meta/client.ts'
import { chunk, counter } from '../../src/meta/facts.ts'
import { systemCaller } from '../../src/meta/model/caller.ts'
import { decodeRecords } from '../../src/meta/model/slice.ts'
import { clientConfig } from '../servers/volumes.ts'
import { Random } from './random.ts'
import type { Work, WorkOptions, WorkReport } from './work.ts'

/** requests that each client has under way at once */
const THREADS = 2
const SHARED_NAMES = ['s0', 's1', 's2', 's3', 's4', 's5']
const SHARED_DIRECTORIES = ['t0', 't1']
const FILE = { type: 1, mode: 0o644, umask: 0, rdev: 0, target: '' }
const DIRECTORY = { ...FILE, type: 2, mode: 0o755 }
/** of its own that each thread keeps */
const MANY = 12
const LOOK_AGAIN_MS = 50

const WEIGHTS = {
  create: 8,
  mkdir: 4,
  remove: 8,
  rename: 6,
  append: 8,
  createShared: 4,
  removeShared: 3,
  steal: 3,
  give: 3,
  makeSharedDirectory: 2,
  removeSharedDirectory: 2,
} as const
type Deed = keyof typeof WEIGHTS

interface Owned {
  readonly ino: Ino
  readonly isDirectory: boolean
  /** in the order they were appended */
  readonly slices: number[]
}

const clock = new SystemClock()

/** One at a time, on names of its own and on those of all. */
class Thread {
  readonly owned = new Map<string, Owned>()
  readonly balance = new Map<string, number>()
  readonly lies: string[] = []
  deeds = 0
  faults = 0
  slowestMs = 0
  readonly #meta: MetaClient
  readonly #random: Random
  readonly #prefix: string
  readonly #directory: Ino
  readonly #faults: boolean
  #count = 0

  constructor(meta: MetaClient, options: { random: Random; prefix: string; directory: Ino; faults: boolean }) {
    this.#meta = meta
    this.#random = options.random
    this.#prefix = options.prefix
    this.#directory = options.directory
    this.#faults = options.faults
  }

  async deed(): Promise<void> {
    let deed: Deed = this.#random.weighted(WEIGHTS)
    // Who is in doubt cannot count what all share.
    if (this.#faults && /[sS]hared|steal|give/.test(deed)) deed = 'append'
    if (this.owned.size === 0 && /remove$|rename|append|give/.test(deed)) deed = 'create'
    if (this.owned.size >= MANY && /create$|mkdir|steal/.test(deed)) deed = 'remove'
    const startMs = performance.now()
    await this[deed]()
    this.slowestMs = Math.max(this.slowestMs, performance.now() - startMs)
    this.deeds++
  }

  // ── names of its own ────────────────────────────────────────────────────────────────────────────────────────────

  async create(): Promise<void> {
    await this.#make(FILE)
  }
  async mkdir(): Promise<void> {
    await this.#make(DIRECTORY)
  }

  async #make(what: typeof FILE): Promise<void> {
    const name = this.#newName()
    const own = (ino: Ino) => this.owned.set(name, { ino, isDirectory: what === DIRECTORY, slices: [] })
    await this.#attempt(
      () => this.#meta.make(this.#caller(), this.#directory, name, what),
      made => (isErrno(made) ? this.#lie('make', name, made) : own(made.ino)),
      async () => {
        const found = await this.#find(name)
        if (found !== null) own(found)
      },
    )
  }

  async remove(): Promise<void> {
    const [name, owned] = this.#pick()
    const remove = owned.isDirectory ? 'rmdir' : 'unlink'
    this.owned.delete(name)
    await this.#attempt(
      () => this.#meta[remove](this.#caller(), this.#directory, name),
      gone => isErrno(gone) && this.#lie(remove, name, gone),
      async () => {
        const found = await this.#find(name)
        if (found === owned.ino) this.owned.set(name, owned)
        else if (found !== null) this.#lie(`${remove}, inode ${found} for ${owned.ino},`, name)
      },
    )
  }

  async rename(): Promise<void> {
    const [from, owned] = this.#pick()
    const to = this.#newName()
    this.owned.delete(from)
    await this.#attempt(
      () => this.#meta.rename(this.#caller(), this.#place(from), this.#place(to), 1),
      moved => (isErrno(moved) ? this.#lie('rename', from, moved) : this.owned.set(to, owned)),
      async () => {
        const [there, here] = [await this.#find(to), await this.#find(from)]
        if ((there === null) === (here === null)) this.#lie(`rename, ${there} and ${here},`, from)
        else this.owned.set(there === null ? from : to, owned)
      },
    )
  }

  async append(): Promise<void> {
    const files = [...this.owned.values()].filter(each => !each.isDirectory)
    if (files.length === 0) return await this.create()
    const { ino, slices } = this.#random.pick(files)
    await this.#attempt(
      async () => {
        const id = await this.#meta.newSliceId()
        slices.push(id)
        const slice = { id, size: 4096, off: 0, len: 4096 }
        return await this.#meta.writeSlice(ino, 0, slices.length * 4096, slice, clock.now())
      },
      written => isErrno(written) && this.#lie('append', String(ino), written),
      async () => {
        const id = slices.pop()
        const stored = id === undefined ? [] : await this.#surely(() => slicesOf(this.#meta, ino))
        if (id !== undefined && stored.includes(id)) slices.push(id)
      },
    )
  }

  // ── names of all ────────────────────────────────────────────────────────────────────────────────────────────────

  async createShared(): Promise<void> {
    const name = this.#random.pick(SHARED_NAMES)
    const made = await this.#meta.make(this.#caller(), this.#directory, name, FILE)
    this.#shared('create', name, made, EEXIST, 1)
  }
  async removeShared(): Promise<void> {
    const name = this.#random.pick(SHARED_NAMES)
    this.#shared('unlink', name, await this.#meta.unlink(this.#caller(), this.#directory, name), ENOENT, -1)
  }
  async makeSharedDirectory(): Promise<void> {
    const name = this.#random.pick(SHARED_DIRECTORIES)
    this.#shared('mkdir', name, await this.#meta.make(this.#caller(), this.#directory, name, DIRECTORY), EEXIST, 1)
  }
  async removeSharedDirectory(): Promise<void> {
    const name = this.#random.pick(SHARED_DIRECTORIES)
    this.#shared('rmdir', name, await this.#meta.rmdir(this.#caller(), this.#directory, name), ENOENT, -1)
  }

  /** A shared name becomes one of ours. */
  async steal(): Promise<void> {
    const [name, mine] = [this.#random.pick(SHARED_NAMES), this.#newName()]
    const moved = await this.#meta.rename(this.#caller(), this.#place(name), this.#place(mine), 0)
    this.#shared('steal', name, moved, ENOENT, -1)
    if (!isErrno(moved)) this.owned.set(mine, { ino: moved.moved.ino, isDirectory: false, slices: [] })
  }

  /** One of ours becomes a shared name, over what is there or only where nothing is. */
  async give(): Promise<void> {
    const files = [...this.owned].filter(([, each]) => !each.isDirectory && each.slices.length === 0)
    if (files.length === 0) return
    const [mine] = this.#random.pick(files)
    const [name, flags] = [this.#random.pick(SHARED_NAMES), this.#random.below(2)]
    const moved = await this.#meta.rename(this.#caller(), this.#place(mine), this.#place(name), flags)
    if (!isErrno(moved)) this.owned.delete(mine)
    const replaced = !isErrno(moved) && moved.replaced !== 0
    if (replaced && flags === 1) this.#lie('rename without replacing', name)
    this.#shared('give', name, moved, flags === 1 ? EEXIST : 0, replaced ? 0 : 1)
  }

  #shared(deed: string, name: string, result: unknown, allowed: number, change: number): void {
    if (!isErrno(result)) this.balance.set(name, (this.balance.get(name) ?? 0) + change)
    else if (result !== allowed) this.#lie(deed, name, result)
  }

  // ── what the deeds share ────────────────────────────────────────────────────────────────────────────────────────

  async #attempt<T>(
    work: () => Promise<T> | T,
    told: (result: T) => unknown,
    inDoubt: () => Promise<void>,
  ): Promise<void> {
    let result: T
    try {
      result = await work()
    } catch (error) {
      if (!this.#faults || !(error instanceof Fault)) throw error
      this.faults++
      return await inDoubt()
    }
    told(result)
  }

  /** What has this name now; asked until somebody answers. */
  async #find(name: string): Promise<Ino | null> {
    const found = await this.#surely(() => this.#meta.lookup(this.#caller(), this.#directory, name))
    if (!isErrno(found)) return found.ino
    if (found !== ENOENT) this.#lie('lookup', name, found)
    return null
  }

  async #surely<T>(ask: () => Promise<T> | T): Promise<T> {
    for (;;) {
      try {
        return await ask()
      } catch (error) {
        if (!(error instanceof Fault)) throw error
        await new Promise(resolve => setTimeout(resolve, LOOK_AGAIN_MS))
      }
    }
  }

  #lie(deed: string, name: string, errno?: Errno): void {
    this.lies.push(`${deed} ${name}${errno === undefined ? '' : `: ${errnoName(errno)}`}`)
  }
  #pick(): [name: string, owned: Owned] {
    return this.#random.pick([...this.owned])
  }
  #newName(): string {
    return `${this.#prefix}n${this.#count++}`
  }
  #place(name: string) {
    return { parent: this.#directory, name }
  }
  #caller() {
    return systemCaller(clock.now())
  }
}

/** Ids of the slices that a file's first chunk lists, in order. */
export async function slicesOf(meta: MetaClient, ino: Ino): Promise<number[]> {
  const [stored] = (await meta.engine.gather([chunk(ino, 0)], 'look')) as [Buffer | null]
  return stored === null ? [] : decodeRecords(stored).map(record => record.id)
}

export class CrowdWork implements Work {
  readonly #clients: readonly MetaClient[]
  readonly #threads: readonly (readonly Thread[])[]
  #isPaused = false
  #conflicts = 0
  #running: Promise<unknown> = Promise.resolve()

  static async join({ url, seed, clients, firstId, faults, directory }: WorkOptions): Promise<CrowdWork> {
    const opened = Array.from({ length: clients }, async () => {
      const engine = await openEngine(url, { log: silentLog })
      const options = { clock, log: silentLog, random: Math.random, config: clientConfig() }
      const meta = await MetaClient.open(engine, options)
      await meta.newSession()
      return meta
    })
    const random = new Random(seed)
    return new CrowdWork(await Promise.all(opened), (i, thread) => ({
      ...{ random, directory: directory as Ino, faults, prefix: `c${firstId + i}t${thread}` },
    }))
  }

  private constructor(
    clients: readonly MetaClient[],
    options: (client: number, thread: number) => ConstructorParameters<typeof Thread>[1],
  ) {
    this.#clients = clients
    for (const client of clients) client.hooks.onConflict = () => this.#conflicts++
    this.#threads = clients.map((client, i) =>
      Array.from({ length: THREADS }, (_, thread) => new Thread(client, options(i, thread))),
    )
  }

  get sids(): number[] {
    return this.#clients.map(client => client.sid)
  }

  go(): void {
    this.#isPaused = false
    const live = async (thread: Thread): Promise<void> => {
      while (!this.#isPaused) await thread.deed()
    }
    this.#running = Promise.all(this.#threads.flat().map(live))
    this.#running.catch(() => undefined) // told by `pause`
  }

  async pause(): Promise<void> {
    this.#isPaused = true
    await this.#running
    // What a client sums is written before it reads it.
    await Promise.all(this.#clients.map(client => client.engine.gather([counter('usedSpace')], 'look')))
    for (const thread of this.#threads.flat()) {
      for (const [name, { ino, slices, isDirectory }] of thread.owned) {
        const stored = isDirectory ? [] : await slicesOf(this.#clients[0]!, ino)
        if (stored.join() !== slices.join()) thread.lies.push(`${name} has slices ${stored}, appended were ${slices}`)
      }
    }
  }

  mourn(): void {}

  async leave(): Promise<void> {
    await this.pause()
    for (const client of this.#clients) {
      await client.closeSession()
      await client.engine.close()
    }
  }

  report(): WorkReport {
    const all = this.#threads.flat()
    const sum = (of: (thread: Thread) => number) => (threads: readonly Thread[]) =>
      threads.reduce((total, thread) => total + of(thread), 0)
    const balance = new Map<string, number>()
    for (const { balance: own } of all) for (const [name, n] of own) balance.set(name, (balance.get(name) ?? 0) + n)
    return {
      deeds: this.#threads.map(sum(thread => thread.deeds)),
      slowestMs: this.#threads.map(threads => Math.max(...threads.map(thread => thread.slowestMs))),
      conflicts: this.#conflicts,
      faults: sum(thread => thread.faults)(all),
      stored: [],
      deleted: [],
      lies: all.flatMap(thread => thread.lies),
      owned: all.flatMap(thread => [...thread.owned].map(([name, { ino }]) => [name, ino] as const)),
      balance: [...balance],
    }
  }
}
