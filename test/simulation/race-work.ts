/** The simulation's clients on an engine that is really shared: nobody schedules them but the machine. */

import type { Ino } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import { openEngine } from '../../src/cmd/volume.ts'
import type { Engine } from '../../src/meta/engine.ts'
import { counter } from '../../src/meta/facts.ts'
import { Client } from './client.ts'
import { Random } from './random.ts'
import type { Turns } from './scheduler.ts'
import type { Work, WorkOptions, WorkReport } from './work.ts'
import { FIRST_SEC, World } from './world.ts'

/** requests that each client has under way at once */
const THREADS = 3
/** Hours pass, but what is under way for a second is not older than the clocks of clients may differ. */
const HASTE = 400

export const realTurns: Turns = {
  later: async (_client, work) => work(),
  pause: (_client, ms) => new Promise(resolve => (ms > 0 ? setTimeout(resolve, ms) : setImmediate(resolve))),
}

export const hastyClock = (startedMs: number) => (): number =>
  FIRST_SEC + Math.floor(((Date.now() - startedMs) / 1000) * HASTE)

export class RaceWork implements Work {
  readonly #clients: readonly Client[]
  readonly #engines: readonly Engine[]
  readonly #world: World
  readonly #stored: Set<number>
  readonly #deleted = new Set<number>()
  #running: Promise<unknown> = Promise.resolve()

  static async join(options: WorkOptions): Promise<RaceWork> {
    const { url, seed, clients, firstId, quota = false, startedMs } = options
    const engines = await Promise.all(Array.from({ length: clients }, () => openEngine(url, { log: silentLog })))
    const world = new World(engines[0]!, new Random(seed), { quota, trash: true, nowSec: hastyClock(startedMs) })
    const top = options.directory as Ino
    world.directories.add(top)
    if (quota) world.quotaDir = top
    const work = new RaceWork(
      world,
      engines.map((engine, i) => new Client({ id: firstId + i, world, engine, scheduler: realTurns })),
      engines,
    )
    await Promise.all(work.#clients.map(client => client.start()))
    return work
  }

  private constructor(world: World, clients: readonly Client[], engines: readonly Engine[]) {
    this.#world = world
    this.#clients = clients
    this.#engines = engines
    this.#stored = world.objects
    const forget = world.objects.delete.bind(world.objects)
    world.objects.delete = id => {
      this.#deleted.add(id)
      return forget(id)
    }
  }

  get sids(): number[] {
    return this.#clients.map(client => client.sid)
  }

  go(): void {
    const threads = this.#clients.flatMap(client => Array.from({ length: THREADS }, () => client.live()))
    this.#running = Promise.all(threads)
    this.#running.catch(() => undefined) // told by `pause`
  }

  async pause(): Promise<void> {
    for (const client of this.#clients) client.stop()
    await this.#running
    // What a client sums is written before it reads it.
    await Promise.all(this.#engines.map(engine => engine.gather([counter('usedSpace')], 'look')))
  }

  mourn(sids: readonly number[]): void {
    for (const sid of sids) this.#world.stale.add(sid)
  }

  async leave(): Promise<void> {
    await this.pause()
    for (const client of this.#clients) await client.close()
    for (const engine of this.#engines) await engine.close()
  }

  report(): WorkReport {
    const deeds = this.#clients.map(client => [...client.done.values()].reduce((sum, n) => sum + n, 0))
    return {
      deeds,
      slowestMs: this.#clients.map(client => client.slowestMs),
      conflicts: this.#clients.reduce((sum, client) => sum + client.conflicts, 0),
      faults: this.#clients.reduce((sum, client) => sum + client.lost, 0),
      stored: [...this.#stored],
      deleted: [...this.#deleted],
      lies: [],
      owned: [],
      balance: [],
    }
  }
}
