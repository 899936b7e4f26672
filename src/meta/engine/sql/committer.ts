/** Sends a commit until its outcome is known.
 *
 *      reply lost ─► the session of the broken connection is ended, and waited for: from now on nothing changes any more by it
 *               └──► what the commit would have made is looked for (evidence.ts) ─► done, send again, or a fault
 *
 *  Where the session cannot be named, or seen to end, only what is found counts. */

import { Fault } from '../../../base/fault.ts'
import type { Guard } from '../../engine.ts'
import type { Change, Fact, Read } from '../../facts.ts'
import { type Again, sleep } from './again.ts'
import { evidenceOf, type Fate, fateOf, resultOf, resultReads } from './evidence.ts'
import { LostReply } from './lost-reply.ts'
import type { Plan } from './plan.ts'
import type { Purpose } from './pool.ts'

const ASK_AGAIN_MS = 20
const DOING = 'change metadata'

/** Rows as arrays of their columns. */
interface Rows {
  readonly rows: readonly (readonly unknown[])[]
}

/** What is particular to a kind of server. */
export interface CommitterParts<S, Session> {
  readonly pool: { run(statements: readonly S[], purpose: Purpose): Promise<readonly Rows[]> }
  readonly again: Again
  readonly ask: (reads: readonly Read[]) => Promise<readonly Fact[]>
  /** how long the end of a session may take */
  readonly patienceMs: number
  /** the first half: locks and compares (hold.ts) */
  readonly holder: { statements(guards: readonly Guard[], changes: readonly Change[]): S[] }
  /** the second half: changes (apply.ts) */
  readonly applier: { plan(changes: readonly Change[], guards: readonly Guard[]): Plan<S> }
  /** Did a guard not hold, or was a key inserted by somebody else first? */
  readonly isRefusal: (error: unknown) => boolean
  /** Asked of a refusal: throws where trying again never helps. */
  readonly explain?: (error: unknown, guards: readonly Guard[], changes: readonly Change[]) => Promise<void>
  /** The server's error as a Fault. */
  readonly faultOf: (error: unknown, doing: string) => unknown
  /** Ends a session, or asks whether it is over. `unseen`: that cannot be known from here. */
  readonly end: (session: Session) => Promise<'over' | 'ending' | 'unseen'>
}

export class Committer<S, Session> {
  readonly #parts: CommitterParts<S, Session>

  constructor(parts: CommitterParts<S, Session>) {
    this.#parts = parts
  }

  /** The results of the changes; null = a guard did not hold, nothing was done. */
  async commit(guards: readonly Guard[], changes: readonly Change[]): Promise<readonly (number | undefined)[] | null> {
    const { again, pool, patienceMs, holder, applier, isRefusal, explain, faultOf } = this.#parts
    const held = holder.statements(guards, changes)
    const plan = applier.plan(changes, guards)
    const statements = [...held, ...plan.statements]
    if (statements.length === 0) return changes.map(() => undefined)
    const deadlineMs = performance.now() + patienceMs
    for (;;) {
      try {
        const answers = await again.run(() => pool.run(statements, 'commit'))
        return plan.results(answers.slice(held.length))
      } catch (error) {
        if (isRefusal(error)) {
          await explain?.(error, guards, changes)
          return null
        }
        if (!(error instanceof LostReply)) throw faultOf(error, DOING)
        const fate = await this.#fateOf(error.session as Session | null, guards, changes)
        if (fate === 'done') return await this.#resultsOf(changes)
        if (fate === 'unknown') throw new Fault(`${DOING}: unknown outcome`, { cause: error })
        if (performance.now() > deadlineMs) throw new Fault(DOING, { cause: error })
      }
    }
  }

  async #fateOf(session: Session | null, guards: readonly Guard[], changes: readonly Change[]): Promise<Fate> {
    const isOver = session !== null && (await this.#isOver(session))
    const evidence = evidenceOf(guards, changes)
    const facts = await this.#parts.ask(evidence.map(({ read }) => read))
    const fate = fateOf(evidence, facts)
    return fate === 'undone' && !isOver ? 'unknown' : fate
  }

  /** Ends a session, and waits until it is over. False where that cannot be seen. */
  async #isOver(session: Session): Promise<boolean> {
    const { end, patienceMs } = this.#parts
    const deadlineMs = performance.now() + patienceMs
    while (performance.now() < deadlineMs) {
      const state = await end(session)
      if (state !== 'ending') return state === 'over'
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
