/** LZ4 off the event loop, in a few threads that are started when they are first needed and end when nothing came for a while.
 *
 *  The asynchronous calls of lz4-napi (2.10) keep every result for ever; its synchronous ones do not, so they run in threads of ours. */

import { availableParallelism } from 'node:os'
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Lz4Reply, Lz4Request } from './lz4-worker.ts'

const MAX_THREADS = 4
const IDLE_MS = 10_000
const NO_HEAD = Buffer.alloc(0)

interface Job {
  readonly kind: Lz4Request['kind']
  /** goes before the bytes; empty: nothing */
  readonly head: Buffer
  readonly input: Buffer
  readonly resolve: (output: Buffer) => void
  readonly reject: (error: unknown) => void
}
interface Thread {
  readonly worker: Worker
  job: Job | null
}

export class Lz4Threads {
  readonly #maxThreads = Math.min(MAX_THREADS, Math.max(2, availableParallelism()))
  #threads: Thread[] = []
  readonly #waiting: Job[] = []
  #idleTimer: NodeJS.Timeout | undefined

  /** threads that run now */
  get threadCount(): number {
    return this.#threads.length
  }

  /** `input` is borrowed until the answer is there: it is copied, behind `head`, only when a thread is free, since many may wait. */
  run(kind: Lz4Request['kind'], input: Buffer, head: Buffer = NO_HEAD): Promise<Buffer> {
    clearTimeout(this.#idleTimer)
    this.#idleTimer = undefined
    return new Promise((resolve, reject) => {
      this.#waiting.push({ kind, head, input, resolve, reject })
      this.#dispatch()
    })
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const thread = this.#threads.find(({ job }) => job === null) ?? this.#startThread()
      if (thread === null) return
      const job = this.#waiting.shift()!
      thread.job = job
      thread.worker.ref()
      const input = new Uint8Array(job.head.length + job.input.length)
      input.set(job.head)
      input.set(job.input, job.head.length)
      const request: Lz4Request = { kind: job.kind, input: input.buffer }
      thread.worker.postMessage(request, [request.input])
    }
    if (this.#threads.every(({ job }) => job === null)) this.#startIdleTimer()
  }

  #startThread(): Thread | null {
    if (this.#threads.length >= this.#maxThreads) return null
    // Run as it stands the worker is a .ts file; built, a .js file.
    const file = new URL(`./lz4-worker${extname(import.meta.url)}`, import.meta.url)
    const thread: Thread = { worker: new Worker(file), job: null }
    thread.worker.unref()
    thread.worker.on('message', (reply: Lz4Reply) => {
      const { job } = thread
      thread.job = null
      // A job keeps the process alive, an idle thread does not.
      thread.worker.unref()
      if ('output' in reply) job?.resolve(Buffer.from(reply.output))
      else job?.reject(new Error(reply.failure))
      this.#dispatch()
    })
    thread.worker.on('error', error => this.#lose(thread, error))
    thread.worker.on('exit', code => this.#lose(thread, new Error(`the thread ended (${code})`)))
    this.#threads.push(thread)
    return thread
  }

  /** A thread that died takes its job with it; the next job starts another. */
  #lose(thread: Thread, error: unknown): void {
    const index = this.#threads.indexOf(thread)
    if (index < 0) return
    this.#threads.splice(index, 1)
    void thread.worker.terminate()
    thread.job?.reject(error)
    this.#dispatch()
  }

  #startIdleTimer(): void {
    clearTimeout(this.#idleTimer)
    this.#idleTimer = setTimeout(() => {
      const threads = this.#threads
      this.#threads = []
      for (const { worker } of threads) void worker.terminate()
    }, IDLE_MS)
    this.#idleTimer.unref()
  }
}
