/** The transport without an addon: blocking `fs.read` on the thread pool, four times the CPU of the native one. Each reader
 *  takes a thread of the pool for good, so there are two; the launcher makes the pool large enough. */

import fs from 'node:fs'
import { EIO } from '../base/errno.ts'
import { HEADER_ROOM_BYTES, OUT_HEADER_BYTES } from './constants.ts'
import { type FuseTransport, REPLY_AREA_BYTES, ReplyArea, writeFromThreadPool } from './transport.ts'
import { FuseRequest, type ReplyTo, RequestMemory } from './wire.ts'

const READERS = 2
/** pieces of memory kept beyond those of the readers */
const SPARE = 4

export class ThreadPoolTransport implements FuseTransport {
  readonly kind = 'thread-pool'
  readonly mountPoint: string | null
  readonly out = new ReplyArea(REPLY_AREA_BYTES)
  heldCount = 0
  readonly #fd: number
  readonly #slotBytes: number
  readonly #spare: RequestMemory[] = []
  #readers = 0
  #closed = false
  #notifying: Promise<unknown> = Promise.resolve()
  #onBatch: (requests: readonly FuseRequest[], count: number) => void = () => {}
  #onClose: (errno: number) => void = () => {}

  constructor(fd: number, maxWrite: number, mountPoint: string | null) {
    this.mountPoint = mountPoint
    this.#fd = fd
    this.#slotBytes = maxWrite + HEADER_ROOM_BYTES
  }

  start(onBatch: (requests: readonly FuseRequest[], count: number) => void, onClose: (errno: number) => void): void {
    this.#onBatch = onBatch
    this.#onClose = onClose
    for (let i = 0; i < READERS; i++) {
      const memory = new RequestMemory(this.#slotBytes)
      this.#readers++
      this.#read(memory, [new FuseRequest(memory)])
    }
  }

  #read(memory: RequestMemory, batch: readonly FuseRequest[]): void {
    fs.read(this.#fd, memory.buf, 0, memory.buf.length, null, (error, length) => {
      if (error) {
        // ENOENT: the request was interrupted before it was taken.
        if (error.code === 'EINTR' || error.code === 'ENOENT' || error.code === 'EAGAIN') this.#read(memory, batch)
        else this.#readerEnded(Math.abs(error.errno ?? EIO))
        return
      }
      batch[0]!.take(memory, 0, length)
      try {
        this.#onBatch(batch, 1)
      } finally {
        // A write that is still being served keeps this memory; the next request is read into another.
        this.#read(memory.borrowers === 0 ? memory : (this.#spare.pop() ?? new RequestMemory(this.#slotBytes)), batch)
      }
    })
  }

  #readerEnded(errno: number): void {
    if (--this.#readers === 0 && !this.#closed) this.#onClose(errno)
  }

  hold(request: FuseRequest): RequestMemory {
    this.heldCount++
    request.memory.borrowers++
    return request.memory
  }
  release(memory: RequestMemory): void {
    this.heldCount--
    if (--memory.borrowers === 0 && this.#spare.length < SPARE) this.#spare.push(memory)
  }

  replyOut(to: ReplyTo, payloadBytes: number): number {
    return this.#write(to, OUT_HEADER_BYTES + payloadBytes, 0)
  }
  replyError(to: ReplyTo, errno: number): number {
    return this.#write(to, OUT_HEADER_BYTES, errno)
  }
  replyData(to: ReplyTo, payloadBytes: number, buffers: readonly Buffer[], dataBytes: number): number {
    const head = OUT_HEADER_BYTES + payloadBytes
    this.out.header(to, head + dataBytes, 0)
    return this.#attempt(() => fs.writevSync(this.#fd, [this.out.buf.subarray(0, head), ...buffers]))
  }
  #write(to: ReplyTo, totalBytes: number, errno: number): number {
    this.out.header(to, totalBytes, errno)
    return this.#attempt(() => fs.writeSync(this.#fd, this.out.buf, 0, totalBytes))
  }
  #attempt(write: () => number): number {
    try {
      write()
      return 0
    } catch (error) {
      return Math.abs((error as NodeJS.ErrnoException).errno ?? EIO)
    }
  }

  notify(message: Buffer): Promise<number> {
    if (this.#closed) return Promise.resolve(0)
    const sent = writeFromThreadPool(this.#fd, message)
    this.#notifying = Promise.all([this.#notifying, sent])
    return sent
  }

  /** After the device is gone: a blocked read would keep the descriptor. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#notifying
    fs.closeSync(this.#fd)
  }
}
