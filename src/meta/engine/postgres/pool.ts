/** A few connections for many flights, and patience while the server is away.
 *
 *      run(flight) ─► an idle connection ─► answers
 *                 └─► the queue ─► whoever is free next; a new connection while there are fewer than the limit
 *
 *  A connection that cannot be made is tried again with a growing pause; flights that have not left yet wait for it, at most
 *  `patienceMs`. What was on a connection that broke is sent again only where its caller says that it may be. */

import { causeText, Fault } from '../../../base/fault.ts'
import { Tally } from '../tally.ts'
import { PgConnection, type Server } from './connection.ts'
import { isOutage, isPoolersFault, LostReply } from './errors.ts'
import type { Answer, Statement } from './flight.ts'
import type { PostgresUrl } from './url.ts'

/** How long the first connection may take, all together. */
export const CONNECT_TIMEOUT_MS = 5000
const FIRST_PAUSE_MS = 20
const LAST_PAUSE_MS = 1000
const SWEEP_MS = 1000

/** `repeat`: reads, and what does no harm twice. `report`: the caller finds out by itself what became of it. */
export type WhenLost = 'repeat' | 'report'

export interface PoolOptions {
  /** how long a flight may wait for a connection, and then for its answer */
  readonly patienceMs: number
  /** 0 ≤ x < 1, for the jitter of pauses */
  readonly random: () => number
  readonly log: (message: string) => void
}

interface Job {
  readonly statements: readonly Statement[]
  readonly whenLost: WhenLost
  readonly deadlineMs: number
  readonly resolve: (answers: readonly Answer[]) => void
  readonly reject: (error: unknown) => void
}

export class Pool {
  readonly tally = new Tally()
  readonly server: Server
  readonly #url: PostgresUrl
  readonly #options: PoolOptions
  readonly #all = new Set<PgConnection>()
  readonly #idle: PgConnection[] = []
  readonly #queue: Job[] = []
  #isUnnamed: boolean
  #opening = 0
  #failures = 0
  #outage: unknown
  #retry: NodeJS.Timeout | undefined
  readonly #sweep: NodeJS.Timeout
  #isClosed = false

  /** Makes the first connection within five seconds, or rejects with why not. */
  static async open(url: PostgresUrl, options: PoolOptions): Promise<Pool> {
    return new Pool(url, options, await PgConnection.open(url, CONNECT_TIMEOUT_MS))
  }

  private constructor(url: PostgresUrl, options: PoolOptions, first: PgConnection) {
    this.#url = url
    this.#options = options
    this.server = first.server
    // Behind a pooler a transaction may meet any server process, and none that knows its statements.
    this.#isUnnamed = !url.prepared || first.server.backend === null
    this.tally.connects++
    this.#all.add(first)
    this.#idle.push(first)
    this.#sweep = setInterval(() => this.#sweepNow(), SWEEP_MS)
    this.#sweep.unref()
  }

  /** Sends the statements as one flight. Rejects with the server's error, LostReply (only `report`), or a Fault (EIO) when the
   *  server was away for longer than our patience. */
  run(statements: readonly Statement[], whenLost: WhenLost): Promise<readonly Answer[]> {
    if (this.#isClosed) return Promise.reject(new Fault('the metadata database is closed'))
    return new Promise((resolve, reject) => {
      const job = { statements, whenLost, deadlineMs: performance.now() + this.#options.patienceMs, resolve, reject }
      this.#queue.push(job)
      this.#dispatch()
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#sweep)
    clearTimeout(this.#retry)
    for (const job of this.#queue.splice(0)) job.reject(new Fault('the metadata database is closed'))
    await Promise.all([...this.#all].map(connection => connection.close()))
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      const connection = this.#idle.pop()
      if (connection === undefined) break
      if (connection.isDead) this.#all.delete(connection)
      else void this.#send(connection, this.#queue.shift()!)
    }
    if (this.#retry !== undefined) return
    const room = this.#url.maxConnections - this.#all.size - this.#opening
    for (let i = Math.min(room, this.#queue.length - this.#opening); i > 0; i--) void this.#open()
  }

  async #send(connection: PgConnection, job: Job): Promise<void> {
    const { statements } = job
    this.tally.requests++
    try {
      const flight = this.#isUnnamed ? statements.map(statement => ({ ...statement, name: '' })) : statements
      job.resolve(await connection.fly(flight))
    } catch (error) {
      if (!(error instanceof LostReply)) this.#refused(connection, job, error)
      else this.#lost(job, error)
    }
    if (connection.isDead || this.#isClosed) this.#all.delete(connection)
    else this.#idle.push(connection)
    this.#dispatch()
  }

  /** The server has undone what there was of it. */
  #refused(connection: PgConnection, job: Job, error: unknown): void {
    if (!this.#isUnnamed && isPoolersFault(error)) {
      this.#options.log(`no prepared statements from now on, a pooler is in the way: ${causeText(error)}`)
      this.#isUnnamed = true
      connection.forgetPrepared()
      this.#queue.unshift(job)
    } else {
      job.reject(error)
    }
  }

  #lost(job: Job, error: LostReply): void {
    this.tally.lost++
    if (job.whenLost === 'report') job.reject(error)
    else if (performance.now() < job.deadlineMs) this.#queue.unshift(job)
    else job.reject(this.#away(error.cause))
  }

  async #open(): Promise<void> {
    this.#opening++
    try {
      const connection = await PgConnection.open(this.#url, CONNECT_TIMEOUT_MS)
      if (this.#isClosed) return void connection.close()
      this.tally.connects++
      this.#failures = 0
      this.#outage = undefined
      this.#all.add(connection)
      this.#idle.push(connection)
    } catch (error) {
      this.#failed(error)
    } finally {
      this.#opening--
    }
    this.#dispatch()
  }

  #failed(error: unknown): void {
    if (this.#isClosed) return
    if (!isOutage(error)) {
      // Wrong password, no such database: waiting does not help.
      if (this.#all.size === 0) for (const job of this.#queue.splice(0)) job.reject(this.#away(error))
    } else if (this.#failures === 0 && this.#all.size === 0) {
      this.#options.log(`no connection to PostgreSQL at ${this.#url.address}: ${causeText(error)}`)
    }
    // A server that is full still serves those who are in.
    this.#failures++
    this.#outage = error
    this.#pause()
  }

  #pause(): void {
    if (this.#retry !== undefined) return
    const pauseMs = Math.min(LAST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.#failures, 10))
    this.#retry = setTimeout(
      () => {
        this.#retry = undefined
        this.#dispatch()
      },
      pauseMs * (0.5 + this.#options.random() / 2),
    )
  }

  #sweepNow(): void {
    const nowMs = performance.now()
    for (const connection of this.#all) {
      const since = connection.busySinceMs
      if (since !== null && nowMs - since > this.#options.patienceMs) {
        connection.destroy(new Error(`no answer within ${this.#options.patienceMs / 1000} s`))
      }
    }
    while (this.#queue.length > 0 && this.#queue[0]!.deadlineMs < nowMs) {
      this.#queue.shift()!.reject(this.#away(this.#outage ?? 'every connection is busy'))
    }
    // The longest unused are at the front.
    while (this.#idle.length > 1 && nowMs - this.#idle[0]!.lastUsedMs > this.#url.maxIdleMs) {
      const connection = this.#idle.shift()!
      this.#all.delete(connection)
      void connection.close()
    }
  }

  #away(cause: unknown): Fault {
    return new Fault(`reach PostgreSQL at ${this.#url.address}`, { cause })
  }
}
