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

/** who counts it */
const counters = new WeakMap<ArrayBufferLike, DroppedMemory>()

/** This memory is used again, or free already: it does not wait for the collector any more. */
export const settled = (memory: ArrayBufferLike): void => counters.get(memory)?.forget(memory)

const kept = new WeakSet<ArrayBufferLike>()
/** Somebody keeps this memory for as long as he likes: who looks at it leaves no garbage. */
export const keep = (memory: ArrayBufferLike): void => void kept.add(memory)

export class DroppedMemory {
  readonly #o: Required<DroppedMemoryOptions>
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

  /** For `settled`, before the memory is detached. */
  forget(memory: ArrayBufferLike): void {
    counters.delete(memory)
    if (this.#freed.unregister(memory)) this.#bytes -= memory.byteLength
  }

  /** A buffer was made, whose memory is nobody else's. */
  made(buffer: Buffer): void {
    const { neededBytes, mostBytes, collect, nowMs } = this.#o
    const memory = buffer.buffer
    if (counters.has(memory) || kept.has(memory)) return
    counters.set(memory, this)
    this.#freed.register(memory, memory.byteLength, memory)
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
