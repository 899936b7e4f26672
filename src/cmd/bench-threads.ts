/** The worker threads of `bench`, seen from the main thread. */

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { CommandError } from './exit.ts'

export interface Phase {
  readonly kind: 'write' | 'read' | 'stat'
  readonly prefix: string
  /** of each thread */
  readonly files: number
  readonly ioBytes: number
  readonly ios: number
}
export interface ThreadStart {
  readonly directory: string
  readonly thread: number
  /** one counter for all threads: calls (or files, for stat) done */
  readonly counter: Int32Array
}
export type ThreadReply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly startNs: bigint; readonly endNs: bigint }
  | { readonly kind: 'failed'; readonly message: string }

const script = new URL(import.meta.url.endsWith('.ts') ? './bench-worker.ts' : './bench-worker.js', import.meta.url)

export class BenchThreads {
  readonly #workers: Worker[]
  readonly #counter = new Int32Array(new SharedArrayBuffer(4))
  readonly #ready: Promise<unknown>

  constructor(directory: string, threads: number) {
    this.#workers = Array.from({ length: threads }, (_, thread) => {
      const workerData: ThreadStart = { directory, thread, counter: this.#counter }
      return new Worker(script, { workerData })
    })
    this.#ready = Promise.all(this.#workers.map(worker => once(worker, 'message')))
  }

  get progress(): number {
    return Atomics.load(this.#counter, 0)
  }

  /** Seconds from the first thread's beginning to the last one's end. */
  async run(phase: Phase): Promise<number> {
    Atomics.store(this.#counter, 0, 0) // at once: a bar is drawn before anything is awaited
    await this.#ready
    const replies = await Promise.all(
      this.#workers.map(async worker => {
        worker.postMessage(phase)
        const [reply] = (await once(worker, 'message')) as [ThreadReply]
        return reply
      }),
    )
    const times = replies.map(reply => {
      if (reply.kind !== 'done')
        throw new CommandError(reply.kind === 'failed' ? reply.message : 'a thread lost its step')
      return reply
    })
    const start = times.reduce((least, { startNs }) => (startNs < least ? startNs : least), times[0]!.startNs)
    const end = times.reduce((most, { endNs }) => (endNs > most ? endNs : most), times[0]!.endNs)
    return Number(end - start) / 1e9
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map(worker => worker.terminate()))
  }
}
