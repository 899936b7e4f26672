/** The limits for a client of an S3 server. Both have their requests signed beforehand, keep their connections, read bodies into memory that is
 *  used again, and check nothing but status and length:
 *
 *      bare      node:http, what a program on this runtime would use
 *      sockets   plain sockets and requests written out beforehand: no client could be written like this, and none can be faster here */

import http from 'node:http'
import https from 'node:https'
import { connect, type Socket } from 'node:net'
import tls from 'node:tls'
import { SignatureV4 } from '@smithy/signature-v4'
import { NodeSha256 } from '../src/object/s3/sha256.ts'
import { ACCESS_KEY, SECRET_KEY } from '../test/servers/s3.ts'

export interface BareServer {
  readonly port: number
  /** PEM of the authority; null: no TLS */
  readonly ca: string | null
}

/** One request, ready to be sent. */
export interface BareRequest {
  readonly method: 'GET' | 'PUT'
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** all of that, as it is sent */
  readonly head: Buffer
  readonly body: Buffer | null
  readonly answerBytes: number
}

/** `body`: what is put, or for a GET what is expected (its length). */
export async function bareRequest(
  server: BareServer,
  method: 'GET' | 'PUT',
  path: string,
  body: Buffer,
  more: Readonly<Record<string, string>> = {},
): Promise<BareRequest> {
  const signer = new SignatureV4({
    service: 's3',
    region: 'us-east-1',
    credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
    sha256: NodeSha256,
    uriEscapePath: false,
    applyChecksum: false,
  })
  const host = `127.0.0.1:${server.port}`
  const headers = { host, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', ...more }
  const request = { method, protocol: 'http:', hostname: '127.0.0.1', path, query: {}, headers }
  const signed = await signer.sign(request)
  const all = { ...signed.headers, ...(method === 'PUT' && { 'content-length': String(body.length) }) }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  const head = Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1')
  const isPut = method === 'PUT'
  return { method, path, headers: all, head, body: isPut ? body : null, answerBytes: isPut ? 0 : body.length }
}

/** The client `bare`: sends one request. */
export function bareSender({ port, ca }: BareServer): (request: BareRequest) => Promise<void> {
  const free: Buffer[] = []
  const { Agent, request: begin } = ca === null ? http : https
  const agent = new Agent({ keepAlive: true })
  return ({ method, path, headers, body, answerBytes }) =>
    new Promise((resolve, reject) => {
      const options = { agent, method, host: '127.0.0.1', port, path, headers, ...(ca !== null && { ca }) }
      const request = begin(options, response => {
        const into = free.pop() ?? Buffer.allocUnsafeSlow(MOST_BYTES)
        let length = 0
        response.on('data', (part: Buffer) => {
          length += part.copy(into, length)
        })
        response.on('end', () => {
          free.push(into)
          if (response.statusCode === 200 && length === answerBytes) resolve()
          else reject(new Error(`bare ${method}: status ${response.statusCode}, ${length} bytes`))
        })
      })
      request.on('error', reject)
      request.end(body ?? undefined)
    })
}

const MOST_BYTES = 4 << 20

/** The client `bare`: all requests, so many at a time; seconds it took. */
export async function sendAllBare(
  server: BareServer,
  requests: readonly BareRequest[],
  atOnce: number,
): Promise<number> {
  const send = bareSender(server)
  return timed(
    Array.from({ length: atOnce }, () => send),
    requests,
  )
}

async function timed(senders: readonly ((request: BareRequest) => Promise<void>)[], requests: readonly BareRequest[]) {
  const start = performance.now()
  let next = 0
  const work = async (send: (request: BareRequest) => Promise<void>): Promise<void> => {
    while (next < requests.length) await send(requests[next++]!)
  }
  await Promise.all(senders.map(work))
  return (performance.now() - start) / 1000
}

/** The client `sockets`: all requests, each of so many connections one at a time; seconds it took. */
export async function sendAllOverSockets(server: BareServer, requests: readonly BareRequest[], atOnce: number) {
  const connections = Array.from({ length: atOnce }, () => new BareConnection(server))
  await Promise.all(connections.map(each => each.open()))
  const senders = connections.map(each => (request: BareRequest) => each.send(request))
  const seconds = await timed(senders, requests)
  for (const connection of connections) connection.close()
  return seconds
}

const HEAD_ROOM = 16 << 10

class BareConnection {
  readonly #server: BareServer
  /** a head, and the body behind it */
  readonly #into = Buffer.allocUnsafeSlow(HEAD_ROOM + MOST_BYTES)
  #used = 0
  /** of head and body; 0 while the head is not whole */
  #expected = 0
  #request: BareRequest | undefined
  #socket: Socket | undefined
  #keepsAlive = true
  #settle: { resolve: () => void; reject: (error: Error) => void } | undefined

  constructor(server: BareServer) {
    this.#server = server
  }

  async open(): Promise<void> {
    const { port, ca } = this.#server
    const onread = {
      buffer: (): Buffer => this.#into.subarray(this.#used),
      callback: (length: number): boolean => {
        this.#take(length)
        return true
      },
    }
    const target = { host: '127.0.0.1', port, onread }
    const secure = { ...target, ca: ca ?? '' }
    const socket = ca === null ? connect(target) : tls.connect(secure)
    await new Promise<void>((resolve, reject) => {
      socket.once(ca === null ? 'connect' : 'secureConnect', resolve).once('error', reject)
    })
    socket.setNoDelay(true)
    socket.on('error', error => this.#settle?.reject(error))
    socket.on('close', () => this.#settle?.reject(new Error('the server closed the connection')))
    this.#socket = socket
    this.#keepsAlive = true
  }

  async send(request: BareRequest): Promise<void> {
    if (!this.#keepsAlive) {
      this.close()
      await this.open()
    }
    this.#used = 0
    this.#expected = 0
    this.#request = request
    await new Promise<void>((resolve, reject) => {
      this.#settle = { resolve, reject }
      const socket = this.#socket!
      socket.cork()
      socket.write(request.head)
      if (request.body) socket.write(request.body)
      socket.uncork()
    })
  }

  close(): void {
    this.#settle = undefined
    this.#socket?.destroy()
  }

  #take(length: number): void {
    this.#used += length
    if (this.#expected === 0) {
      const end = this.#into.subarray(0, this.#used).indexOf('\r\n\r\n')
      if (end < 0) return
      const head = this.#into.toString('latin1', 0, end)
      const bodyBytes = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
      if (!head.startsWith('HTTP/1.1 200') || bodyBytes !== this.#request!.answerBytes) {
        this.#settle?.reject(new Error(`the bare client was answered ${head}`))
        return
      }
      this.#keepsAlive = !/\r\nconnection: *close/i.test(head)
      this.#expected = end + 4 + bodyBytes
    }
    if (this.#used === this.#expected) this.#settle?.resolve()
  }
}
