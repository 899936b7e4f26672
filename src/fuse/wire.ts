/** Requests as they lie in a transport's memory, and how their fields are read. Everything is little-endian, as on the
 *  two architectures that we run on; 32-bit fields are read through one Uint32Array over the buffer (10 ns a field,
 *  `readUInt32LE` takes 90). */

import type { Name } from '../base/bytes.ts'
import { TWO_32 } from '../base/bytes.ts'
import { type Ino, inoFromHalves } from '../base/ino.ts'
import type { LockOwner } from '../vfs/file-system.ts'
import { IN_HEADER_BYTES, TOO_FAR_HIGH } from './constants.ts'

/** A piece of memory that requests are read into, with both ways to look at it. */
export class RequestMemory {
  readonly buf: Buffer
  readonly u32: Uint32Array
  /** requests that still borrow bytes of it */
  borrowers = 0

  constructor(bytes: number) {
    const memory = new ArrayBuffer(bytes)
    this.buf = Buffer.from(memory)
    this.u32 = new Uint32Array(memory)
  }
}

/** Whom a reply is for. `unique` of a request as two halves. */
export interface ReplyTo {
  readonly opcode: number
  readonly uniqueLow: number
  readonly uniqueHigh: number
}

/** One request, valid until its handler returns: the object is used again for the next one. */
export class FuseRequest implements ReplyTo {
  opcode = 0
  uniqueLow = 0
  uniqueHigh = 0
  ino = 0 as Ino
  uid = 0
  gid = 0
  pid = 0
  memory: RequestMemory
  /** byte offset of the arguments that follow the header, a multiple of 8 */
  arg = 0
  /** byte offset behind the request */
  end = 0

  constructor(memory: RequestMemory) {
    this.memory = memory
  }

  /** Takes the request at `offset` (a multiple of 8) of `length` bytes. */
  take(memory: RequestMemory, offset: number, length: number): void {
    const u32 = memory.u32
    const at = offset >>> 2
    this.memory = memory
    this.opcode = u32[at + 1]!
    this.uniqueLow = u32[at + 2]!
    this.uniqueHigh = u32[at + 3]!
    this.ino = inoFromHalves(u32[at + 4]!, u32[at + 5]!)
    this.uid = u32[at + 6]!
    this.gid = u32[at + 7]!
    this.pid = u32[at + 8]!
    this.arg = offset + IN_HEADER_BYTES
    this.end = offset + length
  }

  /** the 32-bit argument number `index` */
  word(index: number): number {
    return this.memory.u32[(this.arg >>> 2) + index]!
  }
  /** A 64-bit argument whose low half has this index: inodes, handles and offsets known to be below 2^53. */
  wide(index: number): number {
    const at = (this.arg >>> 2) + index
    return this.memory.u32[at]! + this.memory.u32[at + 1]! * TWO_32
  }
  /** A signed 64-bit argument: seconds, which are negative before 1970. */
  signed(index: number): number {
    return this.word(index) + (this.word(index + 1) | 0) * TWO_32
  }
  inoAt(index: number): Ino {
    return inoFromHalves(this.word(index), this.word(index + 1))
  }
  /** Is this 64-bit argument at or beyond 2^53? */
  tooFar(index: number): boolean {
    return this.word(index + 1) >= TOO_FAR_HIGH
  }

  /** A NUL-terminated name that begins `skip` bytes behind the start of the arguments and ends with the request. */
  name(skip: number): Name {
    return this.memory.buf.toString('latin1', this.arg + skip, this.end - 1)
  }
  /** Two NUL-terminated names, one behind the other. */
  names(skip: number): [first: Name, second: Name] {
    const buf = this.memory.buf
    const start = this.arg + skip
    const between = buf.indexOf(0, start)
    return [buf.toString('latin1', start, between), buf.toString('latin1', between + 1, this.end - 1)]
  }
  /** Bytes from `skip` behind the start of the arguments: a view, borrowed. */
  bytes(skip: number, length: number): Buffer {
    const start = this.arg + skip
    return this.memory.buf.subarray(start, Math.min(start + length, this.end))
  }
}

/** Owners repeat (one a process), so the text of the last one is kept: closing a file costs no conversion. */
let lastOwnerLow = 0
let lastOwnerHigh = 0
let lastOwner: LockOwner = '0000000000000000'

/** The 64-bit lock owner whose low half has this index, as 16 hex digits. */
export function lockOwnerAt(request: FuseRequest, index: number): LockOwner {
  const low = request.word(index)
  const high = request.word(index + 1)
  if (low !== lastOwnerLow || high !== lastOwnerHigh) {
    lastOwnerLow = low
    lastOwnerHigh = high
    lastOwner = high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0')
  }
  return lastOwner
}
