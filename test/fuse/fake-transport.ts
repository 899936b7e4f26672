/** A transport without a kernel: requests are put in by hand, replies are kept as the bytes that would have been written. */

import type { FuseTransport } from '../../src/fuse/transport.ts'
import { REPLY_AREA_BYTES, ReplyArea } from '../../src/fuse/transport.ts'
import { FuseRequest, type ReplyTo, RequestMemory } from '../../src/fuse/wire.ts'

export interface Reply {
  readonly unique: number
  readonly errno: number
  readonly payload: Buffer
}

export class FakeTransport implements FuseTransport {
  readonly kind = 'fake'
  readonly mountPoint = null
  readonly out = new ReplyArea(REPLY_AREA_BYTES)
  heldCount = 0
  readonly replies: Reply[] = []
  readonly notifications: Buffer[] = []
  /** what the next writes of replies come back with */
  refuseWith = 0
  isClosed = false
  /** pretends to be the kernel that takes notifications slowly */
  notifyGate: Promise<unknown> = Promise.resolve()
  readonly #memory = new RequestMemory(1 << 20)
  readonly #request = new FuseRequest(this.#memory)
  #onBatch: (requests: readonly FuseRequest[], count: number) => void = () => {}
  #onClose: (errno: number) => void = () => {}
  #unique = 2

  start(onBatch: (requests: readonly FuseRequest[], count: number) => void, onClose: (errno: number) => void): void {
    this.#onBatch = onBatch
    this.#onClose = onClose
  }
  end(errno: number): void {
    this.#onClose(errno)
  }

  /** One request; returns its `unique`. */
  send(opcode: number, ino: bigint, args: Buffer, unique = (this.#unique += 2)): number {
    const header = Buffer.alloc(40)
    header.writeUInt32LE(40 + args.length, 0)
    header.writeUInt32LE(opcode, 4)
    header.writeBigUInt64LE(BigInt(unique), 8)
    header.writeBigUInt64LE(ino, 16)
    header.writeUInt32LE(1000, 24)
    header.writeUInt32LE(100, 28)
    header.writeUInt32LE(4242, 32)
    this.#memory.buf.fill(0xee)
    header.copy(this.#memory.buf, 64)
    args.copy(this.#memory.buf, 104)
    this.#request.take(this.#memory, 64, header.length + args.length)
    this.#onBatch([this.#request], 1)
    return unique
  }
  /** The reply to a request that is answered at once. */
  ask(opcode: number, ino: bigint, args: Buffer = Buffer.alloc(0)): Reply {
    const unique = this.send(opcode, ino, args)
    const reply = this.replies.pop()
    if (reply?.unique !== unique) throw new Error('not answered')
    return reply
  }

  #reply(to: ReplyTo, bytes: number, errno: number, buffers: readonly Buffer[]): number {
    this.out.header(to, bytes, errno)
    if (this.refuseWith !== 0) return this.refuseWith
    const head = bytes - buffers.reduce((sum, buffer) => sum + buffer.length, 0)
    const message = Buffer.concat([this.out.buf.subarray(0, head), ...buffers])
    if (message.readUInt32LE(0) !== message.length) throw new Error('the header says another length')
    this.replies.push({
      unique: Number(message.readBigUInt64LE(8)),
      errno: Math.abs(message.readInt32LE(4)),
      payload: message.subarray(16),
    })
    return 0
  }
  replyOut(to: ReplyTo, payloadBytes: number): number {
    return this.#reply(to, 16 + payloadBytes, 0, [])
  }
  replyError(to: ReplyTo, errno: number): number {
    return this.#reply(to, 16, errno, [])
  }
  replyData(to: ReplyTo, payloadBytes: number, buffers: readonly Buffer[], dataBytes: number): number {
    return this.#reply(to, 16 + payloadBytes + dataBytes, 0, buffers)
  }
  hold(request: FuseRequest): RequestMemory {
    this.heldCount++
    return request.memory
  }
  release(): void {
    this.heldCount--
  }
  async notify(message: Buffer): Promise<number> {
    this.notifications.push(Buffer.from(message))
    await this.notifyGate
    return 0
  }
  async close(): Promise<void> {
    this.isClosed = true
  }
}

/** Arguments: numbers are 32-bit words, bigints 64-bit ones, strings end with a zero byte, buffers are taken as they are. */
export function args(...parts: readonly (number | bigint | string | Buffer)[]): Buffer {
  return Buffer.concat(
    parts.map(part => {
      if (typeof part === 'string') return Buffer.from(`${part}\0`, 'latin1')
      if (Buffer.isBuffer(part)) return part
      const bytes = Buffer.alloc(typeof part === 'number' ? 4 : 8)
      if (typeof part === 'number') bytes.writeInt32LE(part | 0)
      else bytes.writeBigUInt64LE(BigInt.asUintN(64, part))
      return bytes
    }),
  )
}

/** The INIT of Linux 6.18: everything offered. */
export const INIT_ARGS = args(7, 45, 131_072, 0x73ffffff | (1 << 29), 0xffff, ...new Array<number>(11).fill(0))
