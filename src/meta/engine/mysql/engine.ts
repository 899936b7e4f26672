/** The metadata engine on MySQL and MariaDB, in the reference client's layout.
 *
 *      gather   one statement, one round trip
 *      commit   one packet, one round trip: BEGIN, lock and compare (hold.ts), change (apply.ts), COMMIT
 *
 *  No transaction is ever open between two round trips, but that of a commit that lost, until its ROLLBACK. */

import { EINVAL, EROFS } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import type { Cursor, Engine, Guard, Intent, Outcome, Page, ScanKind, Scans } from '../../engine.ts'
import type { Change, Fact, Read } from '../../facts.ts'
import { absent } from '../sql/absent.ts'
import { Again } from '../sql/again.ts'
import { ID_COUNTERS } from '../sql/counters.ts'
import { jitter } from '../sql/jitter.ts'
import { LostReply, wordsOf } from '../sql/lost-reply.ts'
import { needsSums, SUMMED_READS, type UsageSums } from '../sql/usage-sums.ts'
import { UsageWriter } from '../sql/usage-writer.ts'
import type { Tally } from '../tally.ts'
import { committerOf, type MysqlCommitter } from './commit.ts'
import { faultOf, isMadeMeanwhile, isNoTable, reasonOf } from './errors.ts'
import { Gatherer } from './gather.ts'
import { type MysqlPool, openPool } from './pool.ts'
import { Scanner } from './scan.ts'
import { missing, schemaQuestions, storedOf } from './schema.ts'
import { collationOf, requireServer, warningOf } from './server.ts'
import { characters, type Statement } from './statement.ts'
import { Tables } from './tables.ts'
import { type MysqlUrl, parseMysqlUrl } from './url.ts'
import { UsageFlush } from './usage-flush.ts'

export interface MysqlOptions {
  /** Nothing is written; a replica can be opened. */
  readonly readOnly?: boolean
  readonly log?: (message: string) => void
  /** How long requests wait while the server is away, before they fail with EIO. */
  readonly patienceMs?: number
  /** 0 ≤ x < 1, for the jitter of pauses */
  readonly random?: () => number
  /** where META_PASSWORD and META_PASSWORD_FILE come from */
  readonly env?: Readonly<Record<string, string | undefined>>
}

interface Parts {
  readonly pool: MysqlPool
  readonly tables: Tables
  readonly readOnly: boolean
  readonly patienceMs: number
  readonly random: () => number
  readonly log: (message: string) => void
}

const PATIENCE_MS = 30_000
const MAX_PREPARE_ATTEMPTS = 5
const REFUSAL: Outcome = { done: false }

export class MysqlEngine implements Engine {
  readonly kind = 'mysql'
  readonly sumsUsage = true
  readonly counts: Tally
  readonly #parts: Parts
  readonly #again: Again
  readonly #committer: MysqlCommitter
  readonly #usage: UsageWriter
  #gatherer: Gatherer
  #scanner: Scanner
  /** statements that complete the schema */
  #missing: readonly string[] = []
  #closing: Promise<void> | null = null

  /** Connects, and looks at what the database has; no tables are made yet. Within five seconds, or a Fault that says what is
   *  wrong with address, user, password, database, server or tables. */
  static async open(text: string, options: MysqlOptions = {}): Promise<MysqlEngine> {
    const { env = process.env, readOnly = false, patienceMs = PATIENCE_MS, random = jitter } = options
    const { log = () => undefined } = options
    const url = parseMysqlUrl(text, env)
    let pool: MysqlPool | undefined
    try {
      pool = await openPool(url, { patienceMs, random, log })
      const { server } = pool.first
      requireServer(server)
      const warning = warningOf(server)
      if (warning !== null) log(warning)
      const engine = new MysqlEngine({ pool, tables: new Tables(url), readOnly, patienceMs, random, log })
      await engine.#readSchema() // a table of somebody else is told now
      return engine
    } catch (error) {
      await pool?.close()
      if (error instanceof Fault && error.errno === EINVAL) throw error
      throw new Fault(openingOf(url), { cause: new Error(wordsOf(error), { cause: error }) })
    }
  }

  private constructor(parts: Parts) {
    const { pool, tables, patienceMs, random, log } = parts
    this.#parts = parts
    this.counts = pool.tally
    this.#again = new Again({ reasonOf, tally: this.counts, patienceMs, random })
    const again = this.#again
    this.#committer = committerOf({ pool, again, tables, patienceMs, ask: reads => this.#ask(reads) })
    this.#usage = new UsageWriter({ write: sums => this.#writeUsage(sums), log })
    this.#gatherer = new Gatherer(tables)
    this.#scanner = new Scanner(tables)
  }

  get generation(): string {
    return this.#parts.pool.newest.server.name
  }

  /** Each statement stands by itself, and does nothing where somebody else was faster: several clients may do it at once. */
  async prepare(): Promise<void> {
    if (this.#parts.readOnly) return
    for (let attempt = 1; this.#missing.length > 0; attempt++) {
      try {
        await this.#run(this.#missing.map(text => ({ text, values: [] })))
      } catch (error) {
        if (!isMadeMeanwhile(error) || attempt === MAX_PREPARE_ATTEMPTS) throw faultOf(error, 'prepare the tables')
      }
      await this.#readSchema()
    }
  }

  async gather(reads: readonly Read[], _intent: Intent): Promise<readonly Fact[]> {
    if (reads.some(read => read.kind === 'aclId')) this.#mustBeWritable()
    if (reads.some(read => SUMMED_READS.has(read.kind))) await this.#usage.flush()
    return await this.#ask(reads)
  }

  async commit(guards: readonly Guard[], changes: readonly Change[]): Promise<Outcome> {
    this.#mustBeWritable()
    if (this.#missing.length > 0) await this.prepare()
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
      const [answer] = await this.#run([this.#scanner.statement(kind, args, cursor, limit)])
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
    const text = `INSERT INTO ${this.#parts.tables.name('counter')} (name, value) VALUES ($1, last_insert_id($2))
      ON DUPLICATE KEY UPDATE value = last_insert_id(value + $3)`
    const add = { text, values: [characters(counter), base + count, count] }
    try {
      const [, sum] = await this.#run([add, { text: 'SELECT last_insert_id()', values: [] }])
      return Number(sum!.rows[0]![0]) - count + firstIsAfter
    } catch (error) {
      throw faultOf(error, `reserve ${counter}`)
    }
  }

  /** What was committed is on the server's disk when it answers (`innodb_flush_log_at_trx_commit`). */
  async sync(): Promise<void> {}

  /** Writes the sums of usage, says goodbye. */
  close(): Promise<void> {
    this.#closing ??= this.#usage.close().then(() => this.#parts.pool.close())
    return this.#closing
  }

  async #ask(reads: readonly Read[]): Promise<readonly Fact[]> {
    if (reads.length === 0) return []
    try {
      return this.#gatherer.facts(reads, await this.#run(this.#gatherer.statements(reads)))
    } catch (error) {
      if (!isNoTable(error)) throw faultOf(error, 'read metadata')
      if (reads.length === 1) return [absent(reads[0]!)]
      return (await Promise.all(reads.map(read => this.#ask([read])))).flat()
    }
  }

  async #writeUsage(sums: UsageSums): Promise<'written' | 'lost'> {
    const { pool, tables } = this.#parts
    const flush = new UsageFlush(tables)
    sums.tell(flush)
    const statements = flush.statements()
    if (statements.length === 0) return 'written'
    try {
      await this.#again.run(() => pool.run(statements, 'commit'))
      return 'written'
    } catch (error) {
      if (error instanceof LostReply) return 'lost'
      throw faultOf(error, 'write usage')
    }
  }

  /** What may be sent twice. */
  #run(statements: readonly Statement[]) {
    return this.#again.run(() => this.#parts.pool.run(statements, 'repeat'))
  }

  async #readSchema(): Promise<void> {
    const { pool, tables } = this.#parts
    const stored = storedOf(await this.#run(schemaQuestions(tables)), tables)
    this.#missing = missing(stored, tables, collationOf(pool.first.server.version))
    tables.nodeColumns = new Set(stored.columns.get('node')?.keys())
    // Statements that were made for an older schema know nothing of its new columns.
    this.#gatherer = new Gatherer(tables)
    this.#scanner = new Scanner(tables)
  }

  #mustBeWritable(): void {
    if (this.#parts.readOnly) throw new Fault('the metadata database is open for reading only', { errno: EROFS })
  }
}

const openingOf = ({ address, database, user }: MysqlUrl): string =>
  `open metadata database ${database} at MySQL ${address} as ${user}`
