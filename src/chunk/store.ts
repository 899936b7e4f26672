/** The chunk room put together: writers, fetcher, caches over one object store. */

import { totalmem } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { causeText } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import type { Maybe } from '../base/maybe.ts'
import type { Metrics } from '../base/metrics.ts'
import type { RateLimit } from '../object/rate-limit.ts'
import type { ObjectStore } from '../object/store.ts'
import { BlockCache } from './block-cache.ts'
import { BlockObjects } from './block-objects.ts'
import { BlocksInPlace } from './blocks-in-place.ts'
import { WriteBuffers } from './buffers.ts'
import { CacheCounters } from './cache-counters.ts'
import { CacheSet } from './cache-set.ts'
import type { ChunkStore, SliceName, SliceWriter } from './chunk-store.ts'
import { type Compression, openCodec } from './codec.ts'
import { DEFAULT_HEALTH, type HealthLimits } from './disk-health.ts'
import { Fetcher } from './fetcher.ts'
import { type Block, blockKey, blocksOf, checkSlice } from './keys.ts'
import { BlockSliceWriter } from './slice-writer.ts'
import { Slots } from './slots.ts'
import { WriteBack, type WritebackOptions } from './write-back.ts'
import { WrittenBlocks } from './written-blocks.ts'

export interface CacheOptions {
  /** one directory or several (`a:b:c`, with wildcards), or `memory` */
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
  /** when a disk is taken for sick; absent: as usual */
  readonly health?: HealthLimits
  /** The kernel shall not keep cached blocks in memory; absent: as it likes. */
  readonly dropPages?: boolean
  /** Where the store keeps plain blocks as files on the disk of the cache, they are read there and not copied
   *  (blocks-in-place.ts); absent: always copied. */
  readonly inPlace?: boolean
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
  /** absent: blocks go straight to the store, and what earlier runs have staged is uploaded */
  readonly writeback?: WritebackOptions
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
}

/** of `--buffer-size`, for blocks that were read */
const READ_SHARE = 0.8
/** of `--buffer-size`, for blocks that are just being read, and so much of it however much is being written. 150 MiB on their way are
 *  1.5 GiB/s from a store that takes 100 ms for a block. */
const IN_FLIGHT_SHARE = 0.5
const LEAST_IN_FLIGHT_SHARE = 0.25
const IDLE_MS = 4000
/** of `--buffer-size`, for blocks that wait to be written to the disk cache */
const QUEUE_SHARE = 0.2
/** of `--buffer-size`, for blocks that are warmed up */
const WARM_SHARE = 0.5
/** of small blocks that were written just now, and the share of `--buffer-size` that they take at most */
const MOST_WRITTEN_BYTES = 32 << 20
const WRITTEN_SHARE = 0.1
/** of the machine's memory, at most, for `--cache-dir memory` */
const MEMORY_SHARE = 0.5
const MEMORY = 'memory'
/** where no directory is left */
const FALLBACK_BYTES = 100 << 20
const NO_WRITEBACK: WritebackOptions = {
  isOn: false,
  thresholdBytes: 0,
  uploadDelayMs: 0,
  uploadHours: null,
  maxStageWrites: 0,
  readOnly: false,
}

export async function openChunks(options: ChunkOptions): Promise<ChunkStore> {
  const codec = await openCodec(options.compression)
  const counters = new CacheCounters(options.metrics)
  const objects = new BlockObjects({ ...options, codec, pause: options.pause ?? sleep })
  const disk = await openCaches(options, counters)
  const mayLookInPlace = codec.plain && options.cache.inPlace === true && !options.writeback?.isOn
  const kept = disk && mayLookInPlace ? await openInPlace(options, disk, counters) : disk
  return new Chunks(options, objects, disk, kept, counters)
}

const openInPlace = (options: ChunkOptions, caches: CacheSet, counters: CacheCounters): Promise<BlocksInPlace> =>
  BlocksInPlace.open({
    ...options,
    caches,
    maxIoMs: (options.cache.health ?? DEFAULT_HEALTH).maxIoMs,
    isLimited: () => options.downloadLimit?.isUnlimited === false,
    counters,
  })

async function openCaches(options: ChunkOptions, counters: CacheCounters): Promise<CacheSet | null> {
  const { cache, writeback, blockBytes, clock, random, log, hashPrefix } = options
  if (cache.sizeBytes <= 0 || cache.dir === MEMORY) return null
  const caches = await CacheSet.open({
    ...cache,
    health: cache.health ?? DEFAULT_HEALTH,
    dropPages: cache.dropPages ?? false,
    staging: writeback?.isOn ?? false,
    queueBytes: options.bufferBytes * QUEUE_SHARE,
    blockBytes,
    hashPrefix,
    clock,
    random,
    log,
    counters,
  })
  if (caches === null) log.warn(`no directory matches ${cache.dir}: cache store is empty, use memory cache`)
  return caches
}

class Chunks implements ChunkStore {
  readonly blockBytes: number
  readonly #cache: CacheOptions
  readonly #objects: BlockObjects
  readonly #buffers: WriteBuffers
  readonly #memory: BlockCache
  readonly #written: WrittenBlocks
  readonly #disk: CacheSet | null
  /** where blocks are found beyond memory: the same, or the bucket before it */
  readonly #kept: BlocksInPlace | CacheSet | null
  readonly #writeBack: WriteBack | null
  readonly #fetcher: Fetcher
  readonly #warming: Slots

  constructor(
    options: ChunkOptions,
    objects: BlockObjects,
    disk: CacheSet | null,
    kept: BlocksInPlace | CacheSet | null,
    counters: CacheCounters,
  ) {
    const { blockBytes, bufferBytes, cache } = options
    this.blockBytes = blockBytes
    this.#cache = cache
    this.#objects = objects
    this.#disk = disk
    this.#kept = kept
    this.#buffers = new WriteBuffers({ blockBytes, limitBytes: bufferBytes, encodedBytes: () => objects.encodedBytes })
    const readBytes = (): number => bufferBytes - this.#buffers.usedBytes - objects.encodedBytes
    this.#memory = new BlockCache({
      budgetBytes: () =>
        this.#memoryCacheBytes +
        Math.max(2 * blockBytes, Math.min(bufferBytes * READ_SHARE, readBytes()) - this.#fetcher.inFlightBytes),
      idleMs: () => (this.#memoryCacheBytes > 0 ? cache.expireMs || Number.POSITIVE_INFINITY : IDLE_MS),
    })
    this.#written = new WrittenBlocks(this.#memory, Math.min(MOST_WRITTEN_BYTES, bufferBytes * WRITTEN_SHARE))
    this.#writeBack = disk && this.#openWriteBack(options, disk)
    this.#fetcher = new Fetcher({
      blockBytes,
      objects,
      memory: this.#memory,
      disk: kept,
      caching: () => cache.sizeBytes > 0 && !(kept instanceof BlocksInPlace && kept.isOn),
      memoryIsCache: () => this.#memoryCacheBytes > 0,
      partialOnly: cache.partialOnly,
      prefetch: cache.sizeBytes > 0 ? options.prefetch : 0,
      counters,
      mostInFlightBytes: () =>
        Math.max(bufferBytes * LEAST_IN_FLIGHT_SHARE, Math.min(bufferBytes * IN_FLIGHT_SHARE, readBytes())),
    })
    this.#warming = new Slots(Math.floor((bufferBytes * WARM_SHARE) / blockBytes))
    this.#registerGauges(options.metrics)
  }

  #openWriteBack(options: ChunkOptions, caches: CacheSet): WriteBack {
    const parts = { ...options, objects: this.#objects, caches, bufferBytes: options.bufferBytes * QUEUE_SHARE }
    const writeBack = new WriteBack({ ...parts, ...(options.writeback ?? NO_WRITEBACK) })
    writeBack.recover().catch(error => options.log.error(`look for staging blocks: ${causeText(error)}`))
    return writeBack
  }

  /** So much of the memory is the cache: `--cache-dir memory`, or no directory is left. */
  get #memoryCacheBytes(): number {
    const { sizeBytes, dir } = this.#cache
    if (sizeBytes <= 0) return 0
    if (dir === MEMORY) return Math.min(sizeBytes, totalmem() * MEMORY_SHARE)
    return this.#disk === null || this.#disk.isEmpty ? FALLBACK_BYTES : 0
  }

  read(slice: SliceName, off: number, len: number): Maybe<Buffer[]> {
    checkSlice(slice)
    assert(off >= 0 && len >= 0 && off + len <= slice.size, `slice ${slice.id} has no bytes ${off} + ${len}`)
    return this.#fetcher.read(slice, off, len)
  }

  prefetch(slice: SliceName, off: number, len: number): boolean {
    return this.#fetcher.prefetch(slice, off, len)
  }

  newWriter(options?: { readonly direct: boolean }): SliceWriter {
    return new BlockSliceWriter({
      buffers: this.#buffers,
      sink: options?.direct ? this.#objects : this.#sink,
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
      this.#forgetCached(block)
      await this.#sink.delete(block).catch(error => {
        failure = error
      })
    }
    if (failure) throw failure
  }

  async sync(slices: readonly SliceName[]): Promise<void> {
    await this.#sink.sync(slices.flatMap(slice => blocksOf(slice, this.blockBytes)))
  }

  async warm(slice: SliceName, isCancelled = () => false): Promise<void> {
    if (this.#cache.sizeBytes <= 0) return
    await Promise.all(
      blocksOf(slice, this.blockBytes).map(async block => {
        await this.#warming.enter()
        if (isCancelled()) return this.#warming.leave()
        await this.#fetcher.warm(block).finally(() => this.#warming.leave())
      }),
    )
  }

  evict(slice: SliceName): void {
    for (const block of blocksOf(slice, this.blockBytes)) this.#forgetCached(block)
  }

  async places(slice: SliceName): Promise<{ place: string | null; bytes: number }[]> {
    const found: { place: string | null; bytes: number }[] = []
    for (const block of blocksOf(slice, this.blockBytes)) {
      found.push({ place: await this.#fetcher.find(block), bytes: block.length })
    }
    return found
  }

  keys(slice: SliceName): { key: string; size: number }[] {
    return blocksOf(slice, this.blockBytes).map(block => ({ key: this.#objects.key(block), size: block.length }))
  }

  async close(): Promise<void> {
    await this.#writeBack?.close()
    await this.#kept?.close()
    this.#buffers.close()
    this.#memory.clear()
  }

  get #sink(): BlockObjects | WriteBack {
    return this.#writeBack ?? this.#objects
  }

  #forgetCached(block: Block): void {
    this.#memory.delete(blockKey(block.id, block.index))
    this.#kept?.remove(block)
  }

  /** After an upload: small blocks are likely read soon, whole ones are many and in the kernel's cache anyway. */
  #keepStored(block: Block, bytes: Buffer, release: () => void): void {
    const wanted = this.#cache.sizeBytes > 0 && (block.length < this.blockBytes || this.#cache.largeWrite)
    if (wanted && this.#kept) {
      this.#kept.lend(block, bytes, () => {
        if (block.length < this.blockBytes) this.#written.keep(blockKey(block.id, block.index), bytes)
        release()
      })
      return
    }
    if (wanted) this.#memory.putCopy(blockKey(block.id, block.index), bytes)
    release()
  }

  #registerGauges(metrics: Metrics): void {
    const [memory, disk] = [this.#memory, this.#disk]
    const cached = (): number => Math.min(memory.bytes, this.#memoryCacheBytes)
    const read = (): number => memory.bytes - cached()
    const blocks = (): number => (disk?.blocks ?? 0) + (this.#memoryCacheBytes > 0 ? memory.count : 0)
    const gauge = (name: string, help: string, look: () => number): void => metrics.gauge(name, help, look)
    gauge('used_buffer_size_bytes', 'size of currently used buffer.', () => this.#buffers.usedBytes + read())
    gauge('used_read_buffer_size_bytes', 'size of currently used buffer for read', read)
    gauge('store_cache_size_bytes', 'size of store cache.', () => cached() + (disk?.queuedBytes ?? 0))
    gauge('blockcache_blocks', 'number of cached blocks', blocks)
    gauge('blockcache_bytes', 'number of cached bytes', () => (disk?.bytes ?? 0) + cached())
  }
}
