/** The write blocks: memory between a write(2) and the object store. One owner, counted, reused.
 *
 *  A fresh 4 MiB buffer costs a millisecond of page faults, so released ones are kept. What has not been needed for a while
 *  is given back to the system at once (detached, not left to the collector), since an idle mount shall be small.
 *
 *  Sizes grow by four from 64 KiB to a block: a small file must not hold a whole block. */

import { assert } from '../base/assert.ts'

const SMALLEST_BYTES = 64 << 10
const GROWTH = 4
const TRIM_INTERVAL_MS = 2000
/** of the limit: beyond it nothing is kept for reuse, since what follows a burst of writes is often a read, which wants memory too */
const IDLE_SHARE = 1 / 4

interface SizeClass {
  readonly bytes: number
  readonly idle: Buffer[]
  /** fewest idle buffers since the last trim: so many were not needed */
  surplus: number
}

export class WriteBuffers {
  readonly blockBytes: number
  readonly #limitBytes: number
  readonly #encodedBytes: () => number
  readonly #classes: SizeClass[] = []
  readonly #waiting: (() => void)[] = []
  #trimmer: NodeJS.Timeout | undefined
  #usedBytes = 0

  /** `encodedBytes`: of what the blocks on their way were made into, which takes memory of the same limit. */
  constructor(options: {
    readonly blockBytes: number
    readonly limitBytes: number
    readonly encodedBytes?: () => number
  }) {
    this.blockBytes = options.blockBytes
    this.#limitBytes = options.limitBytes
    this.#encodedBytes = options.encodedBytes ?? (() => 0)
    for (let bytes = SMALLEST_BYTES; bytes < options.blockBytes; bytes *= GROWTH) this.#addClass(bytes)
    this.#addClass(options.blockBytes)
  }

  /** bytes handed out and not yet released */
  get usedBytes(): number {
    return this.#usedBytes
  }
  /** bytes kept for reuse */
  get idleBytes(): number {
    return this.#classes.reduce((sum, { bytes, idle }) => sum + bytes * idle.length, 0)
  }

  /** A buffer of at least so many bytes (at most a block), with whatever bytes were in it before. */
  acquire(bytes: number): Buffer {
    const fitting = this.#classes.find(sizeClass => sizeClass.bytes >= bytes)
    assert(fitting, `a write buffer of ${bytes} bytes is no larger than a block`)
    this.#usedBytes += fitting.bytes
    const reused = fitting.idle.pop()
    if (fitting.idle.length < fitting.surplus) fitting.surplus = fitting.idle.length
    if (reused) return reused
    this.#makeRoom()
    return Buffer.allocUnsafeSlow(fitting.bytes)
  }

  /** What is kept for reuse, in other sizes, must not come on top of what is in use. */
  #makeRoom(): void {
    for (const { idle } of this.#classes) {
      while (idle.length > 0 && this.#overBytes > 0) giveBack(idle.pop()!)
    }
  }

  get #overBytes(): number {
    return this.#usedBytes + this.idleBytes + this.#encodedBytes() - this.#limitBytes
  }

  /** Takes back a buffer that nobody looks at any more. */
  release(buffer: Buffer): void {
    const own = this.#classes.find(sizeClass => sizeClass.bytes === buffer.length)
    assert(own, `a buffer of ${buffer.length} bytes came from here`)
    this.#usedBytes -= buffer.length
    assert(this.#usedBytes >= 0, 'a write buffer is released once')
    const isMuch = this.idleBytes + buffer.length > this.#limitBytes * IDLE_SHARE
    if (isMuch || this.#overBytes + buffer.length > 0) giveBack(buffer)
    else own.idle.push(buffer)
    this.#trimmer ??= setInterval(() => this.#trim(), TRIM_INTERVAL_MS).unref()
    this.#wake()
  }

  /** undefined, or a promise that resolves when fewer than the limit are in use, encoded ones included. First come, first served. */
  roomToWrite(): Promise<void> | undefined {
    if (this.#freeBytes > 0) return undefined
    return new Promise(resolve => this.#waiting.push(resolve))
  }

  close(): void {
    clearInterval(this.#trimmer)
    this.#trimmer = undefined
    for (const { idle } of this.#classes) for (const buffer of idle.splice(0)) giveBack(buffer)
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** Some, where nothing is in use: nobody would come to wake who waited then. */
  get #freeBytes(): number {
    const free = this.#limitBytes - this.#usedBytes - this.#encodedBytes()
    return this.#usedBytes === 0 ? Math.max(1, free) : free
  }

  #addClass(bytes: number): void {
    this.#classes.push({ bytes, idle: [], surplus: 0 })
  }

  /** Whoever is woken acquires only later: so wake no more than the free bytes could satisfy. */
  #wake(): void {
    let freeBytes = this.#freeBytes
    while (freeBytes > 0 && this.#waiting.length > 0) {
      this.#waiting.shift()?.()
      freeBytes -= this.blockBytes
    }
  }

  #trim(): void {
    let kept = 0
    for (const sizeClass of this.#classes) {
      for (const buffer of sizeClass.idle.splice(0, sizeClass.surplus)) giveBack(buffer)
      sizeClass.surplus = sizeClass.idle.length
      kept += sizeClass.surplus
    }
    if (kept > 0) return
    clearInterval(this.#trimmer)
    this.#trimmer = undefined
  }
}

/** Detaching frees the memory now; a view kept by mistake would become empty, never show foreign bytes. */
function giveBack(buffer: Buffer): void {
  const memory = buffer.buffer
  assert(memory instanceof ArrayBuffer, 'write buffers are not shared memory')
  memory.transfer(0)
}
