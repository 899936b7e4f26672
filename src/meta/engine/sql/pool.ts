/** A few connections for many flights (statements that travel together), and patience while the server is away.
 *
 *      run(flight) ─► an idle connection ─► answers
 *                 └─► the queue ─► whoever is free next; a new connection while there are fewer than the limit
 *
 *  A connection that cannot be made is tried again with a growing pause; flights that have not left yet wait for it, at most
 *  `patienceMs`. What was on a connection that broke is sent again only where its caller says that it may be. */

import { Fault } from '../../../base/fault.ts'
import { Tally } from '../tally.ts'
import { LostReply, wordsOf } from './lost-reply.ts'

/** How long the first connection may take, all together. */
const CONNECT_TIMEOUT_MS = 5000
const FIRST_PAUSE_MS = 20
const LAST_PAUSE_MS = 1000
const SWEEP_MS = 1000

/** `repeat`: reads, and what does no harm twice. `commit`: all or nothing; the caller finds out by itself what became of it when
 *  its reply is lost. */
export type Purpose = 'repeat' | 'commit'

export interface PoolOptions {
  /** how long a flight may wait for a connection, and then for its answer */
  readonly patienceMs: number
  /** 0 ≤ x < 1, for the jitter of pauses */
  readonly random: () => number
  readonly log: (message: string) => void
}

export interface PooledConnection {
  readonly isDead: boolean
  /** performance.now() at which the flight under way took off; null between flights */
  readonly busySinceMs: number | null
  /** performance.now() of the last answer */
  readonly lastUsedMs: number
  /** Says goodbye; resolves when the connection is closed. */
  close(): Promise<void>
  /** Cuts the connection: whoever waits gets LostReply. */
  destroy(reason: unknown): void
}

/** How a kind of server is spoken to. */
export interface Carrier<C extends PooledConnection, S, A> {
  /** as messages call it: `MySQL at 127.0.0.1:3306` */
  readonly place: string
  readonly maxConnections: number
  /** An unused connection is closed after so long, but for one. */
  readonly maxIdleMs: number
  /** Rejects with the socket's or the server's error. */
  connect(timeoutMs: number): Promise<C>
  /** One answer a statement. Rejects with the server's error (of a commit, nothing was done), or with LostReply. */
  fly(connection: C, statements: readonly S[], purpose: Purpose): Promise<readonly A[]>
  /** Is the server not there, or going, or coming, or full: worth another try? */
  isOutage(error: unknown): boolean
  /** Asked of the server's errors: has it now been seen to that the same flight can be sent again? */
  mends?(connection: C, error: unknown): boolean
}

interface Job<S, A> {
  readonly statements: readonly S[]
  readonly purpose: Purpose
  readonly deadlineMs: number
  readonly resolve: (answers: readonly A[]) => void
  readonly reject: (error: unknown) => void
}

export class Pool<C extends PooledConnection, S, A> {
  readonly tally = new Tally()
  /** for what the server told about itself */
  readonly first: C
  /** the one that was made last */
  #newest: C
  readonly #carrier: Carrier<C, S, A>
  readonly #options: PoolOptions
  readonly #all = new Set<C>()
  readonly #idle: C[] = []
  readonly #queue: Job<S, A>[] = []
  #opening = 0
  #failures = 0
  #outage: unknown
  #retry: NodeJS.Timeout | undefined
  readonly #sweep: NodeJS.Timeout
  #isClosed = false

  /** Makes the first connection within five seconds, or rejects with why not. */
  static async open<C extends PooledConnection, S, A>(
    carrier: Carrier<C, S, A>,
    options: PoolOptions,
  ): Promise<Pool<C, S, A>> {
    return new Pool(carrier, options, await carrier.connect(CONNECT_TIMEOUT_MS))
  }

  private constructor(carrier: Carrier<C, S, A>, options: PoolOptions, first: C) {
    this.#carrier = carrier
    this.#options = options
    this.first = first
    this.#newest = first
    this.tally.connects++
    this.#all.add(first)
    this.#idle.push(first)
    this.#sweep = setInterval(() => this.#sweepNow(), SWEEP_MS)
    this.#sweep.unref()
  }

  /** The connection that was made last: who answers now. */
  get newest(): C {
    return this.#newest
  }

  /** Sends the statements as one flight. Rejects with the server's error, LostReply (only `commit`), or a Fault (EIO) when the
   *  server was away for longer than our patience. */
  run(statements: readonly S[], purpose: Purpose): Promise<readonly A[]> {
    if (this.#isClosed) return Promise.reject(new Fault('the metadata database is closed'))
    return new Promise((resolve, reject) => {
      const job = { statements, purpose, deadlineMs: performance.now() + this.#options.patienceMs, resolve, reject }
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
    const room = this.#carrier.maxConnections - this.#all.size - this.#opening
    for (let i = Math.min(room, this.#queue.length - this.#opening); i > 0; i--) void this.#open()
  }

  async #send(connection: C, job: Job<S, A>): Promise<void> {
    const { statements, purpose } = job
    this.tally.requests++
    try {
      job.resolve(await this.#carrier.fly(connection, statements, purpose))
    } catch (error) {
      if (error instanceof LostReply) this.#lost(job, error)
      else if (this.#carrier.mends?.(connection, error)) this.#queue.unshift(job)
      else job.reject(error)
    }
    if (connection.isDead || this.#isClosed) this.#all.delete(connection)
    else this.#idle.push(connection)
    this.#dispatch()
  }

  #lost(job: Job<S, A>, error: LostReply): void {
    this.tally.lost++
    if (job.purpose === 'commit') job.reject(error)
    else if (performance.now() < job.deadlineMs) this.#queue.unshift(job)
    else job.reject(this.#away(error.cause))
  }

  async #open(): Promise<void> {
    this.#opening++
    try {
      const connection = await this.#carrier.connect(CONNECT_TIMEOUT_MS)
      if (this.#isClosed) return void connection.close()
      this.tally.connects++
      this.#failures = 0
      this.#outage = undefined
      this.#newest = connection
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
    if (!this.#carrier.isOutage(error)) {
      // Wrong password, no such database: waiting does not help.
      if (this.#all.size === 0) for (const job of this.#queue.splice(0)) job.reject(this.#away(error))
    } else if (this.#failures === 0 && this.#all.size === 0) {
      this.#options.log(`no connection to ${this.#carrier.place}: ${wordsOf(error)}`)
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
    while (this.#idle.length > 1 && nowMs - this.#idle[0]!.lastUsedMs > this.#carrier.maxIdleMs) {
      const connection = this.#idle.shift()!
      this.#all.delete(connection)
      void connection.close()
    }
  }

  #away(cause: unknown): Fault {
    return new Fault(`reach ${this.#carrier.place}`, { cause: new Error(wordsOf(cause), { cause }) })
  }
}
