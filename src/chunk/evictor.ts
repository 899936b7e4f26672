/** Keeps a cache directory within its limits (spec disk-cache section 3.3): evicts what is too much after each block that was added,
 *  looks at the file system once a second, since others fill it too, and drops what was not used for long. */

import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { CacheDirectory } from './cache-directory.ts'
import type { CacheIndex, Eviction, IndexEntry } from './cache-index.ts'
import type { CacheSpace } from './cache-space.ts'

const LOOK_INTERVAL_MS = 1000
const LOCK_EVERY = 10 // of the above
const EXPIRY_SAMPLE = 1000
const EXPIRY_PAUSE_MS = { least: 100, most: 60_000 }
/** the share of the goal that is left when space must be made */
const KEPT_BYTES = 0.95
const KEPT_ITEMS = 0.99
/** Space that is still short at the next look is not made by evicting. */
const LOOKS_TO_PRESSURE = 2

export interface EvictorOptions {
  readonly directory: CacheDirectory
  readonly index: CacheIndex
  readonly space: CacheSpace
  readonly eviction: Eviction
  /** 0 = never */
  readonly expireMs: number
  readonly clock: Clock
  readonly log: Log
  /** Takes the files of entries away that are out of the index already. */
  readonly drop: (entries: readonly IndexEntry[]) => void
  readonly onPressure: () => void
  /** Tells of a file system that cannot be looked at. */
  readonly complain: (doing: string, error: unknown) => void
}

export class Evictor {
  readonly #o: EvictorOptions
  #looker: NodeJS.Timeout | undefined
  #expiry: NodeJS.Timeout | undefined
  #looking = false
  #shortLooks = 0
  #lockLost = false
  #closed = false

  constructor(options: EvictorOptions) {
    this.#o = options
    let looks = 0
    this.#looker = setInterval(() => void this.look(++looks % LOCK_EVERY === 0), LOOK_INTERVAL_MS).unref()
    if (options.expireMs > 0) this.#expire()
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#looker)
    clearTimeout(this.#expiry)
  }

  /** Nothing may be added where nothing is ever evicted. */
  get mustDrop(): boolean {
    return this.#o.eviction === 'none' && (this.#o.space.isShort || this.#isOverCapacity())
  }

  /** Something was added: the limits hold nevertheless. */
  keepWithin(): void {
    const { eviction, space } = this.#o
    if (eviction === 'none') return
    if (this.#isOverCapacity()) this.#makeRoom({ bytes: space.maxBytes, items: space.maxItems })
    if (space.isShort) void this.look(false)
  }

  /** Asks the file system what is free. */
  async look(alsoLock: boolean): Promise<void> {
    if (this.#looking || this.#closed) return
    this.#looking = true
    const { space, directory, complain } = this.#o
    try {
      await space.look()
      if (space.isShort) this.#relieve()
      else this.#shortLooks = 0
      if (alsoLock) await this.#checkLock()
    } catch (error) {
      complain(`look at the free space of ${directory.root}`, error)
    } finally {
      this.#looking = false
    }
  }

  #relieve(): void {
    const { eviction, index, space, onPressure } = this.#o
    if (this.#closed) return
    const { usedBytes, count } = index
    const { missingBytes, missingItems, maxBytes, maxItems } = space
    if (eviction !== 'none') {
      this.#makeRoom({
        bytes: missingBytes > 0 ? Math.max(0, usedBytes - missingBytes) : maxBytes,
        items: missingItems > 0 ? Math.max(0, count - missingItems) : maxItems,
      })
    }
    if (++this.#shortLooks >= LOOKS_TO_PRESSURE) onPressure()
  }

  #isOverCapacity(): boolean {
    const { index, space } = this.#o
    return index.usedBytes > space.maxBytes || index.count > space.maxItems
  }

  /** Evicts until both limits are kept with a margin. */
  #makeRoom(limit: { readonly bytes: number; readonly items: number }): void {
    const { index, drop } = this.#o
    const goal = {
      bytes: limit.bytes * KEPT_BYTES,
      items: Math.floor(Math.min(limit.items, index.count) * KEPT_ITEMS),
    }
    drop(index.evict(goal, this.#expiredBefore()))
  }

  /** Looks at a sample of the blocks, and again the sooner the more of them have expired. */
  #expire(): void {
    const { index, expireMs, drop } = this.#o
    const examined = Math.min(EXPIRY_SAMPLE, index.count)
    const expired = index.expire(this.#expiredBefore(), EXPIRY_SAMPLE)
    drop(expired)
    const alive = examined === 0 ? 1 : 1 - expired.length / examined
    const pauseMs = Math.max(EXPIRY_PAUSE_MS.least, Math.min(EXPIRY_PAUSE_MS.most, expireMs) * alive)
    this.#expiry = setTimeout(() => this.#expire(), pauseMs).unref()
  }

  #expiredBefore(): number {
    const { clock, expireMs } = this.#o
    return expireMs > 0 ? clock.now().sec - expireMs / 1000 : Number.NEGATIVE_INFINITY
  }

  async #checkLock(): Promise<void> {
    const { directory, space, log } = this.#o
    const lost = !(await directory.hasLock())
    if (lost && !this.#lockLost) {
      log.info(`lockfile ${directory.root}.lock is lost, cache device maybe broken`)
      await space.guardRoot()
    }
    this.#lockLost = lost
  }
}
