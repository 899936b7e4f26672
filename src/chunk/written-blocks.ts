/** Small blocks that were written just now stay in memory for a while: who writes a small file often reads it next, and the cache's file is
 *  cold then where memory is short. The last ones of some MiB, whose memory is used again for the next. */

import type { BlockCache } from './block-cache.ts'
import type { BlockKey } from './keys.ts'

/** of a block and what is kept of it besides */
const LEAST_BYTES = 4096

export class WrittenBlocks {
  readonly #memory: BlockCache
  readonly #mostBytes: number
  /** with what they count for, the oldest first */
  readonly #kept = new Map<BlockKey, number>()
  #bytes = 0

  constructor(memory: BlockCache, mostBytes: number) {
    this.#memory = memory
    this.#mostBytes = mostBytes
  }

  /** Keeps a copy. */
  keep(key: BlockKey, bytes: Buffer): void {
    const counted = Math.max(bytes.length, LEAST_BYTES)
    if (counted > this.#mostBytes) return
    for (const [oldest, oldBytes] of this.#kept) {
      if (this.#bytes + counted <= this.#mostBytes) break
      this.#kept.delete(oldest)
      this.#bytes -= oldBytes
      this.#memory.delete(oldest)
    }
    this.#memory.putCopy(key, bytes)
    this.#kept.set(key, counted)
    this.#bytes += counted
  }
}
