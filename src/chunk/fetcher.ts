/** Reads blocks: memory, then disk cache, then object store (spec vfs section 2.6).
 *
 *      in memory            → a view, at once
 *      in the disk cache, and the kernel has it at hand → a copy of the part, at once
 *      somebody fetches it  → wait for that fetch
 *      small part           → the part alone, from the disk cache or by a range request; then the block is prefetched
 *      else                 → the whole block into memory, one fetch however many ask
 *
 *  Every answer is a view of a frozen buffer, whose memory is used again when all have looked (base/shared-memory.ts). One attempt: who reads the file repeats (data-objects section 5.1).
 *
 *  A block that was read to its end will hardly be asked for again: the kernel has its pages. It leaves memory soon after, for what lives
 *  is what the collector lets the garbage grow to (peaks of a big read: 500 to 1,100 MiB before, 350 to 450 since). */

import type { Maybe } from '../base/maybe.ts'
import { letGo, share, viewFor } from '../base/shared-memory.ts'
import type { BlockCache } from './block-cache.ts'
import type { BlockObjects } from './block-objects.ts'
import type { CacheCounters } from './cache-counters.ts'
import type { SliceName } from './chunk-store.ts'
import { type Block, type BlockKey, blockKey, blockLength } from './keys.ts'

/** What keeps blocks beyond this process; `disk-cache.ts` is one. */
export interface SecondLevel {
  /** Plain bytes [off, off + len) of the block; null where it has none, at once if it knows. Never rejects. */
  read(block: Block, off: number, len: number): Maybe<Buffer | null>
  /** The same, at once or not at all: null where it would have to wait. */
  readNow(block: Block, off: number, len: number): Buffer | null
  /** Would `readNow` likely find any part of the block? Then it need not be fetched ahead. */
  isAtHand(block: Block): boolean
  /** Opens ahead of need what only has to be opened: would `readNow` find the block then? Absent: there is nothing of that kind. */
  openAhead?(block: Block): Promise<boolean>
  /** Keeps a frozen block, or drops it where many wait already. `forced`: never drops for that reason. */
  offer(block: Block, bytes: Buffer, forced: boolean): void
  /** What whoever offered this block by force waits for before the next one: undefined, or a promise. */
  room(block: Block): Promise<void> | undefined
  /** Where the block is kept, for people; null where it is not. */
  find(block: Block): Maybe<string | null>
}

/** Why a whole block is fetched: it was asked for, it will likely be, or only the cache shall have it. */
type Purpose = 'read' | 'prefetch' | 'warm'

export interface FetcherOptions {
  readonly blockBytes: number
  readonly objects: BlockObjects
  readonly memory: BlockCache
  readonly disk: SecondLevel | null
  /** Blocks are kept in a cache: worth fetching more than was asked for. Asked anew each time. */
  readonly caching: () => boolean
  /** `--cache-dir memory`, or no directory is left: what is found in memory is a hit of the cache */
  readonly memoryIsCache: () => boolean
  /** keep only blocks shorter than `blockBytes`, and those that small reads ask for */
  readonly partialOnly: boolean
  /** workers that fetch whole blocks after a range read; 0 = none */
  readonly prefetch: number
  readonly counters: CacheCounters
  /** of whole blocks that are fetched at a time; one is, however large */
  readonly mostInFlightBytes: () => number
}

/** up to this part of a block is read alone */
const SMALL_PART = 1 / 4
const LONG_PART_BYTES = 64 << 10
/** Blocks that were read to their end and stay: the kernel's requests come out of order, and readers follow each other closely. */
const ENDED_BLOCKS = 8

export class Fetcher {
  readonly #o: FetcherOptions
  readonly #flights = new Map<BlockKey, Promise<Buffer>>()
  /** read to their end, the oldest first */
  readonly #ended = new Set<BlockKey>()
  readonly #prefetchQueue = new Map<BlockKey, Block>()
  #prefetching = 0
  #inFlightBytes = 0
  /** for room in flight, first come, first served */
  readonly #waiting: { readonly bytes: number; readonly enter: () => void }[] = []

  constructor(options: FetcherOptions) {
    this.#o = options
  }

  /** of whole blocks that are being fetched: memory that the cache of blocks does not have yet */
  get inFlightBytes(): number {
    return this.#inFlightBytes
  }

  read(slice: SliceName, off: number, len: number): Maybe<Buffer[]> {
    const { blockBytes, memory, memoryIsCache, disk, counters } = this.#o
    const pieces: Maybe<Buffer>[] = []
    let complete = true
    for (let at = off; at < off + len; ) {
      const index = Math.floor(at / blockBytes)
      const length = blockLength(slice.size, index, blockBytes)
      const inBlock = at - index * blockBytes
      const count = Math.min(length - inBlock, off + len - at)
      const key = blockKey(slice.id, index)
      const cached = memory.get(key, length)
      if (cached) {
        pieces.push(viewFor(cached, inBlock, inBlock + count))
        if (memoryIsCache()) counters.hit(count)
        else if (inBlock + count === length) this.#noteEnd(key)
      } else {
        const block = { id: slice.id, index, length }
        const now = disk?.readNow(block, inBlock, count)
        if (now) {
          pieces.push(now)
          counters.hit(count)
        } else {
          complete = false
          pieces.push(this.#fetch(block, inBlock, count))
        }
      }
      at += count
    }
    return complete ? (pieces as Buffer[]) : Promise.all(pieces)
  }

  /** Starts fetching the blocks of the range into memory; whether anything was started. Failures are left to the reader. */
  prefetch(slice: SliceName, off: number, len: number): boolean {
    const { blockBytes, memory, disk } = this.#o
    const end = Math.min(off + len, slice.size)
    let started = false
    for (let index = Math.floor(off / blockBytes); index * blockBytes < end; index++) {
      const key = blockKey(slice.id, index)
      if (memory.has(key) || this.#flights.has(key)) continue
      const block = { id: slice.id, index, length: blockLength(slice.size, index, blockBytes) }
      if (disk?.isAtHand(block)) continue
      this.#ahead(block, key).catch(() => {})
      started = true
    }
    return started
  }

  async #ahead(block: Block, key: BlockKey): Promise<void> {
    const opened = this.#o.disk?.openAhead?.(block)
    if (opened === undefined || !(await opened)) await this.#whole(block, key, 'read')
  }

  /** Where the block is cached, for people; null where it is not. */
  find(block: Block): Maybe<string | null> {
    const { memory, memoryIsCache, disk } = this.#o
    if (memoryIsCache() && memory.has(blockKey(block.id, block.index))) return 'memory'
    return disk?.find(block) ?? null
  }

  /** Fetches the block into the cache if it is not there. Rejects as a read does. */
  async warm(block: Block): Promise<void> {
    if ((await this.find(block)) !== null) return
    await this.#whole(block, blockKey(block.id, block.index), 'warm')
    await this.#o.disk?.room(block)
  }

  async #fetch(block: Block, off: number, len: number): Promise<Buffer> {
    const key = blockKey(block.id, block.index)
    if (!this.#flights.has(key) && len <= block.length * SMALL_PART) {
      const part = await this.#part(block, key, off, len)
      if (part) return part
    }
    const whole = await this.#whole(block, key, 'read')
    if (off + len === block.length && !this.#o.memoryIsCache()) this.#noteEnd(key)
    return viewFor(whole, off, off + len)
  }

  #noteEnd(key: BlockKey): void {
    const ended = this.#ended
    ended.delete(key)
    ended.add(key)
    if (ended.size <= ENDED_BLOCKS) return
    const oldest = ended.values().next().value!
    ended.delete(oldest)
    this.#o.memory.delete(oldest)
  }

  /** A part alone, where that is possible and cheaper than the block. */
  async #part(block: Block, key: BlockKey, off: number, len: number): Promise<Buffer | null> {
    const { disk, objects, counters, caching } = this.#o
    const cached = disk && (await disk.read(block, off, len))
    if (cached) {
      counters.hit(len)
      if (!caching()) this.#offerPrefetch(block, key) // read in place, and the kernel had to wait for the disk
      return this.#forOneReader(cached)
    }
    if (!objects.rangeReads || this.#flights.has(key) || (off === 0 && caching())) return null
    try {
      const bytes = await objects.getRange(block, off, len)
      counters.miss(len)
      if (caching()) this.#offerPrefetch(block, key)
      return this.#forOneReader(bytes)
    } catch {
      return null // counted and logged where it failed; the whole block is tried next
    }
  }

  /** A part that nobody else looks at. Where it is long its memory is worth using again. */
  #forOneReader(part: Buffer): Buffer {
    if (part.length < LONG_PART_BYTES) return part
    this.#o.memory.passes(part)
    share(part)
    const view = viewFor(part, 0, part.length)
    letGo(part)
    return view
  }

  #whole(block: Block, key: BlockKey, purpose: Purpose): Promise<Buffer> {
    let flight = this.#flights.get(key)
    if (flight === undefined) {
      flight = this.#load(block, key, purpose).finally(() => this.#flights.delete(key))
      this.#flights.set(key, flight)
    }
    return flight
  }

  async #load(block: Block, key: BlockKey, purpose: Purpose): Promise<Buffer> {
    const { blockBytes, memory, memoryIsCache, disk, objects, counters, partialOnly } = this.#o
    let cached: Buffer | null = null
    let bytes: Buffer
    await this.#takeOff(block.length)
    try {
      cached = disk && (await disk.read(block, 0, block.length))
      bytes = cached ?? (await objects.get(block))
    } finally {
      this.#land(block.length)
    }
    // Held until all who wait for this flight have their views: they go on in this turn.
    share(bytes)
    setImmediate(letGo, bytes)
    if (cached) {
      counters.hit(block.length)
      memory.put(key, cached)
      return cached
    }
    counters.miss(block.length)
    if (purpose !== 'warm' || memoryIsCache()) memory.put(key, bytes)
    else memory.passes(bytes)
    const forced = purpose !== 'read'
    if (forced || !partialOnly || block.length < blockBytes) disk?.offer(block, bytes, forced)
    return bytes
  }

  /** undefined = off at once; else wait. A hundred readers of a compressed volume want a hundred whole blocks. */
  #takeOff(bytes: number): Promise<void> | undefined {
    if (this.#waiting.length === 0 && this.#hasRoom(bytes)) {
      this.#inFlightBytes += bytes
      return undefined
    }
    return new Promise(enter => this.#waiting.push({ bytes, enter }))
  }

  #land(bytes: number): void {
    this.#inFlightBytes -= bytes
    while (this.#waiting.length > 0 && this.#hasRoom(this.#waiting[0]!.bytes)) {
      const next = this.#waiting.shift()!
      this.#inFlightBytes += next.bytes
      next.enter()
    }
  }

  #hasRoom(bytes: number): boolean {
    return this.#inFlightBytes === 0 || this.#inFlightBytes + bytes <= this.#o.mostInFlightBytes()
  }

  #offerPrefetch(block: Block, key: BlockKey): void {
    const { prefetch } = this.#o
    if (prefetch <= 0 || this.#prefetchQueue.size >= Math.max(4 * prefetch, 10) || this.#flights.has(key)) return
    this.#prefetchQueue.set(key, block)
    if (this.#prefetching < prefetch) void this.#prefetchLoop()
  }

  async #prefetchLoop(): Promise<void> {
    this.#prefetching++
    for (;;) {
      const next = this.#prefetchQueue.entries().next().value
      if (next === undefined) break
      const [key, block] = next
      this.#prefetchQueue.delete(key)
      await this.#whole(block, key, 'prefetch').catch(() => {}) // a prefetch that fails is repeated by the read
      await this.#o.disk?.room(block)
    }
    this.#prefetching--
  }
}
