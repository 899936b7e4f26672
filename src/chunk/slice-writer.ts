/** One slice being written.
 *
 *      0        sent · B                       length
 *      ├─ uploading or stored ─┼─ in write buffers ─┤
 *                              └ only this part can still be written over
 *
 *  Each byte is copied once, from the request into its block (the first block of a slice is copied again as it grows).
 *  An upload that fails for good ends the slice: it takes no more bytes, `finish` rejects, and what was stored is deleted. */

import { assert } from '../base/assert.ts'
import { Fault } from '../base/fault.ts'
import type { PutHooks } from './block-objects.ts'
import type { WriteBuffers } from './buffers.ts'
import type { SliceName, SliceWriter } from './chunk-store.ts'
import { type Block, MAX_SLICE_BYTES } from './keys.ts'

/** Where finished blocks go: into objects, or into the staging directory first. */
export interface BlockSink {
  /** Resolves when the block survives this process. */
  put(block: Block, bytes: Buffer, hooks: PutHooks): Promise<void>
  /** A block that is not there is success. */
  delete(block: Block): Promise<void>
}

export interface SliceWriterOptions {
  readonly buffers: WriteBuffers
  readonly sink: BlockSink
  /** A block was stored (staged ones are cached already): the cache may borrow its bytes, and calls `release` when it is done with them. */
  readonly onStored: (block: Block, bytes: Buffer, release: () => void) => void
}

export class BlockSliceWriter implements SliceWriter {
  readonly #o: SliceWriterOptions
  readonly #blockBytes: number
  #id: number | null = null
  #length = 0
  /** blocks handed to the uploads */
  #sent = 0
  /** by block index; what is not sent */
  readonly #buffers = new Map<number, Buffer>()
  /** never reject: a failure is kept in #failure */
  readonly #uploads: Promise<void>[] = []
  readonly #attempted: Block[] = []
  #failure: Fault | undefined
  #state: 'open' | 'finishing' | 'stored' | 'discarded' = 'open'
  #discarding: Promise<void> | undefined

  constructor(options: SliceWriterOptions) {
    this.#o = options
    this.#blockBytes = options.buffers.blockBytes
  }

  get length(): number {
    return this.#length
  }

  accepts(off: number, len: number): boolean {
    if (this.#state !== 'open' || this.#failure) return false
    return off >= this.#sent * this.#blockBytes && off <= this.#length && off + len <= MAX_SLICE_BYTES
  }

  write(off: number, data: Buffer): void {
    assert(this.accepts(off, data.length), `slice takes ${data.length} bytes at ${off}`)
    const blockBytes = this.#blockBytes
    for (let at = 0; at < data.length; ) {
      const index = Math.floor((off + at) / blockBytes)
      const inBlock = (off + at) % blockBytes
      const count = Math.min(blockBytes - inBlock, data.length - at)
      data.copy(this.#roomIn(index, inBlock + count), inBlock, at, at + count)
      at += count
      this.#length = Math.max(this.#length, off + at)
    }
    this.#sendFullBlocks()
  }

  setId(id: number): void {
    assert(this.#id === null || this.#id === id, 'a slice has one id')
    this.#id = id
    if (this.#state === 'open') this.#sendFullBlocks()
  }

  async finish(): Promise<SliceName> {
    assert(this.#state === 'open', 'a slice is finished once')
    this.#state = 'finishing'
    if (this.#length === 0) {
      this.#state = 'stored'
      return { id: this.#id ?? 0, size: 0 }
    }
    assert(this.#id !== null, 'a slice has its id before it is finished')
    const slice = { id: this.#id, size: this.#length }
    this.#sendFullBlocks()
    const rest = this.#length - this.#sent * this.#blockBytes
    if (rest > 0) this.#send(rest)
    await Promise.all(this.#uploads)
    if (this.#failure) {
      await this.#discard()
      throw this.#failure
    }
    this.#state = 'stored'
    return slice
  }

  async abort(): Promise<void> {
    if (this.#state === 'stored') return
    this.#failure ??= new Fault(`slice ${this.#id ?? 'without id'}: given up`)
    await this.#discard()
  }

  /** The buffer of a block, with room for its first `bytes` bytes. */
  #roomIn(index: number, bytes: number): Buffer {
    const current = this.#buffers.get(index)
    if (current && current.length >= bytes) return current
    // Later blocks are taken whole: whoever wrote one full block will likely write the next.
    const larger = this.#o.buffers.acquire(index === 0 ? bytes : this.#blockBytes)
    if (current) {
      current.copy(larger, 0, 0, Math.min(current.length, this.#length - index * this.#blockBytes))
      this.#o.buffers.release(current)
    }
    this.#buffers.set(index, larger)
    return larger
  }

  #sendFullBlocks(): void {
    if (this.#id === null) return
    while ((this.#sent + 1) * this.#blockBytes <= this.#length) this.#send(this.#blockBytes)
  }

  /** Hands the first unsent block to the uploads. */
  #send(length: number): void {
    if (this.#failure) {
      this.#sent++
      return
    }
    assert(this.#id !== null, 'a block is sent under its id')
    const index = this.#sent++
    const buffer = this.#buffers.get(index)
    assert(buffer && buffer.length >= length, `block ${index} is filled`)
    this.#buffers.delete(index)
    const block = { id: this.#id, index, length }
    this.#attempted.push(block)
    this.#uploads.push(this.#upload(block, buffer))
  }

  async #upload(block: Block, buffer: Buffer): Promise<void> {
    const bytes = buffer.subarray(0, block.length)
    const giveBack = (): void => this.#o.buffers.release(buffer)
    const release = (stored: boolean): void => {
      if (stored) this.#o.onStored(block, bytes, giveBack)
      else giveBack()
    }
    try {
      await this.#o.sink.put(block, bytes, { stop: () => this.#failure !== undefined, release })
    } catch (error) {
      this.#failure ??= new Fault(`store block ${block.index} of slice ${block.id}`, { cause: error })
    }
  }

  /** Deletes whatever may have been stored, after the last upload has ended: also blocks whose put failed, since a put
   *  without an answer may have happened. What cannot be deleted is garbage that `gc` finds. */
  #discard(): Promise<void> {
    this.#state = 'discarded'
    this.#discarding ??= this.#deleteAttempted()
    return this.#discarding
  }

  async #deleteAttempted(): Promise<void> {
    for (const buffer of this.#buffers.values()) this.#o.buffers.release(buffer)
    this.#buffers.clear()
    await Promise.all(this.#uploads)
    for (const block of this.#attempted) await this.#o.sink.delete(block).catch(() => {})
  }
}
