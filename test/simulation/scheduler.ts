/** Several clients on one engine, one step at a time: every gather, commit, page and pause waits until the scheduler picks
 *  it. Between two steps each client has run as far as it can, so a seed names one course of events. */

import { Fault } from '../../src/base/fault.ts'
import type { Cursor, Engine, Guard, Intent, Outcome, Page, ScanKind, Scans } from '../../src/meta/engine.ts'
import type { Change, Fact, Read } from '../../src/meta/facts.ts'
import type { Random } from './random.ts'

interface Step {
  readonly client: number
  readonly run: () => void
}

/** What a client is told when its request, or the answer to it, was lost on the way. */
export class Lost extends Fault {
  override readonly name = 'Lost'
}

export interface Losses {
  /** one request in so many never arrives; 0 = none */
  readonly request: number
  /** one answer to a commit in so many never arrives: the commit is done, the client is told a fault */
  readonly reply: number
}

/** Who says when a client goes on: a scheduler, or (where the clients are real) nobody. */
export interface Turns {
  later<T>(client: number, work: () => T): Promise<T>
  pause(client: number, ms: number): Promise<void>
}

export class Scheduler implements Turns {
  readonly #random: Random
  readonly #steps: Step[] = []
  steps = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** steps that could be next */
  get waiting(): number {
    return this.#steps.length
  }

  /** Does `work` when it is picked. */
  later<T>(client: number, work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const run = (): void => {
        try {
          resolve(work())
        } catch (error) {
          reject(error)
        }
      }
      this.#steps.push({ client, run })
    })
  }

  /** However long, it is over when the scheduler says so. */
  pause(client: number, _ms: number): Promise<void> {
    return this.later(client, () => undefined)
  }

  /** The client is gone: nothing that it waits for will happen. */
  forget(client: number): void {
    for (let i = this.#steps.length - 1; i >= 0; i--) if (this.#steps[i]!.client === client) this.#steps.splice(i, 1)
  }

  /** One step of somebody, then everything that follows from it. False where nobody waits. */
  async step(): Promise<boolean> {
    if (this.#steps.length === 0) return false
    const [step] = this.#steps.splice(this.#random.below(this.#steps.length), 1)
    this.steps++
    step!.run()
    await new Promise(resolve => setImmediate(resolve))
    return true
  }
}

/** The engine as one client sees it. */
export class SteppedEngine implements Engine {
  readonly kind: string
  readonly #engine: Engine
  readonly #scheduler: Scheduler
  readonly #client: number
  readonly #random: Random
  readonly #losses: Losses

  /** `engine` answers synchronously. */
  constructor(options: { engine: Engine; scheduler: Scheduler; client: number; random: Random; losses: Losses }) {
    this.kind = options.engine.kind
    this.#engine = options.engine
    this.#scheduler = options.scheduler
    this.#client = options.client
    this.#random = options.random
    this.#losses = options.losses
  }

  prepare(): void {}

  gather(reads: readonly Read[], intent: Intent): Promise<readonly Fact[]> {
    return this.#scheduler.later(this.#client, () => {
      this.#mayLose(this.#losses.request, 'gather')
      return this.#engine.gather(reads, intent) as readonly Fact[]
    })
  }

  commit(guards: readonly Guard[], changes: readonly Change[]): Promise<Outcome> {
    return this.#scheduler.later(this.#client, () => {
      this.#mayLose(this.#losses.request, 'commit')
      const outcome = this.#engine.commit(guards, changes) as Outcome
      if (outcome.done) this.#mayLose(this.#losses.reply, 'the answer to a commit')
      return outcome
    })
  }

  scan<K extends ScanKind>(
    kind: K,
    args: Scans[K]['args'],
    cursor: Cursor | null,
    limit: number,
  ): Promise<Page<Scans[K]['row']>> {
    return this.#scheduler.later(
      this.#client,
      () => this.#engine.scan(kind, args, cursor, limit) as Page<Scans[K]['row']>,
    )
  }

  allocate(counter: Parameters<Engine['allocate']>[0], count: number): Promise<number> {
    return this.#scheduler.later(this.#client, () => this.#engine.allocate(counter, count) as number)
  }

  async sync(): Promise<void> {}

  close(): void {}

  #mayLose(oneIn: number, what: string): void {
    if (oneIn > 0 && this.#random.oneIn(oneIn)) throw new Lost(`lost ${what}`)
  }
}

/** How the reference client works on SQL databases, as far as races go: it reads the parent directory without locking it,
 *  and where the directory's times are not due it does not write it either. So nothing of its commit notices that the
 *  directory was removed meanwhile. */
export class UnlockedParents implements Engine {
  readonly kind: string
  readonly #engine: Engine

  constructor(engine: Engine) {
    this.kind = engine.kind
    this.#engine = engine
  }

  prepare(): void {}

  gather(reads: readonly Read[], intent: Intent) {
    return this.#engine.gather(reads, intent)
  }

  commit(guards: readonly Guard[], changes: readonly Change[]) {
    return this.#engine.commit(
      guards.filter(({ read }) => read.kind === 'dentry'),
      changes.filter(change => change.kind !== 'adjustDir' || change.nlink !== 0),
    )
  }

  scan<K extends ScanKind>(kind: K, args: Scans[K]['args'], cursor: Cursor | null, limit: number) {
    return this.#engine.scan(kind, args, cursor, limit)
  }

  allocate(counter: Parameters<Engine['allocate']>[0], count: number) {
    return this.#engine.allocate(counter, count)
  }

  async sync(): Promise<void> {}

  close(): void {}
}
