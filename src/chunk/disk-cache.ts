/** Blocks kept in one directory of a local disk across restarts (spec disk-cache sections 2, 3, 4 and 6).
 *
 *      offer, lend ─► pending (bounded; served from memory) ─► one writer ─► file + index ─► evicted or expired
 *      stage ─► staged file + index, never evicted ─► unstage, when it is uploaded ─► an ordinary cached block
 *
 *  Nothing that goes wrong with a cached block fails a read or a write of the file system: a bad file is removed and is a miss, a
 *  full disk drops blocks, a sick disk is left alone (disk-health.ts). A staged block is the only copy: it is never removed for
 *  being unreadable, and whoever stages hears of failures. */

import fs from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { call, codeOf, ignore } from '../base/call.ts'
import type { Clock } from '../base/clock.ts'
import { causeText } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import type { Maybe } from '../base/maybe.ts'
import { dropCached } from '../base/whole-file.ts'
import type { CacheCounters } from './cache-counters.ts'
import { CacheDirectory, type FoundBlock } from './cache-directory.ts'
import { type CacheFile, CorruptCacheFile, readCacheFile, type VerifyLevel, writeCacheFile } from './cache-file.ts'
import { CacheIndex, type Eviction, type IndexEntry } from './cache-index.ts'
import { type CacheLimits, CacheSpace } from './cache-space.ts'
import { CacheWriter } from './cache-writer.ts'
import { DiskHealth, type HealthLimits } from './disk-health.ts'
import { Evictor } from './evictor.ts'
import { type Block, type BlockKey, blockKey, objectKey } from './keys.ts'
import { OpenCacheFiles } from './open-cache-files.ts'
import { type FoundStaged, StageArea } from './stage-area.ts'

export interface DiskCacheOptions extends CacheLimits {
  readonly dir: string
  readonly uuid: string
  readonly mode: number
  readonly verifyChecksum: VerifyLevel
  readonly eviction: Eviction
  readonly scanIntervalMs: number
  readonly expireMs: number
  readonly health: HealthLimits
  /** The kernel shall not keep in memory what was written to or read from here. */
  readonly dropPages: boolean
  readonly hashPrefix: boolean
  readonly blockBytes: number
  /** blocks will be staged */
  readonly staging: boolean
  /** of blocks that wait for the writer */
  readonly queueBytes: number
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
  readonly counters: CacheCounters
  /** the disk is given up */
  readonly onDown: (cache: DiskCache) => void
  /** Space is short, and there is nothing left to evict: upload what is staged. */
  readonly onPressure: (cache: DiskCache) => void
}

const WARN_INTERVAL_MS = 60_000
const CLOSE_PATIENCE_MS = 10_000
/** so many files to probe the disk with, in as many directories as cached blocks are in */
const MOST_PROBES = 2 ** 31

export class DiskCache {
  readonly #o: DiskCacheOptions
  readonly #directory: CacheDirectory
  readonly #space: CacheSpace
  readonly #index: CacheIndex
  readonly #stage: StageArea
  readonly #files = new OpenCacheFiles()
  readonly #health: DiskHealth
  readonly #writer: CacheWriter
  readonly #evictor: Evictor
  #rescan: NodeJS.Timeout | undefined
  #generation = 0
  /** The index is complete: what it does not know is not there. */
  #scanned = false
  #warnedMs = Number.NEGATIVE_INFINITY
  /** So are the staged blocks, of earlier runs too. */
  #stagingKnown = false
  /** of blocks that are being staged */
  #stagingBytes = 0
  #closed = false

  private constructor(options: DiskCacheOptions, directory: CacheDirectory, space: CacheSpace) {
    this.#o = options
    this.#directory = directory
    this.#space = space
    this.#index = new CacheIndex(options)
    const complain = (doing: string, error: unknown): void => this.#complain(doing, error)
    this.#stage = new StageArea(directory, { hashPrefix: options.hashPrefix, warn: complain })
    this.#evictor = new Evictor({
      ...options,
      directory,
      space,
      index: this.#index,
      drop: entries => this.#drop(entries),
      onPressure: () => options.onPressure(this),
      complain,
    })
    this.#writer = new CacheWriter({
      limitBytes: options.queueBytes,
      write: (block, bytes) => this.#write(block, bytes),
      undo: block => this.remove(block),
    })
    this.#health = new DiskHealth({
      ...options.health,
      name: directory.root,
      isSteady: options.staging,
      clock: options.clock,
      log: options.log,
      probe: () => directory.probe(1 + Math.floor(options.random() * MOST_PROBES)),
      onChange: state => (state === 'down' ? options.onDown(this) : directory.removeProbes()),
    })
  }

  /** Ready at once; what earlier runs left is found by a scan in the background. Fault where the directory cannot be used. */
  static async open(options: DiskCacheOptions): Promise<DiskCache> {
    const directory = await CacheDirectory.open(options)
    const cache = new DiskCache(options, directory, await CacheSpace.open(directory, options, options.log))
    const { scanIntervalMs } = options
    if (scanIntervalMs >= 0) void cache.#scan()
    if (scanIntervalMs > 0) cache.#rescan = setInterval(() => void cache.#scan(), scanIntervalMs).unref()
    return cache
  }

  /** by which blocks find their directory */
  get id(): string {
    return this.#directory.id
  }
  /** `{cache-dir}/{uuid}/` */
  get root(): string {
    return this.#directory.root
  }
  get blocks(): number {
    return this.#index.count
  }
  /** on disk, and still on the way there; staged ones are not counted */
  get bytes(): number {
    return this.#index.usedBytes + this.#writer.bytes
  }
  /** memory that waits for the writer */
  get queuedBytes(): number {
    return this.#writer.bytes
  }
  get stagedBlocks(): number {
    return this.#stage.count
  }
  get stagedBytes(): number {
    return this.#stage.bytes
  }

  /** Plain bytes [off, off + len) of the block; null where it is not here, at once if that is known. Never rejects. */
  read(block: Block, off: number, len: number): Maybe<Buffer | null> {
    const key = blockKey(block.id, block.index)
    const waiting = this.#writer.read(key, block.length, off, len)
    if (waiting) return waiting
    const entry = this.#index.get(key)
    if (entry ? entry.length !== block.length : this.#scanned && this.#stagingKnown && !this.#stage.has(key))
      return null
    if (!this.#health.isUsable) return null
    return this.#readFile(block, key, off, len)
  }

  /** As `read`, but null also where it would have to wait for a disk, or where it is not simply known. */
  readNow(block: Block, off: number, len: number): Buffer | null {
    const key = blockKey(block.id, block.index)
    const waiting = this.#writer.read(key, block.length, off, len)
    if (waiting) return waiting
    const entry = this.#index.get(key)
    if (entry?.length !== block.length || !this.#mayReadNow(key)) return null
    const { clock, counters } = this.#o
    const startedMs = clock.monotonicMs()
    try {
      const file = this.#files.now(key, () => this.#path(block), block.length)
      const bytes = file === null ? null : file.readNow(off, len, this.#levelOf(key))
      if (bytes === null) return null
      counters.readSeconds.observe((clock.monotonicMs() - startedMs) / 1000)
      this.#index.touch(entry, clock.now().sec)
      return bytes
    } catch (error) {
      this.#unreadable(block, key, this.#path(block), error)
      return null
    }
  }

  /** Would `readNow` find the block, most likely? */
  isAtHand(block: Block): boolean {
    const key = blockKey(block.id, block.index)
    if (this.#writer.has(key)) return true
    if (this.#index.get(key)?.length !== block.length || !this.#mayReadNow(key)) return false
    return this.#files.now(key, () => this.#path(block), block.length)?.isAtHand() ?? false
  }

  /** Not where a block may be staged and no more than that, nor from a disk that is to be watched. */
  #mayReadNow(key: BlockKey): boolean {
    return !this.#o.dropPages && this.#health.state === 'normal' && this.#stagingKnown && !this.#stage.has(key)
  }

  /** Is it here? The disk is asked only until the first scan has ended. */
  async has(block: Block): Promise<boolean> {
    const key = blockKey(block.id, block.index)
    if (this.#index.get(key)?.length === block.length || this.#writer.has(key) || this.#stage.has(key)) return true
    return !this.#scanned && (await call<fs.Stats>(done => fs.stat(this.#path(block), done)).then(Boolean, () => false))
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

  /** Forgets a cached block. One that is staged stays. */
  remove(block: Block): void {
    const key = blockKey(block.id, block.index)
    if (this.#stage.has(key)) return
    this.#writer.remove(key)
    const known = this.#index.delete(key)
    if (known || !this.#scanned) this.#unlink(key, block)
  }

  // ── staging ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** May a block of so many bytes be staged here now? Staged blocks never take more than the cache may. */
  canStage(bytes: number): boolean {
    const wouldBe = this.#stage.bytes + this.#stagingBytes + bytes
    return !this.#closed && !this.#space.isShortOfStage && wouldBe <= this.#space.maxBytes
  }

  /** Resolves when the block is in a file of its own, which survives this process. Rejects as node:fs does. */
  async stage(block: Block, bytes: Buffer): Promise<void> {
    const { clock, expireMs } = this.#o
    this.#space.wrote(block.length) // before it is, since many come at once
    this.#stagingBytes += block.length
    const file = await this.#stage.write(block, bytes).finally(() => {
      this.#stagingBytes -= block.length
    })
    const atime = clock.now().sec - Math.floor(expireMs / 2000)
    this.#index.add(block, { staged: true, atime, generation: this.#generation })
    this.#adopt(block, file)
  }

  /** Is the directory there, or has its disk gone? */
  isThere(): Promise<boolean> {
    return this.#directory.hasLock()
  }

  /** Is its staged file there? */
  isStaged(block: Block): Promise<boolean> {
    return call<fs.Stats>(done => fs.stat(this.#stage.path(block), done)).then(Boolean, () => false)
  }

  /** The staged block, verified. Rejects with CorruptCacheFile, or as node:fs does. */
  readStaged(block: Block): Promise<{ readonly data: Buffer; readonly tier: number | null }> {
    return this.#stage.read(block)
  }

  /** Resolves to the blocks whose files are gone, when all others survive a power cut. Rejects as node:fs does. */
  syncStaged(blocks: readonly Block[]): Promise<Block[]> {
    return this.#stage.sync(blocks)
  }

  /** The block is stored (`isUploaded`), or nobody wants it any more: it becomes an ordinary cached block, or goes. */
  async unstage(block: Block, isUploaded: boolean): Promise<void> {
    const key = blockKey(block.id, block.index)
    const atime = this.#index.get(key)?.atime ?? this.#o.clock.now().sec
    const isLinked = await this.#stage.remove(block)
    if (isUploaded && isLinked && !this.#evictor.mustDrop) {
      this.#index.add(block, { staged: false, atime, generation: this.#generation })
      this.#evictor.keepWithin()
    } else {
      this.#index.delete(key)
      this.#unlink(key, block)
    }
  }

  /** Finds what earlier runs and other clients have staged here, and takes over, the oldest first, what `accept` says yes to. */
  async findStaged(accept: (found: FoundStaged) => boolean): Promise<void> {
    const { clock, log, blockBytes } = this.#o
    const startedMs = clock.monotonicMs()
    const onInvalid = (path: string): void => log.warn(`Ignore invalid file in staging: ${path}`)
    const found = await this.#stage.scan(clock.now().sec * 1000, blockBytes, onInvalid, () => this.#closed)
    found.sort((a, b) => a.mtimeMs - b.mtimeMs)
    for (const each of found) if (accept(each)) this.#stage.adopt(each.block)
    this.#stagingKnown = true
    if (found.length === 0) return
    const bytes = found.reduce((sum, { block }) => sum + block.length, 0)
    const tookMs = Math.round(clock.monotonicMs() - startedMs)
    log.info(`Found ${found.length} staging blocks (${bytes} bytes) in ${this.root} with ${tookMs}ms`)
  }

  /** Writes what waits, unless the disk hangs, then lets go of it. */
  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#rescan)
    this.#evictor.close()
    await Promise.race([this.#writer.drain(), sleep(CLOSE_PATIENCE_MS, undefined, { ref: false })])
    this.#health.close()
    this.#files.close()
  }

  async #readFile(block: Block, key: BlockKey, off: number, len: number): Promise<Buffer | null> {
    const { clock, counters } = this.#o
    const startedMs = clock.monotonicMs()
    for (const path of this.#pathsOf(block, key)) {
      const level = this.#levelOf(key)
      try {
        const bytes = await this.#health.run(() =>
          len === block.length && !this.#files.has(key)
            ? readCacheFile(path, len, level)
            : this.#files.read(key, path, block.length, file => file.read(off, len, level)),
        )
        counters.readSeconds.observe((clock.monotonicMs() - startedMs) / 1000)
        const entry = this.#index.get(key)
        if (entry) this.#index.touch(entry, clock.now().sec)
        this.#dropPages(path)
        return bytes
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') {
          this.#unreadable(block, key, path, error)
          return null
        }
      }
    }
    this.#files.forget(key)
    if (!this.#stage.has(key)) this.#index.delete(key)
    return null
  }

  /** Where to look, in order: what is staged may be uploaded meanwhile, and until earlier runs' staged blocks are known each may be one. */
  #pathsOf(block: Block, key: BlockKey): string[] {
    const cached = this.#path(block)
    if (this.#stage.has(key)) return [this.#stage.path(block), cached]
    return this.#stagingKnown ? [cached] : [cached, this.#stage.path(block)]
  }

  /** After a power cut a staged file may hold anything, so it is verified whatever the cache's level is. */
  #levelOf(key: BlockKey): VerifyLevel {
    const mayBeStaged = this.#stage.has(key) || !this.#stagingKnown || this.#index.get(key)?.staged
    return mayBeStaged ? 'extend' : this.#o.verifyChecksum
  }

  /** A cached block that is bad goes; a staged one is the only copy. */
  #unreadable(block: Block, key: BlockKey, path: string, error: unknown): void {
    if (this.#stage.has(key)) this.#complain(`read staged block ${path}`, error, 'error')
    else if (error instanceof CorruptCacheFile) {
      this.#o.log.warn(`remove partial cached block ${path}: ${error.message}`)
      this.remove(block)
    } else this.#complain(`read cached block ${path}`, error)
  }

  #enqueue(block: Block, bytes: Buffer, release: (() => void) | null, forced: boolean): boolean {
    const key = blockKey(block.id, block.index)
    if (this.#closed || !this.#health.isUsable || this.#writer.claim(key) || this.#index.get(key)) return false
    const crowded = !forced && this.#writer.isCrowded(block.length)
    if (crowded || this.#evictor.mustDrop) {
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
    const writing = writeCacheFile(path, bytes, options).catch(async error => {
      if (codeOf(error) !== 'ENOENT') throw error
      await this.#directory.makeRawParents(objectKey(block, this.#o.hashPrefix))
      return await writeCacheFile(path, bytes, options)
    })
    try {
      this.#adopt(block, await this.#health.run(() => writing))
    } catch (error) {
      counters.drops.add(1)
      this.#complain(`cache block ${path}`, error)
      if (codeOf(error) === 'ENOSPC') void this.#evictor.look(false)
      await writing.catch(ignore) // given up or not, until then it looks at the bytes
      return
    }
    this.#dropPages(path)
    this.#space.wrote(block.length)
    this.#index.add(block, { staged: false, atime: clock.now().sec, generation: this.#generation })
    counters.writes.add(1)
    counters.writeBytes.add(block.length)
    counters.writeSeconds.observe((clock.monotonicMs() - startedMs) / 1000)
    this.#evictor.keepWithin()
  }

  #adopt(block: Block, file: CacheFile | null): void {
    if (file) this.#files.adopt(blockKey(block.id, block.index), file)
  }

  async #scan(): Promise<void> {
    const generation = ++this.#generation
    const nowMs = this.#o.clock.now().sec * 1000
    const found = ({ block, atime, staged }: FoundBlock): void => {
      const key = blockKey(block.id, block.index)
      const known = this.#index.get(key)
      if (staged && known?.staged === false && !this.#stage.has(key)) staged = false // uploaded since it was looked at
      if (known && known.staged === staged && known.length === block.length) {
        known.generation = generation
        known.atime = Math.max(known.atime, atime)
      } else this.#index.add(block, { staged, atime: Math.max(atime, known?.atime ?? 0), generation })
    }
    await this.#directory.scan(nowMs, found, () => this.#closed || generation !== this.#generation)
    if (this.#closed || generation !== this.#generation) return
    this.#index.deleteOlderThan(generation)
    this.#scanned = true
    this.#evictor.keepWithin()
  }

  #drop(entries: readonly IndexEntry[]): void {
    this.#o.counters.evicts.add(entries.length)
    for (const entry of entries) this.#unlink(entry.key, entry)
  }

  #dropPages(path: string): void {
    if (this.#o.dropPages) dropCached(path).catch(ignore)
  }

  #path(block: Block): string {
    return this.#directory.rawPath(objectKey(block, this.#o.hashPrefix))
  }

  #unlink(key: BlockKey, block: Block): void {
    this.#files.forget(key)
    fs.unlink(this.#path(block), ignore)
  }

  /** Logs once in a while. */
  #complain(doing: string, error: unknown, level: 'warn' | 'error' = 'warn'): void {
    const nowMs = this.#o.clock.monotonicMs()
    if (nowMs - this.#warnedMs < WARN_INTERVAL_MS) return
    this.#warnedMs = nowMs
    this.#o.log[level](`${doing}: ${causeText(error)}`)
  }
}
