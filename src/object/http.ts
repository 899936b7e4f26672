/** Requests over HTTP as object stores need them: connections kept alive, bodies of known length read into one buffer, a time-out on
 *  connecting and on silence, the proxies of the environment. Nothing is tried again here, with one exception: a connection that
 *  was idle may be closed by the server in the very moment of the next request. That says nothing about the request, and all of
 *  ours can be repeated (puts carry the same bytes), so it is sent once more. */

import http from 'node:http'
import https from 'node:https'
import type { Duplex } from 'node:stream'
import { codeOf } from '../base/call.ts'
import { causeText, Fault } from '../base/fault.ts'
import { Unreachable } from './store.ts'
import type { SecureContextSetting } from './tls.ts'

/** Time-outs of the reference client (spec data-objects section 5). */
const CONNECT_MS = 10_000
const SILENCE_MS = 30_000
const IDLE_MS = 300_000
const MAX_CONNECTIONS = 500
export const USER_AGENT = 'juicefs-ts'

/** A server, as URLs name it. */
export interface Origin {
  readonly protocol: 'http:' | 'https:'
  /** without port and brackets */
  readonly hostname: string
  /** absent: the protocol's own */
  readonly port: number | undefined
}

export interface HttpRequest {
  readonly method: string
  readonly origin: Origin
  /** escaped, with the query */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Buffer | undefined
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
}

export interface HttpTimes {
  readonly connectMs: number
  /** without a byte in either direction */
  readonly silenceMs: number
}

export class HttpClient {
  readonly #tls: SecureContextSetting
  readonly #times: HttpTimes
  readonly #agents = new Map<string, http.Agent>()
  #isClosed = false

  constructor(tls: SecureContextSetting, times: HttpTimes = { connectMs: CONNECT_MS, silenceMs: SILENCE_MS }) {
    this.#tls = tls
    this.#times = times
  }

  /** The whole answer, whatever its status. Throws a Fault where there is none, or only a part of one. */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    const agent = this.#agentOf(request.origin)
    try {
      return await this.#sendOnce(request, agent)
    } catch (error) {
      if (!(error instanceof ReusedConnectionLost) || this.#isClosed) throw error
      return await this.#sendOnce(request, agent)
    }
  }

  close(): void {
    this.#isClosed = true
    for (const agent of this.#agents.values()) agent.destroy()
  }

  #sendOnce(request: HttpRequest, agent: http.Agent): Promise<HttpAnswer> {
    const { method, origin, path, headers, body } = request
    const { connectMs, silenceMs } = this.#times
    return new Promise((resolve, reject) => {
      const start = origin.protocol === 'https:' ? https.request : http.request
      const sent = start({
        agent,
        method,
        path,
        host: origin.hostname,
        port: origin.port,
        headers: { 'user-agent': USER_AGENT, ...headers, ...(body && { 'content-length': String(body.length) }) },
        timeout: silenceMs,
      })
      let response: http.IncomingMessage | undefined
      let isConnected = true
      sent.on('socket', socket => {
        if (!socket.connecting) return
        isConnected = false
        limitConnecting(
          socket,
          origin,
          connectMs,
          error => sent.destroy(error),
          () => (isConnected = true),
        )
      })
      sent.on('timeout', () => sent.destroy(new Fault(`${originText(origin)} is silent for ${silenceMs} ms`)))
      sent.on('error', error => {
        if (error instanceof Fault) reject(error)
        else if (!isConnected) reject(new Unreachable(originText(origin), plainCause(error)))
        else if (response === undefined && sent.reusedSocket && isLost(error)) reject(new ReusedConnectionLost(error))
        else reject(new Fault(`request to ${originText(origin)}`, { cause: plainCause(error) }))
      })
      sent.on('response', received => {
        response = received
        readBody(received, method === 'HEAD').then(
          bytes => {
            // An answer ahead of the end of the request is a refusal; the rest of the body must not be read from the caller's memory.
            if (!sent.writableFinished) sent.destroy()
            resolve({ status: received.statusCode!, headers: received.headers, body: bytes })
          },
          error => {
            sent.destroy()
            reject(error)
          },
        )
      })
      sent.end(body)
    })
  }

  #agentOf(origin: Origin): http.Agent {
    const isLocal = isLoopback(origin.hostname)
    const name = `${origin.protocol}${isLocal}`
    let agent = this.#agents.get(name)
    if (!agent) {
      const options = {
        keepAlive: true,
        maxSockets: MAX_CONNECTIONS,
        timeout: IDLE_MS,
        noDelay: true,
        // The machine itself is never asked through a proxy, as in every other tool.
        ...(isLocal ? {} : { proxyEnv: process.env }),
      }
      agent =
        origin.protocol === 'https:'
          ? new https.Agent({ ...options, ...this.#tls.connectOptions() })
          : new http.Agent(options)
      this.#agents.set(name, agent)
    }
    return agent
  }
}

export function originOf(url: URL): Origin {
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new Fault(`${url.protocol} is no protocol of HTTP`)
  return {
    protocol: url.protocol,
    hostname: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port ? Number(url.port) : undefined,
  }
}

/** As in the header `Host`. */
export function hostText({ hostname, port }: Origin): string {
  const name = hostname.includes(':') ? `[${hostname}]` : hostname
  return port === undefined ? name : `${name}:${port}`
}

export const originText = (origin: Origin): string => `${origin.protocol}//${hostText(origin)}`

export const isLoopback = (hostname: string): boolean => /^(localhost|127(\.\d+){3}|::1)$/.test(hostname)

class ReusedConnectionLost extends Fault {
  constructor(cause: unknown) {
    super('the server closed the connection', { cause })
  }
}

const isLost = (error: unknown): boolean => codeOf(error) === 'ECONNRESET' || codeOf(error) === 'EPIPE'

/** Attempts on several addresses fail together in an error without a message of its own. */
function plainCause(error: unknown): unknown {
  if (!(error instanceof AggregateError) || error.message !== '') return error
  return new Error(error.errors.map(causeText).join(', '), { cause: error })
}

function limitConnecting(
  socket: Duplex,
  origin: Origin,
  connectMs: number,
  abort: (error: Fault) => void,
  connected: () => void,
): void {
  const timer = setTimeout(
    () => abort(new Unreachable(originText(origin), `no answer within ${connectMs} ms`)),
    connectMs,
  )
  socket.once(origin.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
    clearTimeout(timer)
    connected()
  })
  socket.once('close', () => clearTimeout(timer))
}

function readBody(response: http.IncomingMessage, isHead: boolean): Promise<Buffer> {
  const stated = response.headers['content-length']
  const known = isHead ? 0 : stated === undefined ? undefined : Number(stated)
  return new Promise((resolve, reject) => {
    const whole = known === undefined ? undefined : Buffer.allocUnsafeSlow(known)
    const parts: Buffer[] = []
    let length = 0
    response.on('data', (part: Buffer) => {
      if (whole) part.copy(whole, length)
      else parts.push(part)
      length += part.length
    })
    response.on('end', () => {
      if (known === undefined) resolve(Buffer.concat(parts, length))
      else if (length === known) resolve(whole!)
      else reject(new Fault(`the answer has ${length} bytes instead of ${known}`))
    })
    response.on('error', error => {
      const of = known === undefined ? '' : ` of ${known}`
      reject(new Fault(`the answer was cut after ${length}${of} bytes`, { cause: error }))
    })
  })
}
