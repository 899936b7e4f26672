/** One connection to a server: a request, its answer, the next request.
 *
 *  Bodies are read by the kernel straight into the buffer that the caller gets: the socket asks us for memory before each read, and
 *  once the length is known that is the body itself. node:http hands out every 64 KiB in a buffer of their own, which costs three to
 *  four times the CPU for a block of 4 MiB (docs/performance.md).
 *
 *      idle ─► head ─┬─► body (its length is known) ──┬─► idle
 *                    ├─► chunked ─────────────────────┤
 *                    └─► close (ends with the connection) ─► dead */

import type { Socket } from 'node:net'
import { Fault } from '../../base/fault.ts'
import { ownBytes } from '../../base/own-memory.ts'
import { ChunkedBody } from './chunked.ts'
import { decodeHead, encodeHead, framingOf, type Head, type HttpAnswer, type HttpRequest } from './message.ts'

const MAX_HEAD = 64 << 10
const FIRST_SCRATCH = 8 << 10

/** The connection ended, or could not be written to, before the answer was whole. */
export class ConnectionLost extends Fault {
  /** Nothing of an answer had come. */
  readonly isUnanswered: boolean

  constructor(doing: string, cause: unknown, isUnanswered: boolean) {
    super(doing, { cause })
    this.isUnanswered = isUnanswered
  }
}

interface Waiting {
  readonly method: string
  readonly resolve: (answer: HttpAnswer) => void
  readonly reject: (error: Fault) => void
}

type Phase = 'idle' | 'head' | 'body' | 'chunked' | 'close' | 'dead'

export class HttpConnection {
  readonly #name: string
  readonly #onDead: () => void
  #socket!: Socket
  #phase: Phase = 'idle'
  #waiting: Waiting | undefined
  /** answers so far */
  #answers = 0
  /** memory for heads and for bodies of unknown length */
  #scratch = Buffer.allocUnsafeSlow(FIRST_SCRATCH)
  #scratchUsed = 0
  #head: Head | undefined
  #body = Buffer.alloc(0)
  #bodyUsed = 0
  #chunked: ChunkedBody | undefined
  readonly #parts: Buffer[] = []

  /** `name`: of the server, for messages. `onDead`: it can serve nobody any more. */
  constructor(name: string, onDead: () => void) {
    this.#name = name
    this.#onDead = onDead
  }

  /** For the options of the socket, which asks for memory and tells how much of it was filled. */
  readonly onread = {
    buffer: (): Uint8Array => this.#unfilled(),
    callback: (length: number): boolean => {
      this.#take(length)
      return true
    },
  }

  /** Once it is connected. */
  use(socket: Socket): void {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('error', error => this.#fail(error))
    socket.on('end', () => this.#end())
    socket.on('close', () => this.#fail(new Error('the server closed the connection')))
    socket.on('timeout', () => this.#silent())
  }

  get isUsable(): boolean {
    return this.#phase === 'idle'
  }
  /** It has answered before: a server may have given up on it in silence. */
  get isReused(): boolean {
    return this.#answers > 0
  }

  /** One at a time. `target` is what stands in the first line. */
  exchange(request: HttpRequest, target: string, silenceMs: number): Promise<HttpAnswer> {
    const { method, headers, body } = request
    const head = encodeHead(method, target, body ? { ...headers, 'content-length': String(body.length) } : headers)
    return new Promise((resolve, reject) => {
      const socket = this.#socket
      this.#waiting = { method, resolve, reject }
      this.#phase = 'head'
      this.#scratchUsed = 0
      socket.ref()
      socket.setTimeout(silenceMs)
      socket.cork()
      socket.write(head, 'latin1')
      if (body?.length) socket.write(body)
      socket.uncork()
    })
  }

  /** Without a request it may not keep the process alive, nor itself for ever. */
  rest(idleMs: number): void {
    this.#socket.setTimeout(idleMs)
    this.#socket.unref()
  }

  destroy(why = 'the connection was closed'): void {
    this.#fail(new Error(why))
  }

  #unfilled(): Uint8Array {
    return this.#phase === 'body' ? this.#body.subarray(this.#bodyUsed) : this.#scratch.subarray(this.#scratchUsed)
  }

  /** So many bytes have come to where `#unfilled` said. */
  #take(length: number): void {
    try {
      switch (this.#phase) {
        case 'head':
          this.#scratchUsed += length
          this.#takeHead(length)
          break
        case 'body':
          this.#bodyUsed += length
          if (this.#bodyUsed === this.#body.length) this.#finish(this.#body)
          break
        case 'chunked':
          if (this.#chunked!.take(this.#scratch.subarray(0, length))) this.#finish(this.#chunked!.body())
          break
        case 'close':
          this.#parts.push(Buffer.from(this.#scratch.subarray(0, length)))
          break
        case 'idle':
          this.#fail(new Error('the server speaks unasked'))
          break
        case 'dead':
          break
      }
    } catch (error) {
      this.#fail(error)
    }
  }

  #takeHead(length: number): void {
    // The empty line may be split between this read and the one before.
    const from = Math.max(0, this.#scratchUsed - length - 3)
    const end = this.#scratch.subarray(0, this.#scratchUsed).indexOf('\r\n\r\n', from, 'latin1')
    if (end < 0) {
      if (this.#scratchUsed === this.#scratch.length) this.#growScratch()
      return
    }
    const head = decodeHead(this.#scratch.toString('latin1', 0, end))
    const rest = this.#scratch.subarray(end + 4, this.#scratchUsed)
    if (head.status >= 100 && head.status < 200) {
      // An interim answer; the real one follows.
      const { length: restLength } = rest
      this.#scratch.copyWithin(0, end + 4, this.#scratchUsed)
      this.#scratchUsed = restLength
      if (restLength > 0) this.#takeHead(restLength)
      return
    }
    this.#head = head
    this.#startBody(rest)
  }

  #startBody(rest: Buffer): void {
    const framing = framingOf(this.#waiting!.method, this.#head!)
    this.#scratchUsed = 0
    if (framing.kind === 'none') {
      // Some servers end such answers as if they had a body; what follows on this connection can then not be told apart.
      const isClean = rest.length === 0 && this.#head!.headers['transfer-encoding'] === undefined
      if (!isClean) this.#head = { ...this.#head!, keepsAlive: false }
      this.#finish(Buffer.alloc(0))
    } else if (framing.kind === 'length') {
      if (rest.length > framing.length) {
        throw new Fault(`the answer goes on after its ${framing.length} bytes`)
      }
      this.#body = ownBytes(framing.length)
      this.#bodyUsed = rest.copy(this.#body)
      this.#phase = 'body'
      if (this.#bodyUsed === framing.length) this.#finish(this.#body)
    } else if (framing.kind === 'chunked') {
      this.#phase = 'chunked'
      this.#chunked = new ChunkedBody()
      if (this.#chunked.take(rest)) this.#finish(this.#chunked.body())
    } else {
      this.#phase = 'close'
      this.#parts.push(Buffer.from(rest))
    }
  }

  #growScratch(): void {
    if (this.#scratch.length >= MAX_HEAD) throw new Fault(`the answer has more than ${MAX_HEAD} bytes of headers`)
    const larger = Buffer.allocUnsafeSlow(MAX_HEAD)
    this.#scratch.copy(larger)
    this.#scratch = larger
  }

  #finish(body: Buffer): void {
    const { resolve } = this.#waiting!
    const { status, headers, keepsAlive } = this.#head!
    this.#forget()
    this.#answers++
    // An answer ahead of the end of its request is a refusal: what is left of the body may not be read from the caller's memory.
    if (keepsAlive && this.#phase !== 'close' && this.#socket.writableLength === 0) this.#phase = 'idle'
    else this.#die()
    resolve({ status, headers, body })
  }

  #end(): void {
    if (this.#phase === 'close') this.#finish(Buffer.concat(this.#parts))
    else this.#fail(new Error('the server closed the connection'))
  }

  #silent(): void {
    this.#fail(new Fault(`${this.#name} is silent for ${this.#socket.timeout} ms`))
  }

  #fail(cause: unknown): void {
    if (this.#phase === 'dead') return
    const waiting = this.#waiting
    const error = waiting && this.#lost(cause)
    this.#forget()
    this.#die()
    if (error) waiting.reject(error)
  }

  #lost(cause: unknown): Fault {
    const phase = this.#phase
    if (phase === 'head') {
      if (cause instanceof Fault) return cause
      return new ConnectionLost(`request to ${this.#name}`, cause, this.#scratchUsed === 0)
    }
    const [got, of] =
      phase === 'body'
        ? [this.#bodyUsed, ` of ${this.#body.length}`]
        : [this.#chunked?.length ?? lengthOf(this.#parts), '']
    return new ConnectionLost(`the answer was cut after ${got}${of} bytes`, cause, false)
  }

  #forget(): void {
    this.#waiting = undefined
    this.#head = undefined
    this.#chunked = undefined
    this.#body = Buffer.alloc(0)
    this.#bodyUsed = 0
    this.#parts.length = 0
  }

  #die(): void {
    this.#phase = 'dead'
    this.#socket.destroy()
    this.#onDead()
  }
}

const lengthOf = (parts: readonly Buffer[]): number => parts.reduce((sum, part) => sum + part.length, 0)
