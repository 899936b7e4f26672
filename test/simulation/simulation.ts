/** Clients live, crash and are replaced; the volume's records agree at every look. */

import { MemoryEngine } from '../../src/meta/engine/memory.ts'
import { background } from './background.ts'
import { Client } from './client.ts'
import { Random } from './random.ts'
import { Scheduler, SteppedEngine } from './scheduler.ts'
import { World, type WorldOptions } from './world.ts'

/** requests that each client has under way at once */
const THREADS = 3
const CRASH_ONE_IN = 1500

export interface Settings extends WorldOptions {
  readonly seed: number
  readonly steps: number
  readonly clients: number
  /** look at the volume after so many steps */
  readonly checkEvery: number
}
export interface Outcome {
  readonly steps: number
  /** of a look at the volume: after how many steps, and what was wrong; null = never anything */
  readonly wrong: { readonly step: number; readonly violations: readonly string[] } | null
  readonly crashes: number
  readonly lost: number
  readonly conflicts: number
  /** how often each deed came to which end */
  readonly deeds: ReadonlyMap<string, number>
}

export class Simulation {
  readonly #settings: Settings
  readonly #random: Random
  readonly #world: World
  readonly #scheduler: Scheduler
  readonly #losses = { request: 300, reply: 150 }
  #clients: Client[] = []
  readonly #gone: Client[] = []
  #nextId = 0
  #crashes = 0
  #bug: unknown = null

  constructor(settings: Settings) {
    this.#settings = settings
    this.#random = new Random(settings.seed)
    this.#world = new World(new MemoryEngine(), this.#random, settings)
    this.#scheduler = new Scheduler(this.#random)
  }

  async run(): Promise<Outcome> {
    const { steps, clients, checkEvery } = this.#settings
    await this.#world.format()
    for (let i = 0; i < clients; i++) this.#join()
    for (let step = 1; step <= steps; step++) {
      await this.#step()
      if (this.#random.oneIn(CRASH_ONE_IN)) this.#crash(this.#random.pick(this.#clients))
      if (step % checkEvery !== 0) continue
      const violations = await this.#world.violations()
      if (violations.length > 0) return this.#outcome({ step, violations })
    }
    return await this.#end()
  }

  /** Everybody unmounts, everything is tidied up, and then nothing may be left over. */
  async #end(): Promise<Outcome> {
    Object.assign(this.#losses, { request: 0, reply: 0 })
    for (const client of this.#clients) client.stop()
    await this.#drain()
    const last = this.#newClient()
    this.#perform(async () => {
      for (const client of this.#clients) await client.close()
      await last.start()
      for (let idle = 0; idle < 3; ) {
        const before = await this.#leftovers()
        await background.cleanSession(last)
        await background.deleteDead(last)
        await background.deleteUnused(last)
        await background.expireSlices(last)
        idle = before === 0 ? idle + 1 : 0
      }
      await last.close()
    })
    await this.#drain()
    const left = await this.#leftovers()
    const violations = await this.#world.violations()
    if (left > 0) violations.push(`${left} records are left over`)
    return this.#outcome(violations.length > 0 ? { step: this.#scheduler.steps, violations } : null)
  }

  /** records that wait for somebody to act on them */
  async #leftovers(): Promise<number> {
    const { engine, stale } = this.#world
    const before = 2 ** 40
    const pages = [
      await engine.scan('deadFiles', { before }, null, 1e6),
      await engine.scan('unusedSlices', {}, null, 1e6),
      await engine.scan('trashedSlices', { before }, null, 1e6),
    ]
    return pages.reduce((sum, page) => sum + page.rows.length, stale.size)
  }

  #join(): void {
    const client = this.#newClient()
    this.#clients.push(client)
    this.#perform(async () => {
      await client.start()
      await Promise.all(Array.from({ length: THREADS }, () => client.live()))
    })
  }

  #newClient(): Client {
    const id = this.#nextId++
    const [world, scheduler, random] = [this.#world, this.#scheduler, this.#random]
    const engine = new SteppedEngine({ engine: world.engine, scheduler, client: id, random, losses: this.#losses })
    return new Client({ id, world, engine, scheduler })
  }

  #crash(client: Client): void {
    this.#crashes++
    this.#scheduler.forget(client.id)
    if (client.sid !== 0) this.#world.stale.add(client.sid)
    this.#clients = this.#clients.filter(each => each !== client)
    this.#gone.push(client)
    this.#join()
  }

  async #step(): Promise<boolean> {
    const went = await this.#scheduler.step()
    if (this.#bug !== null) throw this.#bug
    return went
  }

  async #drain(): Promise<void> {
    do await new Promise(resolve => setImmediate(resolve))
    while (await this.#step())
  }

  #perform(work: () => Promise<void>): void {
    work().catch(error => {
      this.#bug = error
    })
  }

  #outcome(wrong: Outcome['wrong']): Outcome {
    const all = [...this.#clients, ...this.#gone]
    const deeds = new Map<string, number>()
    for (const client of all) for (const [deed, n] of client.done) deeds.set(deed, (deeds.get(deed) ?? 0) + n)
    return {
      steps: this.#scheduler.steps,
      wrong,
      crashes: this.#crashes,
      lost: all.reduce((sum, client) => sum + client.lost, 0),
      conflicts: all.reduce((sum, client) => sum + client.conflicts, 0),
      deeds,
    }
  }
}
