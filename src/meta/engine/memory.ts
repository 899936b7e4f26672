/** The metadata engine in maps: gone with the process. It is the reference that the other engines are compared with, and
 *  what unit tests and the race simulation run on. Its layout follows SQL where layouts differ: parents are derived from
 *  the entries, a slice without a reference record has lost it. */

import type { Maybe } from '../../base/maybe.ts'
import type { Cursor, Engine, Guard, Intent, Outcome, Page, ScanKind, Scans } from '../engine.ts'
import type { Change, Fact, Read } from '../facts.ts'
import { holds } from '../guard.ts'
import { applyChange, isRefused } from './memory/apply.ts'
import { readFact } from './memory/read.ts'
import { scanPage } from './memory/scan.ts'
import { Tables } from './memory/tables.ts'

export interface MemoryOptions {
  /** Each gather, commit, scan and allocation happens in a turn of its own, as if the database were elsewhere. */
  readonly deferred?: boolean
  /** what `deferred` waits for; a turn of the event loop unless given */
  readonly turn?: () => Promise<void>
}

/** The first id handed out on a new volume (spec meta-model section 4). */
const FIRST_IDS = { nextInode: 2, nextChunk: 1, nextSession: 1, nextTrash: 1 } as const
/** Counters of ids hold the next free one, except that these two hold the last one taken. */
const HOLDS_LAST = { nextInode: 0, nextChunk: 0, nextSession: 1, nextTrash: 1 } as const
const REFUSAL: Outcome = { done: false }

export class MemoryEngine implements Engine {
  readonly kind = 'memory'
  readonly isLocal: boolean
  readonly #tables = new Tables()
  readonly #turn: (() => Promise<void>) | null

  constructor(options: MemoryOptions = {}) {
    this.isLocal = !options.deferred
    this.#turn = options.deferred ? (options.turn ?? (() => new Promise(resolve => setImmediate(resolve)))) : null
  }

  prepare(): void {}

  gather(reads: readonly Read[], _intent: Intent): Maybe<readonly Fact[]> {
    return this.#inTurn(() => reads.map(read => readFact(this.#tables, read)))
  }

  commit(guards: readonly Guard[], changes: readonly Change[]): Maybe<Outcome> {
    return this.#inTurn(() => this.#commit(guards, changes))
  }

  scan<K extends ScanKind>(
    kind: K,
    args: Scans[K]['args'],
    cursor: Cursor | null,
    limit: number,
  ): Maybe<Page<Scans[K]['row']>> {
    return this.#inTurn(() => scanPage(this.#tables, kind, args, cursor, limit))
  }

  allocate(counter: keyof typeof FIRST_IDS, count: number): Maybe<number> {
    return this.#inTurn(() => {
      const { counters } = this.#tables
      const last = HOLDS_LAST[counter]
      const value = counters.get(counter) ?? FIRST_IDS[counter] - last
      counters.set(counter, value + count)
      return value + last
    })
  }

  async sync(): Promise<void> {}

  close(): void {}

  #commit(guards: readonly Guard[], changes: readonly Change[]): Outcome {
    for (const guard of guards) if (!holds(guard, this.#readAgain(guard))) return REFUSAL
    for (const change of changes) if (isRefused(this.#tables, change, guards)) return REFUSAL
    return { done: true, results: changes.map(change => applyChange(this.#tables, change)) }
  }

  /** Asking for the id of a rule stores it, and is no guard. */
  #readAgain({ read, fact }: Guard): Fact {
    return read.kind === 'aclId' ? fact : readFact(this.#tables, read)
  }

  #inTurn<T>(work: () => T): Maybe<T> {
    return this.#turn === null ? work() : this.#turn().then(work)
  }
}
