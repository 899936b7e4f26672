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
import { DroppedMemory, settled } from './dropped-memory.ts'

const owned = new WeakSet<ArrayBufferLike>()
/** What came from elsewhere and was dropped here waits for the collector, but not all of it. */
const foreign = new DroppedMemory({ neededBytes: () => 0, mostBytes: 64 << 20 })

/** Memory of blocks that nobody looks at any more, for the next ones: fresh memory costs a page fault for each 4 KiB. */
const idle: ArrayBuffer[] = []
let idleBytes = 0
let isTimed = false
const LEAST_IDLE_BYTES = 64 << 10
const MOST_IDLE_BYTES = 32 << 20
/** An idle mount shall be small. */
const IDLE_MS = 2000

/** Memory, with whatever bytes are in it, for one owner after the other. */
export function ownBytes(bytes: number): Buffer<ArrayBuffer> {
  const view = takeIdle(bytes) ?? Buffer.allocUnsafeSlow(bytes)
  own(view)
  return view
}

/** Nobody looks at this memory any more, and somebody will soon want as much, unless much of it is idle already: then it is free at once. */
export function reuse(memory: ArrayBuffer): void {
  settled(memory)
  if (memory.byteLength < LEAST_IDLE_BYTES) {
    free(memory)
    return
  }
  idle.push(memory)
  idleBytes += memory.byteLength
  // The oldest go first: they may be of a size that nobody asks for any more.
  while (idleBytes > MOST_IDLE_BYTES) freeOldest()
  if (isTimed) return
  isTimed = true
  setTimeout(dropIdle, IDLE_MS).unref()
}

/** A load that goes on has others soon. */
function dropIdle(): void {
  isTimed = false
  while (idle.length > 0) freeOldest()
}

function freeOldest(): void {
  const memory = idle.shift()!
  idleBytes -= memory.byteLength
  free(memory)
}

/** The last that became idle is the likeliest to be in the processor's cache. */
function takeIdle(bytes: number): Buffer<ArrayBuffer> | undefined {
  for (let i = idle.length - 1; i >= 0; i--) {
    if (idle[i]!.byteLength !== bytes) continue
    const [memory] = idle.splice(i, 1)
    idleBytes -= bytes
    return Buffer.from(memory!)
  }
  return undefined
}

/** Ends the ownership without freeing: who asked answers for the memory from now on. false: it had no owner. */
export const disown = (view: Buffer): boolean => owned.delete(view.buffer)

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
