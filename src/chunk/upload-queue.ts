/** Staged blocks that wait for their upload: in the order in which they are due. Three queues, in each of which the later added is the
 *  later due, so that the next one is always at the head of one of them. */

import type { DiskCache } from './disk-cache.ts'
import type { Block, BlockKey } from './keys.ts'

/** A block between its staging and its upload. */
export interface Staged {
  readonly block: Block
  readonly key: BlockKey
  readonly cache: DiskCache
  /** unix milliseconds */
  readonly addedMs: number
  /** Somebody was told that it survives a power cut. */
  isDurable: boolean
  /** Its slice is gone. */
  isRemoved: boolean
}

/** `found`: left by earlier runs, mostly older than all others. `failed`: to be tried again. */
export type QueueName = 'found' | 'fresh' | 'failed' | 'urgent'

interface Waiting {
  readonly staged: Staged
  readonly dueMs: number
}

/** looked at when blocks of one directory are wanted urgently */
const MOST_LOOKED_AT = 10_000

export class UploadQueue {
  readonly #queues: Readonly<Record<QueueName, Map<BlockKey, Waiting>>> = {
    urgent: new Map(),
    found: new Map(),
    fresh: new Map(),
    failed: new Map(),
  }

  get isEmpty(): boolean {
    return Object.values(this.#queues).every(queue => queue.size === 0)
  }

  add(name: QueueName, staged: Staged, dueMs: number): void {
    this.#queues[name].set(staged.key, { staged, dueMs })
  }

  delete(key: BlockKey): void {
    for (const queue of Object.values(this.#queues)) queue.delete(key)
  }

  /** When the next block is due; Infinity: there is none. */
  get nextDueMs(): number {
    return this.#next()?.dueMs ?? Number.POSITIVE_INFINITY
  }

  /** Takes the block that is due first, if it is due. */
  take(nowMs: number): Staged | undefined {
    const next = this.#next()
    if (next === undefined || next.dueMs > nowMs) return undefined
    this.delete(next.staged.key)
    return next.staged
  }

  /** Makes some blocks of a directory due at once. */
  hurry(cache: DiskCache, count: number): void {
    let looked = 0
    let left = count - this.#queues.urgent.size
    for (const name of ['found', 'fresh'] as const) {
      for (const [key, { staged }] of this.#queues[name]) {
        if (left <= 0 || ++looked > MOST_LOOKED_AT) return
        if (staged.cache !== cache) continue
        this.#queues[name].delete(key)
        this.add('urgent', staged, 0)
        left--
      }
    }
  }

  #next(): Waiting | undefined {
    let next: Waiting | undefined
    for (const queue of Object.values(this.#queues)) {
      const head: Waiting | undefined = queue.values().next().value
      if (head && (next === undefined || head.dueMs < next.dueMs)) next = head
    }
    return next
  }
}
