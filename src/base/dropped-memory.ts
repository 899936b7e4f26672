/** Bounds the memory of large buffers that nobody needs any more.
 *
 *  Blocks that were read are shared as views without a count, so only the collector knows when the last view is gone, and V8 waits with
 *  the next collection until there is as much outside memory again as was alive after the last one: hundreds of MiB, in a second of
 *  reading. Here the buffers are counted from their making until V8 has freed them. When more of them than is allowed are neither
 *  freed nor in use by their owner, the collector is run (some 5 ms with the heap of most mounts). It takes a sixth of the time at most,
 *  unless half as much again waits: memory that is promised counts for more than time on a machine that is too busy. */

import { collectGarbage } from './idle-memory.ts'

/** at least so many times as long as the last collection took: a sixth of the time at most */
const REST_FACTOR = 5
const URGENT_FACTOR = 1.5

export interface DroppedMemoryOptions {
  /** of the buffers that were made, so many bytes are still needed */
  readonly neededBytes: () => number
  /** of what may wait for the collector */
  readonly mostBytes: number
  /** for tests */
  readonly collect?: () => void
  readonly nowMs?: () => number
}

export class DroppedMemory {
  readonly #o: Required<DroppedMemoryOptions>
  readonly #known = new WeakSet<ArrayBufferLike>()
  readonly #freed = new FinalizationRegistry<number>(bytes => {
    this.#bytes -= bytes
  })
  /** made and not freed */
  #bytes = 0
  #sinceBytes = 0
  #restUntilMs = 0

  constructor(options: DroppedMemoryOptions) {
    this.#o = { collect: () => collectGarbage(), nowMs: () => performance.now(), ...options }
  }

  /** A buffer was made, whose memory is nobody else's. */
  made(buffer: Buffer): void {
    const { neededBytes, mostBytes, collect, nowMs } = this.#o
    const memory = buffer.buffer
    if (this.#known.has(memory)) return
    this.#known.add(memory)
    this.#freed.register(memory, memory.byteLength)
    this.#bytes += memory.byteLength
    this.#sinceBytes += memory.byteLength
    // V8 tells some time after it has freed: until so much is new, what is counted may be gone already.
    const waitingBytes = this.#bytes - neededBytes()
    if (this.#sinceBytes < mostBytes / 2 || waitingBytes <= mostBytes) return
    const startMs = nowMs()
    const isUrgent = waitingBytes > URGENT_FACTOR * mostBytes
    if (startMs < this.#restUntilMs && !isUrgent) return
    this.#sinceBytes = 0
    collect()
    const endMs = nowMs()
    this.#restUntilMs = endMs + REST_FACTOR * (endMs - startMs)
  }
}
