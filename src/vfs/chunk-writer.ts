/** What was written to one chunk and is not named yet: slices in creation order, committed in that order (spec vfs
 *  sections 3.2 to 3.4). It holds data; when to freeze is decided above, by file-writer.ts and dirty-files.ts. */

import { assert } from '../base/assert.ts'
import type { Time } from '../base/clock.ts'
import { CHUNK_BYTES } from '../meta/model/slice.ts'
import type { OpenSlice, Stored } from './open-slice.ts'

/** counted from the newest, a slice that is passed over by a write this far back is frozen */
const MAX_GROWING = 5

export interface ChunkWriterOptions {
  readonly index: number
  newSlice(pos: number, endInFile: number, nowMs: number, mtime: Time): OpenSlice
  /** Uploads what is left of the slice. Never rejects. */
  store(slice: OpenSlice): Promise<Stored>
  /** Names the slice, or counts its failure. Never rejects. */
  commit(index: number, slice: OpenSlice, stored: Stored): Promise<void>
  /** a slice is done with */
  finished(chunk: ChunkWriter): void
}

export class ChunkWriter {
  readonly index: number
  /** creation order; the head is the next to be committed */
  readonly slices: OpenSlice[] = []
  readonly #o: ChunkWriterOptions
  #committing = false

  constructor(options: ChunkWriterOptions) {
    this.index = options.index
    this.#o = options
  }

  /** Copies `data` to `pos` of the chunk. */
  write(pos: number, data: Buffer, nowMs: number, mtime: Time): void {
    assert(pos + data.length <= CHUNK_BYTES, 'a write to a chunk ends inside it')
    let slice = this.#sliceFor(pos, data.length)
    if (slice === undefined) {
      slice = this.#o.newSlice(pos, this.index * CHUNK_BYTES + pos + data.length, nowMs, mtime)
      this.slices.push(slice)
    }
    slice.writer.write(pos - slice.pos, data)
    slice.lastWriteMs = nowMs
    slice.mtime = mtime
    slice.pinned = false
    if (slice.writer.length === CHUNK_BYTES) this.freeze(slice)
  }

  /** Newest first: a slice that can take the bytes, unless a newer one covers some of them. */
  #sliceFor(pos: number, length: number): OpenSlice | undefined {
    let growing = 0
    for (let i = this.slices.length - 1; i >= 0; i--) {
      const slice = this.slices[i]!
      if (!slice.isFrozen) {
        if (slice.writer.accepts(pos - slice.pos, length)) return slice
        if (++growing >= MAX_GROWING) this.freeze(slice)
      }
      if (slice.pos < pos + length && pos < slice.end) return undefined
    }
    return undefined
  }

  /** From now on the slice takes no bytes; what is left of it goes out. */
  freeze(slice: OpenSlice): void {
    if (slice.isFrozen) return
    slice.stored = this.#o.store(slice)
    if (!this.#committing) void this.#commitInOrder()
  }

  freezeAll(): void {
    for (const slice of this.slices) this.freeze(slice)
  }

  /** Does data of [from, to), offsets in the chunk, wait here? */
  overlaps(from: number, to: number): boolean {
    return this.slices.some(slice => slice.pos < to && from < slice.end)
  }

  async #commitInOrder(): Promise<void> {
    this.#committing = true
    for (let head = this.slices[0]; head?.stored; head = this.slices[0]) {
      const stored = await head.stored
      if (head.after && !head.after.isFinished) await head.after.finished
      await this.#o.commit(this.index, head, stored)
      this.slices.shift()
      head.finish()
      this.#o.finished(this)
    }
    this.#committing = false
  }
}
