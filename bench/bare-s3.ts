/** The limit for a client of an S3 server: requests signed and written out beforehand, over plain sockets that stay open, bodies
 *  read into memory that is used again. Nothing is checked but status and length; nobody could write a client like this, but
 *  nobody can be faster from Node either. */

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
  const headers = { host, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }
  const request = { method, protocol: 'http:', hostname: '127.0.0.1', path, query: {}, headers }
  const signed = await signer.sign(request)
  const lines = Object.entries(signed.headers).map(([name, value]) => `${name}: ${value}\r\n`)
  if (method === 'PUT') lines.push(`content-length: ${body.length}\r\n`)
  const head = Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1')
  return method === 'PUT' ? { head, body, answerBytes: 0 } : { head, body: null, answerBytes: body.length }
}

/** Sends all requests, `atOnce` at a time, each over its own connection; seconds it took. */
export async function sendAll(server: BareServer, requests: readonly BareRequest[], atOnce: number): Promise<number> {
  const largest = Math.max(...requests.map(each => each.answerBytes))
  const connections = Array.from({ length: atOnce }, () => new BareConnection(server, largest))
  await Promise.all(connections.map(each => each.open()))
  const start = performance.now()
  let next = 0
  const work = async (connection: BareConnection): Promise<void> => {
    while (next < requests.length) await connection.send(requests[next++]!)
  }
  await Promise.all(connections.map(work))
  const seconds = (performance.now() - start) / 1000
  for (const connection of connections) connection.close()
  return seconds
}

const HEAD_ROOM = 16 << 10

class BareConnection {
  readonly #server: BareServer
  /** a head, and the body behind it */
  readonly #into: Buffer
  #used = 0
  /** of head and body; 0 while the head is not whole */
  #expected = 0
  #request: BareRequest | undefined
  #socket: Socket | undefined
  #keepsAlive = true
  #settle: { resolve: () => void; reject: (error: Error) => void } | undefined

  constructor(server: BareServer, largestBody: number) {
    this.#server = server
    this.#into = Buffer.allocUnsafeSlow(HEAD_ROOM + largestBody)
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
