/** Drives operations over an engine: gather, decide, commit, and again on a conflict. Retries, fairness and metrics stand
 *  here once for all engines; an operation knows none of it, an engine neither.
 *
 *      make() ─► gather ─► … ─► verdict ─┬─ errno, or nothing to change ─► answered
 *         ▲                              └─ commit(guards, changes) ─┬─ done ─► effects, value
 *         └──── queue per inode, back off ◄──────────────────────────┘ a guard did not hold
 *
 *  Synchronous as long as the engine is: no promise and no closure on that path. */

import { type Errno, isErrno } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import type { Ino } from '../base/ino.ts'
import type { Maybe } from '../base/maybe.ts'
import type { Engine, Intent, Outcome } from './engine.ts'
import type { Change, Done, Effect, Fact, Operation, Read, Verdict } from './facts.ts'
import { guardsOf } from './guard.ts'
import { mergeChanges } from './merge.ts'

const MAX_ATTEMPTS = 50
const FIRST_PAUSE_MS = 1
const LAST_PAUSE_MS = 100

export interface DriverOptions {
  /** 0 ≤ x < 1, for the jitter of back-offs */
  readonly random: () => number
  readonly onEffect: (effect: Effect) => void
  /** after each commit, before its effects */
  readonly onCommit?: (changes: readonly Change[]) => void
  /** an attempt met a conflict */
  readonly onConflict?: (operation: string) => void
  readonly sleep?: (ms: number) => Promise<void>
}

interface Run<T> {
  readonly intent: Intent
  readonly make: () => Operation<T>
  /** the inode that its commit is about: who fights for it takes turns */
  key: Ino | undefined
  operation: Operation<T>
  reads: readonly Read[]
  facts: readonly Fact[]
  attempt: number
}

/** The commit lost: run again. */
const CONFLICT = Symbol('conflict')

export class Driver {
  readonly #engine: Engine
  readonly #options: DriverOptions
  readonly #sleep: (ms: number) => Promise<void>
  /** inodes fought for: the operations on them take turns */
  readonly #turns = new Map<Ino, Promise<unknown>>()

  constructor(engine: Engine, options: DriverOptions) {
    this.#engine = engine
    this.#options = options
    this.#sleep = options.sleep ?? (ms => new Promise(resolve => setTimeout(resolve, ms)))
  }

  /** Runs an operation to its verdict. `key`: the inode it will probably fight for. Faults of the engine pass through;
   *  so does a Fault (EIO) after 50 lost attempts. */
  run<T>(intent: Intent, make: () => Operation<T>, key?: Ino): Maybe<T | Errno> {
    const run: Run<T> = { intent, make, key, operation: make(), reads: [], facts: [], attempt: 1 }
    const turn = key === undefined || this.#turns.size === 0 ? undefined : this.#turns.get(key)
    if (turn !== undefined) return this.#queue(run, key as Ino)
    const result = this.#attempt(run)
    if (!(result instanceof Promise)) return result === CONFLICT ? this.#queue(run, key) : result
    return result.then(value => (value === CONFLICT ? this.#queue(run, key) : value))
  }

  #attempt<T>(run: Run<T>): Maybe<T | Errno | typeof CONFLICT> {
    return this.#advance(run, run.operation.next([]))
  }

  #advance<T>(run: Run<T>, step: IteratorResult<readonly Read[], Verdict<T>>): Maybe<T | Errno | typeof CONFLICT> {
    let current = step
    while (!current.done) {
      const wanted = current.value
      const gathered = this.#engine.gather(wanted, run.intent)
      if (gathered instanceof Promise) return gathered.then(facts => this.#advance(run, this.#feed(run, wanted, facts)))
      current = this.#feed(run, wanted, gathered)
    }
    return this.#decide(run, current.value)
  }

  #feed<T>(run: Run<T>, reads: readonly Read[], facts: readonly Fact[]): IteratorResult<readonly Read[], Verdict<T>> {
    run.reads = run.reads.length === 0 ? reads : [...run.reads, ...reads]
    run.facts = run.facts.length === 0 ? facts : [...run.facts, ...facts]
    return run.operation.next(facts)
  }

  #decide<T>(run: Run<T>, verdict: Verdict<T>): Maybe<T | Errno | typeof CONFLICT> {
    if (isErrno(verdict)) return verdict
    if (verdict.changes.length === 0) return this.#finish(verdict, [])
    const { changes, resultOf } = mergeChanges(verdict.changes)
    const outcome = this.#engine.commit(guardsOf(run.reads, run.facts, changes), changes)
    if (outcome instanceof Promise) return outcome.then(settled => this.#settle(run, verdict, changes, resultOf, settled))
    return this.#settle(run, verdict, changes, resultOf, outcome)
  }

  #settle<T>(
    run: Run<T>,
    verdict: Done<T>,
    changes: readonly Change[],
    resultOf: readonly number[],
    outcome: Outcome,
  ): T | typeof CONFLICT {
    if (!outcome.done) {
      run.key ??= inoOf(changes)
      return CONFLICT
    }
    this.#options.onCommit?.(changes)
    const { results } = outcome
    return this.#finish(verdict, changes === verdict.changes ? results : resultOf.map(i => results[i]))
  }

  #finish<T>(verdict: Done<T>, results: readonly (number | undefined)[]): T {
    const { value } = verdict
    const made =
      typeof value === 'function' ? (value as (results: readonly (number | undefined)[]) => T)(results) : value
    for (const effect of verdict.effects) this.#options.onEffect(effect)
    return made
  }

  /** Behind everybody who fights for this inode already. */
  #queue<T>(run: Run<T>, key: Ino | undefined): Promise<T | Errno> {
    if (key === undefined) return this.#again(run)
    const before = this.#turns.get(key) ?? Promise.resolve()
    const mine = before.then(() => this.#again(run))
    const settled = mine.catch(() => undefined)
    this.#turns.set(key, settled)
    void settled.then(() => {
      if (this.#turns.get(key) === settled) this.#turns.delete(key)
    })
    return mine
  }

  async #again<T>(run: Run<T>): Promise<T | Errno> {
    for (;;) {
      if (run.attempt >= MAX_ATTEMPTS) throw new Fault(`give up after ${run.attempt} conflicts`)
      if (run.attempt > 1 || run.reads.length > 0) {
        this.#options.onConflict?.(run.intent)
        const pause = Math.min(FIRST_PAUSE_MS * 2 ** (run.attempt - 1), LAST_PAUSE_MS)
        await this.#sleep(pause * (0.5 + this.#options.random() / 2))
      }
      run.attempt++
      run.operation = run.make()
      run.reads = []
      run.facts = []
      const result = await this.#attempt(run)
      if (result !== CONFLICT) return result
    }
  }
}
