/** Work off the event loop, in a few threads that are started when they are first needed and end when nothing came for a while:
 *  an idle mount shall be small. Memory is handed to a thread and handed back, never shared and never cloned. */

import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'

const IDLE_MS = 10_000

export interface ThreadPoolOptions {
  /** import.meta.url of who asks, and the module of the worker beside it, without its ending: run as it stands that is a .ts file;
   *  built, a .js file. The worker answers each message by one, in their order. */
  readonly from: string
  readonly module: string
  readonly workerData?: unknown
  readonly maxThreads: number
  /** of one thread at a time: from the second on they wait in its mailbox, so that it is never without work */
  readonly jobsAThread: number
  /** The threads have ended because nothing came. */
  readonly onIdle?: () => void
}

interface Job<Request, Reply> {
  readonly make: () => Sent<Request>
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: unknown) => void
}
interface Sent<Request> {
  readonly request: Request
  readonly handedOver: ArrayBuffer[]
}
interface Thread<Job> {
  readonly worker: Worker
  /** in the order in which they were sent, which is the order of the replies */
  readonly jobs: Job[]
}

export class ThreadPool<Request, Reply> {
  readonly #o: ThreadPoolOptions
  #threads: Thread<Job<Request, Reply>>[] = []
  readonly #waiting: Job<Request, Reply>[] = []
  #idleTimer: NodeJS.Timeout | undefined
  #closed: Error | null = null

  constructor(options: ThreadPoolOptions) {
    this.#o = options
  }

  /** threads that run now */
  get threadCount(): number {
    return this.#threads.length
  }

  /** `make` is called when a thread takes the job, since many may wait. Rejects when the thread dies, or the pool is closed. */
  async run(make: () => Sent<Request>): Promise<Reply> {
    if (this.#closed) throw this.#closed
    clearTimeout(this.#idleTimer)
    this.#idleTimer = undefined
    return await new Promise<Reply>((resolve, reject) => {
      this.#waiting.push({ make, resolve, reject })
      this.#dispatch()
    })
  }

  /** Ends the threads; jobs that have not been done, and all later ones, are refused with `reason`. */
  async close(reason: Error): Promise<void> {
    this.#closed = reason
    clearTimeout(this.#idleTimer)
    const threads = this.#threads
    this.#threads = []
    for (const job of [...this.#waiting.splice(0), ...threads.flatMap(({ jobs }) => jobs.splice(0))]) job.reject(reason)
    await Promise.all(threads.map(({ worker }) => worker.terminate()))
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const thread = this.#freeThread()
      if (!thread) return
      const job = this.#waiting.shift()!
      thread.jobs.push(job)
      try {
        const { request, handedOver } = job.make()
        thread.worker.postMessage(request, handedOver)
        thread.worker.ref()
      } catch (error) {
        // No reply will come for it.
        if (thread.jobs.at(-1) === job) thread.jobs.pop()
        job.reject(error)
      }
    }
    if (this.#threads.every(({ jobs }) => jobs.length === 0)) this.#startIdleTimer()
  }

  /** The one with the fewest jobs; a new one while all have some. */
  #freeThread(): Thread<Job<Request, Reply>> | undefined {
    const { maxThreads, jobsAThread } = this.#o
    let best: Thread<Job<Request, Reply>> | undefined
    for (const thread of this.#threads) if (!best || thread.jobs.length < best.jobs.length) best = thread
    if (best?.jobs.length === 0) return best
    if (this.#threads.length < maxThreads) return this.#startThread()
    return best && best.jobs.length < jobsAThread ? best : undefined
  }

  #startThread(): Thread<Job<Request, Reply>> {
    const { from, module, workerData } = this.#o
    const worker = new Worker(new URL(`${module}${extname(from)}`, from), { workerData })
    const thread: Thread<Job<Request, Reply>> = { worker, jobs: [] }
    worker.unref()
    worker.on('message', (reply: Reply) => {
      thread.jobs.shift()?.resolve(reply)
      this.#dispatch()
      // A job keeps the process alive, an idle thread does not.
      if (thread.jobs.length === 0) worker.unref()
    })
    worker.on('error', error => this.#lose(thread, error))
    worker.on('exit', code => this.#lose(thread, new Error(`the thread ended (${code})`)))
    this.#threads.push(thread)
    return thread
  }

  /** A thread that died takes its jobs with it; the next job starts another. */
  #lose(thread: Thread<Job<Request, Reply>>, error: unknown): void {
    const index = this.#threads.indexOf(thread)
    if (index < 0) return
    this.#threads.splice(index, 1)
    void thread.worker.terminate()
    for (const job of thread.jobs.splice(0)) job.reject(error)
    this.#dispatch()
  }

  #startIdleTimer(): void {
    if (this.#closed || this.#threads.length === 0) return
    clearTimeout(this.#idleTimer)
    this.#idleTimer = setTimeout(() => {
      const threads = this.#threads
      this.#threads = []
      for (const { worker } of threads) void worker.terminate()
      this.#o.onIdle?.()
    }, IDLE_MS)
    this.#idleTimer.unref()
  }
}
