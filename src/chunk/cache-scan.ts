/** Finds what earlier runs and other clients have cached in a directory, by walking it: once, or again and again. Meanwhile blocks come
 *  and go, so each entry of the index carries the generation that saw it last, and what the walk has not seen is forgotten. */

import type { Clock } from '../base/clock.ts'
import type { CacheDirectory, FoundBlock } from './cache-directory.ts'
import type { CacheIndex } from './cache-index.ts'
import { blockKey } from './keys.ts'
import type { StageArea } from './stage-area.ts'

export interface CacheScanOptions {
  readonly directory: CacheDirectory
  readonly index: CacheIndex
  readonly stage: StageArea
  readonly clock: Clock
  /** A walk has ended. */
  readonly onEnd: () => void
}

export class CacheScan {
  readonly #o: CacheScanOptions
  #again: NodeJS.Timeout | undefined
  #generation = 0
  #isComplete = false
  #isClosed = false

  constructor(options: CacheScanOptions) {
    this.#o = options
  }

  /** Walks now and then every `intervalMs`; 0: now only, less: never. */
  start(intervalMs: number): void {
    if (intervalMs >= 0) void this.#walk()
    if (intervalMs > 0) this.#again = setInterval(() => void this.#walk(), intervalMs).unref()
  }

  /** of what is added to the index now */
  get generation(): number {
    return this.#generation
  }
  /** What the index does not know is not there. */
  get isComplete(): boolean {
    return this.#isComplete
  }

  close(): void {
    this.#isClosed = true
    clearInterval(this.#again)
  }

  async #walk(): Promise<void> {
    const { directory, index, stage, clock, onEnd } = this.#o
    const generation = ++this.#generation
    const isOver = (): boolean => this.#isClosed || generation !== this.#generation
    const found = ({ block, atime, staged }: FoundBlock): void => {
      const key = blockKey(block.id, block.index)
      const known = index.get(key)
      if (staged && known?.staged === false && !stage.has(key)) staged = false // uploaded since it was looked at
      if (known && known.staged === staged && known.length === block.length) {
        known.generation = generation
        known.atime = Math.max(known.atime, atime)
      } else index.add(block, { staged, atime: Math.max(atime, known?.atime ?? 0), generation })
    }
    await directory.scan(clock.now().sec * 1000, found, isOver)
    if (isOver()) return
    index.deleteOlderThan(generation)
    this.#isComplete = true
    onEnd()
  }
}
