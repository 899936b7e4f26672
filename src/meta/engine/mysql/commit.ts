/** Sends a commit until its outcome is known.
 *
 *      reply lost ─► the connection's session is ended, and waited for: from now on nothing changes any more by it
 *               └──► what the commit would have made is looked for (sql/evidence.ts) ─► done, send again, or a fault
 *
 *  A session shows by a lock that it holds as long as it lives. Where none could be had, or where another server answers now,
 *  only what is found counts. */

import { nameToText } from '../../../base/bytes.ts'
import { ENOTSUP } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import { inoToString } from '../../../base/ino.ts'
import type { Guard } from '../../engine.ts'
import type { Change, Fact, Read } from '../../facts.ts'
import { type Again, sleep } from '../sql/again.ts'
import { evidenceOf, type Fate, fateOf, resultOf, resultReads } from '../sql/evidence.ts'
import { Applier } from './apply.ts'
import { faultOf, isChanged, isTaken, isXattrTaken, LostReply, type Session } from './errors.ts'
import { Holder } from './hold.ts'
import type { Pool } from './pool.ts'
import { characters } from './statement.ts'
import type { Tables } from './tables.ts'

const ASK_AGAIN_MS = 20
const DOING = 'change metadata'

export interface CommitterParts {
  readonly pool: Pool
  readonly again: Again
  readonly tables: Tables
  readonly ask: (reads: readonly Read[]) => Promise<readonly Fact[]>
  /** how long the end of a session may take */
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
        const answers = await again.run(() => pool.run(statements, 'commit'))
        return applied.results(answers.slice(held.length))
      } catch (error) {
        if (isXattrTaken(error)) await this.#refuseLookalike(guards, changes)
        if (isChanged(error) || isTaken(error)) return null
        if (!(error instanceof LostReply)) throw faultOf(error, DOING)
        const fate = await this.#fateOf(error.session, guards, changes)
        if (fate === 'done') return await this.#resultsOf(changes)
        if (fate === 'unknown') throw new Fault(`${DOING}: unknown outcome`, { cause: error })
        if (performance.now() > deadlineMs) throw new Fault(DOING, { cause: error })
      }
    }
  }

  async #fateOf(session: Session, guards: readonly Guard[], changes: readonly Change[]): Promise<Fate> {
    const isOver = session !== null && (await this.#end(session))
    const evidence = evidenceOf(guards, changes)
    const facts = await this.#parts.ask(evidence.map(({ read }) => read))
    const fate = fateOf(evidence, facts)
    return fate === 'undone' && !isOver ? 'unknown' : fate
  }

  /** Ends a session, and waits until it is over. False where that cannot be seen. */
  async #end({ lock, server }: NonNullable<Session>): Promise<boolean> {
    const { pool, patienceMs } = this.#parts
    const text = `SELECT is_used_lock($1), concat_ws(':', @@hostname, @@port, @@server_id)`
    const deadlineMs = performance.now() + patienceMs
    while (performance.now() < deadlineMs) {
      const [answer] = await pool.run([{ text, values: [characters(lock)] }], 'repeat')
      const [holder, answering] = answer!.rows[0]!
      if (answering !== server) return false
      if (holder === null) return true
      await pool.run([{ text: 'KILL $1', values: [Number(holder)] }], 'repeat').catch(() => undefined) // gone meanwhile
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

  /** Tables of the reference may hold that two different names are one (`user.A` and `user.a`); then no repetition helps. */
  async #refuseLookalike(guards: readonly Guard[], changes: readonly Change[]): Promise<void> {
    for (const { read, fact } of guards) {
      if (read.kind !== 'xattr' || fact !== null) continue
      if (!changes.some(change => change.kind === 'putXattr' && change.ino === read.ino)) continue
      const [now] = await this.#parts.ask([read])
      if (now !== null) continue
      const words = `store attribute ${nameToText(read.name)} of inode ${inoToString(read.ino)}`
      const cause = new Error(
        `the collation of table ${this.#parts.tables.prefix}xattr takes another name for the same`,
      )
      throw new Fault(words, { errno: ENOTSUP, cause })
    }
  }
}
