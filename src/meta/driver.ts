/** Drives operations over an engine: gather, decide, commit, and again on a conflict. Retries, fairness and metrics stand
 *  here once for all engines; an operation knows none of it, an engine neither.
 *
 *      make() ─► gather ─► … ─► verdict ─┬─ errno, or nothing to change ─► answered
 *         ▲                              └─ commit(guards, changes) ─┬─ done ─► effects, value
 *         └───── queue per inode ◄─── a guard did not hold ◄─────────┘
 *               (later: back off)
 *
 *  With `known`, a change begins with what this client knows instead of a gather, where it knows all that is asked. The commit
 *  verifies it. What was decided from a guess is never told unless it was committed: an errno, a success without changes and a
 *  lost commit all make it gather after all.
 *
 *  Synchronous as long as the engine is: no promise and no closure on that path.
 *
 *  Conflicts are rare, since most changes commute. Who loses a commit queues with the other losers of that inode, so at
 *  most one of them goes on trying; who comes new tries once without queueing, or one conflict would put a busy directory
 *  in single file for as long as it is busy. Only when the first of the queue goes on losing do new ones wait behind it. */

import { type Errno, isErrno } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import { type Ino, inoToString, NO_INO } from '../base/ino.ts'
import type { Maybe } from '../base/maybe.ts'
import type { Engine, Guard, Intent, Outcome } from './engine.ts'
import type { Change, Dentry, Done, Effect, Fact, Operation, Read, Verdict } from './facts.ts'
import { guardsOf } from './guard.ts'
import type { KnownFacts, Moment } from './known-facts.ts'
import { type Merged, mergeChanges } from './merge.ts'

const MAX_ATTEMPTS = 50
/** Losses of the first in the queue after which new operations on its inode wait too. */
const MAX_OVERTAKEN = 3
const FIRST_PAUSE_MS = 1
const LAST_PAUSE_MS = 100

export interface DriverOptions {
  /** 0 ≤ x < 1, for the jitter of back-offs */
  readonly random: () => number
  /** only after the commit that made it true */
  readonly onEffect: (effect: Effect) => void
  /** after each commit, before its effects */
  readonly onCommit?: (changes: readonly Change[]) => void
  /** an attempt met a conflict; told the operation's intent */
  readonly onConflict?: (operation: string) => void
  readonly sleep?: (ms: number) => Promise<void>
  /** of an engine that is a round trip away */
  readonly known?: KnownFacts | undefined
}

/** What an attempt may take for granted: nothing, what the operation itself calls likely, what this client knows. */
type Trust = 0 | 1 | 2

interface Run<T> {
  readonly intent: Intent
  readonly make: () => Operation<T>
  /** the inode that its commits fight for */
  key: Ino | undefined
  operation: Operation<T>
  reads: readonly Read[]
  facts: readonly Fact[]
  /** commits lost */
  losses: number
  trust: Trust
  /** how much of it was used in this attempt */
  guessed: Trust
}

/** Those who lost commits over one inode. */
interface Queue {
  last: Promise<unknown>
  /** of the operation whose turn it is */
  losses: number
}

/** The commit lost: run again. */
const CONFLICT = Symbol('conflict')

export class Driver {
  readonly #engine: Engine
  readonly #options: DriverOptions
  readonly #sleep: (ms: number) => Promise<void>
  readonly #known: KnownFacts | null
  readonly #queues = new Map<Ino, Queue>()

  constructor(engine: Engine, options: DriverOptions) {
    this.#engine = engine
    this.#options = options
    this.#known = options.known ?? null
    this.#sleep = options.sleep ?? (ms => new Promise(resolve => setTimeout(resolve, ms)))
  }

  /** Runs an operation to its verdict. `key`: the inode it will probably fight for. Faults of the engine pass through;
   *  so does a Fault (EIO) after 50 lost commits. */
  run<T>(intent: Intent, make: () => Operation<T>, key?: Ino): Maybe<T | Errno> {
    const trust = this.#known !== null && intent === 'change' ? 2 : 0
    const run: Run<T> = {
      intent,
      make,
      key,
      operation: make(),
      reads: [],
      facts: [],
      losses: 0,
      trust,
      guessed: 0,
    }
    if (key !== undefined && this.#queues.size > 0 && this.#queues.has(key)) {
      if (this.#queues.get(key)!.losses >= MAX_OVERTAKEN) return this.#queue(run)
    }
    const result = this.#attempt(run)
    if (!(result instanceof Promise)) return result === CONFLICT ? this.#queue(run) : result
    return result.then(value => (value === CONFLICT ? this.#queue(run) : value))
  }

  #attempt<T>(run: Run<T>): Maybe<T | Errno | typeof CONFLICT> {
    return this.#advance(run, run.operation.next([]))
  }

  #advance<T>(run: Run<T>, step: IteratorResult<readonly Read[], Verdict<T>>): Maybe<T | Errno | typeof CONFLICT> {
    let current = step
    while (!current.done) {
      const wanted = current.value
      const guess = run.trust > 0 ? this.#guess(run, wanted) : null
      if (guess !== null) {
        try {
          current = this.#feed(run, wanted, guess)
        } catch {
          return this.#afresh(run) // facts of different moments may contradict each other
        }
        continue
      }
      const moment = this.#known?.moment
      const gathered = this.#engine.gather(wanted, run.intent)
      if (gathered instanceof Promise) return gathered.then(facts => this.#gathered(run, wanted, facts, moment))
      current = this.#feed(run, wanted, gathered)
    }
    return this.#decide(run, current.value)
  }

  #gathered<T>(
    run: Run<T>,
    reads: readonly Read[],
    facts: readonly Fact[],
    moment: Moment | undefined,
  ): Maybe<T | Errno | typeof CONFLICT> {
    if (moment !== undefined) this.#known!.learn(reads, facts, moment)
    let step: IteratorResult<readonly Read[], Verdict<T>>
    try {
      step = this.#feed(run, reads, facts)
    } catch (error) {
      if (run.guessed > 0) return this.#afresh(run)
      throw error
    }
    return this.#advance(run, step)
  }

  #guess<T>(run: Run<T>, reads: readonly Read[]): readonly Fact[] | null {
    const likely = likelyFacts(reads)
    const guess = likely ?? (run.trust === 2 ? this.#known!.guess(reads) : null)
    if (guess !== null && run.guessed < 2) run.guessed = likely === null ? 2 : 1
    return guess
  }

  /** From the beginning, trusting less than what was wrong. */
  #afresh<T>(run: Run<T>): Maybe<T | Errno | typeof CONFLICT> {
    run.trust = run.guessed === 2 ? 1 : 0
    run.guessed = 0
    run.operation = run.make()
    run.reads = []
    run.facts = []
    return this.#attempt(run)
  }

  #feed<T>(run: Run<T>, reads: readonly Read[], facts: readonly Fact[]): IteratorResult<readonly Read[], Verdict<T>> {
    run.reads = run.reads.length === 0 ? reads : [...run.reads, ...reads]
    run.facts = run.facts.length === 0 ? facts : [...run.facts, ...facts]
    return run.operation.next(facts)
  }

  #decide<T>(run: Run<T>, verdict: Verdict<T>): Maybe<T | Errno | typeof CONFLICT> {
    if (isErrno(verdict) || verdict.changes.length === 0) {
      if (run.guessed > 0) return this.#afresh(run)
      const answer = (): T | Errno => (isErrno(verdict) ? verdict : this.#finish(verdict, []))
      const neighbours = run.intent === 'change' ? this.#engine.uncommitted?.() : undefined
      return neighbours === undefined ? answer() : neighbours.then(answer)
    }
    let merged: Merged
    try {
      merged = mergeChanges(verdict.changes)
    } catch (error) {
      if (run.guessed > 0) return this.#afresh(run)
      throw error
    }
    const { changes, resultOf } = merged
    const guards = guardsOf(run.reads, run.facts, changes)
    const known = this.#known
    if (run.guessed === 2 && guards.some(guard => isExact(guard) && known!.isChanging(nodeOf(guard))))
      return this.#afresh(run)
    known?.changing(changes)
    let outcome: Maybe<Outcome>
    try {
      outcome = this.#engine.commit(guards, changes)
    } catch (error) {
      known?.failed(run.reads, changes)
      throw error
    }
    if (!(outcome instanceof Promise)) return this.#settle(run, verdict, changes, resultOf, outcome)
    const settle = (late: Outcome): Maybe<T | Errno | typeof CONFLICT> =>
      this.#settle(run, verdict, changes, resultOf, late)
    if (known === null) return outcome.then(settle)
    return outcome.then(settle, error => {
      known.failed(run.reads, changes)
      throw error
    })
  }

  #settle<T>(
    run: Run<T>,
    verdict: Done<T>,
    changes: readonly Change[],
    resultOf: readonly number[],
    outcome: Outcome,
  ): Maybe<T | Errno | typeof CONFLICT> {
    if (!outcome.done) {
      this.#known?.failed(run.reads, changes)
      if (run.guessed > 0) return this.#afresh(run)
      run.losses++
      run.key ??= firstIno(changes)
      this.#options.onConflict?.(run.intent)
      return CONFLICT
    }
    this.#known?.committed(run.reads, run.facts, changes)
    this.#options.onCommit?.(changes)
    const { results } = outcome
    return this.#finish(verdict, changes === verdict.changes ? results : resultOf.map(i => results[i]))
  }

  #finish<T>(verdict: Done<T>, results: readonly (number | undefined)[]): T {
    for (const effect of verdict.effects) this.#options.onEffect(effect)
    const { value } = verdict
    return typeof value === 'function' ? (value as (results: readonly (number | undefined)[]) => T)(results) : value
  }

  /** Behind everybody who has lost commits over this inode. */
  #queue<T>(run: Run<T>): Promise<T | Errno> {
    const { key } = run
    if (key === undefined) return this.#again(run, null)
    const queue = this.#queues.get(key) ?? { last: Promise.resolve(), losses: 0 }
    this.#queues.set(key, queue)
    const mine = queue.last.then(() => this.#again(run, queue))
    const settled: Promise<void> = mine
      .catch(() => undefined) // whoever runs the operation hears of it
      .then(() => {
        queue.losses = 0
        if (queue.last === settled) this.#queues.delete(key)
      })
    queue.last = settled
    return mine
  }

  async #again<T>(run: Run<T>, queue: Queue | null): Promise<T | Errno> {
    while (run.losses < MAX_ATTEMPTS) {
      if (queue !== null) queue.losses = run.losses
      if (run.losses > 1) {
        const pause = Math.min(FIRST_PAUSE_MS * 2 ** (run.losses - 2), LAST_PAUSE_MS)
        await this.#sleep(pause * (0.5 + this.#options.random() / 2))
      }
      const result = await this.#afresh(run)
      if (result !== CONFLICT) return result
    }
    const about = run.key === undefined ? '' : ` over inode ${inoToString(run.key)}`
    throw new Fault(`gave up after ${run.losses} conflicts${about}`)
  }
}

/** What the operation itself takes for likely, of all of these or of none. */
function likelyFacts(reads: readonly Read[]): readonly Fact[] | null {
  const facts: Fact[] = []
  for (const read of reads) {
    if ((read.kind !== 'dentry' && read.kind !== 'chunkIndexes') || read.likely === undefined) return null
    facts.push(read.likely)
  }
  return facts
}

const isExact = (guard: Guard): boolean => guard.strength === 'exact'
const nodeOf = ({ read, fact }: Guard): Ino =>
  read.kind === 'node' ? read.ino : read.kind === 'dentry' ? ((fact as Dentry | null)?.ino ?? NO_INO) : NO_INO

function firstIno(changes: readonly Change[]): Ino | undefined {
  for (const change of changes) if ('ino' in change) return change.ino
  return undefined
}
