/** One connection: mysql2 speaks the protocol; packets of statements go over it one at a time.
 *
 *      commit   BEGIN; statement; statement; …; COMMIT        one packet there, one answer back
 *
 *  The server runs the statements of a packet in order and stops at the first that fails. Then the transaction is open still,
 *  and is rolled back before anything else is sent: a second round trip, for those who lost only. */

import type { Connection, RowDataPacket } from 'mysql2'
import { Fault } from '../../../base/fault.ts'
import { LostReply } from '../sql/lost-reply.ts'
import {
  isAboutEncryption,
  isChanged,
  isTaken,
  isUncertain,
  reasonOf,
  type ServerError,
  type Session,
} from './errors.ts'
import { type Answer, type Statement, spelled } from './statement.ts'
import type { MysqlUrl } from './url.ts'

/** What the server told about itself. */
export interface Server {
  /** `10.11.6-MariaDB`, `8.0.36` */
  readonly version: string
  /** which server of all: `host:port:server_id` */
  readonly name: string
  /** null where the server gave no lock to know it by */
  readonly session: Session | null
  /** innodb_flush_log_at_trx_commit */
  readonly flushes: number
  /** binlog_format, where there is a binary log */
  readonly binlog: string | null
  readonly maxPacketBytes: number
}

/** `transaction`: all or nothing. `alone`: each for itself. */
export type Travel = 'transaction' | 'alone'

const ABOUT = `SELECT @@version, concat_ws(':', @@hostname, @@port, @@server_id), @@innodb_flush_log_at_trx_commit,
  IF(@@log_bin, @@binlog_format, NULL), @@max_allowed_packet`

/** Whatever the server's defaults: check after a lock sees the newest rows; what does not fit fails instead of being cut; a
 *  transaction that somebody left open delays us for seconds, not for a minute; chains of parents may be long. The two
 *  comments are run by MariaDB and by MySQL. */
const SETTINGS = [
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  `SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION autocommit = 1,
    SESSION innodb_lock_wait_timeout = 5, SESSION wait_timeout = 86400
    /*M! , SESSION max_recursive_iterations = 5000 */ /*!80003 , SESSION cte_max_recursion_depth = 5000 */`,
]

const LOCK = [`SET @juicefs_ts = concat('juicefs-ts ', UUID())`, 'SELECT GET_LOCK(@juicefs_ts, 0), @juicefs_ts']

/** room for the packet's head */
const PACKET_SLACK = 1024
const GOODBYE_MS = 1000

export class MysqlConnection {
  readonly #client: Connection
  #reject: ((error: LostReply) => void) | null = null
  #busySinceMs: number | null = null
  #death: unknown
  #isDead = false
  server!: Server
  /** performance.now() of the last answer */
  lastUsedMs = performance.now()

  /** Connects, asks the server about itself, and sets what we rely on. Rejects with the socket's or the server's error. */
  static async open(url: MysqlUrl, timeoutMs: number): Promise<MysqlConnection> {
    let failure: unknown
    for (const ssl of url.encryption) {
      try {
        return await MysqlConnection.#connect(url, ssl, timeoutMs)
      } catch (error) {
        failure ??= error
        if (!isAboutEncryption(error)) throw error
      }
    }
    throw failure
  }

  static async #connect(
    url: MysqlUrl,
    ssl: MysqlUrl['encryption'][number],
    timeoutMs: number,
  ): Promise<MysqlConnection> {
    const { default: mysql } = await import('mysql2')
    const client = mysql.createConnection({
      ...(url.socketPath === undefined ? { host: url.host, port: url.port } : { socketPath: url.socketPath }),
      user: url.user,
      password: url.password ?? '',
      database: url.database,
      ...(ssl === false ? {} : { ssl: { rejectUnauthorized: ssl.isChecked, verifyIdentity: ssl.isChecked } }),
      charset: 'utf8mb4',
      multipleStatements: true,
      flags: ['-LOCAL_FILES'], // the server must not ask for files of ours
      supportBigNumbers: true,
      connectTimeout: 0, // ours covers the greeting too
      enableKeepAlive: true,
      keepAliveInitialDelay: 10_000,
    })
    // Where the driver gives no name to compare with, as for an address, Node takes the one that it keeps here.
    ;(client as unknown as { stream: { _host?: string } }).stream._host = url.host
    const connection = new MysqlConnection(client)
    const late = setTimeout(() => connection.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)), timeoutMs)
    try {
      await connection.#handshake()
      await connection.#greet()
    } catch (error) {
      connection.destroy(error)
      throw error instanceof LostReply ? error.cause : error
    } finally {
      clearTimeout(late)
    }
    return connection
  }

  private constructor(client: Connection) {
    this.#client = client
    client.on('error', error => this.#died(error))
    client.on('end', () => this.#died(new Error('the server closed the connection')))
  }

  get isDead(): boolean {
    return this.#isDead
  }

  /** performance.now() at which the packet under way was sent; null between packets */
  get busySinceMs(): number | null {
    return this.#busySinceMs
  }

  /** One answer a statement. Rejects with the server's error (of a transaction nothing was done), or with LostReply. */
  async fly(statements: readonly Statement[], travel: Travel): Promise<readonly Answer[]> {
    if (travel === 'alone') return (await this.#send(statements.map(spelled))) as Answer[]
    try {
      const answers = await this.#send(['BEGIN', ...statements.map(spelled), 'COMMIT'])
      return answers.slice(1, -1)
    } catch (error) {
      if (!(error instanceof LostReply || error instanceof Fault))
        await this.#send(['ROLLBACK']).catch(failure => this.destroy(failure))
      throw error
    }
  }

  /** Says goodbye; resolves when the connection is closed. */
  async close(): Promise<void> {
    this.#isDead = true
    await new Promise<void>(resolve => {
      const late = setTimeout(resolve, GOODBYE_MS)
      this.#client.end(() => {
        clearTimeout(late)
        resolve()
      })
    })
    this.#client.destroy()
  }

  /** Cuts the connection: whoever waits gets LostReply. */
  destroy(reason: unknown): void {
    this.#died(reason)
    this.#client.destroy()
  }

  #handshake(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#reject = reject
      this.#client.connect(error => (error ? reject(error) : resolve()))
    })
  }

  async #greet(): Promise<void> {
    const [about] = await this.#send([ABOUT])
    const [version, server, flushes, binlog, maxPacketBytes] = about!.rows[0] as [
      string,
      string,
      unknown,
      string,
      unknown,
    ]
    this.server = {
      version,
      name: server,
      session: null,
      flushes: Number(flushes),
      binlog,
      maxPacketBytes: Number(maxPacketBytes),
    }
    await this.#send(SETTINGS)
    try {
      const [, held] = await this.#send(LOCK)
      const [isHeld, lock] = held!.rows[0] as [unknown, string]
      if (Number(isHeld) === 1) this.server = { ...this.server, session: { lock, server } }
    } catch (error) {
      if (error instanceof LostReply) throw error // some clusters refuse such locks
    }
  }

  #send(texts: readonly string[]): Promise<Answer[]> {
    return new Promise((resolve, reject) => {
      if (this.#isDead) return reject(this.#lost(this.#death))
      const sql = texts.join(';\n')
      const { maxPacketBytes = Infinity } = this.server ?? {}
      if (sql.length + PACKET_SLACK > maxPacketBytes) {
        return reject(new Fault(`send ${sql.length} bytes to MySQL: its max_allowed_packet is ${maxPacketBytes}`))
      }
      this.#reject = reject
      this.#busySinceMs = performance.now()
      let answered = 0
      const query = this.#client.query<RowDataPacket[][]>({ sql, rowsAsArray: true }, (error, results) => {
        this.#reject = null
        this.#busySinceMs = null
        this.lastUsedMs = performance.now()
        if (!error) return resolve(answersOf(results, texts.length))
        const isEnd = texts.at(-1) === 'COMMIT' && answered >= texts.length - 1
        if (!isUnknown(error, isEnd)) return reject(error)
        this.destroy(error)
        reject(this.#lost(error))
      })
      query.on('fields', () => {
        answered++
      })
    })
  }

  #lost(cause: unknown): LostReply {
    return new LostReply(this.server?.session ?? null, cause)
  }

  #died(reason: unknown): void {
    if (this.#isDead) return
    this.#isDead = true
    this.#death = reason
    this.#busySinceMs = null
    this.#reject?.(this.#lost(reason))
    this.#reject = null
  }
}

/** May it be that what was sent is done? `isEnd`: nothing but the COMMIT was left to fail. */
function isUnknown(error: ServerError, isEnd: boolean): boolean {
  if (error.fatal === true || error.sqlState === undefined || isUncertain(error)) return true
  return isEnd && !(isChanged(error) || isTaken(error) || reasonOf(error) !== null)
}

/** The driver gives one result as it is, several as a list; and of a statement without rows a head. */
function answersOf(results: unknown, count: number): Answer[] {
  const all = count === 1 ? [results] : (results as unknown[])
  return all.map(rows => ({ rows: Array.isArray(rows) ? (rows as unknown[][]) : [] }))
}
