/** Memory of whole blocks that several look at, used again when the last of them has looked.
 *
 *      ownBytes ─► share (one holder) ─► hold, viewFor … letGo, letGoView ─► no holder: idle ─► ownBytes
 *
 *  A block that is read lies in the cache of blocks, waits for the disk cache, and is looked at by answers on their way to the kernel.
 *  Left to the collector, each block costs page faults for fresh memory and its share of a collection: half of all CPU time of big
 *  reads (docs/performance.md).
 *
 *  Nobody has to let go: what somebody holds for ever is the collector's as soon as nobody can reach it. But who lets go must have held, and
 *  must not look again. Memory that had no owner when it was to be shared (a view into something else) takes no part: all of these do
 *  nothing then. */

import { disown, reuse } from './own-memory.ts'

const holders = new WeakMap<ArrayBufferLike, number>()
/** each for one who looks and says once that he has */
const views = new WeakSet<Buffer>()

/** The caller holds the block; if its memory had an owner, it has none any more and the caller is its first holder. */
export function share(block: Buffer): void {
  if (disown(block)) holders.set(block.buffer, 1)
  else hold(block)
}

/** One more looks at the block: to be called by, or on behalf of, somebody who holds it. */
export function hold(block: Buffer): void {
  const count = holders.get(block.buffer)
  if (count !== undefined) holders.set(block.buffer, count + 1)
}

/** A holder has looked for the last time. */
export function letGo(block: Buffer): void {
  const { buffer } = block
  const count = holders.get(buffer)
  if (count === undefined) return
  if (count > 1) {
    holders.set(buffer, count - 1)
    return
  }
  holders.delete(buffer)
  reuse(buffer as ArrayBuffer)
}

/** Bytes [from, to) of a block for one reader, who holds the block until `letGoView` is told this very view. */
export function viewFor(block: Buffer, from: number, to: number): Buffer {
  const view = block.subarray(from, to)
  if (holders.has(block.buffer)) {
    hold(block)
    views.add(view)
  }
  return view
}

/** The reader of a view has looked. A view that is not of `viewFor`, or was let go before, is left alone. */
export function letGoView(view: Buffer): void {
  if (views.delete(view)) letGo(view)
}
