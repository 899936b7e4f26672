/** LZ4 off the event loop. The asynchronous calls of lz4-napi (2.10) keep every result for ever; its synchronous ones do not, so they
 *  run in threads of ours. Bytes are copied, if at all, when a thread is free to take them: many may wait. */

import { availableParallelism } from 'node:os'
import { own, ownBytes, toOwn } from '../base/own-memory.ts'
import { ThreadPool } from '../base/thread-pool.ts'
import type { Lz4Reply, Lz4Request } from './lz4-worker.ts'

const MAX_THREADS = 4
/** lz4-napi puts the plain length, 4 bytes little-endian, before the raw LZ4 block that objects consist of. */
const HEAD_BYTES = 4

/** of what is compressed, at most */
const boundOf = (bytes: number): number => HEAD_BYTES + bytes + Math.floor(bytes / 255) + 16

/** All memory comes from here and not from the threads: what malloc gets back it keeps for the thread that asked, and each would keep as
 *  much as it ever had at a time. */
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
  compress(block: Buffer): Promise<Buffer> {
    return this.#run('compress', () => {
      const { buffer: memory } = Buffer.allocUnsafeSlow(boundOf(block.length))
      new Uint8Array(memory).set(block)
      return { memory, offset: 0, length: block.length, target: memory }
    }).then(made => made.subarray(HEAD_BYTES))
  }

  /** `body` is the caller's no more. The answer's memory has an owner. */
  uncompress(body: Buffer, length: number): Promise<Buffer> {
    return this.#run('uncompress', () => {
      const { buffer, byteOffset, length: bodyBytes } = toOwn(body, HEAD_BYTES)
      const memory = buffer as ArrayBuffer
      const offset = byteOffset - HEAD_BYTES
      Buffer.from(memory).writeUInt32LE(length, offset)
      return { memory, offset, length: HEAD_BYTES + bodyBytes, target: ownBytes(length).buffer }
    })
  }

  async #run(kind: Lz4Request['kind'], make: () => Omit<Lz4Request, 'kind'>): Promise<Buffer> {
    const reply = await this.#pool.run(() => {
      const request = { kind, ...make() }
      return { request, handedOver: [...new Set([request.memory, request.target])] }
    })
    if ('failure' in reply) throw new Error(reply.failure)
    return own(Buffer.from(reply.target, 0, reply.length))
  }
}
