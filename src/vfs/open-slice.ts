/** A slice between its first byte and its record in the metadata.
 *
 *      growing ──freeze──► storing (rest uploaded) ──► stored ──commit, in creation order──► finished
 */

import type { Time } from '../base/clock.ts'
import type { Errno } from '../base/errno.ts'
import type { SliceName, SliceWriter } from '../chunk/chunk-store.ts'

/** What became of a slice's blocks; an errno is the verdict on the data. */
export type Stored = SliceName | Errno

export class OpenSlice {
  /** offset inside the chunk */
  readonly pos: number
  readonly writer: SliceWriter
  readonly startedMs: number
  /** the slice that made the file grow before this one did, in an earlier chunk: it is named first, so that nobody sees
   *  the longer file with a hole where data was written */
  readonly after: OpenSlice | null
  lastWriteMs: number
  /** of the last write, unless a utimens set it since (`pinned`) */
  mtime: Time
  pinned = false
  /** settled once it has its id, or never will; undefined where it had one at once */
  identified: Promise<void> | undefined
  /** set when it is frozen; never rejects */
  stored: Promise<Stored> | null = null
  isFinished = false
  readonly finished: Promise<void>
  readonly #resolve: () => void

  constructor(options: {
    readonly pos: number
    readonly writer: SliceWriter
    readonly nowMs: number
    readonly mtime: Time
    readonly after: OpenSlice | null
  }) {
    this.pos = options.pos
    this.writer = options.writer
    this.startedMs = options.nowMs
    this.lastWriteMs = options.nowMs
    this.mtime = options.mtime
    this.after = options.after
    const { promise, resolve } = Promise.withResolvers<void>()
    this.finished = promise
    this.#resolve = resolve
  }

  get isFrozen(): boolean {
    return this.stored !== null
  }
  /** offset inside the chunk of the first byte behind it */
  get end(): number {
    return this.pos + this.writer.length
  }

  finish(): void {
    this.isFinished = true
    this.#resolve()
  }
}
