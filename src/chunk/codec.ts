/** Blocks on their way into objects and back (spec data-objects section 2.1). The plain length comes from the object's name.
 *
 *  Compression runs on libuv's thread pool (zstd) or threads of its own (lz4). Every block of a compressed volume goes through the codec, there is no escape. */

import { promisify } from 'node:util'
import { constants, zstdCompress, zstdDecompress } from 'node:zlib'
import { DroppedMemory } from '../base/dropped-memory.ts'
import { Fault } from '../base/fault.ts'
import type { Maybe } from '../base/maybe.ts'

export type Compression = 'none' | 'lz4' | 'zstd'

export interface Codec {
  /** Objects hold the plain bytes, so a part of an object is a part of the block. */
  readonly plain: boolean
  /** `block` is borrowed until the answer is there; with `none` it is the answer. */
  compress(block: Buffer): Maybe<Buffer>
  /** Exactly `length` bytes, or a Fault. */
  decompress(body: Buffer, length: number): Maybe<Buffer>
}

export async function openCodec(compression: Compression): Promise<Codec> {
  if (compression === 'lz4') return openLz4()
  return compression === 'zstd' ? zstd : none
}

/** Encoded bytes are dropped soon after they were made; they must not wait long for the collector. */
const encoded = new DroppedMemory({ neededBytes: () => 0, mostBytes: 64 << 20 })
const passing = (bytes: Buffer): Buffer => {
  encoded.made(bytes)
  return bytes
}

const none: Codec = {
  plain: true,
  compress: block => block,
  decompress: (body, length) => checkLength(body, length),
}

/** lz4-napi puts the plain length, 4 bytes little-endian, before the raw LZ4 block that objects consist of. */
const LZ4_HEAD = 4

async function openLz4(): Promise<Codec> {
  // imported on demand: most volumes are not compressed, and start-up time is promised
  const { Lz4Threads } = await import('./lz4-threads.ts')
  const threads = new Lz4Threads()
  return {
    plain: false,
    async compress(block) {
      return passing(await threads.run('compress', block)).subarray(LZ4_HEAD)
    },
    async decompress(body, length) {
      checkBody(body, length + Math.floor(length / 255) + 16)
      passing(body)
      const head = Buffer.alloc(LZ4_HEAD)
      head.writeUInt32LE(length, 0)
      return checkLength(await decoded(threads.run('uncompress', body, head)), length)
    },
  }
}

const compressZstd = promisify(zstdCompress)
const decompressZstd = promisify(zstdDecompress)
const zstdBound = (length: number): number => length + (length >> 8) + (length < 131072 ? (131072 - length) >> 11 : 0)
/** zlib's smallest output chunk */
const MIN_CHUNK_BYTES = 64

const zstd: Codec = {
  plain: false,
  async compress(block) {
    const body = await compressZstd(block, {
      // one chunk that holds everything: one hop to the thread pool
      chunkSize: zstdBound(block.length) + MIN_CHUNK_BYTES,
      // the frame names the plain size, which JuiceFS needs to size its buffer
      pledgedSrcSize: block.length,
      params: {
        [constants.ZSTD_c_compressionLevel]: 1,
        [constants.ZSTD_c_contentSizeFlag]: 1,
        [constants.ZSTD_c_checksumFlag]: 0,
      },
    })
    return passing(body)
  },
  async decompress(body, length) {
    checkBody(passing(body), zstdBound(length))
    const plain = decompressZstd(body, { chunkSize: length + MIN_CHUNK_BYTES, maxOutputLength: length })
    return checkLength(await decoded(plain), length)
  },
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
