/** Requests over HTTP as object stores need them: connections kept alive, bodies read into one buffer, a time-out on connecting and
 *  on silence, the proxies of the environment. Nothing is tried again here, with one exception: a connection that was idle may be
 *  closed by the server in the very moment of the next request. That says nothing about the request, and all of ours can be repeated
 *  (puts carry the same bytes), so it is sent on the next connection, at last on a new one. */

import { TLSSocket } from 'node:tls'
import { Fault } from '../../base/fault.ts'
import { ConnectionLost, HttpConnection } from './connection.ts'
import { dial } from './dial.ts'
import type { HttpAnswer, HttpRequest } from './message.ts'
import { hostText, originText } from './origin.ts'
import { type ProxyServer, proxyOf } from './proxy.ts'
import type { SecureContextSetting } from './tls.ts'

const USER_AGENT = 'juicefs-ts'
/** of the reference client (spec data-objects section 5) */
const TIMES: HttpTimes = { connectMs: 10_000, silenceMs: 30_000 }
const TOTAL_MS = 3_600_000
const IDLE_MS = 300_000
const MAX_CONNECTIONS = 500

export interface HttpTimes {
  readonly connectMs: number
  /** without a byte in either direction */
  readonly silenceMs: number
  /** of an exchange, however it goes on; absent: an hour */
  readonly totalMs?: number
}

export class HttpClient {
  readonly #tls: SecureContextSetting
  readonly #times: HttpTimes
  readonly #servers = new Map<string, Server>()
  #isClosed = false

  constructor(tls: SecureContextSetting, times: HttpTimes = TIMES) {
    this.#tls = tls
    this.#times = times
  }

  /** The whole answer, whatever its status. Throws a Fault where there is none, or only a part of one; Unreachable where there was no
   *  connection. */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    if (this.#isClosed) throw new Fault('the store is closed')
    const server = this.#serverOf(request)
    await server.enter()
    try {
      return await this.#exchange(server, request)
    } finally {
      server.leave()
    }
  }

  close(): void {
    this.#isClosed = true
    for (const server of this.#servers.values()) for (const connection of [...server.connections]) connection.destroy()
  }

  async #exchange(server: Server, request: HttpRequest): Promise<HttpAnswer> {
    const { proxy } = server
    const isForwarded = proxy !== null && request.origin.protocol === 'http:'
    const target = isForwarded ? originText(request.origin) + request.path : request.path
    const headers = {
      host: hostText(request.origin),
      'user-agent': USER_AGENT,
      ...request.headers,
      ...(isForwarded && proxy.authorization && { 'proxy-authorization': proxy.authorization }),
    }
    for (;;) {
      const connection = server.idle.pop() ?? (await this.#connect(server, request))
      const { isReused } = connection
      const { silenceMs, totalMs = TOTAL_MS } = this.#times
      const tooLong = setTimeout(() => connection.destroy(`not done within ${totalMs} ms`), totalMs).unref()
      try {
        const answer = await connection.exchange({ ...request, headers }, target, silenceMs)
        if (connection.isUsable) server.keep(connection, idleMs(answer))
        return answer
      } catch (error) {
        const isStale = isReused && error instanceof ConnectionLost && error.isUnanswered
        if (!isStale || this.#isClosed) throw error
      } finally {
        clearTimeout(tooLong)
      }
    }
  }

  async #connect(server: Server, { origin }: HttpRequest): Promise<HttpConnection> {
    const connection = new HttpConnection(originText(origin), () => server.forget(connection))
    const route = { server: origin, proxy: server.proxy, tls: this.#tls, session: server.session, ...this.#times }
    const socket = await dial(route, connection.onread)
    if (socket instanceof TLSSocket) socket.on('session', session => (server.session = session))
    connection.use(socket)
    server.connections.add(connection)
    if (this.#isClosed) connection.destroy()
    return connection
  }

  #serverOf({ origin }: HttpRequest): Server {
    const name = originText(origin)
    let server = this.#servers.get(name)
    if (!server) this.#servers.set(name, (server = new Server(proxyOf(origin, process.env))))
    return server
  }
}

/** The connections to one server. */
class Server {
  readonly proxy: ProxyServer | null
  readonly connections = new Set<HttpConnection>()
  /** the one that was used last comes last, and is used next: the others may end */
  readonly idle: HttpConnection[] = []
  session: Buffer | undefined
  #busy = 0
  readonly #waiting: (() => void)[] = []

  constructor(proxy: ProxyServer | null) {
    this.proxy = proxy
  }

  async enter(): Promise<void> {
    if (this.#busy >= MAX_CONNECTIONS) await new Promise<void>(resolve => this.#waiting.push(resolve))
    else this.#busy++
  }
  leave(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#busy--
  }

  keep(connection: HttpConnection, forMs: number): void {
    connection.rest(Math.max(1, forMs))
    this.idle.push(connection)
  }
  forget(connection: HttpConnection): void {
    this.connections.delete(connection)
    const index = this.idle.indexOf(connection)
    if (index >= 0) this.idle.splice(index, 1)
  }
}

/** A second less than the server says, so that we are first to close. */
function idleMs({ headers }: HttpAnswer): number {
  const seconds = /timeout=(\d+)/i.exec(headers['keep-alive'] ?? '')?.[1]
  return seconds === undefined ? IDLE_MS : Math.min(IDLE_MS, (Number(seconds) - 1) * 1000)
}
