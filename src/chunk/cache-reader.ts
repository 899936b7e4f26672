/** Reads blocks from the files of one cache directory (spec disk-cache sections 3 and 4): where a block may lie, how far it is verified,
 *  and what becomes of a file that cannot be read.
 *
 *      now    on the event loop, where nothing has to be waited for and the block is simply known
 *      later  by the thread pool, judged by the disk's health; in the staging directory too, where the block may be */

import { codeOf, ignore } from '../base/call.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Maybe } from '../base/maybe.ts'
import { dropCached } from '../base/whole-file.ts'
import type { CacheCounters } from './cache-counters.ts'
import { CorruptCacheFile, readCacheFile, type VerifyLevel } from './cache-file.ts'
import type { CacheIndex } from './cache-index.ts'
import type { CacheScan } from './cache-scan.ts'
import type { DiskHealth } from './disk-health.ts'
import type { Block, BlockKey } from './keys.ts'
import type { OpenCacheFiles } from './open-cache-files.ts'
import type { RawArea } from './raw-area.ts'
import type { StageArea } from './stage-area.ts'

export interface CacheReaderOptions {
  readonly raw: RawArea
  readonly stage: StageArea
  readonly files: OpenCacheFiles
  readonly index: CacheIndex
  readonly scan: CacheScan
  readonly health: DiskHealth
  readonly verifyChecksum: VerifyLevel
  /** The kernel shall not keep what was read. */
  readonly dropPages: boolean
  readonly clock: Clock
  readonly log: Log
  readonly counters: CacheCounters
  /** Forgets a cached block whose file is bad. */
  readonly remove: (block: Block) => void
  readonly complain: (doing: string, error: unknown, level?: 'warn' | 'error') => void
}

export class CacheReader {
  readonly #o: CacheReaderOptions

  constructor(options: CacheReaderOptions) {
    this.#o = options
  }

  /** Plain bytes [off, off + len) of the block; null where it is not here, at once if that is known. Never rejects. */
  read(block: Block, key: BlockKey, off: number, len: number): Maybe<Buffer | null> {
    const { index, scan, stage, health } = this.#o
    const entry = index.get(key)
    if (entry ? entry.length !== block.length : scan.isComplete && stage.isComplete && !stage.has(key)) return null
    if (!health.isUsable) return null
    return this.#readFile(block, key, off, len)
  }

  /** As `read`, but null also where it would have to wait for a disk, or where it is not simply known. */
  readNow(block: Block, key: BlockKey, off: number, len: number): Buffer | null {
    const { index, files, raw, clock, counters } = this.#o
    const entry = index.get(key)
    if (entry?.length !== block.length || !this.#mayReadNow(key)) return null
    const startedMs = clock.monotonicMs()
    try {
      const file = files.now(key, () => raw.path(block), block.length)
      const bytes = file === null ? null : file.readNow(off, len, this.#levelOf(key))
      if (bytes === null) return null
      counters.readSeconds.observe((clock.monotonicMs() - startedMs) / 1000)
      index.touch(entry, clock.now().sec)
      return bytes
    } catch (error) {
      this.#unreadable(block, key, raw.path(block), error)
      return null
    }
  }

  /** Would `readNow` find the block, most likely? */
  isAtHand(block: Block, key: BlockKey): boolean {
    const { index, files, raw } = this.#o
    if (index.get(key)?.length !== block.length || !this.#mayReadNow(key)) return false
    return files.now(key, () => raw.path(block), block.length)?.isAtHand() ?? false
  }

  /** Not where a block may be staged and no more than that, nor from a disk that is to be watched. */
  #mayReadNow(key: BlockKey): boolean {
    const { dropPages, health, stage } = this.#o
    return !dropPages && health.state === 'normal' && stage.isComplete && !stage.has(key)
  }

  async #readFile(block: Block, key: BlockKey, off: number, len: number): Promise<Buffer | null> {
    const { index, files, stage, health, dropPages, clock, counters } = this.#o
    const startedMs = clock.monotonicMs()
    for (const path of this.#pathsOf(block, key)) {
      const level = this.#levelOf(key)
      try {
        const bytes = await health.run(() =>
          len === block.length && !files.has(key)
            ? readCacheFile(path, len, level)
            : files.read(key, path, block.length, file => file.read(off, len, level)),
        )
        counters.readSeconds.observe((clock.monotonicMs() - startedMs) / 1000)
        const entry = index.get(key)
        if (entry) index.touch(entry, clock.now().sec)
        if (dropPages) dropCached(path).catch(ignore)
        return bytes
      } catch (error) {
        if (codeOf(error) !== 'ENOENT') {
          this.#unreadable(block, key, path, error)
          return null
        }
      }
    }
    files.forget(key)
    if (!stage.has(key)) index.delete(key)
    return null
  }

  /** Where to look, in order: what is staged may be uploaded meanwhile, and until earlier runs' staged blocks are known each may be one. */
  #pathsOf(block: Block, key: BlockKey): string[] {
    const { raw, stage } = this.#o
    const cached = raw.path(block)
    if (stage.has(key)) return [stage.path(block), cached]
    return stage.isComplete ? [cached] : [cached, stage.path(block)]
  }

  /** After a power cut a staged file may hold anything, so it is verified whatever the cache's level is. */
  #levelOf(key: BlockKey): VerifyLevel {
    const { stage, index, verifyChecksum } = this.#o
    const mayBeStaged = stage.has(key) || !stage.isComplete || index.get(key)?.staged
    return mayBeStaged ? 'extend' : verifyChecksum
  }

  /** A cached block that is bad goes; a staged one is the only copy. */
  #unreadable(block: Block, key: BlockKey, path: string, error: unknown): void {
    const { stage, log, remove, complain } = this.#o
    if (stage.has(key)) complain(`read staged block ${path}`, error, 'error')
    else if (error instanceof CorruptCacheFile) {
      log.warn(`remove partial cached block ${path}: ${error.message}`)
      remove(block)
    } else complain(`read cached block ${path}`, error)
  }
}
