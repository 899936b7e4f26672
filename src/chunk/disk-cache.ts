/** Blocks kept in one directory of a local disk across restarts (spec disk-cache sections 2, 3, 4 and 6).
 *
 *      offer, lend ─► pending (bounded; served from memory) ─► one writer ─► file + index ─► evicted or expired
 *      stage ─► staged file + index, never evicted ─► unstage, when it is uploaded ─► an ordinary cached block
 *
 *  Nothing that goes wrong with a cached block fails a read or a write of the file system: a bad file is removed and is a miss, a
 *  full disk drops blocks, a sick disk is left alone (disk-health.ts). A staged block is the only copy: it is never removed for
 *  being unreadable, and whoever stages hears of failures.
 *
 *  Here is what becomes of a block; the files are raw-area.ts's and stage-area.ts's, what is known of them cache-index.ts's. */

import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, ignore } from '../base/call.ts'
import type { Clock } from '../base/clock.ts'
import { causeText } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import type { Maybe } from '../base/maybe.ts'
import { hold, letGo } from '../base/shared-memory.ts'
import { dropCached } from '../base/whole-file.ts'
import type { CacheCounters } from './cache-counters.ts'
import { CacheDirectory } from './cache-directory.ts'
import type { CacheFile, VerifyLevel } from './cache-file.ts'
import { CacheIndex, type Eviction, type IndexEntry } from './cache-index.ts'
import { CacheReader } from './cache-reader.ts'
import { CacheScan } from './cache-scan.ts'
import { type CacheLimits, CacheSpace } from './cache-space.ts'
import { CacheWriter } from './cache-writer.ts'
import { DiskHealth, type HealthLimits } from './disk-health.ts'
import { Evictor } from './evictor.ts'
import { type Block, type BlockKey, blockKey } from './keys.ts'
import { OpenCacheFiles } from './open-cache-files.ts'
import { RawArea } from './raw-area.ts'
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
  readonly #raw: RawArea
  readonly #stage: StageArea
  readonly #files = new OpenCacheFiles()
  readonly #health: DiskHealth
  readonly #reader: CacheReader
  readonly #writer: CacheWriter
  readonly #evictor: Evictor
  readonly #scan: CacheScan
  #warnedMs = Number.NEGATIVE_INFINITY
  #closed = false

  private constructor(options: DiskCacheOptions, directory: CacheDirectory, space: CacheSpace) {
    this.#o = options
    this.#directory = directory
    this.#space = space
    this.#index = new CacheIndex(options)
    const complain = (doing: string, error: unknown, level?: 'warn' | 'error'): void =>
      this.#complain(doing, error, level)
    const { hashPrefix, verifyChecksum } = options
    this.#raw = new RawArea(directory, { hashPrefix, checksums: verifyChecksum !== 'none' })
    this.#stage = new StageArea(directory, { ...options, complain })
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
    const parts = { directory, index: this.#index, raw: this.#raw, stage: this.#stage, files: this.#files }
    this.#scan = new CacheScan({ ...parts, clock: options.clock, onEnd: () => this.#evictor.keepWithin() })
    this.#reader = new CacheReader({
      ...options,
      ...parts,
      scan: this.#scan,
      health: this.#health,
      remove: block => this.remove(block),
      complain,
    })
  }

  /** Ready at once; what earlier runs left is found by a scan in the background. Fault where the directory cannot be used. */
  static async open(options: DiskCacheOptions): Promise<DiskCache> {
    const directory = await CacheDirectory.open(options)
    const cache = new DiskCache(options, directory, await CacheSpace.open(directory, options, options.log))
    cache.#scan.start(options.scanIntervalMs)
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
    return this.#writer.read(key, block.length, off, len) ?? this.#reader.read(block, key, off, len)
  }

  /** As `read`, but null also where it would have to wait for a disk, or where it is not simply known. */
  readNow(block: Block, off: number, len: number): Buffer | null {
    const key = blockKey(block.id, block.index)
    return this.#writer.read(key, block.length, off, len) ?? this.#reader.readNow(block, key, off, len)
  }

  /** Would `readNow` find the block, most likely? */
  isAtHand(block: Block): boolean {
    const key = blockKey(block.id, block.index)
    return this.#writer.has(key) || this.#reader.isAtHand(block, key)
  }

  /** Is it here? The disk is asked only until the first scan has ended. */
  async has(block: Block): Promise<boolean> {
    const key = blockKey(block.id, block.index)
    if (this.#index.get(key)?.length === block.length || this.#writer.has(key) || this.#stage.has(key)) return true
    return !this.#scan.isComplete && (await this.#raw.has(block))
  }

  /** Keeps a frozen block. `forced`: also when many wait; then wait for `room` before the next. */
  offer(block: Block, bytes: Buffer, forced: boolean): void {
    hold(bytes)
    const done = (): void => letGo(bytes)
    if (!this.#enqueue(block, bytes, done, forced)) done()
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
    if (known || !this.#scan.isComplete) this.#unlink(key, block)
  }

  // ── staging ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** May a block of so many bytes be staged here now? Staged blocks never take more than the cache may. */
  canStage(bytes: number): boolean {
    const wouldBe = this.#stage.bytes + this.#stage.writingBytes + bytes
    return !this.#closed && !this.#space.isShortOfStage && wouldBe <= this.#space.maxBytes
  }

  /** Resolves when the block is in a file of its own, which survives this process. Rejects as node:fs does. */
  async stage(block: Block, bytes: Buffer): Promise<void> {
    const { clock, expireMs } = this.#o
    this.#space.wrote(block.length) // before it is, since many come at once
    const file = await this.#stage.write(block, bytes)
    const atime = clock.now().sec - Math.floor(expireMs / 2000)
    this.#index.add(block, { staged: true, atime, generation: this.#scan.generation })
    this.#adopt(block, file)
  }

  /** Is the directory there, or has its disk gone? */
  isThere(): Promise<boolean> {
    return this.#directory.hasLock()
  }

  /** Is it staged, or may it be for all that is known yet? */
  mayBeStaged(block: Block): boolean {
    return !this.#stage.isComplete || this.#stage.has(blockKey(block.id, block.index))
  }

  /** Is its staged file there? */
  isStaged(block: Block): Promise<boolean> {
    return this.#stage.hasFile(block)
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
      this.#index.add(block, { staged: false, atime, generation: this.#scan.generation })
      this.#evictor.keepWithin()
    } else {
      this.#index.delete(key)
      this.#unlink(key, block)
    }
  }

  /** Finds what earlier runs and other clients have staged here, and takes over, the oldest first, what `accept` says yes to. */
  findStaged(accept: (found: FoundStaged) => boolean): Promise<void> {
    return this.#stage.findLeft(accept, () => this.#closed)
  }

  /** Writes what waits, unless the disk hangs, then lets go of it. */
  async close(): Promise<void> {
    this.#closed = true
    this.#scan.close()
    this.#evictor.close()
    await Promise.race([this.#writer.drain(), sleep(CLOSE_PATIENCE_MS, undefined, { ref: false })])
    this.#health.close()
    this.#files.close()
  }

  #enqueue(block: Block, bytes: Buffer, release: () => void, forced: boolean): boolean {
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
    const { clock, counters, dropPages } = this.#o
    const path = this.#raw.path(block)
    const startedMs = clock.monotonicMs()
    const writing = this.#raw.write(block, bytes)
    try {
      this.#adopt(block, await this.#health.run(() => writing))
    } catch (error) {
      counters.drops.add(1)
      this.#complain(`cache block ${path}`, error)
      if (codeOf(error) === 'ENOSPC') void this.#evictor.look(false)
      await writing.catch(ignore) // given up or not, until then it looks at the bytes
      return
    }
    if (dropPages) dropCached(path).catch(ignore)
    this.#space.wrote(block.length)
    this.#index.add(block, { staged: false, atime: clock.now().sec, generation: this.#scan.generation })
    counters.writes.add(1)
    counters.writeBytes.add(block.length)
    counters.writeSeconds.observe((clock.monotonicMs() - startedMs) / 1000)
    this.#evictor.keepWithin()
  }

  #adopt(block: Block, file: CacheFile | null): void {
    if (file) this.#files.adopt(blockKey(block.id, block.index), file)
  }

  #drop(entries: readonly IndexEntry[]): void {
    this.#o.counters.evicts.add(entries.length)
    for (const entry of entries) this.#unlink(entry.key, entry)
  }

  #unlink(key: BlockKey, block: Block): void {
    this.#files.forget(key)
    this.#raw.remove(block)
  }

  /** Logs once in a while. */
  #complain(doing: string, error: unknown, level: 'warn' | 'error' = 'warn'): void {
    const nowMs = this.#o.clock.monotonicMs()
    if (nowMs - this.#warnedMs < WARN_INTERVAL_MS) return
    this.#warnedMs = nowMs
    this.#o.log[level](`${doing}: ${causeText(error)}`)
  }
}
