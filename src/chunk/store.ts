/** The chunk room put together: writers, fetcher, caches over one object store. */

import { setTimeout as sleep } from 'node:timers/promises'
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Maybe } from '../base/maybe.ts'
import type { Metrics } from '../base/metrics.ts'
import type { ObjectStore } from '../object/store.ts'
import { BlockCache } from './block-cache.ts'
import { BlockObjects } from './block-objects.ts'
import { WriteBuffers } from './buffers.ts'
import { CacheCounters } from './cache-counters.ts'
import type { ChunkStore, SliceName, SliceWriter } from './chunk-store.ts'
import { type Compression, openCodec } from './codec.ts'
import { Fetcher } from './fetcher.ts'
import { blockKey, blocksOf, checkSlice } from './keys.ts'
import { BlockSliceWriter } from './slice-writer.ts'

export interface CacheOptions {
  /** one directory, or `memory` */
  readonly dir: string
  /** of the volume: names the directory below `dir` */
  readonly uuid: string
  /** 0 = no cache */
  readonly sizeBytes: number
  /** most cached blocks; 0 = derived from the free space ratio */
  readonly items: number
  readonly freeSpaceRatio: number
  /** of cache files, such as 0o600 */
  readonly mode: number
  readonly partialOnly: boolean
  readonly largeWrite: boolean
  readonly verifyChecksum: 'none' | 'full' | 'shrink' | 'extend'
  readonly eviction: 'none' | '2-random' | 'lru'
  /** 0 = scan once at the start, negative = never */
  readonly scanIntervalMs: number
  /** 0 = never */
  readonly expireMs: number
}

export interface ChunkOptions {
  readonly store: ObjectStore
  readonly blockBytes: number
  readonly compression: Compression
  readonly hashPrefix: boolean
  readonly bufferBytes: number
  readonly maxUploads: number
  readonly maxDownloads: number
  readonly getTimeoutMs: number
  readonly putTimeoutMs: number
  readonly ioRetries: number
  readonly cache: CacheOptions
  readonly prefetch: number
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
  readonly metrics: Metrics
  /** how to wait between attempts of a put; absent: by the machine's timer */
  readonly pause?: (ms: number) => Promise<unknown>
}

/** of `--buffer-size`, for blocks that were read */
const READ_SHARE = 0.8
const IDLE_MS = 5000

export async function openChunks(options: ChunkOptions): Promise<ChunkStore> {
  return new Chunks(
    options,
    new BlockObjects({ ...options, codec: await openCodec(options.compression), pause: options.pause ?? sleep }),
  )
}

class Chunks implements ChunkStore {
  readonly blockBytes: number
  readonly #objects: BlockObjects
  readonly #buffers: WriteBuffers
  readonly #memory: BlockCache
  readonly #fetcher: Fetcher

  constructor(options: ChunkOptions, objects: BlockObjects) {
    const { blockBytes, bufferBytes, metrics, cache } = options
    this.blockBytes = blockBytes
    this.#objects = objects
    this.#buffers = new WriteBuffers({ blockBytes, limitBytes: bufferBytes })
    this.#memory = new BlockCache({
      budgetBytes: () =>
        Math.max(2 * blockBytes, Math.min(bufferBytes * READ_SHARE, bufferBytes - this.#buffers.usedBytes)),
      idleMs: IDLE_MS,
      onIdleDrop: () => {},
    })
    this.#fetcher = new Fetcher({
      blockBytes,
      objects,
      memory: this.#memory,
      disk: null,
      caching: cache.sizeBytes > 0,
      prefetch: cache.sizeBytes > 0 ? options.prefetch : 0,
      counters: new CacheCounters(metrics),
    })
    metrics.gauge(
      'used_buffer_size_bytes',
      'size of currently used buffer.',
      () => this.#buffers.usedBytes + this.#memory.bytes,
    )
    metrics.gauge('used_read_buffer_size_bytes', 'size of currently used buffer for read', () => this.#memory.bytes)
  }

  read(slice: SliceName, off: number, len: number): Maybe<Buffer[]> {
    checkSlice(slice)
    assert(off >= 0 && len >= 0 && off + len <= slice.size, `slice ${slice.id} has no bytes ${off} + ${len}`)
    return this.#fetcher.read(slice, off, len)
  }

  prefetch(slice: SliceName, off: number, len: number): boolean {
    return this.#fetcher.prefetch(slice, off, len)
  }

  newWriter(): SliceWriter {
    return new BlockSliceWriter({
      buffers: this.#buffers,
      objects: this.#objects,
      onStored: (_block, _bytes, release) => release(),
    })
  }

  roomToWrite(): Promise<void> | undefined {
    return this.#buffers.roomToWrite()
  }

  async remove(slice: SliceName): Promise<void> {
    checkSlice(slice)
    let failure: unknown
    for (const block of blocksOf(slice, this.blockBytes)) {
      this.#memory.delete(blockKey(block.id, block.index))
      await this.#objects.delete(block).catch(error => {
        failure = error
      })
    }
    if (failure) throw failure
  }

  async sync(slices: readonly SliceName[]): Promise<void> {
    await this.#objects.sync(slices.flatMap(slice => blocksOf(slice, this.blockBytes)))
  }

  keys(slice: SliceName): { key: string; size: number }[] {
    return blocksOf(slice, this.blockBytes).map(block => ({ key: this.#objects.key(block), size: block.length }))
  }

  async close(): Promise<void> {
    this.#buffers.close()
    this.#memory.clear()
  }
}
