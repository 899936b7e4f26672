/** The chunk room put together: writers, fetcher, caches over one object store. */

import { totalmem } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { EINVAL } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import type { Maybe } from '../base/maybe.ts'
import type { Metrics } from '../base/metrics.ts'
import type { RateLimit } from '../object/rate-limit.ts'
import type { ObjectStore } from '../object/store.ts'
import { BlockCache } from './block-cache.ts'
import { BlockObjects } from './block-objects.ts'
import { WriteBuffers } from './buffers.ts'
import { CacheCounters } from './cache-counters.ts'
import type { ChunkStore, SliceName, SliceWriter } from './chunk-store.ts'
import { type Compression, openCodec } from './codec.ts'
import { DiskCache } from './disk-cache.ts'
import { Fetcher } from './fetcher.ts'
import { IdleMemory } from './idle-memory.ts'
import { type Block, blockKey, blocksOf, checkSlice } from './keys.ts'
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
  /** bandwidth; absent: unlimited */
  readonly uploadLimit?: RateLimit
  readonly downloadLimit?: RateLimit
  /** of new objects, for the labels of metrics */
  readonly storageClass?: string
  /** how to wait between attempts of a put; absent: by the machine's timer */
  readonly pause?: (ms: number) => Promise<unknown>
  /** called when the client has become idle and dropped its buffers: memory may go back to the system; absent: it stays */
  readonly trimMemory?: () => void
}

/** of `--buffer-size`, for blocks that were read */
const READ_SHARE = 0.8
const IDLE_MS = 4000
/** of `--buffer-size`, for blocks that wait to be written to the disk cache */
const QUEUE_SHARE = 0.2
/** of the machine's memory, at most, for `--cache-dir memory` */
const MEMORY_SHARE = 0.5
const MEMORY = 'memory'

export async function openChunks(options: ChunkOptions): Promise<ChunkStore> {
  const codec = await openCodec(options.compression)
  const counters = new CacheCounters(options.metrics)
  const disk = await openDiskCache(options, counters)
  return new Chunks(options, new BlockObjects({ ...options, codec, pause: options.pause ?? sleep }), disk, counters)
}

async function openDiskCache(options: ChunkOptions, counters: CacheCounters): Promise<DiskCache | null> {
  const { cache } = options
  if (cache.sizeBytes <= 0 || cache.dir === MEMORY) return null
  if (/[:,*?[]/.test(cache.dir)) {
    throw new Fault(`cache directory ${cache.dir}: several directories and wildcards are not supported yet`, {
      errno: EINVAL,
    })
  }
  const { clock, random, log, hashPrefix } = options
  const queueBytes = options.bufferBytes * QUEUE_SHARE
  return DiskCache.open({ ...cache, queueBytes, hashPrefix, clock, random, log, counters })
}

class Chunks implements ChunkStore {
  readonly blockBytes: number
  readonly #cache: CacheOptions
  readonly #objects: BlockObjects
  readonly #buffers: WriteBuffers
  readonly #memory: BlockCache
  readonly #disk: DiskCache | null
  readonly #fetcher: Fetcher
  readonly #idle: IdleMemory

  constructor(options: ChunkOptions, objects: BlockObjects, disk: DiskCache | null, counters: CacheCounters) {
    const { blockBytes, bufferBytes, cache } = options
    const caching = cache.sizeBytes > 0
    const inMemory = caching && disk === null
    const memoryBytes = inMemory ? Math.min(cache.sizeBytes, totalmem() * MEMORY_SHARE) : 0
    this.blockBytes = blockBytes
    this.#cache = cache
    this.#objects = objects
    this.#disk = disk
    this.#idle = new IdleMemory(options.trimMemory ?? (() => {}))
    this.#buffers = new WriteBuffers({ blockBytes, limitBytes: bufferBytes })
    this.#memory = new BlockCache({
      budgetBytes: () => {
        const readBytes = Math.min(bufferBytes * READ_SHARE, bufferBytes - this.#buffers.usedBytes)
        return memoryBytes + Math.max(2 * blockBytes, readBytes)
      },
      idleMs: inMemory ? cache.expireMs || Number.POSITIVE_INFINITY : IDLE_MS,
    })
    this.#fetcher = new Fetcher({
      blockBytes,
      objects,
      memory: this.#memory,
      disk,
      caching,
      memoryIsCache: inMemory,
      partialOnly: cache.partialOnly,
      prefetch: caching ? options.prefetch : 0,
      counters,
    })
    this.#registerGauges(options.metrics, memoryBytes)
  }

  read(slice: SliceName, off: number, len: number): Maybe<Buffer[]> {
    this.#idle.touch()
    checkSlice(slice)
    assert(off >= 0 && len >= 0 && off + len <= slice.size, `slice ${slice.id} has no bytes ${off} + ${len}`)
    return this.#fetcher.read(slice, off, len)
  }

  prefetch(slice: SliceName, off: number, len: number): boolean {
    this.#idle.touch()
    return this.#fetcher.prefetch(slice, off, len)
  }

  newWriter(): SliceWriter {
    this.#idle.touch()
    return new BlockSliceWriter({
      buffers: this.#buffers,
      objects: this.#objects,
      onStored: (block, bytes, release) => this.#keepStored(block, bytes, release),
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
      this.#disk?.remove(block)
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
    this.#idle.close()
    await this.#disk?.close()
    this.#buffers.close()
    this.#memory.clear()
  }

  /** After an upload: small blocks are likely read soon, whole ones are many and in the kernel's cache anyway. */
  #keepStored(block: Block, bytes: Buffer, release: () => void): void {
    const wanted = this.#cache.sizeBytes > 0 && (block.length < this.blockBytes || this.#cache.largeWrite)
    if (wanted && this.#disk) {
      this.#disk.lend(block, bytes, release)
      return
    }
    if (wanted) this.#memory.put(blockKey(block.id, block.index), Buffer.from(bytes))
    release()
  }

  /** `cacheBytes`: how much of what is in memory counts as the cache (`--cache-dir memory`); the rest are read buffers. */
  #registerGauges(metrics: Metrics, cacheBytes: number): void {
    const [memory, disk] = [this.#memory, this.#disk]
    const cached = (): number => Math.min(memory.bytes, cacheBytes)
    const read = (): number => memory.bytes - cached()
    const gauge = (name: string, help: string, look: () => number): void => metrics.gauge(name, help, look)
    gauge('used_buffer_size_bytes', 'size of currently used buffer.', () => this.#buffers.usedBytes + read())
    gauge('used_read_buffer_size_bytes', 'size of currently used buffer for read', read)
    gauge('store_cache_size_bytes', 'size of store cache.', () => cached() + (disk?.queuedBytes ?? 0))
    gauge('blockcache_blocks', 'number of cached blocks', () => disk?.blocks ?? (cacheBytes > 0 ? memory.count : 0))
    gauge('blockcache_bytes', 'number of cached bytes', () => disk?.bytes ?? cached())
  }
}
