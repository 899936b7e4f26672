/** Whole blocks in memory, least recently used first out, bounded in bytes.
 *
 *  It is the read buffer (read-ahead lands here) and, with `--cache-dir memory`, the cache itself. Blocks are frozen: views
 *  of them are handed out and outlive their place here. What nobody read for some seconds is dropped, so that an idle mount
 *  is small; the clock for that is a counter of ticks, since reading a real one at each hit would cost more than the hit. */

import { DroppedMemory } from '../base/dropped-memory.ts'
import { ownBytes } from '../base/own-memory.ts'
import { hold, letGo, share } from '../base/shared-memory.ts'
import type { BlockKey } from './keys.ts'

const TICK_MS = 1000
/** of blocks that are not here any more, or never were */
const MOST_DROPPED_BYTES = 64 << 20

interface Entry {
  readonly block: Buffer
  tick: number
}

export class BlockCache {
  readonly #budgetBytes: () => number
  readonly #idleMs: () => number
  /** oldest use first */
  readonly #entries = new Map<BlockKey, Entry>()
  readonly #dropped = new DroppedMemory({ neededBytes: () => this.#bytes, mostBytes: MOST_DROPPED_BYTES })
  #newest: BlockKey | undefined
  #bytes = 0
  #tick = 0
  #ticker: NodeJS.Timeout | undefined

  /** `idleMs`: entries not read for so long are dropped; Infinity = never. */
  constructor(options: {
    readonly budgetBytes: () => number
    readonly idleMs: () => number
  }) {
    this.#budgetBytes = options.budgetBytes
    this.#idleMs = options.idleMs
  }

  get bytes(): number {
    return this.#bytes
  }
  get count(): number {
    return this.#entries.size
  }

  /** The block, if it is here with exactly this length. */
  get(key: BlockKey, length: number): Buffer | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined || entry.block.length !== length) return undefined
    entry.tick = this.#tick
    if (this.#newest !== key) {
      this.#entries.delete(key)
      this.#entries.set(key, entry)
      this.#newest = key
    }
    return entry.block
  }

  has(key: BlockKey): boolean {
    return this.#entries.has(key)
  }

  /** A block was read that will not be put here. */
  passes(block: Buffer): void {
    this.#dropped.made(block)
  }

  /** Keeps a frozen block, at the cost of the oldest ones, and holds its memory as long (base/shared-memory.ts). */
  put(key: BlockKey, block: Buffer): void {
    this.#dropped.made(block)
    this.delete(key)
    const budget = this.#budgetBytes()
    if (block.length > budget) return
    for (const oldest of this.#entries.keys()) {
      if (this.#bytes + block.length <= budget) break
      this.delete(oldest)
    }
    hold(block)
    this.#entries.set(key, { block, tick: this.#tick })
    this.#newest = key
    this.#bytes += block.length
    if (this.#idleMs() !== Number.POSITIVE_INFINITY) {
      this.#ticker ??= setInterval(() => this.#dropIdle(), TICK_MS).unref()
    }
  }

  /** Keeps a copy of borrowed bytes. */
  putCopy(key: BlockKey, bytes: Buffer): void {
    const copy = ownBytes(bytes.length)
    bytes.copy(copy)
    share(copy)
    this.put(key, copy)
    letGo(copy)
  }

  delete(key: BlockKey): void {
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#entries.delete(key)
    this.#bytes -= entry.block.length
    letGo(entry.block)
    if (this.#newest === key) this.#newest = undefined
  }

  clear(): void {
    this.#entries.clear()
    this.#bytes = 0
    this.#newest = undefined
    clearInterval(this.#ticker)
    this.#ticker = undefined
  }

  #dropIdle(): void {
    this.#tick++
    const idleTicks = this.#idleMs() / TICK_MS
    for (const [key, entry] of this.#entries) {
      if (this.#tick - entry.tick <= idleTicks) break
      this.delete(key)
    }
    if (this.#entries.size > 0) return
    clearInterval(this.#ticker)
    this.#ticker = undefined
  }
}
