/** Seals and opens envelopes off the event loop, in a few threads (base/thread-pool.ts).
 *
 *      caller's bytes ─copy─► pooled buffer ─► thread: seal in place ─► the same buffer ─► put ─► back to the pool
 *      object's bytes ───────────────────────► thread: open in place ─► the same memory, the caller's now
 *
 *  Memory has one owner at a time: it is handed to the thread and handed back. An object's bytes that nobody calls his own are copied
 *  first (base/own-memory.ts). A copy into warm memory costs the event loop 0.25 ms of 4 MiB, and is made when a thread takes the
 *  job: many may wait. What is small is done at once: the message to a thread costs 0.03 ms here and 0.07 ms of waiting. */

import { availableParallelism } from 'node:os'
import { assert } from '../base/assert.ts'
import { Fault } from '../base/fault.ts'
import type { Maybe } from '../base/maybe.ts'
import { free, own, toOwn } from '../base/own-memory.ts'
import { ThreadPool } from '../base/thread-pool.ts'
import { type EnvelopeKey, envelopeBytes, headBytes, seal, unseal } from './envelope.ts'
import type { EnvelopeReply, EnvelopeRequest } from './envelope-worker.ts'

/** Sealed at once up to this length: 0.1 ms. */
const SMALL_PLAIN_BYTES = 64 << 10
/** Opened at once up to this length, unless unwrapping its key takes more than 0.3 ms. */
const SMALL_ENVELOPE_BYTES = 4 << 10
const FAST_KEY_BYTES = 256
const MAX_THREADS = 4
const JOBS_A_THREAD = 2
/** Pooled buffers are a multiple of this, so that blocks of one size share them whatever they were compressed to. */
const BUFFER_STEP_BYTES = 64 << 10

export interface Sealed {
  readonly envelope: Buffer
  /** Nobody looks at the envelope any more. */
  release(): void
}

export class EnvelopeThreads {
  readonly #key: EnvelopeKey
  readonly #maxThreads: number
  readonly #pool: ThreadPool<EnvelopeRequest, EnvelopeReply>
  readonly #idleBuffers: ArrayBuffer[] = []
  #isClosed = false

  constructor(key: EnvelopeKey, maxThreads: number = Math.min(MAX_THREADS, Math.max(1, availableParallelism() - 1))) {
    this.#key = key
    this.#maxThreads = maxThreads
    this.#pool = new ThreadPool({
      from: import.meta.url,
      module: './envelope-worker',
      workerData: key,
      maxThreads,
      jobsAThread: JOBS_A_THREAD,
      onIdle: () => {
        for (const buffer of this.#idleBuffers.splice(0)) free(buffer)
      },
    })
  }

  /** threads that run now */
  get threadCount(): number {
    return this.#pool.threadCount
  }
  /** memory kept for the next jobs */
  get idleBytes(): number {
    return this.#idleBuffers.reduce((sum, buffer) => sum + buffer.byteLength, 0)
  }

  /** `plain` is borrowed until the answer is there. */
  seal(plain: Buffer): Maybe<Sealed> {
    const bytes = envelopeBytes(this.#key, plain.length)
    if (plain.length <= SMALL_PLAIN_BYTES) {
      const envelope = Buffer.allocUnsafeSlow(bytes)
      envelope.set(plain, headBytes(this.#key))
      seal(this.#key, envelope)
      return { envelope, release: () => {} }
    }
    const make = (): EnvelopeRequest => {
      const memory = this.#bufferFor(bytes)
      new Uint8Array(memory).set(plain, headBytes(this.#key))
      return { kind: 'seal', memory, offset: 0, bytes }
    }
    return this.#run(make).then(({ memory }) => ({
      envelope: Buffer.from(memory, 0, bytes),
      release: () => this.#keep(memory),
    }))
  }

  /** `envelope` is the caller's no more if its memory has an owner, else borrowed until the answer is there. The plain bytes have one. A
   *  Fault where it cannot be opened. */
  unseal(envelope: Buffer): Maybe<Buffer> {
    if (envelope.length <= SMALL_ENVELOPE_BYTES && this.#key.bytes <= FAST_KEY_BYTES) {
      return own(unseal(this.#key, toOwn(envelope)))
    }
    const make = (): EnvelopeRequest => {
      const { buffer, byteOffset, length } = toOwn(envelope)
      return { kind: 'unseal', memory: buffer as ArrayBuffer, offset: byteOffset, bytes: length }
    }
    return this.#run(make).then(({ memory, plain }) => {
      assert(plain, 'an envelope that was opened has plain bytes')
      return own(Buffer.from(memory, plain.offset, plain.bytes))
    })
  }

  /** Ends the threads; jobs that have not been done are refused. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const buffer of this.#idleBuffers.splice(0)) free(buffer)
    await this.#pool.close(new Fault('encryption: the store is closed'))
  }

  async #run(make: () => EnvelopeRequest): Promise<EnvelopeReply> {
    const send = (): { request: EnvelopeRequest; handedOver: ArrayBuffer[] } => {
      const request = make()
      return { request, handedOver: [request.memory] }
    }
    const reply = await this.#pool.run(send).catch(error => {
      throw error instanceof Fault ? error : new Fault('encryption', { cause: error })
    })
    if (reply.failure === undefined) return reply
    free(reply.memory)
    throw new Fault(reply.failure)
  }

  #bufferFor(bytes: number): ArrayBuffer {
    const index = this.#idleBuffers.findIndex(buffer => buffer.byteLength >= bytes)
    if (index >= 0) return this.#idleBuffers.splice(index, 1)[0]!
    return Buffer.allocUnsafeSlow(Math.ceil(bytes / BUFFER_STEP_BYTES) * BUFFER_STEP_BYTES).buffer as ArrayBuffer
  }

  #keep(buffer: ArrayBuffer): void {
    if (!this.#isClosed && this.#idleBuffers.length < this.#maxThreads * JOBS_A_THREAD) this.#idleBuffers.push(buffer)
    else free(buffer)
  }
}
