/** The disk cache: one directory or several, each on a disk of its own (spec disk-cache section 3.4). The sizes are divided among
 *  them, a block lives in the one that the hash of its key names, and one that fails does not disturb the others: its blocks move.
 *
 *      key ─► ring of the directories that are well ─► owner ─ miss ─► where older clients would have put it ─► where it is staged */

import { EINVAL } from '../base/errno.ts'
import { causeText, Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { isPromise, type Maybe } from '../base/maybe.ts'
import { expandCacheDirs } from './cache-paths.ts'
import { DiskCache, type DiskCacheOptions } from './disk-cache.ts'
import type { SecondLevel } from './fetcher.ts'
import { HashRing } from './hash-ring.ts'
import { fnv1 } from './hashes.ts'
import { type Block, objectKey } from './keys.ts'

/** `dir`: as typed, `a:b:c`, with wildcards. Sizes and numbers are those of all directories together. */
export type CacheSetOptions = Omit<DiskCacheOptions, 'onDown' | 'onPressure'>

export class CacheSet implements SecondLevel {
  readonly #hashPrefix: boolean
  readonly #log: Log
  /** by path */
  #all: readonly DiskCache[] = []
  #live: readonly DiskCache[] = []
  #ring: HashRing | null = null
  /** Where a block is staged, if it is. */
  stagedIn: (block: Block) => DiskCache | undefined = () => undefined
  /** A directory has no room, and would have if its staged blocks were uploaded. */
  onPressure: (cache: DiskCache) => void = () => {}

  private constructor(options: CacheSetOptions) {
    this.#hashPrefix = options.hashPrefix
    this.#log = options.log
  }

  /** Directories that cannot be used are left out, and the log says why. Null where the wildcards match nothing; Fault where there
   *  are directories and none can be used. */
  static async open(options: CacheSetOptions): Promise<CacheSet | null> {
    const { log, sizeBytes, items, queueBytes } = options
    const dirs = await expandCacheDirs(options.dir)
    if (dirs.length === 0) return null
    const set = new CacheSet(options)
    const share = {
      sizeBytes: Math.floor(sizeBytes / dirs.length),
      items: items > 0 ? Math.max(1, Math.floor(items / dirs.length)) : 0,
      queueBytes: queueBytes / dirs.length,
      onDown: (cache: DiskCache) => set.#remove(cache),
      onPressure: (cache: DiskCache) => set.onPressure(cache),
    }
    const opened: DiskCache[] = []
    const failures: unknown[] = []
    for (const dir of dirs) {
      await DiskCache.open({ ...options, ...share, dir }).then(
        cache => opened.push(cache),
        error => failures.push(error),
      )
    }
    if (opened.length === 0) {
      throw failures.length === 1
        ? failures[0]
        : new Fault('no cache directory can be used', { errno: EINVAL, cause: failures[0] })
    }
    for (const failure of failures) log.error(`${causeText(failure)}, left out`)
    set.#all = opened
    set.#use(opened)
    return set
  }

  get directories(): readonly DiskCache[] {
    return this.#all
  }
  /** No directory is left. */
  get isEmpty(): boolean {
    return this.#live.length === 0
  }
  get blocks(): number {
    return this.#sum(cache => cache.blocks)
  }
  get bytes(): number {
    return this.#sum(cache => cache.bytes)
  }
  get queuedBytes(): number {
    return this.#sum(cache => cache.queuedBytes)
  }
  get stagedBlocks(): number {
    return this.#sum(cache => cache.stagedBlocks)
  }
  get stagedBytes(): number {
    return this.#sum(cache => cache.stagedBytes)
  }

  read(block: Block, off: number, len: number): Maybe<Buffer | null> {
    const owner = this.ownerOf(block)
    const found = owner === null ? null : owner.read(block, off, len)
    if (this.#all.length === 1) return found
    if (isPromise(found)) return found.then(bytes => bytes ?? this.#readElsewhere(owner, block, off, len))
    return found ?? this.#readElsewhere(owner, block, off, len)
  }

  readNow(block: Block, off: number, len: number): Buffer | null {
    return this.ownerOf(block)?.readNow(block, off, len) ?? null
  }

  isAtHand(block: Block): boolean {
    return this.ownerOf(block)?.isAtHand(block) ?? false
  }

  offer(block: Block, bytes: Buffer, forced: boolean): void {
    this.ownerOf(block)?.offer(block, bytes, forced)
  }

  lend(block: Block, bytes: Buffer, release: () => void): void {
    const owner = this.ownerOf(block)
    if (owner) owner.lend(block, bytes, release)
    else release()
  }

  room(block: Block): Promise<void> | undefined {
    return this.ownerOf(block)?.room()
  }

  /** Is it staged, or may it be for all that is known yet? Then the staged file is the one to be read. */
  mayBeStaged(block: Block): boolean {
    return this.#all.some(cache => cache.mayBeStaged(block))
  }

  /** Forgets a cached block wherever it is; one that is staged stays. */
  remove(block: Block): void {
    for (const cache of this.#placesOf(block)) cache.remove(block)
  }

  /** The directory that holds the block; null: none. */
  async find(block: Block): Promise<string | null> {
    for (const cache of this.#placesOf(block)) if (await cache.has(block)) return cache.root
    return null
  }

  /** The directory that a new block goes to; null where none is left. */
  ownerOf(block: Block): DiskCache | null {
    const live = this.#live
    if (this.#ring === null) return live[0] ?? null
    return live[this.#ring.ownerOf(objectKey(block, this.#hashPrefix))] ?? null
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.map(cache => cache.close()))
  }

  #readElsewhere(owner: DiskCache | null, block: Block, off: number, len: number): Maybe<Buffer | null> {
    const [next, last] = this.#placesOf(block).filter(cache => cache !== owner)
    const found = next?.read(block, off, len) ?? null
    if (last === undefined) return found
    return isPromise(found)
      ? found.then(bytes => bytes ?? last.read(block, off, len))
      : (found ?? last.read(block, off, len))
  }

  /** Its owner, the directory of older clients (the key's FNV-1 among all directories by path), and where it is staged. */
  #placesOf(block: Block): DiskCache[] {
    const owner = this.ownerOf(block)
    const places = new Set(owner ? [owner] : [])
    if (this.#all.length > 1) {
      const legacy = this.#all[fnv1(objectKey(block, this.#hashPrefix)) % this.#all.length]!
      if (this.#live.includes(legacy)) places.add(legacy)
      const staged = this.stagedIn(block)
      if (staged) places.add(staged)
    }
    return [...places]
  }

  #use(live: readonly DiskCache[]): void {
    this.#live = live
    this.#ring = live.length > 1 ? new HashRing(live.map(({ id }) => id)) : null
  }

  #remove(gone: DiskCache): void {
    this.#log.error(`cache dir ${gone.root} is unavailable, removed`)
    this.#use(this.#live.filter(cache => cache !== gone))
    if (this.isEmpty) this.#log.warn('cache store is empty, use memory cache')
  }

  #sum(of: (cache: DiskCache) => number): number {
    return this.#all.reduce((sum, cache) => sum + of(cache), 0)
  }
}
