/** The transport on the event loop's own poll: one callback a wake-up, replies at once (design: 5.4 µs CPU a request).
 *
 *  Requests are read into an arena: a few pieces of memory, filled from front to back while requests of theirs are held and
 *  from the front again when none is. When every piece is held the device is not read until one is released:
 *
 *     free ──► current ──(no room for the largest request)──► full ──(last borrower released)──► free
 *                 └──(batch done, nobody borrows)──► current, from its front */

import { availableParallelism } from 'node:os'
import { ENOMEM } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import { BATCH_FORGET, FORGET, HEADER_ROOM_BYTES, INTERRUPT, OUT_HEADER_BYTES, SETLKW } from './constants.ts'
import type { NativeDevice, NativeFuse } from './native-addon.ts'
import { type FuseTransport, REPLY_AREA_BYTES, ReplyArea, writeFromThreadPool } from './transport.ts'
import { FuseRequest, type ReplyTo, RequestMemory } from './wire.ts'

/** as in juicefs_fuse.c */
const MAX_BATCH = 64
/** 2 large requests a piece: as many writes of the largest size as the kernel sends in the background */
const MAX_PIECES = 40
const IDLE_PIECES = 2
/** How long the device is looked at for the next request before the loop sleeps (juicefs_fuse.c): longer than a client that works
 *  without a pause takes to ask again. */
const LOOK_ON_MICROS = 60

/** places in the state that the addon shares */
const FILLED = 0
const UNANSWERED = 1
const FIRST_REQUEST = 2

export class NativeTransport implements FuseTransport {
  readonly kind = 'native'
  readonly mountPoint: string | null
  readonly out = new ReplyArea(REPLY_AREA_BYTES)
  heldCount = 0
  readonly #fd: number
  readonly #device: NativeDevice
  readonly #slotBytes: number
  readonly #state = new Int32Array(FIRST_REQUEST + 2 * MAX_BATCH)
  readonly #requests: FuseRequest[]
  readonly #free: RequestMemory[] = []
  #current: RequestMemory
  #pieceCount = 1
  #paused = false
  #closed = false
  #notifying: Promise<unknown> = Promise.resolve()
  #onBatch: (requests: readonly FuseRequest[], count: number) => void = () => {}
  #onClose: (errno: number) => void = () => {}

  constructor(addon: NativeFuse, fd: number, maxWrite: number, mountPoint: string | null) {
    this.mountPoint = mountPoint
    this.#fd = fd
    this.#slotBytes = maxWrite + HEADER_ROOM_BYTES
    this.#current = new RequestMemory(2 * this.#slotBytes)
    this.#requests = Array.from({ length: MAX_BATCH }, () => new FuseRequest(this.#current))
    const state = Buffer.from(this.#state.buffer)
    const device = addon.attach(fd, this.out.buf, state, this.#slotBytes, lookOnMicros(), count =>
      this.#received(count),
    )
    if (typeof device === 'number') throw new Fault(`watch /dev/fuse: error ${-device}`, { errno: ENOMEM })
    this.#device = device
    device.useArena(this.#current.buf)
  }

  start(onBatch: (requests: readonly FuseRequest[], count: number) => void, onClose: (errno: number) => void): void {
    this.#onBatch = onBatch
    this.#onClose = onClose
    this.#device.resume()
  }

  #received(count: number): void {
    if (count < 0) {
      this.#onClose(-count)
      return
    }
    const state = this.#state
    const requests = this.#requests
    const memory = this.#current
    for (let i = 0; i < count; i++) {
      const at = FIRST_REQUEST + 2 * i
      const request = requests[i]!
      request.take(memory, state[at]!, state[at + 1]!)
      if (isOwedReply(request)) state[UNANSWERED]!++
    }
    this.#onBatch(requests, count)
    if (memory.borrowers === 0) state[FILLED] = 0
    else {
      const last = FIRST_REQUEST + 2 * (count - 1)
      state[FILLED] = (state[last]! + state[last + 1]! + 7) & ~7
      if (memory.buf.length - state[FILLED]! < this.#slotBytes) this.#nextPiece()
    }
  }

  #nextPiece(): void {
    let next = this.#free.pop()
    if (!next && this.#pieceCount < MAX_PIECES) {
      this.#pieceCount++
      next = new RequestMemory(2 * this.#slotBytes)
    }
    if (next) {
      this.#current = next
      this.#state[FILLED] = 0
      this.#device.useArena(next.buf)
    } else {
      this.#paused = true
      this.#device.pause()
    }
  }

  hold(request: FuseRequest): RequestMemory {
    this.heldCount++
    request.memory.borrowers++
    return request.memory
  }

  release(memory: RequestMemory): void {
    this.heldCount--
    if (--memory.borrowers > 0) return
    if (memory !== this.#current) {
      if (this.#free.length < IDLE_PIECES || this.#paused) this.#free.push(memory)
      else this.#pieceCount--
    }
    if (!this.#paused || this.#closed) return
    this.#paused = false
    if (memory === this.#current) this.#state[FILLED] = 0
    else this.#nextPiece()
    this.#device.resume()
  }

  replyOut(to: ReplyTo, payloadBytes: number): number {
    const total = OUT_HEADER_BYTES + payloadBytes
    this.out.header(to, total, 0)
    this.#answered(to)
    return -this.#device.reply(total)
  }
  replyError(to: ReplyTo, errno: number): number {
    this.out.header(to, OUT_HEADER_BYTES, errno)
    this.#answered(to)
    return -this.#device.reply(OUT_HEADER_BYTES)
  }
  replyData(to: ReplyTo, payloadBytes: number, buffers: readonly Buffer[], dataBytes: number): number {
    const head = OUT_HEADER_BYTES + payloadBytes
    this.out.header(to, head + dataBytes, 0)
    this.#answered(to)
    return -this.#device.replyPieces(head, buffers)
  }

  /** Not below 0: a second answer, after one that the kernel refused, was not owed. */
  #answered(to: ReplyTo): void {
    if (isOwedReply(to) && this.#state[UNANSWERED]! > 0) this.#state[UNANSWERED]!--
  }

  notify(message: Buffer): Promise<number> {
    if (this.#closed) return Promise.resolve(0)
    const sent = writeFromThreadPool(this.#fd, message)
    this.#notifying = Promise.all([this.#notifying, sent])
    return sent
  }

  /** Waits for a notification under way: its thread must not write to a descriptor number that means something else. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#device.pause()
    await this.#notifying
    this.#device.close()
  }
}

/** Is there soon an answer to it? There is none to what the kernel forgets, mostly none to INTERRUPT, and a lock may be waited for for hours. */
const isOwedReply = ({ opcode }: ReplyTo): boolean =>
  opcode !== FORGET && opcode !== BATCH_FORGET && opcode !== INTERRUPT && opcode !== SETLKW

/** Not on a single processor, which the client needs; otherwise as JUICEFS_TS_LOOK_ON says, in microseconds. */
function lookOnMicros(): number {
  if (availableParallelism() < 2) return 0
  const wanted = Number(process.env.JUICEFS_TS_LOOK_ON || LOOK_ON_MICROS)
  return wanted >= 0 ? Math.min(Math.round(wanted), 1000) : LOOK_ON_MICROS
}
