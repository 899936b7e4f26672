/** A local bucket on the disk of the cache is its own cache: its files are the plain blocks, and a copy of them on the same disk would cost
 *  time and space for nothing.
 *
 *      read ─► the object's own file ─ not there, not whole, a disk to wait for ─► the disk cache ─► the ordinary way to the store
 *                 parts, and whole blocks that the kernel has                     what earlier mounts have cached or staged
 *
 *  Where it is so (`isOn`) nothing new is cached. It is asked at each call, since a mount follows its volume: the store may be exchanged
 *  for one elsewhere, and a limit of bandwidth be set, which reads must pay; then everything is the disk cache's business.
 *
 *  Objects are only ever looked at here. A file that cannot be read, or is not of the block's length, is no error yet: the ordinary way
 *  comes to it, with its time-outs, repetitions and messages. */

import fs from 'node:fs'
import { call } from '../base/call.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Maybe } from '../base/maybe.ts'
import type { ObjectFiles, ObjectStore } from '../object/store.ts'
import type { CacheCounters } from './cache-counters.ts'
import type { CacheFile } from './cache-file.ts'
import type { CacheSet } from './cache-set.ts'
import { DiskHealth } from './disk-health.ts'
import type { SecondLevel } from './fetcher.ts'
import { type Block, blockKey, objectKey } from './keys.ts'
import { OpenCacheFiles } from './open-cache-files.ts'

export interface BlocksInPlaceOptions {
  readonly store: Pick<ObjectStore, 'files'>
  /** comes second, and keeps what cannot be read in place */
  readonly caches: CacheSet
  readonly hashPrefix: boolean
  /** a read of an object's file that takes longer is given up */
  readonly maxIoMs: number
  /** Do downloads have to pay for bandwidth now? */
  readonly isLimited: () => boolean
  readonly clock: Clock
  readonly log: Log
  readonly counters: CacheCounters
}

export class BlocksInPlace implements SecondLevel {
  readonly #o: BlocksInPlaceOptions
  readonly #open = new OpenCacheFiles()
  /** Gives up what takes too long, and says no more about the disk: the ordinary way does. */
  readonly #patience: DiskHealth
  /** of the store that is used, as far as is known here */
  #files: ObjectFiles | undefined
  /** They lie on the disk of the cache. */
  #isNear = false

  private constructor(options: BlocksInPlaceOptions) {
    this.#o = options
    this.#patience = new DiskHealth({
      name: 'bucket',
      isSteady: true,
      maxIoMs: options.maxIoMs,
      maxErrorPercent: 0,
      unstableToDownMs: 0,
      unstableConcurrency: 0,
      clock: options.clock,
      log: options.log,
      probe: async () => {},
      onChange: () => {},
    })
  }

  /** Looks first where the bucket lies. */
  static async open(options: BlocksInPlaceOptions): Promise<BlocksInPlace> {
    const blocks = new BlocksInPlace(options)
    await blocks.#judge(options.store.files)
    return blocks
  }

  /** Are blocks read in the bucket, and not copied, now? */
  get isOn(): boolean {
    return this.#usedFiles !== null
  }

  read(block: Block, off: number, len: number): Maybe<Buffer | null> {
    const files = this.#filesFor(block)
    // A whole block goes the ordinary way: one trip through the thread pool, as here, and a time-out and a second attempt besides.
    if (files === null || len === block.length) return this.#o.caches.read(block, off, len)
    return this.#readPart(files, block, off, len)
  }

  readNow(block: Block, off: number, len: number): Buffer | null {
    const { clock, counters, caches } = this.#o
    const files = this.#filesFor(block)
    if (files === null) return caches.readNow(block, off, len)
    const startedMs = clock.monotonicMs()
    try {
      const bytes = this.#fileNow(files, block)?.readNow(off, len, 'none') ?? null
      if (bytes !== null) {
        counters.readSeconds.observe((clock.monotonicMs() - startedMs) / 1000)
        return bytes
      }
    } catch {
      this.#open.forget(blockKey(block.id, block.index))
    }
    return caches.readNow(block, off, len)
  }

  isAtHand(block: Block): boolean {
    const files = this.#filesFor(block)
    if (files !== null && this.#fileNow(files, block)?.isAtHand()) return true
    return this.#o.caches.isAtHand(block)
  }

  /** The kernel may have a file's pages and not its name at hand. */
  async openAhead(block: Block): Promise<boolean> {
    const files = this.#filesFor(block)
    if (files === null) return false
    const path = this.#pathOf(files, block)
    const look = async (file: CacheFile): Promise<boolean> => file.isExact && file.isAtHand()
    try {
      return await this.#patience.run(() => this.#open.read(blockKey(block.id, block.index), path, block.length, look))
    } catch {
      return false
    }
  }

  offer(block: Block, bytes: Buffer, forced: boolean): void {
    if (!this.isOn) this.#o.caches.offer(block, bytes, forced)
  }

  /** As `CacheSet.lend`. */
  lend(block: Block, bytes: Buffer, release: () => void): void {
    if (this.isOn) release()
    else this.#o.caches.lend(block, bytes, release)
  }

  room(block: Block): Promise<void> | undefined {
    return this.isOn ? undefined : this.#o.caches.room(block)
  }

  /** Lets go of the object's file, and forgets a copy. */
  remove(block: Block): void {
    this.#open.forget(blockKey(block.id, block.index))
    this.#o.caches.remove(block)
  }

  /** The directory of the bucket, or of the cache, that holds the block; null: none. */
  async find(block: Block): Promise<string | null> {
    const files = this.#usedFiles
    if (files !== null) {
      const path = this.#pathOf(files, block)
      const size = await call<fs.Stats>(done => fs.stat(path, done)).then(
        stat => stat.size,
        () => null,
      )
      if (size === block.length) return files.directories.find(directory => path.startsWith(directory)) ?? path
    }
    return this.#o.caches.find(block)
  }

  async close(): Promise<void> {
    this.#open.close()
    this.#patience.close()
    await this.#o.caches.close()
  }

  async #readPart(files: ObjectFiles, block: Block, off: number, len: number): Promise<Buffer | null> {
    const { clock, counters, caches } = this.#o
    const startedMs = clock.monotonicMs()
    const key = blockKey(block.id, block.index)
    const path = this.#pathOf(files, block)
    try {
      const bytes = await this.#patience.run(() =>
        this.#open.read(key, path, block.length, file => file.read(off, len, 'none')),
      )
      counters.readSeconds.observe((clock.monotonicMs() - startedMs) / 1000)
      return bytes
    } catch {
      return caches.read(block, off, len)
    }
  }

  /** A staged file that earlier mounts have left is verified and synced, which its object may not be: it comes first. */
  #filesFor(block: Block): ObjectFiles | null {
    const files = this.#usedFiles
    return files === null || this.#o.caches.mayBeStaged(block) ? null : files
  }

  get #usedFiles(): ObjectFiles | null {
    const { store, isLimited } = this.#o
    const { files } = store
    if (files !== this.#files) void this.#judge(files)
    return files !== undefined && this.#isNear && !isLimited() ? files : null
  }

  /** From now on these files count, once it is known where they lie. */
  async #judge(files: ObjectFiles | undefined): Promise<void> {
    const { caches, log, isLimited } = this.#o
    this.#open.close()
    this.#files = files
    this.#isNear = false
    if (files === undefined) return
    const roots = caches.directories.map(({ root }) => root)
    const isNear = await areOnOneDisk(files.directories, roots)
    if (files !== this.#files) return // exchanged once more
    this.#isNear = isNear
    if (isNear && !isLimited()) {
      log.info(`Disk cache: blocks are read in the bucket ${files.directories}, which lies on the disk of ${roots}`)
    }
  }

  /** The object's file, if it is open or can be opened without waiting, and is known to be as long as the block. */
  #fileNow(files: ObjectFiles, block: Block): CacheFile | null {
    const key = blockKey(block.id, block.index)
    const file = this.#open.now(key, () => this.#pathOf(files, block), block.length)
    return file?.isExact ? file : null
  }

  #pathOf(files: ObjectFiles, block: Block): string {
    return files.pathOf(objectKey(block, this.#o.hashPrefix))
  }
}

/** Do the blocks in these directories of a bucket lie on the one disk of all these directories of the cache? False where it cannot be told. */
async function areOnOneDisk(buckets: readonly string[], caches: readonly string[]): Promise<boolean> {
  const deviceOf = async (path: string): Promise<number> => (await call<fs.Stats>(done => fs.stat(path, done))).dev
  // `chunks` may be a link to elsewhere; before the first block is written there is none.
  const ofBlocks = (bucket: string): Promise<number> => deviceOf(`${bucket}chunks`).catch(() => deviceOf(bucket))
  try {
    return new Set(await Promise.all([...buckets.map(ofBlocks), ...caches.map(deviceOf)])).size === 1
  } catch {
    return false
  }
}
