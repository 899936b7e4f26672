/** Blocks kept on a local disk across restarts (spec disk-cache sections 2, 3 and 4; one directory, no staging).
 *
 *      offer, lend ─► pending (bounded; served from memory) ─► one writer ─► file + index ─► evicted or expired
 *
 *  Nothing that goes wrong here fails a read or a write of the file system: a bad file is removed and is a miss, a full disk
 *  drops blocks, a sick disk is left alone (disk-health.ts). Only opening a directory without rights is refused. */

import fs from 'node:fs'
import { call, codeOf, ignore } from '../base/call.ts'
import type { Clock } from '../base/clock.ts'
import { causeText } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import type { Maybe } from '../base/maybe.ts'
import type { CacheCounters } from './cache-counters.ts'
import { CacheDirectory } from './cache-directory.ts'
import { CorruptCacheFile, readCacheFile, type VerifyLevel, writeCacheFile } from './cache-file.ts'
import { CacheIndex, type Eviction, type IndexEntry } from './cache-index.ts'
import { CacheWriter } from './cache-writer.ts'
import { DiskHealth } from './disk-health.ts'
import type { SecondLevel } from './fetcher.ts'
import { type Block, type BlockKey, blockKey, objectKey } from './keys.ts'
import { OpenCacheFiles } from './open-cache-files.ts'

export interface DiskCacheOptions {
  readonly dir: string
  readonly uuid: string
  readonly sizeBytes: number
  readonly items: number
  readonly freeSpaceRatio: number
  readonly mode: number
  readonly verifyChecksum: VerifyLevel
  readonly eviction: Eviction
  readonly scanIntervalMs: number
  readonly expireMs: number
  readonly hashPrefix: boolean
  /** of blocks that wait for the writer */
  readonly queueBytes: number
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
  readonly counters: CacheCounters
}

const SPACE_INTERVAL_MS = 1000
const LOCK_EVERY = 10 // of the above
const EXPIRY_SAMPLE = 1000
const WARN_INTERVAL_MS = 60_000
/** a read that takes longer is given up, and counts against the disk */
const MAX_IO_MS = 30_000
/** the share of the goal that is left when space must be made */
const KEPT_BYTES = 0.95
const KEPT_ITEMS = 0.99

export class DiskCache implements SecondLevel {
  readonly #o: DiskCacheOptions
  readonly #directory: CacheDirectory
  readonly #index: CacheIndex
  readonly #files = new OpenCacheFiles()
  readonly #health: DiskHealth
  readonly #writer: CacheWriter
  readonly #timers: NodeJS.Timeout[] = []
  #capacityBytes: number
  #maxItems: number
  #generation = 0
  /** The index is complete: what it does not know is not there. */
  #scanned = false
  /** The file system has less free space or inodes than it shall keep. */
  #spaceShort = false
  #watching = false
  #lockLost = false
  #warnedMs = Number.NEGATIVE_INFINITY
  #closed = false

  private constructor(options: DiskCacheOptions, directory: CacheDirectory) {
    this.#o = options
    this.#directory = directory
    this.#index = new CacheIndex(options)
    this.#capacityBytes = options.sizeBytes
    this.#maxItems = options.items > 0 ? options.items : Number.POSITIVE_INFINITY
    this.#writer = new CacheWriter({
      limitBytes: options.queueBytes,
      write: (block, bytes) => this.#write(block, bytes),
      undo: block => this.remove(block),
    })
    const { clock, log } = options
    this.#health = new DiskHealth({ name: directory.root, clock, log, probe: () => this.#probe() })
  }

  /** Ready at once; what earlier runs left is found by a scan in the background. */
  static async open(options: DiskCacheOptions): Promise<DiskCache> {
    const cache = new DiskCache(options, await CacheDirectory.open(options))
    await cache.#adjustCapacity()
    cache.#start()
    return cache
  }

  get blocks(): number {
    return this.#index.count
  }
  /** on disk, and still on the way there */
  get bytes(): number {
    return this.#index.usedBytes + this.#writer.bytes
  }
  /** memory that waits for the writer */
  get queuedBytes(): number {
    return this.#writer.bytes
  }

  read(block: Block, off: number, len: number): Maybe<Buffer | null> {
    const key = blockKey(block.id, block.index)
    const waiting = this.#writer.read(key, block.length, off, len)
    if (waiting) return waiting
    const entry = this.#index.get(key)
    if (entry ? entry.length !== block.length : this.#scanned) return null
    if (!this.#health.usable) return null
    return this.#readFile(block, key, off, len)
  }

  /** Keeps a frozen block. `forced`: also when many wait; then wait for `room` before the next. */
  offer(block: Block, bytes: Buffer, forced: boolean): void {
    this.#enqueue(block, bytes, null, forced)
  }

  /** Keeps a block whose bytes are only borrowed; `release` is called once, now or later. */
  lend(block: Block, bytes: Buffer, release: () => void): void {
    if (!this.#enqueue(block, bytes, release, false)) release()
  }

  room(): Promise<void> | undefined {
    return this.#writer.room()
  }

  /** Forgets a block: its slice is deleted. */
  remove(block: Block): void {
    const key = blockKey(block.id, block.index)
    this.#writer.remove(key)
    const known = this.#index.delete(key)
    if (known || !this.#scanned) this.#unlink(key, block)
  }

  /** Writes what waits, then lets go of the disk. */
  async close(): Promise<void> {
    this.#closed = true
    for (const timer of this.#timers) clearInterval(timer)
    await this.#writer.drain()
    this.#health.close()
    this.#files.close()
  }

  #start(): void {
    const { scanIntervalMs, expireMs } = this.#o
    const every = (ms: number, work: () => void): void => {
      this.#timers.push(setInterval(work, ms).unref())
    }
    let ticks = 0
    every(SPACE_INTERVAL_MS, () => void this.#watchSpace(++ticks % LOCK_EVERY === 0))
    if (expireMs > 0) every(Math.min(60_000, Math.max(1000, expireMs)), () => this.#expire())
    if (scanIntervalMs >= 0) void this.#scan()
    if (scanIntervalMs > 0) every(scanIntervalMs, () => void this.#scan())
  }

  /** Never more than the file system can give while keeping its free share. */
  async #adjustCapacity(): Promise<void> {
    const { log, freeSpaceRatio } = this.#o
    const space = await this.#directory.space()
    const percent = (free: number): string => `${((1 - free) * 100).toFixed(1)}%`
    log.info(
      `Disk cache (${this.#directory.root}): used ratio - [space ${percent(space.freeRatio)}, inode ${percent(space.freeInodeRatio)}]`,
    )
    const usableBytes = Math.floor(space.totalBytes * (1 - freeSpaceRatio))
    if (usableBytes < this.#capacityBytes) {
      log.info(`Adjusted cache capacity based on freeratio: from ${this.#capacityBytes} to ${usableBytes} bytes`)
      this.#capacityBytes = usableBytes
    }
    const usableItems = Math.floor(space.totalInodes * (1 - freeSpaceRatio))
    if (space.totalInodes > 0 && usableItems < this.#maxItems) {
      log.info(`Adjusted max items based on freeratio: from ${this.#o.items} to ${usableItems} items`)
      this.#maxItems = usableItems
    }
    this.#spaceShort = Math.min(space.freeRatio, space.freeInodeRatio) < freeSpaceRatio
    if (this.#spaceShort) {
      const free = (ratio: number): string => `${(ratio * 100).toFixed(0)}%`
      log.warn(
        `not enough space (${free(space.freeRatio)}) or inodes (${free(space.freeInodeRatio)}) for caching in ` +
          `${this.#directory.root}: free ratio should be >= ${free(freeSpaceRatio)}`,
      )
    }
  }

  async #readFile(block: Block, key: BlockKey, off: number, len: number): Promise<Buffer | null> {
    const { clock, counters, verifyChecksum, log } = this.#o
    const startedMs = clock.monotonicMs()
    try {
      const reading =
        len === block.length && !this.#files.has(key)
          ? readCacheFile(this.#path(block), len, verifyChecksum)
          : this.#files.read(key, this.#path(block), block.length, file => file.read(off, len, verifyChecksum))
      const bytes = await withinTime(reading)
      counters.readSeconds.observe((clock.monotonicMs() - startedMs) / 1000)
      const entry = this.#index.get(key)
      if (entry) this.#index.touch(entry, clock.now().sec)
      return bytes
    } catch (error) {
      if (error instanceof CorruptCacheFile) {
        log.warn(`remove partial cached block ${this.#path(block)}: ${error.message}`)
        this.remove(block)
      } else if (codeOf(error) === 'ENOENT') {
        this.#files.forget(key)
        this.#index.delete(key)
      } else this.#complain(`read cached block ${this.#path(block)}`, error)
      return null
    }
  }

  #enqueue(block: Block, bytes: Buffer, release: (() => void) | null, forced: boolean): boolean {
    const key = blockKey(block.id, block.index)
    if (this.#closed || !this.#health.usable || this.#writer.has(key) || this.#index.get(key)) return false
    const crowded = !forced && this.#writer.isCrowded(block.length)
    if (crowded || (this.#o.eviction === 'none' && this.#isFull())) {
      this.#o.counters.drops.add(1)
      return false
    }
    this.#writer.add(block, bytes, release)
    return true
  }

  async #write(block: Block, bytes: Buffer): Promise<void> {
    const { clock, counters, verifyChecksum } = this.#o
    const path = this.#path(block)
    const options = { mode: this.#directory.fileMode, checksums: verifyChecksum !== 'none' }
    const startedMs = clock.monotonicMs()
    try {
      const file = await writeCacheFile(path, bytes, options).catch(async error => {
        if (codeOf(error) !== 'ENOENT') throw error
        await this.#directory.makeParents(path)
        return await writeCacheFile(path, bytes, options)
      })
      if (file) this.#files.adopt(blockKey(block.id, block.index), file)
    } catch (error) {
      counters.drops.add(1)
      this.#complain(`cache block ${path}`, error)
      if (codeOf(error) === 'ENOSPC') void this.#watchSpace(false)
      return
    }
    this.#index.add(block, { staged: false, atime: clock.now().sec, generation: this.#generation })
    counters.writes.add(1)
    counters.writeBytes.add(block.length)
    counters.writeSeconds.observe((clock.monotonicMs() - startedMs) / 1000)
    if (this.#o.eviction !== 'none' && this.#isOverCapacity()) {
      this.#makeRoom({ bytes: this.#capacityBytes, items: this.#maxItems })
    }
  }

  async #scan(): Promise<void> {
    const generation = ++this.#generation
    const nowMs = this.#o.clock.now().sec * 1000
    const found = ({ block, atime, staged }: { block: Block; atime: number; staged: boolean }): void => {
      const key = blockKey(block.id, block.index)
      const known = this.#index.get(key)
      if (known && known.staged === staged && known.length === block.length) {
        known.generation = generation
        known.atime = Math.max(known.atime, atime)
      } else this.#index.add(block, { staged, atime: Math.max(atime, known?.atime ?? 0), generation })
    }
    await this.#directory.scan(nowMs, found, () => this.#closed || generation !== this.#generation)
    if (this.#closed || generation !== this.#generation) return
    this.#index.deleteOlderThan(generation)
    this.#scanned = true
    if (this.#o.eviction !== 'none' && this.#isOverCapacity()) {
      this.#makeRoom({ bytes: this.#capacityBytes, items: this.#maxItems })
    }
  }

  #isOverCapacity(): boolean {
    return this.#index.usedBytes > this.#capacityBytes || this.#index.count > this.#maxItems
  }
  #isFull(): boolean {
    return this.#spaceShort || this.#isOverCapacity()
  }

  /** Evicts until both limits are kept with a margin. */
  #makeRoom(limit: { readonly bytes: number; readonly items: number }): void {
    const goal = {
      bytes: limit.bytes * KEPT_BYTES,
      items: Math.floor(Math.min(limit.items, this.#index.count) * KEPT_ITEMS),
    }
    this.#drop(this.#index.evict(goal, this.#expiredBefore()))
  }

  #expire(): void {
    this.#drop(this.#index.expire(this.#expiredBefore(), EXPIRY_SAMPLE))
  }

  #drop(entries: readonly IndexEntry[]): void {
    this.#o.counters.evicts.add(entries.length)
    for (const entry of entries) this.#unlink(entry.key, entry)
  }

  #expiredBefore(): number {
    return this.#o.expireMs > 0 ? this.#o.clock.now().sec - this.#o.expireMs / 1000 : Number.NEGATIVE_INFINITY
  }

  async #watchSpace(alsoLock: boolean): Promise<void> {
    if (this.#watching) return
    this.#watching = true
    try {
      const { freeRatio, freeInodeRatio, totalBytes, totalInodes } = await this.#directory.space()
      const wanted = this.#o.freeSpaceRatio
      this.#spaceShort = Math.min(freeRatio, freeInodeRatio) < wanted
      if (this.#spaceShort && this.#o.eviction !== 'none' && !this.#closed) {
        const { usedBytes, count } = this.#index
        const missingBytes = (wanted - freeRatio) * totalBytes
        const missingItems = (wanted - freeInodeRatio) * totalInodes
        this.#makeRoom({
          bytes: missingBytes > 0 ? Math.max(0, usedBytes - missingBytes) : this.#capacityBytes,
          items: missingItems > 0 ? Math.max(0, count - missingItems) : this.#maxItems,
        })
      }
      if (alsoLock) await this.#checkLock()
    } catch (error) {
      this.#complain(`look at the free space of ${this.#directory.root}`, error)
    } finally {
      this.#watching = false
    }
  }

  async #checkLock(): Promise<void> {
    const lost = !(await this.#directory.hasLock())
    if (lost && !this.#lockLost)
      this.#o.log.info(`lockfile ${this.#directory.root}.lock is lost, cache device maybe broken`)
    this.#lockLost = lost
  }

  /** 01 02 03 written, read and removed under `raw/probe/`. */
  async #probe(): Promise<void> {
    const path = `${this.#directory.path('probe')}/00/0/0_0_3` // slice 0 has no blocks
    const bytes = Buffer.from([1, 2, 3])
    await this.#directory.makeParents(path)
    await call<void>(done => fs.writeFile(path, bytes, { mode: this.#directory.fileMode }, done))
    const back = await call<Buffer>(done => fs.readFile(path, done))
    await call<void>(done => fs.rm(this.#directory.path('probe'), { recursive: true, force: true }, done))
    if (!back.equals(bytes)) throw new Error('the probe came back with other bytes')
  }

  #path(block: Block): string {
    return this.#directory.path(objectKey(block, this.#o.hashPrefix))
  }

  #unlink(key: BlockKey, block: Block): void {
    this.#files.forget(key)
    fs.unlink(this.#path(block), ignore)
  }

  /** Counts against the disk what a healthy disk does not do, and logs once in a while. */
  #complain(doing: string, error: unknown): void {
    if (codeOf(error) === 'EIO' || codeOf(error) === 'ETIMEDOUT') this.#health.failed()
    const nowMs = this.#o.clock.monotonicMs()
    if (nowMs - this.#warnedMs < WARN_INTERVAL_MS) return
    this.#warnedMs = nowMs
    this.#o.log.warn(`${doing}: ${causeText(error)}`)
  }
}

async function withinTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      work.catch(ignore)
      reject(Object.assign(new Error(`no answer within ${MAX_IO_MS} ms`), { code: 'ETIMEDOUT' }))
    }, MAX_IO_MS)
  })
  try {
    return await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}
