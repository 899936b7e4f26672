/** Small blocks that were written just now stay in memory for a while: who writes a small file often reads it next, and the cache's file is
 *  cold then where memory is short. The last ones of some MiB, whose memory is used again for the next. */

import { ownBytes } from '../base/own-memory.ts'
import { letGo, share } from '../base/shared-memory.ts'
import type { BlockCache } from './block-cache.ts'
import type { BlockKey } from './keys.ts'

export class WrittenBlocks {
  readonly #memory: BlockCache
  readonly #mostBytes: number
  /** with their lengths, the oldest first */
  readonly #kept = new Map<BlockKey, number>()
  #bytes = 0

  constructor(memory: BlockCache, mostBytes: number) {
    this.#memory = memory
    this.#mostBytes = mostBytes
  }

  /** Keeps a copy. */
  keep(key: BlockKey, bytes: Buffer): void {
    if (bytes.length > this.#mostBytes) return
    for (const [oldest, length] of this.#kept) {
      if (this.#bytes + bytes.length <= this.#mostBytes) break
      this.#kept.delete(oldest)
      this.#bytes -= length
      this.#memory.delete(oldest)
    }
    const copy = ownBytes(bytes.length)
    bytes.copy(copy)
    share(copy)
    this.#memory.put(key, copy)
    letGo(copy)
    this.#kept.set(key, bytes.length)
    this.#bytes += bytes.length
  }
}
