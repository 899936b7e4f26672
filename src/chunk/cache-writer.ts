/** Blocks on their way into the disk cache: a bounded queue that can be read from, and one writer.
 *
 *  The bytes are borrowed, from the pool of write buffers or from the blocks that are read: they are copied when asked for, since they
 *  will be written over once they are released. */

import { type Block, type BlockKey, blockKey } from './keys.ts'

interface Pending {
  readonly block: Block
  readonly bytes: Buffer
  /** to be told when the bytes are not needed any more */
  readonly release: () => void
  /** the slice was deleted meanwhile */
  removed: boolean
}

const MOST_BLOCKS = 1024
/** A disk that hangs must not stop whoever only wants its blocks cached. */
const ROOM_PATIENCE_MS = 10_000

export interface CacheWriterOptions {
  /** of blocks that wait */
  readonly limitBytes: number
  /** Never rejects. */
  readonly write: (block: Block, bytes: Buffer) => Promise<void>
  /** Called for a block that was removed while it waited or was being written. */
  readonly undo: (block: Block) => void
}

export class CacheWriter {
  readonly #o: CacheWriterOptions
  /** in the order they wait */
  readonly #pending = new Map<BlockKey, Pending>()
  readonly #roomWaiters: (() => void)[] = []
  #bytes = 0
  #writing: Promise<void> | undefined

  constructor(options: CacheWriterOptions) {
    this.#o = options
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Is the block on its way into the cache? */
  has(key: BlockKey): boolean {
    return this.#pending.get(key)?.removed === false
  }

  /** The same; a block that was removed while it waits is wanted again. */
  claim(key: BlockKey): boolean {
    const pending = this.#pending.get(key)
    if (pending) pending.removed = false
    return pending !== undefined
  }

  /** Would another block have to be dropped? */
  isCrowded(bytes: number): boolean {
    return this.#bytes + bytes > this.#o.limitBytes || this.#pending.size >= MOST_BLOCKS
  }

  read(key: BlockKey, length: number, off: number, len: number): Buffer | undefined {
    const pending = this.#pending.get(key)
    if (pending === undefined || pending.removed || pending.block.length !== length) return undefined
    return Buffer.from(pending.bytes.subarray(off, off + len))
  }

  /** `release`: called once the bytes are written, or need not be. */
  add(block: Block, bytes: Buffer, release: () => void): void {
    this.#pending.set(blockKey(block.id, block.index), { block, bytes, release, removed: false })
    this.#bytes += block.length
    this.#writing ??= this.#writeAll()
  }

  remove(key: BlockKey): void {
    const pending = this.#pending.get(key)
    if (pending) pending.removed = true
  }

  /** undefined = another block fits, else a promise that resolves when one does, or after ten seconds. */
  room(): Promise<void> | undefined {
    if (this.#bytes <= this.#o.limitBytes) return undefined
    return new Promise(resolve => {
      const patience = setTimeout(resolve, ROOM_PATIENCE_MS).unref()
      this.#roomWaiters.push(() => {
        clearTimeout(patience)
        resolve()
      })
    })
  }

  /** Resolves when nothing waits any more. */
  async drain(): Promise<void> {
    await this.#writing
  }

  async #writeAll(): Promise<void> {
    for (const [key, pending] of this.#pending) {
      if (!pending.removed) await this.#o.write(pending.block, pending.bytes)
      this.#pending.delete(key)
      this.#bytes -= pending.block.length
      if (pending.removed) this.#o.undo(pending.block)
      pending.release()
      if (this.#bytes <= this.#o.limitBytes) for (const resolve of this.#roomWaiters.splice(0)) resolve()
    }
    this.#writing = undefined
  }
}
