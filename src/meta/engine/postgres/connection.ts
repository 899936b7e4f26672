/** One connection: pg speaks its beginning (encryption, password) and takes the server's messages apart; flights go over it
 *  one at a time. */

import type { EventEmitter } from 'node:events'
import type { Client, Submittable } from 'pg'
import { LostReply } from '../sql/lost-reply.ts'
import type { Backend } from './errors.ts'
import { type Answer, Flight, type Statement, type Wire } from './flight.ts'
import type { PostgresUrl } from './url.ts'

/** What the server told about itself. */
export interface Server {
  /** 150018 = 15.18 */
  readonly version: number
  /** null behind a pooler: which process works for us is not to be known */
  readonly backend: Backend | null
  readonly isReadOnly: boolean
  readonly synchronousCommit: string
  /** when it was started: another one where a standby took over */
  readonly generation: string
}

const READ_COMMITTED = 'read committed'

const ABOUT = `SELECT current_setting('server_version_num'), pg_backend_pid()::text,
  (SELECT backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()),
  current_setting('default_transaction_isolation'), current_setting('synchronous_commit'),
  (pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on')::text,
  pg_postmaster_start_time()::text`

interface Waiting {
  readonly flight: Flight
  readonly resolve: (answers: readonly Answer[]) => void
  readonly reject: (error: unknown) => void
}

export class PgConnection {
  readonly #client: Client
  readonly #prepared = new Set<string>()
  #waiting: Waiting | null = null
  #death: unknown
  #isDead = false
  #isPooled = false
  server!: Server
  /** performance.now() of the last answer */
  lastUsedMs = performance.now()

  /** Connects and asks the server about itself. Rejects with the socket's or the server's error. */
  static async open(url: PostgresUrl, timeoutMs: number): Promise<PgConnection> {
    let failure: unknown
    for (const ssl of url.encryption) {
      try {
        return await PgConnection.#connect(url, ssl, timeoutMs)
      } catch (error) {
        failure ??= error
        if (!isAboutEncryption(error)) throw error
      }
    }
    throw failure
  }

  static async #connect(
    url: PostgresUrl,
    ssl: PostgresUrl['encryption'][number],
    timeoutMs: number,
  ): Promise<PgConnection> {
    const { default: pg } = await import('pg')
    const client = new pg.Client({
      host: url.host,
      port: url.port,
      user: url.user,
      password: () => {
        if (url.password === undefined) throw new Error('a password is needed: in the URL, or in META_PASSWORD')
        return url.password
      },
      database: url.database,
      ssl,
      application_name: url.applicationName,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
    })
    const connection = new PgConnection(client)
    const late = setTimeout(() => connection.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs)
    try {
      await client.connect()
      await connection.#greet(client)
    } catch (error) {
      connection.destroy(error)
      throw connection.#death
    } finally {
      clearTimeout(late)
    }
    return connection
  }

  private constructor(client: Client) {
    this.#client = client
    client.on('error', error => this.#died(error))
    client.on('end', () => this.#died(new Error('the server closed the connection')))
    // The outcome of a flight is known here only: an error may yet be followed by the end of the connection.
    const wire = (client as unknown as { connection: EventEmitter }).connection
    wire.on('readyForQuery', () => this.#settle())
    wire.on('parseComplete', () => {
      const name = this.#waiting?.flight.parsing.shift()
      if (name) this.#prepared.add(name)
    })
  }

  get isDead(): boolean {
    return this.#isDead
  }

  /** performance.now() at which the flight under way took off; null between flights */
  get busySinceMs(): number | null {
    return this.#waiting?.flight.startedMs ?? null
  }

  /** One answer a statement. Rejects with the server's error (nothing was done), or with LostReply (not known). */
  fly(statements: readonly Statement[]): Promise<readonly Answer[]> {
    return new Promise((resolve, reject) => {
      if (this.#isDead) return reject(new LostReply(this.server?.backend ?? null, this.#death))
      const flight = new Flight(statements, this.#prepared, performance.now())
      this.#waiting = { flight, resolve, reject }
      this.#client.query(flight as Submittable)
    })
  }

  /** Forgets what is prepared: another server process may answer the next time. */
  forgetPrepared(): void {
    this.#prepared.clear()
  }

  /** Says goodbye; resolves when the connection is closed. */
  async close(): Promise<void> {
    this.#isDead = true
    await this.#client.end().catch(() => undefined)
  }

  /** Cuts the connection, for this reason unless it is dead already: whoever waits gets LostReply. */
  destroy(reason: unknown): void {
    this.#died(reason)
    ;(this.#client as unknown as { connection: Wire }).connection.stream.destroy()
  }

  async #greet(client: Client): Promise<void> {
    const [answer] = await this.fly([{ name: '', text: ABOUT, values: [] }])
    const [version, pid, startedAt, isolation, synchronousCommit, isReadOnly, generation] = answer!.rows[0] as string[]
    // A pooler invents a process id of its own.
    this.#isPooled = Number(pid) !== (client as unknown as { processID: number }).processID
    this.server = {
      version: Number(version),
      backend: this.#isPooled || !startedAt ? null : { pid: Number(pid), startedAt },
      isReadOnly: isReadOnly === 'true',
      synchronousCommit: synchronousCommit!,
      generation: generation!,
    }
    if (isolation === READ_COMMITTED) return
    // Under any other isolation the check after a lock would look at the time before it.
    if (this.#isPooled) {
      throw new Error(`default_transaction_isolation is ${isolation}; behind a pooler it must be read committed`)
    }
    await this.fly([{ name: '', text: `SET default_transaction_isolation = '${READ_COMMITTED}'`, values: [] }])
  }

  #settle(): void {
    const waiting = this.#waiting
    if (waiting === null) return
    this.#waiting = null
    this.lastUsedMs = performance.now()
    const { flight, resolve, reject } = waiting
    if (flight.error === null) resolve(flight.answers)
    else reject(flight.error)
  }

  #died(reason: unknown): void {
    if (this.#isDead) return
    this.#isDead = true
    const waiting = this.#waiting
    this.#death = waiting?.flight.error ?? reason
    this.#waiting = null
    waiting?.reject(new LostReply(this.server?.backend ?? null, this.#death))
  }
}

const isAboutEncryption = (error: unknown): boolean =>
  /does not support SSL|SSL connection|pg_hba\.conf/i.test(String((error as Error | null)?.message))
