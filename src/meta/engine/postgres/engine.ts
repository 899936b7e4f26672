/** The metadata engine on PostgreSQL, in the reference client's layout.
 *
 *      gather   one statement, one round trip
 *      commit   one flight, one round trip: lock and compare (hold.ts), change (apply.ts); the server commits at its end
 *
 *  No transaction is ever open between two round trips. */

import { EINVAL, EROFS } from '../../../base/errno.ts'
import { causeText, Fault } from '../../../base/fault.ts'
import type { Cursor, Engine, Guard, Intent, Outcome, Page, ScanKind, Scans } from '../../engine.ts'
import { type Change, type Fact, QUOTA_DIR, type Read } from '../../facts.ts'
import { absent } from '../sql/absent.ts'
import { ID_COUNTERS } from '../sql/counters.ts'
import { isSummed, SUMMED_READS, UsageSums } from '../sql/usage-sums.ts'
import { Applier } from './apply.ts'
import { faultOf, isChanged, isMadeMeanwhile, isNoTable, isTaken, isTransient, LostReply } from './errors.ts'
import type { Answer, Statement } from './flight.ts'
import { Gatherer } from './gather.ts'
import { Holder } from './hold.ts'
import { Pool, type PoolCounts } from './pool.ts'
import { Scanner } from './scan.ts'
import { missing, type Stored, schemaQuestion, storedOf } from './schema.ts'
import { endBackend, evidenceOf, type Fate, fateOf, resultOf, resultReads } from './settle.ts'
import { Tables } from './tables.ts'
import { type PostgresUrl, parsePostgresUrl } from './url.ts'
import { UsageFlush } from './usage-flush.ts'

export interface PostgresOptions {
  /** Nothing is written; a standby can be opened. */
  readonly readOnly?: boolean
  readonly log?: (message: string) => void
  /** How long requests wait while the server is away, before they fail with EIO. */
  readonly patienceMs?: number
  /** 0 ≤ x < 1, for the jitter of pauses */
  readonly random?: () => number
  /** where META_PASSWORD and META_PASSWORD_FILE come from */
  readonly env?: Readonly<Record<string, string | undefined>>
}

export interface PostgresCounts extends PoolCounts {
  /** commits that the server undid because of a deadlock or a serialization failure, and that were sent again */
  again: number
}

const PATIENCE_MS = 30_000
const FLUSH_MS = 1000
const OLDEST_VERSION = 130_000
/** of a commit that the server undoes for reasons of its own */
const MAX_AGAIN = 20
const LONGEST_PAUSE_MS = 50
const ASK_AGAIN_MS = 20
const REFUSAL: Outcome = { done: false }
/** Does it replace a record? Then what was summed before belongs to the old one. (To what is gone, sums add nothing; but
 *  those of a user or group would make it anew.) */
const comesAfterSums = (change: Change): boolean =>
  change.kind === 'putDirUsage' ||
  change.kind === 'putQuota' ||
  (change.kind === 'delQuota' && change.type !== QUOTA_DIR) ||
  (change.kind === 'putCounter' && (change.name === 'usedSpace' || change.name === 'totalInodes'))

export class PostgresEngine implements Engine {
  readonly kind = 'postgres'
  readonly #pool: Pool
  readonly #readOnly: boolean
  readonly #random: () => number
  readonly #patienceMs: number
  readonly #log: (message: string) => void
  readonly #tables: Tables
  #gatherer: Gatherer
  #scanner: Scanner
  readonly #holder: Holder
  readonly #applier: Applier
  readonly #sums = new UsageSums()
  #flushing: Promise<void> | null = null
  #flushTimer: NodeJS.Timeout | undefined
  #stored: Stored
  #isComplete: boolean
  #again = 0
  #closing: Promise<void> | null = null

  /** Connects, and looks at what the database has; no tables are made yet. Within five seconds, or a Fault that says what is
   *  wrong with address, user, password, database, server or tables. */
  static async open(text: string, options: PostgresOptions = {}): Promise<PostgresEngine> {
    const url = parsePostgresUrl(text, options.env ?? process.env)
    const log = options.log ?? (() => undefined)
    const random = options.random ?? Math.random
    const patienceMs = options.patienceMs ?? PATIENCE_MS
    let pool: Pool | undefined
    try {
      pool = await Pool.open(url, { patienceMs, random, log })
      requireVersion(pool.server.version)
      warnOfServer(pool, log)
      const tables = new Tables(url)
      const [answer] = await pool.run([schemaQuestion(tables)], 'repeat')
      const stored = storedOf(answer!)
      missing(stored, tables) // a table of somebody else is told now
      return new PostgresEngine(pool, tables, stored, { ...options, log, random, patienceMs })
    } catch (error) {
      await pool?.close()
      throw error instanceof Fault && error.errno === EINVAL ? error : new Fault(openingOf(url), { cause: error })
    }
  }

  private constructor(
    pool: Pool,
    tables: Tables,
    stored: Stored,
    options: Required<Pick<PostgresOptions, 'log' | 'random' | 'patienceMs'>> & PostgresOptions,
  ) {
    this.#pool = pool
    this.#tables = tables
    this.#stored = stored
    this.#isComplete = missing(stored, tables).length === 0
    this.#readOnly = options.readOnly ?? false
    this.#random = options.random
    this.#patienceMs = options.patienceMs
    this.#log = options.log
    tables.nodeColumns = new Set(stored.columns.get('node')?.keys())
    this.#gatherer = new Gatherer(tables)
    this.#scanner = new Scanner(tables)
    this.#holder = new Holder(tables)
    this.#applier = new Applier(tables)
  }

  /** Round trips and statements since the engine was opened: for metrics and measurements. */
  get counts(): PostgresCounts {
    return { ...this.#pool.counts, again: this.#again }
  }

  async prepare(): Promise<void> {
    if (this.#readOnly || this.#isComplete) return
    // Two clients that do it at once do it one after the other; a reference client among them does not wait, but is noticed.
    const turn = { name: '', text: `SELECT pg_advisory_xact_lock(hashtext('juicefs-ts schema'))`, values: [] }
    for (let attempt = 0; ; attempt++) {
      try {
        const made = missing(this.#stored, this.#tables).map(text => ({ name: '', text, values: [] }))
        await this.#pool.run([turn, ...made], 'repeat')
        break
      } catch (error) {
        if (!isMadeMeanwhile(error) || attempt === 5) throw faultOf(error, 'prepare the tables')
        await this.#readSchema()
      }
    }
    await this.#readSchema()
  }

  async gather(reads: readonly Read[], _intent: Intent): Promise<readonly Fact[]> {
    if (reads.some(read => read.kind === 'aclId')) this.#mustBeWritable()
    if (reads.some(read => SUMMED_READS.has(read.kind))) await this.#flush()
    return await this.#ask(reads)
  }

  async commit(guards: readonly Guard[], changes: readonly Change[]): Promise<Outcome> {
    this.#mustBeWritable()
    if (!this.#isComplete) await this.prepare()
    const needsSums = guards.some(({ read }) => SUMMED_READS.has(read.kind)) || changes.some(comesAfterSums)
    if (needsSums) await this.#flush()
    const held = this.#holder.statements(guards, changes)
    const applied = this.#applier.plan(changes, guards)
    const results = await this.#fly([...held, ...applied.statements], guards, changes)
    if (results === null) return REFUSAL
    this.#addSums(changes)
    return {
      done: true,
      results: 'found' in results ? results.found : applied.results(results.answers.slice(held.length)),
    }
  }

  async scan<K extends ScanKind>(
    kind: K,
    args: Scans[K]['args'],
    cursor: Cursor | null,
    limit: number,
  ): Promise<Page<Scans[K]['row']>> {
    if (kind === 'quotas' || kind === 'dirUsages') await this.#flush()
    try {
      const [answer] = await this.#pool.run([this.#scanner.statement(kind, args, cursor, limit)], 'repeat')
      return this.#scanner.page(kind, answer!, limit)
    } catch (error) {
      if (isNoTable(error)) return { rows: [], next: null }
      throw faultOf(error, `list ${kind}`)
    }
  }

  /** Sent again when its reply is lost: then a range is wasted. */
  async allocate(counter: keyof typeof ID_COUNTERS, count: number): Promise<number> {
    this.#mustBeWritable()
    const { base, firstIsAfter } = ID_COUNTERS[counter]
    const statement = {
      name: 'allocate',
      text: `INSERT INTO ${this.#tables.name('counter')} AS c (name, value) VALUES ($1::text, $2::bigint)
        ON CONFLICT (name) DO UPDATE SET value = c.value + $3::bigint RETURNING value`,
      values: [counter, String(base + count), String(count)],
    }
    try {
      const [answer] = await this.#pool.run([statement], 'repeat')
      return Number(answer!.rows[0]![0]) - count + firstIsAfter
    } catch (error) {
      throw faultOf(error, `reserve ${counter}`)
    }
  }

  /** What was committed is on the server's disk when it answers (`synchronous_commit`). */
  async sync(): Promise<void> {}

  /** Writes the sums of usage, says goodbye. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#flush().catch(error => this.#log(`usage of the last second is lost: ${causeText(error)}`))
    clearTimeout(this.#flushTimer)
    await this.#pool.close()
  }

  async #ask(reads: readonly Read[]): Promise<readonly Fact[]> {
    try {
      const answers = await this.#pool.run(this.#gatherer.statements(reads), 'repeat')
      return this.#gatherer.facts(reads, answers)
    } catch (error) {
      if (!isNoTable(error)) throw faultOf(error, 'read metadata')
      if (reads.length === 1) return [absent(reads[0]!)]
      return (await Promise.all(reads.map(read => this.#ask([read])))).flat()
    }
  }

  /** Sends a commit until its outcome is known. Null = a guard did not hold, nothing was done. */
  async #fly(
    statements: readonly Statement[],
    guards: readonly Guard[],
    changes: readonly Change[],
  ): Promise<{ answers: readonly Answer[] } | { found: readonly (number | undefined)[] } | null> {
    if (statements.length === 0) return { answers: [] }
    const deadlineMs = performance.now() + this.#patienceMs
    for (let attempt = 0; ; attempt++) {
      try {
        return { answers: await this.#pool.run(statements, 'report') }
      } catch (error) {
        if (isChanged(error) || isTaken(error)) return null
        if (error instanceof LostReply) {
          const fate = await this.#fateOf(error, guards, changes)
          if (fate === 'done') return { found: await this.#resultsOf(changes) }
          if (fate === 'unknown') throw new Fault('change metadata: unknown outcome', { cause: error })
          if (performance.now() > deadlineMs) throw new Fault('change metadata', { cause: error })
        } else if (!isTransient(error) || attempt === MAX_AGAIN) {
          throw faultOf(error, 'change metadata')
        } else {
          this.#again++
          await sleep(Math.min(LONGEST_PAUSE_MS, 2 ** attempt) * this.#random())
        }
      }
    }
  }

  async #fateOf({ backend }: LostReply, guards: readonly Guard[], changes: readonly Change[]): Promise<Fate> {
    const deadlineMs = performance.now() + this.#patienceMs
    if (backend !== null) {
      while ((await this.#pool.run([endBackend(backend)], 'repeat'))[0]!.rows.length > 0) {
        if (performance.now() > deadlineMs) return 'unknown'
        await sleep(ASK_AGAIN_MS)
      }
    }
    const evidence = evidenceOf(guards, changes)
    const facts = await this.#ask(evidence.map(({ read }) => read))
    const fate = fateOf(evidence, facts)
    // Behind a pooler it may yet be done.
    return backend === null && fate === 'undone' ? 'unknown' : fate
  }

  async #resultsOf(changes: readonly Change[]): Promise<(number | undefined)[]> {
    const reads = resultReads(changes)
    const facts = await this.#ask(reads.filter(read => read !== null))
    let next = 0
    return reads.map(read => (read === null ? undefined : resultOf(read, facts[next++] as Fact)))
  }

  #addSums(changes: readonly Change[]): void {
    for (const change of changes) if (isSummed(change)) this.#sums.add(change)
    if (this.#sums.isEmpty || this.#flushTimer !== undefined || this.#closing) return
    this.#flushTimer = setTimeout(() => {
      this.#flush().catch(error => this.#log(`usage is not written yet: ${causeText(error)}`))
    }, FLUSH_MS)
    this.#flushTimer.unref()
  }

  /** Writes what has been summed so far; resolves when it stands. */
  async #flush(): Promise<void> {
    while (this.#flushing) await this.#flushing.catch(() => undefined)
    if (this.#sums.isEmpty) return
    this.#flushing = this.#flushNow().finally(() => {
      this.#flushing = null
    })
    await this.#flushing
  }

  async #flushNow(): Promise<void> {
    clearTimeout(this.#flushTimer)
    this.#flushTimer = undefined
    const flush = new UsageFlush(this.#tables)
    this.#sums.drain(flush)
    const statements = flush.statements()
    if (statements.length === 0) return
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#pool.run(statements, 'report')
        return
      } catch (error) {
        if (error instanceof LostReply) {
          // Adding twice is as wrong as not at all, and later: a recount mends both.
          this.#log(`usage of a second may be lost: ${causeText(error)}`)
          return
        }
        if (isTransient(error) && attempt < MAX_AGAIN) {
          this.#again++
          await sleep(Math.min(LONGEST_PAUSE_MS, 2 ** attempt) * this.#random())
          continue
        }
        flush.returnTo(this.#sums)
        if (!this.#closing) this.#addSums([])
        throw faultOf(error, 'write usage')
      }
    }
  }

  async #readSchema(): Promise<void> {
    const [answer] = await this.#pool.run([schemaQuestion(this.#tables)], 'repeat')
    this.#stored = storedOf(answer!)
    this.#isComplete = missing(this.#stored, this.#tables).length === 0
    this.#tables.nodeColumns = new Set(this.#stored.columns.get('node')?.keys())
    // Statements that were made for an older schema know nothing of its new columns.
    this.#gatherer = new Gatherer(this.#tables)
    this.#scanner = new Scanner(this.#tables)
  }

  #mustBeWritable(): void {
    if (this.#readOnly) throw new Fault('the metadata database is open for reading only', { errno: EROFS })
  }
}

/** Throws where the server is too old. `version`: 150018 = 15.18. */
export function requireVersion(version: number): void {
  if (version >= OLDEST_VERSION) return
  const spelled = `${Math.floor(version / 10000)}.${version % 10000}`
  throw new Error(`the server is PostgreSQL ${spelled}; 13 or newer is needed`)
}

function warnOfServer(pool: Pool, log: (message: string) => void): void {
  if (pool.server.synchronousCommit === 'off') {
    log('synchronous_commit is off on the server: what fsync has promised may be lost when the server loses power')
  }
}

const openingOf = ({ address, database, user }: PostgresUrl): string =>
  `open metadata database ${database} at PostgreSQL ${address} as ${user}`

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
