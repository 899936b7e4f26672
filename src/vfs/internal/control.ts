/** The protocol of `.control` (spec vfs section 8): one request, then progress and one terminal answer.
 *
 *      request   u32 opcode | u32 body length | body        several writes may carry it
 *      progress  FE | u64 a | u64 b                         every 300 ms, and at the end if either is non-zero
 *      data      FF | u32 length | JSON                     terminal
 *      errno     one byte, 0 = success                      terminal
 *
 *  Request and replies share one stream: the bytes of the request stand where they were written, replies behind them, so a
 *  client that reads at its file position gets exactly the replies. Reading where nothing is yet returns 0 bytes. */

import { writeU64 } from '../../base/bytes.ts'
import { EINVAL, EIO, type Errno, isErrno } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'

export const OP_RMR = 1002
export const OP_LEGACY_INFO = 1003
export const OP_FILL_CACHE = 1004
export const OP_INFO = 1005
export const OP_CLONE = 1006
export const OP_SUMMARY = 1007
export const OP_COMPACT = 1008

const PROGRESS = 0xfe
const DATA = 0xff
const PROGRESS_MS = 300
const HEADER_BYTES = 8
/** a stream longer than this forgets its beginning once the reader is this far in */
const FORGET_BYTES = 1 << 20
/** 10,240 paths, which JuiceFS sends at once, of 800 bytes; anybody may send a request */
const MAX_BODY_BYTES = 8 << 20

export interface Progress {
  a: number
  b: number
}
/** What a request runs: it counts up `progress`, and looks at `isCancelled` (the file was closed). */
export type ControlAnswer = { readonly json: string } | { readonly legacyText: string } | Errno | undefined
export type ControlHandler = (
  opcode: number,
  body: Buffer,
  progress: Progress,
  isCancelled: () => boolean,
) => Promise<ControlAnswer>

/** One open `.control` file. */
export class ControlStream {
  readonly #handler: ControlHandler
  /** bytes of the stream from `#start` on */
  #bytes: Buffer = Buffer.alloc(0)
  #start = 0
  #request: Buffer = Buffer.alloc(0)
  #closed = false

  constructor(handler: ControlHandler) {
    this.#handler = handler
  }

  write(data: Buffer): void {
    this.#append(data)
    this.#request = Buffer.concat([this.#request, data])
    if (this.#request.length < HEADER_BYTES) return
    const length = this.#request.readUInt32BE(4)
    if (this.#request.length < HEADER_BYTES + length && length <= MAX_BODY_BYTES) return
    const opcode = this.#request.readUInt32BE(0)
    const body = this.#request.subarray(HEADER_BYTES)
    this.#request = Buffer.alloc(0)
    if (body.length !== length) this.#append(Buffer.from([EIO]))
    else void this.#run(opcode, body)
  }

  /** EIO for a place that was forgotten; empty where nothing is yet. */
  read(offset: number, size: number): Buffer | Errno {
    if (offset < this.#start) return EIO
    const from = offset - this.#start
    const piece = this.#bytes.subarray(from, from + size)
    if (this.#bytes.length > 2 * FORGET_BYTES && from > FORGET_BYTES) {
      this.#bytes = Buffer.from(this.#bytes.subarray(FORGET_BYTES))
      this.#start += FORGET_BYTES
    }
    return piece
  }

  /** The client has gone (FLUSH): what runs is told to stop. */
  close(): void {
    this.#closed = true
  }

  /** Bytes not yet read from `offset` on, for a hand-over to another process. */
  unread(offset: number): Buffer {
    return this.#bytes.subarray(Math.max(0, offset - this.#start))
  }

  async #run(opcode: number, body: Buffer): Promise<void> {
    const progress: Progress = { a: 0, b: 0 }
    const timer = setInterval(() => this.#append(encodeProgress(progress)), PROGRESS_MS)
    let answer: ControlAnswer
    try {
      answer = await this.#handler(opcode, body, progress, () => this.#closed)
    } catch (error) {
      answer = error instanceof Fault ? error.errno : error instanceof RangeError ? EINVAL : EIO
    }
    clearInterval(timer)
    if (progress.a > 0 || progress.b > 0) this.#append(encodeProgress(progress))
    this.#append(encodeAnswer(answer))
  }

  #append(data: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, data])
  }
}

function encodeProgress(progress: Progress): Buffer {
  const bytes = Buffer.alloc(17)
  bytes[0] = PROGRESS
  writeU64(bytes, progress.a, 1)
  writeU64(bytes, progress.b, 9)
  return bytes
}

function encodeAnswer(answer: ControlAnswer): Buffer {
  if (answer === undefined) return Buffer.from([0])
  if (isErrno(answer)) return Buffer.from([answer])
  const legacy = 'legacyText' in answer
  const text = Buffer.from(legacy ? answer.legacyText : answer.json)
  const head = Buffer.alloc(legacy ? 4 : 5)
  if (!legacy) head[0] = DATA
  head.writeUInt32BE(text.length, legacy ? 0 : 1)
  return Buffer.concat([head, text])
}
