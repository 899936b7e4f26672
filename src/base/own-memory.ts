/** Memory with one owner at a time, that is freed when its last owner is done with it and not when the collector comes by.
 *
 *      ownBytes ─► filled ─► handed on as a view ─┬─► toOwn ─► a thread's, and what the thread gives is handed on again
 *                                                 ├─► drop ──► free at once
 *                                                 └─► shared, or lost on the way: the collector's
 *
 *  It is for bytes on their way: objects, envelopes, encoded blocks. They are as large as blocks and needed for milliseconds, and V8 lets
 *  hundreds of MiB of them wait, in each thread. Memory that nobody called his own may be a view of something that others look at,
 *  so it is left alone: a maker need not say anything, and who drops must be the last to look. */

import { assert } from './assert.ts'
import { DroppedMemory } from './dropped-memory.ts'

const owned = new WeakSet<ArrayBufferLike>()
/** What came from elsewhere and was dropped here waits for the collector, but not all of it. */
const foreign = new DroppedMemory({ neededBytes: () => 0, mostBytes: 64 << 20 })

/** Fresh memory, with whatever bytes are in it, for one owner after the other. */
export function ownBytes(bytes: number): Buffer<ArrayBuffer> {
  const view = Buffer.allocUnsafeSlow(bytes)
  own(view)
  return view
}

/** Says that nobody else looks at the memory of this view. */
export function own(view: Buffer): Buffer {
  owned.add(view.buffer)
  return view
}

/** The same bytes where nobody else looks, with at least `roomBefore` bytes of room before them: where they are, if their memory has an
 *  owner, who has it no more; else in a copy. */
export function toOwn(view: Buffer, roomBefore = 0): Buffer {
  if (view.byteOffset >= roomBefore && owned.delete(view.buffer)) return view
  const copy = Buffer.allocUnsafeSlow(roomBefore + view.length)
  view.copy(copy, roomBefore)
  drop(view)
  return copy.subarray(roomBefore)
}

/** Nobody looks at these bytes any more: if their memory has an owner, it is free now, and every view of it empty. */
export function drop(view: Buffer): void {
  if (owned.delete(view.buffer)) free(view.buffer)
  else foreign.made(view)
}

/** Frees memory that is known to be nobody else's: detaching does that at once. */
export function free(memory: ArrayBufferLike): void {
  assert(memory instanceof ArrayBuffer, 'shared memory has no owner')
  memory.transfer(0)
}
