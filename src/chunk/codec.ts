/** Blocks on their way into objects and back (spec data-objects section 2.1). The plain length comes from the object's name.
 *
 *  Compression runs on libuv's thread pool (zstd) or threads of its own (lz4). Every block of a compressed volume goes through the codec, there is no escape. */

import { availableParallelism } from 'node:os'
import { promisify } from 'node:util'
import { constants, createZstdCompress, type ZstdOptions, zstdDecompress } from 'node:zlib'
import { Fault } from '../base/fault.ts'
import type { Maybe } from '../base/maybe.ts'
import { drop, free, own, ownBytes } from '../base/own-memory.ts'
import { Slots } from './slots.ts'

export type Compression = 'none' | 'lz4' | 'zstd'

export interface Codec {
  /** Objects hold the plain bytes, so a part of an object is a part of the block. */
  readonly plain: boolean
  /** `block` is borrowed until the answer is there; with `none` it is the answer. Any other answer has an owner (base/own-memory.ts). */
  compress(block: Buffer): Maybe<Buffer>
  /** Exactly `length` bytes in memory of their own, or a Fault. `body` is the caller's no more, whatever becomes of it; with `none` it is the
   *  answer. */
  decompress(body: Buffer, length: number): Maybe<Buffer>
}

export async function openCodec(compression: Compression): Promise<Codec> {
  if (compression === 'lz4') return openLz4()
  return compression === 'zstd' ? zstd : none
}

const none: Codec = {
  plain: true,
  compress: block => block,
  decompress: (body, length) => checkLength(body, length),
}

async function openLz4(): Promise<Codec> {
  // imported on demand: most volumes are not compressed, and start-up time is promised
  const { Lz4Threads } = await import('./lz4-threads.ts')
  const threads = new Lz4Threads()
  return {
    plain: false,
    compress: block => threads.compress(block),
    async decompress(body, length) {
      checkBody(body, length + Math.floor(length / 255) + 16)
      return checkLength(await decoded(threads.uncompress(body, length)), length)
    },
  }
}

const decompressZstd = promisify(zstdDecompress)
const zstdBound = (length: number): number => length + (length >> 8) + (length < 131072 ? (131072 - length) >> 11 : 0)
/** zlib's smallest output chunk */
const MIN_CHUNK_BYTES = 64
/** zlib takes memory for its answer, as large as a block, when it is asked and not when a thread of the pool is free. One more than can
 *  run waits for the threads, and one for the event loop. */
const working = new Slots(availableParallelism() + 2)

async function whenFree(work: () => Promise<Buffer>): Promise<Buffer> {
  await working.enter()
  try {
    return await work()
  } finally {
    working.leave()
  }
}

const zstd: Codec = {
  plain: false,
  async compress(block) {
    // one chunk that holds everything: one hop to the thread pool
    const chunkSize = zstdBound(block.length) + MIN_CHUNK_BYTES
    const options = {
      chunkSize,
      // the frame names the plain size, which JuiceFS needs to size its buffer
      pledgedSrcSize: block.length,
      params: {
        [constants.ZSTD_c_compressionLevel]: 1,
        [constants.ZSTD_c_contentSizeFlag]: 1,
        [constants.ZSTD_c_checksumFlag]: 0,
      },
    }
    return whenFree(() => compressZstd(block, options))
  },
  async decompress(body, length) {
    checkBody(body, zstdBound(length))
    const options = { chunkSize: length + MIN_CHUNK_BYTES, maxOutputLength: length }
    try {
      const plain = await decoded(whenFree(() => decompressZstd(body, options)))
      if (plain.buffer.byteLength === options.chunkSize) own(plain)
      return checkLength(plain, length)
    } finally {
      drop(body)
    }
  },
}

/** What zlib.zstdCompress does, except that the chunk is freed and not left to the collector. */
async function compressZstd(block: Buffer, options: ZstdOptions & { readonly chunkSize: number }): Promise<Buffer> {
  const parts = await new Promise<Buffer[]>((resolve, reject) => {
    const given: Buffer[] = []
    const engine = createZstdCompress(options)
    engine.on('data', (part: Buffer) => given.push(part))
    engine.on('error', reject).on('close', () => resolve(given))
    engine.end(block)
  })
  const body = ownBytes(parts.reduce((sum, { length }) => sum + length, 0))
  let used = 0
  for (const part of parts) used += part.copy(body, used)
  for (const memory of new Set(parts.map(({ buffer }) => buffer))) {
    // Short ones lie in memory that Node shares among many.
    if (memory.byteLength === options.chunkSize) free(memory)
  }
  return body
}

function checkBody(body: Buffer, bound: number): void {
  if (body.length === 0) throw new Fault('decode block: the object is empty')
  if (body.length > bound) throw new Fault(`decode block: ${body.length} bytes are more than any encoding has`)
}

async function decoded(plain: Promise<Buffer>): Promise<Buffer> {
  try {
    return await plain
  } catch (error) {
    throw new Fault('decode block', { cause: error })
  }
}

function checkLength(plain: Buffer, length: number): Buffer {
  if (plain.length !== length) throw new Fault(`read block fully: ${plain.length} bytes instead of ${length}`)
  return plain
}
