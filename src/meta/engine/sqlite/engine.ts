/** The metadata engine on SQLite, in the reference client's layout.
 *
 *  Everything is synchronous and in this process. An operation gathers and commits inside one write transaction that it
 *  shares with its neighbours (transactions.ts), so what it read cannot have been changed by anybody but them; facts that
 *  are older than the last change, or come from elsewhere, are read again and compared. */

import type { Database } from 'better-sqlite3'
import { EROFS } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import type { Maybe } from '../../../base/maybe.ts'
import type { Cursor, Engine, Guard, Intent, Outcome, Page, ScanKind, Scans } from '../../engine.ts'
import type { Change, Fact, Read } from '../../facts.ts'
import { holds } from '../../guard.ts'
import { absent } from '../sql/absent.ts'
import { ID_COUNTERS } from '../sql/counters.ts'
import { isSummed, SUMMED_READS, type Summed, UsageSums } from '../sql/usage-sums.ts'
import { Checkpoints } from './checkpoints.ts'
import { REFUSED, Writer } from './commit.ts'
import { faultOf, isBusy, isNoTable, isTaken } from './errors.ts'
import { Reader } from './gather.ts'
import { openDatabase } from './open.ts'
import { Scanner } from './scan.ts'
import { ensureSchema, schemaIsComplete } from './schema.ts'
import { Statements } from './statements.ts'
import { Transactions } from './transactions.ts'
import { parseSqliteUrl, type SqliteUrl } from './url.ts'
import { WalSync } from './wal-sync.ts'

export interface SqliteOptions {
  /** Nothing is written, not even the journal mode; a database on a read-only medium can be opened. */
  readonly readOnly?: boolean
  /** Do not make the file. */
  readonly mustExist?: boolean
  readonly log?: (message: string) => void
}

/** Changes that replace or remove such a record: what was added before belongs to the old one. */
const AFTER_SUMS: ReadonlySet<string> = new Set([
  'newDirUsage',
  'putDirUsage',
  'delDirUsage',
  'putQuota',
  'delQuota',
  'putCounter',
])
const REFUSAL: Outcome = { done: false }
/** What knows this volume's tables. */
interface Layout {
  readonly statements: Statements
  readonly reader: Reader
  readonly writer: Writer
  readonly scanner: Scanner
  readonly sums: UsageSums
}

function layoutOf(db: Database, prefix: string): Layout {
  const statements = new Statements(db, prefix)
  const reader = new Reader(statements)
  const writer = new Writer(statements, reader)
  return { statements, reader, writer, scanner: new Scanner(statements), sums: new UsageSums() }
}

export class SqliteEngine implements Engine {
  readonly kind = 'sqlite3'
  readonly isLocal = true
  readonly #db: Database
  readonly #url: SqliteUrl
  readonly #readOnly: boolean
  readonly #isWal: boolean
  #layout: Layout
  readonly #transactions: Transactions
  readonly #checkpoints: Checkpoints
  readonly #walSync: WalSync
  readonly #savepoint
  readonly #release
  readonly #undo
  readonly #beginRead
  readonly #endRead
  readonly #dataVersion
  #lastVersion: number
  /** What has been read in the open transaction since its last change: these guards need no second look. */
  readonly #fresh = new Map<Read, Fact>()
  #schemaReady = false
  /** changes applied in the open transaction */
  #changes = 0
  #closing: Promise<void> | null = null

  /** Opens, and unless `mustExist` creates, the database; no tables are made yet. A Fault with the errno says in one line
   *  what is wrong with the address or the file, before anything is changed. Some 2 ms. */
  static open(url: string, options: SqliteOptions): SqliteEngine {
    return new SqliteEngine(parseSqliteUrl(url), options)
  }

  private constructor(url: SqliteUrl, options: SqliteOptions) {
    this.#url = url
    this.#readOnly = options.readOnly ?? false
    const db = openDatabase({ ...url, readOnly: this.#readOnly, mustExist: options.mustExist ?? false })
    this.#db = db
    this.#isWal = db.pragma('journal_mode', { simple: true }) === 'wal'
    this.#layout = layoutOf(db, url.tablePrefix)
    this.#checkpoints = new Checkpoints(url.path, options.log ?? (() => undefined))
    this.#walSync = new WalSync(url.path)
    this.#savepoint = db.prepare('SAVEPOINT operation')
    this.#release = db.prepare('RELEASE operation')
    this.#undo = db.prepare('ROLLBACK TO operation')
    this.#beginRead = db.prepare('BEGIN')
    this.#endRead = db.prepare('COMMIT')
    this.#dataVersion = db.prepare('PRAGMA data_version').pluck()
    this.#lastVersion = this.#dataVersion.get() as number
    this.#transactions = new Transactions(db, {
      afterBegin: () => this.#afterBegin(),
      beforeCommit: () => this.#beforeCommit(),
      afterRollback: () => this.#afterRollback(),
    })
  }

  prepare(): Maybe<void> {
    if (this.#schemaReady || this.#readOnly) return
    return this.#outside('prepare the tables', () => {
      if (!schemaIsComplete(this.#db, this.#url.tablePrefix)) {
        this.#db.transaction(() => this.#ensureSchema()).immediate()
      }
      this.#schemaReady = true
    })
  }

  gather(reads: readonly Read[], intent: Intent): Maybe<readonly Fact[]> {
    const writes = (intent === 'change' && !this.#readOnly) || reads.some(read => read.kind === 'aclId')
    if (!writes) return this.#outside('read metadata', () => this.#readAll(reads))
    this.#mustBeWritable()
    const wait = this.#enter()
    if (wait) return wait.then(() => this.gather(reads, intent))
    const facts = this.#gatherInside(reads)
    return intent === 'change' ? facts : this.#transactions.committed().then(() => facts)
  }

  commit(guards: readonly Guard[], changes: readonly Change[]): Maybe<Outcome> {
    this.#mustBeWritable()
    const wait = this.#enter()
    if (wait) return wait.then(() => this.commit(guards, changes))
    let outcome: Outcome
    try {
      outcome = this.#stillTrue(guards) ? this.#apply(guards, changes) : REFUSAL
    } catch (error) {
      const fault = faultOf(error, 'change metadata')
      if (!this.#db.inTransaction) this.#transactions.lostBy(fault)
      throw fault
    }
    if (!outcome.done) return outcome
    return this.#transactions.committed().then(() => outcome)
  }

  scan<K extends ScanKind>(
    kind: K,
    args: Scans[K]['args'],
    cursor: Cursor | null,
    limit: number,
  ): Maybe<Page<Scans[K]['row']>> {
    return this.#outside(`list ${kind}`, () => {
      try {
        return this.#layout.scanner.page(kind, args, cursor, limit)
      } catch (error) {
        if (isNoTable(error)) return { rows: [], next: null }
        throw error
      }
    })
  }

  /** Synced before it returns: after a power cut, ids must not be handed out again whose blocks are stored or cached. */
  async allocate(counter: keyof typeof ID_COUNTERS, count: number): Promise<number> {
    this.#mustBeWritable()
    const { base, firstIsAfter } = ID_COUNTERS[counter]
    const value = await this.#outside(`reserve ${counter}`, () => {
      const table = this.#layout.statements.table('counter')
      const statement = this.#layout.statements.rows(
        `INSERT INTO ${table} (name, value) VALUES (?, ?)
          ON CONFLICT (name) DO UPDATE SET value = value + ? RETURNING value`,
      )
      return statement.get(counter, base + count, count)![0] as number
    })
    await this.sync()
    return value - count + firstIsAfter
  }

  uncommitted(): Promise<void> | undefined {
    return this.#changes > 0 && this.#transactions.isOpen ? this.#transactions.committed() : undefined
  }

  async sync(): Promise<void> {
    if (!this.#isWal || this.#readOnly) return // without WAL, SQLite has synced every commit
    await this.#walSync.sync()
  }

  /** Has another connection committed since this was last asked? 2 µs. Checkpoints do not count. */
  changedByOthers(): boolean {
    const version = this.#dataVersion.get() as number
    const changed = version !== this.#lastVersion
    this.#lastVersion = version
    return changed
  }

  /** Commits what is open, ends the worker, closes. The last connection to a database moves its whole WAL into the file. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await this.#transactions.finish()
    await this.#checkpoints.close()
    await this.#walSync.close()
    this.#db.close()
  }

  #enter(): Promise<void> | undefined {
    if (this.#closing) throw new Fault('the metadata database is closed')
    try {
      return this.#transactions.enter()
    } catch (error) {
      throw faultOf(error, 'begin a metadata transaction')
    }
  }

  #outside<T>(doing: string, read: () => T): Maybe<T> {
    if (this.#closing) throw new Fault('the metadata database is closed')
    return this.#transactions.outside(() => {
      try {
        return read()
      } catch (error) {
        throw isBusy(error) ? error : faultOf(error, doing)
      }
    })
  }

  /** Several reads see one moment of the database, however others write. */
  #readAll(reads: readonly Read[]): readonly Fact[] {
    if (reads.length === 1) return [this.#fact(reads[0]!)]
    this.#beginRead.run()
    try {
      return reads.map(read => this.#fact(read))
    } finally {
      if (this.#db.inTransaction) this.#endRead.run()
    }
  }

  #fact(read: Read): Fact {
    try {
      return this.#layout.reader.fact(read)
    } catch (error) {
      if (isNoTable(error)) return absent(read)
      throw error
    }
  }

  #gatherInside(reads: readonly Read[]): readonly Fact[] {
    try {
      return reads.map(read => {
        if (SUMMED_READS.has(read.kind)) this.#flushSums()
        const fact = this.#layout.reader.fact(read)
        this.#fresh.set(read, fact)
        return fact
      })
    } catch (error) {
      const fault = faultOf(error, 'read metadata')
      if (!this.#db.inTransaction) this.#transactions.lostBy(fault)
      throw fault
    }
  }

  #stillTrue(guards: readonly Guard[]): boolean {
    return guards.every(guard => {
      const { read, fact } = guard
      if (this.#fresh.has(read) && this.#fresh.get(read) === fact) return true
      if (SUMMED_READS.has(read.kind)) this.#flushSums()
      const now = this.#layout.reader.fact(read)
      // A rule stored in a transaction that failed is gone, and its id may be another rule's by now.
      if (read.kind === 'aclId') return now === fact
      return holds(guard, now)
    })
  }

  #apply(guards: readonly Guard[], changes: readonly Change[]): Outcome {
    const results: (number | undefined)[] = []
    const summed: Summed[] = []
    // Before the savepoint: the sums are the neighbours', and stay if this operation is refused.
    if (changes.some(({ kind }) => AFTER_SUMS.has(kind))) this.#flushSums()
    this.#savepoint.run()
    try {
      for (const change of changes) {
        if (isSummed(change)) {
          summed.push(change)
          results.push(undefined)
          continue
        }
        const result = this.#layout.writer.apply(change, guards)
        if (result === REFUSED) return this.#refuse()
        results.push(result)
      }
    } catch (error) {
      if (!this.#db.inTransaction) throw error // SQLite gave the whole transaction up
      const refusal = this.#refuse()
      if (isTaken(error)) return refusal
      throw error
    }
    this.#release.run()
    for (const change of summed) this.#layout.sums.add(change)
    this.#fresh.clear()
    this.#changes += changes.length
    return { done: true, results }
  }

  /** All or nothing: where the disk is full half way, they are summed still, and written once. */
  #flushSums(): void {
    const { sums, writer } = this.#layout
    if (sums.isEmpty) return
    this.#savepoint.run()
    try {
      sums.drain(writer)
    } catch (error) {
      if (this.#db.inTransaction) this.#refuse()
      throw error
    }
    this.#release.run()
  }

  #refuse(): Outcome {
    this.#undo.run()
    this.#release.run()
    return REFUSAL
  }

  #afterBegin(): void {
    this.#fresh.clear()
    this.#changes = 0
    if (this.#schemaReady) return
    this.#ensureSchema()
    this.#schemaReady = true
  }

  /** Statements that were made for an older schema know nothing of its new columns. */
  #ensureSchema(): void {
    if (ensureSchema(this.#db, this.#url.tablePrefix)) this.#layout = layoutOf(this.#db, this.#url.tablePrefix)
  }

  #beforeCommit(): void {
    this.#flushSums()
    this.#fresh.clear()
    if (this.#isWal && this.#changes > 0) this.#checkpoints.count(this.#changes)
  }

  #afterRollback(): void {
    this.#layout = layoutOf(this.#db, this.#url.tablePrefix) // without its sums, and columns it may have added are gone
    this.#fresh.clear()
    this.#schemaReady = false
  }

  #mustBeWritable(): void {
    if (this.#readOnly) throw new Fault('the metadata database is open for reading only', { errno: EROFS })
  }
}
