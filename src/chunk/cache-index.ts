/** What the disk cache holds, in memory (spec disk-cache section 3), and who goes first when it is full.
 *
 *  Staged blocks (not uploaded yet) are known but never counted, expired or evicted. */

import { type Block, type BlockKey, blockKey } from './keys.ts'

export type Eviction = 'none' | '2-random' | 'lru'

export interface IndexEntry extends Block {
  readonly key: BlockKey
  readonly staged: boolean
  /** seconds */
  atime: number
  /** scan that saw it last */
  generation: number
  /** place in the list of evictable entries; -1 = staged */
  slot: number
}

/** A file takes its inode and the rest of its last page too. */
const OVERHEAD_BYTES = 4096

export class CacheIndex {
  readonly #eviction: Eviction
  readonly #random: () => number
  /** least recently used first where eviction is `lru` */
  readonly #entries = new Map<BlockKey, IndexEntry>()
  readonly #evictable: IndexEntry[] = []
  #usedBytes = 0

  constructor(options: { readonly eviction: Eviction; readonly random: () => number }) {
    this.#eviction = options.eviction
    this.#random = options.random
  }

  /** evictable bytes on disk, by JuiceFS's reckoning */
  get usedBytes(): number {
    return this.#usedBytes
  }
  /** evictable blocks */
  get count(): number {
    return this.#evictable.length
  }

  get(key: BlockKey): IndexEntry | undefined {
    return this.#entries.get(key)
  }

  touch(entry: IndexEntry, now: number): void {
    entry.atime = now
    if (this.#eviction !== 'lru' || this.#entries.get(entry.key) !== entry) return
    this.#entries.delete(entry.key)
    this.#entries.set(entry.key, entry)
  }

  add(block: Block, state: { readonly staged: boolean; readonly atime: number; readonly generation: number }): void {
    const key = blockKey(block.id, block.index)
    this.delete(key)
    const { id, index, length } = block
    const entry: IndexEntry = { id, index, length, key, slot: -1, ...state }
    this.#entries.set(key, entry)
    if (entry.staged) return
    entry.slot = this.#evictable.push(entry) - 1
    this.#usedBytes += length + OVERHEAD_BYTES
  }

  delete(key: BlockKey): boolean {
    const entry = this.#entries.get(key)
    if (entry === undefined) return false
    this.#entries.delete(key)
    if (entry.slot < 0) return true
    this.#usedBytes -= entry.length + OVERHEAD_BYTES
    const last = this.#evictable.pop()
    if (last && last !== entry) {
      this.#evictable[entry.slot] = last
      last.slot = entry.slot
    }
    return true
  }

  /** Forgets what the scan of this generation has not seen. */
  deleteOlderThan(generation: number): void {
    for (const entry of this.#entries.values()) if (entry.generation < generation) this.delete(entry.key)
  }

  /** Takes entries out until both goals are met. */
  evict(goal: { readonly bytes: number; readonly items: number }, expiredBefore: number): IndexEntry[] {
    const evicted: IndexEntry[] = []
    while (this.#evictable.length > 0 && (this.#usedBytes > goal.bytes || this.#evictable.length > goal.items)) {
      const victim = this.#eviction === 'lru' ? this.#oldest() : this.#olderOfTwo(expiredBefore)
      if (victim === undefined) break
      this.delete(victim.key)
      evicted.push(victim)
    }
    return evicted
  }

  /** Looks at some entries by chance and takes out the expired ones. */
  expire(expiredBefore: number, sample: number): IndexEntry[] {
    const expired: IndexEntry[] = []
    for (let i = 0; i < sample && this.#evictable.length > 0; i++) {
      const entry = this.#any()
      if (entry === undefined || entry.atime >= expiredBefore) continue
      this.delete(entry.key)
      expired.push(entry)
    }
    return expired
  }

  /** The map keeps the order of use. Staged entries are few and in front only while nothing reads them. */
  #oldest(): IndexEntry | undefined {
    for (const entry of this.#entries.values()) if (!entry.staged) return entry
    return undefined
  }

  #olderOfTwo(expiredBefore: number): IndexEntry | undefined {
    const [one, other] = [this.#any(), this.#any()]
    if (one === undefined || other === undefined || one.atime < expiredBefore) return one
    return other.atime < one.atime ? other : one
  }

  #any(): IndexEntry | undefined {
    return this.#evictable[Math.floor(this.#random() * this.#evictable.length)]
  }
}
