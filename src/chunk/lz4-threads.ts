/** LZ4 off the event loop. The asynchronous calls of lz4-napi (2.10) keep every result for ever; its synchronous ones do not, so they
 *  run in threads of ours. */

import { availableParallelism } from 'node:os'
import { ThreadPool } from '../base/thread-pool.ts'
import type { Lz4Reply, Lz4Request } from './lz4-worker.ts'

const MAX_THREADS = 4
const NO_HEAD = Buffer.alloc(0)

export class Lz4Threads {
  readonly #pool = new ThreadPool<Lz4Request, Lz4Reply>({
    from: import.meta.url,
    module: './lz4-worker',
    maxThreads: Math.min(MAX_THREADS, Math.max(2, availableParallelism())),
    jobsAThread: 1,
  })

  /** threads that run now */
  get threadCount(): number {
    return this.#pool.threadCount
  }

  /** `input` is borrowed until the answer is there: it is copied, behind `head`, only when a thread is free, since many may wait. */
  async run(kind: Lz4Request['kind'], input: Buffer, head: Buffer = NO_HEAD): Promise<Buffer> {
    const reply = await this.#pool.run(() => {
      const bytes = new Uint8Array(head.length + input.length)
      bytes.set(head)
      bytes.set(input, head.length)
      return { request: { kind, input: bytes.buffer }, handedOver: [bytes.buffer] }
    })
    if ('output' in reply) return Buffer.from(reply.output)
    throw new Error(reply.failure)
  }
}
