/** LZ4 off the event loop. The asynchronous calls of lz4-napi (2.10) keep every result for ever; its synchronous ones do not, so they
 *  run in threads of ours. Bytes are copied, if at all, when a thread is free to take them: many may wait. */

import { availableParallelism } from 'node:os'
import { own, ownBytes, toOwn } from '../base/own-memory.ts'
import { ThreadPool } from '../base/thread-pool.ts'
import type { Lz4Reply, Lz4Request } from './lz4-worker.ts'

const MAX_THREADS = 4
/** lz4-napi puts the plain length, 4 bytes little-endian, before the raw LZ4 block that objects consist of. */
const HEAD_BYTES = 4

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

  /** `block` is borrowed until the answer is there, whose memory has an owner (base/own-memory.ts). */
  async compress(block: Buffer): Promise<Buffer> {
    const made = await this.#run(() => {
      const copy = Buffer.allocUnsafeSlow(block.length)
      block.copy(copy)
      const { buffer: memory, length } = copy
      return { memory, offset: 0, length }
    })
    return own(made.subarray(HEAD_BYTES))
  }

  /** `body` is the caller's no more. The block's memory has an owner; it comes from here and not from a thread: what malloc gets back it
   *  keeps for the thread that asked, and each would keep as much as all blocks once were. */
  async uncompress(body: Buffer, length: number): Promise<Buffer> {
    const made = await this.#run(() => {
      const { buffer, byteOffset, length: bodyBytes } = toOwn(body, HEAD_BYTES)
      const memory = buffer as ArrayBuffer
      const offset = byteOffset - HEAD_BYTES
      Buffer.from(memory).writeUInt32LE(length, offset)
      return { memory, offset, length: HEAD_BYTES + bodyBytes, room: ownBytes(length).buffer }
    })
    return own(made)
  }

  async #run(make: () => Lz4Request): Promise<Buffer> {
    const reply = await this.#pool.run(() => {
      const request = make()
      const { memory, room } = request
      return { request, handedOver: room ? [memory, room] : [memory] }
    })
    if ('output' in reply) return Buffer.from(reply.output, 0, reply.length)
    throw new Error(reply.failure)
  }
}
