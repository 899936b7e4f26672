/** Seals and opens envelopes off the event loop, in a few threads that are started when they are first needed.
 *
 *      caller's bytes ─copy─► room ─► thread: seal in place ─► the same room ─► put ─► back to the idle rooms
 *      object's bytes ─copy─► room ─► thread: open ──────────► plain bytes of their own, and the room back
 *
 *  A room is memory with one owner at a time: it is handed to the thread and handed back. The copy into warm memory costs the event
 *  loop 0.25 ms of 4 MiB, where encryption costs 2 to 3 ms (docs/performance.md). What is small is done at once: the message to a
 *  thread costs 0.03 ms here and 0.07 ms of waiting. */

import { availableParallelism } from 'node:os'
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { Fault } from '../base/fault.ts'
import type { Maybe } from '../base/maybe.ts'
import { type EnvelopeKey, envelopeBytes, headBytes, seal, unseal } from './envelope.ts'
import type { EnvelopeReply, EnvelopeRequest } from './envelope-worker.ts'

/** Sealed at once up to this length: 0.1 ms. */
const SMALL_PLAIN_BYTES = 64 << 10
/** Opened at once up to this length, unless unwrapping its key takes more than 0.3 ms. */
const SMALL_ENVELOPE_BYTES = 4 << 10
const FAST_KEY_BYTES = 256
const MAX_THREADS = 4
/** of one thread at a time: the next one waits in its mailbox, so that it is never without work */
const JOBS_A_THREAD = 2
const IDLE_MS = 10_000
/** Rooms are a multiple of this, so that blocks of one size share them whatever they were compressed to. */
const ROOM_STEP_BYTES = 64 << 10

interface Job {
  readonly request: EnvelopeRequest
  readonly resolve: (reply: EnvelopeReply) => void
  readonly reject: (error: unknown) => void
}
interface Thread {
  readonly worker: Worker
  /** in the order in which they were sent, which is the order of the replies */
  readonly jobs: Job[]
}

export interface Sealed {
  readonly envelope: Buffer
  /** Nobody looks at the envelope any more. */
  release(): void
}

export class EnvelopeThreads {
  readonly #key: EnvelopeKey
  readonly #maxThreads: number
  #threads: Thread[] = []
  readonly #waiting: Job[] = []
  #idleRooms: ArrayBuffer[] = []
  #idleTimer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(key: EnvelopeKey, maxThreads: number = Math.min(MAX_THREADS, Math.max(1, availableParallelism() - 1))) {
    this.#key = key
    this.#maxThreads = maxThreads
  }

  /** threads that run now */
  get threadCount(): number {
    return this.#threads.length
  }
  /** memory kept for the next jobs */
  get idleBytes(): number {
    return this.#idleRooms.reduce((sum, room) => sum + room.byteLength, 0)
  }

  /** `plain` is borrowed only until this returns. */
  seal(plain: Buffer): Maybe<Sealed> {
    const bytes = envelopeBytes(this.#key, plain.length)
    if (plain.length <= SMALL_PLAIN_BYTES) {
      const envelope = Buffer.allocUnsafeSlow(bytes)
      envelope.set(plain, headBytes(this.#key))
      seal(this.#key, envelope)
      return { envelope, release: () => {} }
    }
    const room = this.#roomFor(bytes)
    new Uint8Array(room).set(plain, headBytes(this.#key))
    return this.#run({ kind: 'seal', room, bytes }).then(reply => ({
      envelope: Buffer.from(reply.room, 0, bytes),
      release: () => this.#keep(reply.room),
    }))
  }

  /** `envelope` is borrowed only until this returns. A Fault where it cannot be opened. */
  unseal(envelope: Buffer): Maybe<Buffer> {
    if (envelope.length <= SMALL_ENVELOPE_BYTES && this.#key.bytes <= FAST_KEY_BYTES) return unseal(this.#key, envelope)
    const room = this.#roomFor(envelope.length)
    new Uint8Array(room).set(envelope)
    return this.#run({ kind: 'unseal', room, bytes: envelope.length }).then(reply => {
      this.#keep(reply.room)
      return Buffer.from(reply.plain ?? new ArrayBuffer(0))
    })
  }

  /** Ends the threads; jobs that have not been done are refused. */
  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#idleTimer)
    this.#idleRooms = []
    const threads = this.#threads
    this.#threads = []
    const gone = new Fault('encryption: the store is closed')
    for (const job of [...this.#waiting.splice(0), ...threads.flatMap(({ jobs }) => jobs.splice(0))]) job.reject(gone)
    await Promise.all(threads.map(({ worker }) => worker.terminate()))
  }

  async #run(request: EnvelopeRequest): Promise<EnvelopeReply> {
    if (this.#isClosed) throw new Fault('encryption: the store is closed')
    clearTimeout(this.#idleTimer)
    this.#idleTimer = undefined
    const reply = await new Promise<EnvelopeReply>((resolve, reject) => {
      this.#waiting.push({ request, resolve, reject })
      this.#dispatch()
    })
    if (reply.failure === undefined) return reply
    this.#keep(reply.room)
    throw new Fault(reply.failure)
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const thread = this.#freeThread()
      if (!thread) return
      const job = this.#waiting.shift()!
      thread.jobs.push(job)
      thread.worker.ref()
      thread.worker.postMessage(job.request, [job.request.room])
    }
    if (this.#threads.every(({ jobs }) => jobs.length === 0)) this.#startIdleTimer()
  }

  /** The one with the fewest jobs; a new one while all have some. */
  #freeThread(): Thread | undefined {
    let best: Thread | undefined
    for (const thread of this.#threads) if (!best || thread.jobs.length < best.jobs.length) best = thread
    if (best?.jobs.length === 0) return best
    if (this.#threads.length < this.#maxThreads) return this.#startThread()
    return best && best.jobs.length < JOBS_A_THREAD ? best : undefined
  }

  #startThread(): Thread {
    // Run as it stands the worker is a .ts file; built, a .js file.
    const file = new URL(`./envelope-worker${extname(import.meta.url)}`, import.meta.url)
    const thread: Thread = { worker: new Worker(file, { workerData: this.#key }), jobs: [] }
    thread.worker.unref()
    thread.worker.on('message', (reply: EnvelopeReply) => {
      thread.jobs.shift()?.resolve(reply)
      this.#dispatch()
      // A job keeps the process alive, an idle thread does not.
      if (thread.jobs.length === 0) thread.worker.unref()
    })
    thread.worker.on('error', error => this.#lose(thread, error))
    thread.worker.on('exit', code => this.#lose(thread, new Error(`the thread ended (${code})`)))
    this.#threads.push(thread)
    return thread
  }

  /** A thread that died takes its jobs with it; the next job starts another. */
  #lose(thread: Thread, error: unknown): void {
    const index = this.#threads.indexOf(thread)
    if (index < 0) return
    this.#threads.splice(index, 1)
    void thread.worker.terminate()
    for (const job of thread.jobs.splice(0)) job.reject(new Fault('encryption', { cause: error }))
    this.#dispatch()
  }

  #roomFor(bytes: number): ArrayBuffer {
    const index = this.#idleRooms.findIndex(room => room.byteLength >= bytes)
    if (index >= 0) return this.#idleRooms.splice(index, 1)[0]!
    return Buffer.allocUnsafeSlow(Math.ceil(bytes / ROOM_STEP_BYTES) * ROOM_STEP_BYTES).buffer as ArrayBuffer
  }

  #keep(room: ArrayBuffer): void {
    if (!this.#isClosed && this.#idleRooms.length < this.#maxThreads * JOBS_A_THREAD) this.#idleRooms.push(room)
  }

  /** An idle mount shall be small: no threads, no rooms. */
  #startIdleTimer(): void {
    if (this.#isClosed || this.#threads.length === 0) return
    clearTimeout(this.#idleTimer)
    this.#idleTimer = setTimeout(() => {
      this.#idleRooms = []
      const threads = this.#threads
      this.#threads = []
      for (const { worker } of threads) void worker.terminate()
    }, IDLE_MS)
    this.#idleTimer.unref()
  }
}
