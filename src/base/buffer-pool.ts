/** A pool of buffers for the answers to reads that are given at once: used again for the next ones. Fresh memory costs more than the bytes: page
 *  faults, and a collection of the whole heap for every few dozen MiB (half of all CPU time of reads from the disk cache).
 *
 *      takeBuffer ─► filled ─► handed on as a view, to one reader ─► written to the kernel ─► returnBuffers
 *                                                               └─► lost on the way: the collector's
 *
 *  Nobody has to return one, so nothing leaks; who does must be the last to look. Only the writer of answers does. */

import { letGoView } from './shared-memory.ts'

const SMALL_BYTES = 64 << 10
/** the longest request of the kernel, and the checksummed pieces around it */
const LARGE_BYTES = (1 << 20) + SMALL_BYTES
/** of each size; more are only needed where answers wait for other parts of theirs */
const MOST_IDLE = 2

const small: Buffer[] = []
const large: Buffer[] = []
const taken = new WeakSet<ArrayBufferLike>()

/** A buffer that nobody else has, with whatever bytes were in it before; of its memory only this view is to be used. */
export function takeBuffer(bytes: number): Buffer {
  if (bytes > LARGE_BYTES) return Buffer.allocUnsafeSlow(bytes)
  const isSmall = bytes <= SMALL_BYTES
  const buffer = (isSmall ? small : large).pop() ?? Buffer.allocUnsafeSlow(isSmall ? SMALL_BYTES : LARGE_BYTES)
  taken.add(buffer.buffer)
  return buffer.length === bytes ? buffer : buffer.subarray(0, bytes)
}

/** Nobody looks at these views any more: memory that came from `takeBuffer` is used again, that of blocks when all have looked, any other is
 *  left alone. */
export function returnBuffers(views: readonly Buffer[]): void {
  for (const view of views) {
    const { buffer } = view
    if (!taken.delete(buffer)) {
      letGoView(view)
      continue
    }
    const idle = buffer.byteLength === SMALL_BYTES ? small : large
    if (idle.length < MOST_IDLE) idle.push(Buffer.from(buffer as ArrayBuffer))
  }
}
