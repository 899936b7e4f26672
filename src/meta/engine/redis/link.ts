/** One connection to the server that holds the volume, made again whenever it breaks.
 *
 *      connecting ─► handshake (AUTH, SELECT) ─► CLIENT ID, INFO ─► ready ─► requests, all in one pipeline
 *          ▲                                          │ replica, loading             │ broken
 *          └──────── back-off, doubling ◄─────────────┴──────────────────────────────┘
 *
 *  The client library connects again by itself but never sends anything twice: it fails what was under way. Here it is decided
 *  who may be sent again. A request waits while there is no connection, for `patienceMs` at most. Requests of one turn of the
 *  event loop leave in one write. */

import { Redis, type RedisOptions } from 'ioredis'
import { Fault } from '../../../base/fault.ts'
import type { Tally } from '../tally.ts'
import { clusterConnector } from './cluster.ts'
import { faultOf, isElsewhere, isPassing, isReply, LostReply, reasonOf } from './errors.ts'
import type { Arg, Reply } from './instruction.ts'
import { parseInfo, type ServerInfo, type Session } from './server-info.ts'
import { type Place, placeText, type RedisUrl } from './url.ts'

export const OPEN_TIMEOUT_MS = 5000
const SENTINEL_TIMEOUT_MS = 1500
/** how long a server may go on reading its data from disk while a mount starts */
const LOADING_TIMEOUT_MS = 60_000
/** A request that found no connection for so long fails: twice what Sentinel needs to choose another master. */
export const PATIENCE_MS = 60_000
const KEEP_ALIVE_MS = 30_000
const FIRST_PAUSE_MS = 5
const LAST_PAUSE_MS = 1000

export interface LinkOptions {
  readonly url: RedisUrl
  readonly place: Place
  /** what keys begin with; decides which server of a cluster it is */
  readonly prefix: string
  readonly db: number
  /** A read-only mount may ask a replica. */
  readonly mayBeReplica: boolean
  readonly patienceMs: number
  readonly tally: Tally
}

export interface Request {
  /** in words, for the fault */
  readonly doing: string
  /** May be sent again when its reply was lost. */
  readonly again: boolean
}

export class Link {
  readonly address: string
  readonly #redis: Redis
  readonly #options: LinkOptions
  #session: Session | null = null
  /** why there is no connection, as last heard */
  #problem: string
  #isLoading = false
  /** an attempt has failed since the start, for a reason that waiting does not mend */
  #hasFailed = false
  /** counts connections made and broken */
  #connection = 0
  #isClosed = false
  #isCorked = false
  /** of the server that answered last */
  #runId: string | null = null
  /** Called where another server answers than before, or one that was started anew, before any request goes there. */
  onOtherServer: ((call: (name: string, ...args: Arg[]) => Promise<Reply>) => Promise<void>) | null = null
  #waiting: (() => void)[] = []

  constructor(options: LinkOptions) {
    this.#options = options
    // A server that does not speak TLS waits for the end of what it takes for a command.
    this.#problem = options.url.tls ? 'no answer to TLS (redis:// is for servers without)' : 'no answer'
    this.address = placeText(options.place)
    this.#redis = new Redis(redisOptions(options, problem => this.#fail(problem)))
    this.#redis.on('error', (error: Error) => this.#heard(error))
    this.#redis.on('sentinelError', (error: Error) => this.#fail(error.message))
    this.#redis.on('close', () => this.#down())
    this.#redis.on('ready', () => void this.#introduce())
  }

  /** Connects for the first time. A Fault says within 5 s what is wrong; only a server that still loads is waited for. */
  async open(): Promise<Session> {
    const doing = `connect to Redis at ${this.address}`
    const started = performance.now()
    // Where there are several to ask, one failure is not the end.
    const isOne = this.#options.place.kind === 'server' || this.#options.place.kind === 'socket'
    this.#redis.connect().catch(() => undefined) // told by the events
    for (;;) {
      if (this.#session) return this.#session
      if (this.#hasFailed && isOne) throw new Fault(`${doing}: ${this.#problem}${this.#hint()}`)
      const patience = this.#isLoading ? LOADING_TIMEOUT_MS : OPEN_TIMEOUT_MS
      const leftMs = patience - (performance.now() - started)
      if (leftMs <= 0) throw new Fault(`${doing}: ${this.#problem}${this.#hint()}`)
      await this.#change(leftMs)
    }
  }

  /** A port that speaks TLS hangs up on who does not. */
  #hint(): string {
    const isHungUp = /ECONNRESET/.test(this.#problem) && !this.#options.url.tls
    return isHungUp ? ' (rediss:// is for servers with TLS)' : ''
  }

  /** The connection, as soon as there is one. Fault (EIO) when the patience ends. */
  async ready(doing: string, deadline = performance.now() + this.#options.patienceMs): Promise<Session> {
    for (;;) {
      if (this.#session) return this.#session
      const leftMs = deadline - performance.now()
      if (this.#isClosed) throw new Fault(`${doing}: the connection to Redis is closed`)
      if (leftMs <= 0) {
        const seconds = Math.round(this.#options.patienceMs / 1000)
        throw new Fault(`${doing}: Redis at ${this.address} could not be reached for ${seconds} s: ${this.#problem}`)
      }
      await this.#change(leftMs)
    }
  }

  get tally(): Tally {
    return this.#options.tally
  }

  get session(): Session | null {
    return this.#session
  }

  /** Sends at once; the caller has a session in hand. Rejects with the server's error, or with LostReply. */
  async send(name: string, args: readonly Arg[]): Promise<Reply> {
    const session = this.#session
    if (session === null) throw new Fault(`send ${name}: not connected`)
    this.#cork()
    this.#options.tally.requests++
    try {
      return (await this.#redis.callBuffer(name, args as Arg[])) as Reply
    } catch (error) {
      if (isReply(error)) throw error
      this.#options.tally.lost++
      throw new LostReply(session, error)
    }
  }

  /** Sends, waiting for a connection and for a server that is busy, loading or changing roles. A lost reply is sent again if
   *  it may, else it is thrown as LostReply. Other errors of the server are thrown as they are. */
  async request(name: string, args: readonly Arg[], { doing, again }: Request): Promise<Reply> {
    const deadline = performance.now() + this.#options.patienceMs
    for (let attempt = 0; ; attempt++) {
      if (this.#session === null) await this.ready(doing, deadline)
      try {
        return await this.send(name, args)
      } catch (error) {
        if (error instanceof LostReply) {
          if (!again) throw error
        } else if (!isPassing(error)) {
          throw error
        }
        if (performance.now() >= deadline) throw faultOf(error, doing)
        this.#options.tally.retried(reasonOf(error))
        if (isElsewhere(error)) this.reconnect((error as Error).message)
        await pause(Math.min(FIRST_PAUSE_MS * 2 ** attempt, LAST_PAUSE_MS))
      }
    }
  }

  /** This is not the server to ask: connect anew, to whoever is by then. */
  reconnect(problem: string): void {
    if (this.#session === null) return
    this.#problem = problem
    this.#session = null
    this.#redis.disconnect(true)
  }

  close(): void {
    this.#isClosed = true
    this.#session = null
    this.#redis.disconnect()
    this.#wake()
  }

  /** Asks who we are to the server, and whether it is the one: a replica, or one that is still loading, is not. */
  async #introduce(): Promise<void> {
    const redis = this.#redis
    const connection = ++this.#connection
    try {
      const clientId = redis.callBuffer('CLIENT', ['ID']).then(
        reply => (typeof reply === 'number' ? reply : null),
        () => null, // before 5.0, or not allowed
      )
      const text = await redis.callBuffer('INFO', []).catch((error: Error) => {
        if (/^(NOPERM|ERR unknown command)/.test(error.message)) return ''
        throw error
      })
      const info = parseInfo(String(text))
      const problem = this.#problemWith(info)
      if (problem !== null) {
        this.#problem = problem
        if (!this.#isLoading) this.#hasFailed = true
        this.#wake()
        redis.disconnect(true)
        return
      }
      const session = { clientId: await clientId, info }
      if (this.#runId !== null && info.runId !== this.#runId) {
        const call = async (name: string, ...args: Arg[]): Promise<Reply> =>
          (await redis.callBuffer(name, args)) as Reply
        await this.onOtherServer?.(call)
      }
      this.#runId = info.runId
      if (connection !== this.#connection) return // broken meanwhile
      this.#session = session
      this.#options.tally.connects++
      this.#wake()
    } catch (error) {
      this.#heard(error as Error)
      if (isReply(error)) redis.disconnect(true)
    }
  }

  #problemWith(info: ServerInfo): string | null {
    this.#isLoading = info.isLoading
    if (info.isLoading) return 'it is still loading its data'
    if (info.role !== 'slave' || this.#options.mayBeReplica) return null
    return `it is a read-only replica of ${info.master ?? 'another server'}; the volume must be mounted from its master`
  }

  #heard(error: Error): void {
    const errors = (error as AggregateError).errors as Error[] | undefined
    this.#fail(errors?.[0]?.message ?? error.message)
    // The library goes on with database 0 where SELECT fails.
    if (isReply(error)) this.#redis.disconnect(true)
  }

  #fail(problem: string): void {
    this.#problem = problem
    this.#isLoading = /\bLOADING\b/.test(problem)
    this.#hasFailed = !this.#isLoading
    this.#wake()
  }

  #down(): void {
    this.#connection++
    this.#session = null
    this.#isCorked = false
    this.#wake()
  }

  #wake(): void {
    for (const resume of this.#waiting.splice(0)) resume()
  }

  /** Resolves when something has happened to the connection, or after this time. */
  #change(timeoutMs: number): Promise<void> {
    return new Promise(resolve => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#waiting.push(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  #cork(): void {
    if (this.#isCorked) return
    this.#isCorked = true
    const { stream } = this.#redis
    stream.cork()
    setImmediate(() => {
      this.#isCorked = false
      stream.uncork()
    })
  }
}

export const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

function redisOptions(options: LinkOptions, onProblem: (problem: string) => void): RedisOptions {
  const { url } = options
  const backOff = (attempt: number): number => Math.min(url.maxRetryMs, url.minRetryMs * 2 ** Math.min(attempt - 1, 20))
  return {
    // Ours ends first, and knows more to say.
    connectTimeout: OPEN_TIMEOUT_MS + 1000,
    ...whereTo(options, backOff, onProblem),
    db: options.db,
    ...(url.username === undefined ? {} : { username: url.username }),
    ...(url.password === undefined ? {} : { password: url.password }),
    ...(url.tls ? { tls: url.tls } : {}),
    protocol: 2,
    lazyConnect: true,
    /** nothing heard for so long while replies are due: the connection is dead */
    socketTimeout: url.readTimeoutMs,
    keepAlive: KEEP_ALIVE_MS,
    noDelay: true,
    retryStrategy: backOff,
    enableReadyCheck: false,
    // What is under way when the connection breaks fails at once, and nothing waits in the library or is sent twice by it.
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    connectionName: 'juicefs-ts',
    disableClientInfo: true,
  }
}

function whereTo(
  { url, place, prefix }: LinkOptions,
  backOff: (attempt: number) => number,
  onProblem: (problem: string) => void,
): RedisOptions {
  switch (place.kind) {
    case 'server':
      return { host: place.host, port: place.port }
    case 'socket':
      return { path: place.path }
    case 'sentinel':
      return {
        name: place.master,
        sentinels: place.sentinels.map(({ host, port }) => ({ host, port })),
        ...(url.sentinelPassword ? { sentinelPassword: url.sentinelPassword } : {}),
        ...(url.tls ? { enableTLSForSentinelMode: true, sentinelTLS: url.tls } : {}),
        sentinelRetryStrategy: backOff,
        // The next one gets his turn before the time to open is over.
        connectTimeout: SENTINEL_TIMEOUT_MS,
        sentinelCommandTimeout: SENTINEL_TIMEOUT_MS,
      }
    case 'cluster':
      return { Connector: clusterConnector({ url, seeds: place.seeds, prefix, backOff, onProblem }) }
  }
}
