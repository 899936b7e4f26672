/** The metadata engine on PostgreSQL, in the reference client's layout.
 *
 *      gather   one statement, one round trip
 *      commit   one flight, one round trip: lock and compare (hold.ts), change (apply.ts); the server commits at its end
 *
 *  No transaction is ever open between two round trips. */

import { EINVAL, EROFS } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import type { Cursor, Engine, Guard, Intent, Outcome, Page, ScanKind, Scans } from '../../engine.ts'
import type { Change, Fact, Read } from '../../facts.ts'
import { absent } from '../sql/absent.ts'
import { Again } from '../sql/again.ts'
import { ID_COUNTERS } from '../sql/counters.ts'
import { jitter } from '../sql/jitter.ts'
import { LostReply } from '../sql/lost-reply.ts'
import { needsSums, SUMMED_READS, type UsageSums } from '../sql/usage-sums.ts'
import { UsageWriter } from '../sql/usage-writer.ts'
import type { Tally } from '../tally.ts'
import { committerOf, type PgCommitter } from './commit.ts'
import type { Server } from './connection.ts'
import { faultOf, isMadeMeanwhile, isNoTable, reasonOf } from './errors.ts'
import { Gatherer } from './gather.ts'
import { openPool, type PgPool } from './pool.ts'
import { Scanner } from './scan.ts'
import { missing, type Stored, schemaQuestion, storedOf } from './schema.ts'
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

const PATIENCE_MS = 30_000
const OLDEST_VERSION = 130_000
const REFUSAL: Outcome = { done: false }

export class PostgresEngine implements Engine {
  readonly kind = 'postgres'
  readonly sumsUsage = true
  readonly counts: Tally
  readonly #pool: PgPool
  readonly #readOnly: boolean
  readonly #tables: Tables
  readonly #again: Again
  readonly #committer: PgCommitter
  readonly #usage: UsageWriter
  #gatherer: Gatherer
  #scanner: Scanner
  #stored: Stored
  #isComplete: boolean
  #closing: Promise<void> | null = null

  /** Connects, and looks at what the database has; no tables are made yet. Within five seconds, or a Fault that says what is
   *  wrong with address, user, password, database, server or tables. */
  static async open(text: string, options: PostgresOptions = {}): Promise<PostgresEngine> {
    const url = parsePostgresUrl(text, options.env ?? process.env)
    const { readOnly = false, log = () => undefined, patienceMs = PATIENCE_MS, random = jitter } = options
    let pool: PgPool | undefined
    try {
      pool = await openPool(url, { patienceMs, random, log })
      requireVersion(pool.first.server.version)
      if (!readOnly) warnOfServer(pool.first.server, log)
      const tables = new Tables(url)
      const [answer] = await pool.run([schemaQuestion(tables)], 'repeat')
      const stored = storedOf(answer!)
      missing(stored, tables) // a table of somebody else is told now
      return new PostgresEngine(pool, tables, stored, { readOnly, log, random, patienceMs })
    } catch (error) {
      await pool?.close()
      throw error instanceof Fault && error.errno === EINVAL ? error : new Fault(openingOf(url), { cause: error })
    }
  }

  private constructor(pool: PgPool, tables: Tables, stored: Stored, options: Required<Omit<PostgresOptions, 'env'>>) {
    this.#pool = pool
    this.#tables = tables
    this.#stored = stored
    this.#isComplete = missing(stored, tables).length === 0
    this.#readOnly = options.readOnly
    tables.nodeColumns = new Set(stored.columns.get('node')?.keys())
    this.#gatherer = new Gatherer(tables)
    this.#scanner = new Scanner(tables)
    const { patienceMs, random, log } = options
    this.counts = pool.tally
    this.#again = new Again({ reasonOf, tally: this.counts, patienceMs, random })
    this.#usage = new UsageWriter({ write: sums => this.#writeUsage(sums), log })
    this.#committer = committerOf({
      pool,
      tables,
      patienceMs,
      again: this.#again,
      ask: reads => this.#ask(reads),
    })
  }

  get generation(): string {
    return this.#pool.newest.server.generation
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
    if (reads.some(read => SUMMED_READS.has(read.kind))) await this.#usage.flush()
    return await this.#ask(reads)
  }

  async commit(guards: readonly Guard[], changes: readonly Change[]): Promise<Outcome> {
    this.#mustBeWritable()
    if (!this.#isComplete) await this.prepare()
    if (needsSums(guards, changes)) await this.#usage.flush()
    const results = await this.#committer.commit(guards, changes)
    if (results === null) return REFUSAL
    this.#usage.add(changes)
    return { done: true, results }
  }

  async scan<K extends ScanKind>(
    kind: K,
    args: Scans[K]['args'],
    cursor: Cursor | null,
    limit: number,
  ): Promise<Page<Scans[K]['row']>> {
    if (kind === 'quotas' || kind === 'dirUsages') await this.#usage.flush()
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
    await this.#usage.close()
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

  async #writeUsage(sums: UsageSums): Promise<'written' | 'lost'> {
    const flush = new UsageFlush(this.#tables)
    sums.tell(flush)
    const statements = flush.statements()
    if (statements.length === 0) return 'written'
    try {
      await this.#again.run(() => this.#pool.run(statements, 'commit'))
      return 'written'
    } catch (error) {
      if (error instanceof LostReply) return 'lost'
      throw faultOf(error, 'write usage')
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

function warnOfServer(server: Server, log: (message: string) => void): void {
  if (server.isReadOnly) {
    log('the server only reads (a standby, or default_transaction_read_only): nothing can be changed')
  }
  if (server.synchronousCommit === 'off') {
    log('synchronous_commit is off on the server: what fsync has promised may be lost when the server loses power')
  }
}

const openingOf = ({ address, database, user }: PostgresUrl): string =>
  `open metadata database ${database} at PostgreSQL ${address} as ${user}`
