/** Sends a commit until its outcome is known.
 *
 *      reply lost ─► its server process is ended, and waited for: from now on nothing changes any more by it
 *               └──► what the commit would have made is looked for (sql/evidence.ts) ─► done, send again, or a fault
 *
 *  Behind a pooler the server process cannot be named: then only what is found counts. */

import { Fault } from '../../../base/fault.ts'
import type { Guard } from '../../engine.ts'
import type { Change, Fact, Read } from '../../facts.ts'
import { type Again, sleep } from '../sql/again.ts'
import { evidenceOf, type Fate, fateOf, resultOf, resultReads } from '../sql/evidence.ts'
import { Applier } from './apply.ts'
import { type Backend, faultOf, isChanged, isTaken, LostReply } from './errors.ts'
import { Holder } from './hold.ts'
import type { Pool } from './pool.ts'
import type { Tables } from './tables.ts'

const ASK_AGAIN_MS = 20
const DOING = 'change metadata'

export interface CommitterParts {
  readonly pool: Pool
  readonly again: Again
  readonly tables: Tables
  readonly ask: (reads: readonly Read[]) => Promise<readonly Fact[]>
  /** how long the end of a server process may take */
  readonly patienceMs: number
}

export class Committer {
  readonly #parts: CommitterParts
  readonly #holder: Holder
  readonly #applier: Applier

  constructor(parts: CommitterParts) {
    this.#parts = parts
    this.#holder = new Holder(parts.tables)
    this.#applier = new Applier(parts.tables)
  }

  /** The results of the changes; null = a guard did not hold, nothing was done. */
  async commit(guards: readonly Guard[], changes: readonly Change[]): Promise<readonly (number | undefined)[] | null> {
    const held = this.#holder.statements(guards, changes)
    const applied = this.#applier.plan(changes, guards)
    const statements = [...held, ...applied.statements]
    if (statements.length === 0) return changes.map(() => undefined)
    const { again, pool, patienceMs } = this.#parts
    const deadlineMs = performance.now() + patienceMs
    for (;;) {
      try {
        const answers = await again.run(() => pool.run(statements, 'report'))
        return applied.results(answers.slice(held.length))
      } catch (error) {
        if (isChanged(error) || isTaken(error)) return null
        if (!(error instanceof LostReply)) throw faultOf(error, DOING)
        const fate = await this.#fateOf(error.backend, guards, changes)
        if (fate === 'done') return await this.#resultsOf(changes)
        if (fate === 'unknown') throw new Fault(`${DOING}: unknown outcome`, { cause: error })
        if (performance.now() > deadlineMs) throw new Fault(DOING, { cause: error })
      }
    }
  }

  async #fateOf(backend: Backend, guards: readonly Guard[], changes: readonly Change[]): Promise<Fate> {
    const isOver = backend !== null && (await this.#end(backend))
    const evidence = evidenceOf(guards, changes)
    const facts = await this.#parts.ask(evidence.map(({ read }) => read))
    const fate = fateOf(evidence, facts)
    return fate === 'undone' && !isOver ? 'unknown' : fate
  }

  /** Ends a server process, and waits until it is gone. False where it does not go. */
  async #end({ pid, startedAt }: NonNullable<Backend>): Promise<boolean> {
    const { pool, patienceMs } = this.#parts
    const text = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE pid = $1::int AND backend_start::text = $2::text`
    const deadlineMs = performance.now() + patienceMs
    while (performance.now() < deadlineMs) {
      const [answer] = await pool.run([{ name: '', text, values: [String(pid), startedAt] }], 'repeat')
      if (answer!.rows.length === 0) return true
      await sleep(ASK_AGAIN_MS)
    }
    return false
  }

  async #resultsOf(changes: readonly Change[]): Promise<readonly (number | undefined)[]> {
    const reads = resultReads(changes)
    const facts = await this.#parts.ask(reads.filter(read => read !== null))
    let next = 0
    return reads.map(read => (read === null ? undefined : resultOf(read, facts[next++] as Fact)))
  }
}
