/** How requests arrive and replies leave. Two ways: the addon on the event loop's poll (native-transport.ts), and plain
 *  `fs.read` on the thread pool where there is no addon (fs-transport.ts); tests have a third one, without a kernel. */

import fs from 'node:fs'
import { EIO } from '../base/errno.ts'
import { OUT_HEADER_BYTES } from './constants.ts'
import type { FuseRequest, ReplyTo, RequestMemory } from './wire.ts'

export interface FuseTransport {
  readonly kind: 'native' | 'thread-pool' | 'fake'
  /** absolute; null when somebody else mounted */
  readonly mountPoint: string | null
  /** Where a reply is encoded: payload from byte 16 on. Used and sent within one stretch, never across an await. */
  readonly out: ReplyArea
  /** requests whose memory is held: 0 when nothing is going on */
  readonly heldCount: number
  /** Delivers batches until the device is gone; then `onClose` with the errno of the read (ENODEV: unmounted). */
  start(onBatch: (requests: readonly FuseRequest[], count: number) => void, onClose: (errno: number) => void): void
  /** Each reply returns 0 or the errno of the write: ENOENT when the request is no longer waited for. */
  replyOut(to: ReplyTo, payloadBytes: number): number
  replyError(to: ReplyTo, errno: number): number
  /** `dataBytes`: the sum of the buffers' lengths */
  replyData(to: ReplyTo, payloadBytes: number, buffers: readonly Buffer[], dataBytes: number): number
  /** Keeps the bytes of a request as they are until `release`. */
  hold(request: FuseRequest): RequestMemory
  release(memory: RequestMemory): void
  /** Writes a notification from another thread, never from this one: the kernel may take locks that a request of ours holds.
   *  Resolves with 0 or an errno. */
  notify(message: Buffer): Promise<number>
  /** Stops reading and closes the device. */
  close(): Promise<void>
}

/** A reply buffer with both ways to look at it. 64 KiB hold every reply but data and directory entries, which are buffers
 *  of their own. */
export class ReplyArea {
  readonly buf: Buffer
  readonly u32: Uint32Array

  constructor(bytes: number) {
    const memory = new ArrayBuffer(bytes)
    this.buf = Buffer.from(memory)
    this.u32 = new Uint32Array(memory)
  }

  /** Writes the 16-byte header; `errno` 0 or positive. */
  header(to: ReplyTo, totalBytes: number, errno: number): void {
    const u32 = this.u32
    u32[0] = totalBytes
    u32[1] = -errno
    u32[2] = to.uniqueLow
    u32[3] = to.uniqueHigh
  }
}
export const REPLY_AREA_BYTES = 65536 + OUT_HEADER_BYTES

/** Writes without waiting in this thread; resolves with 0, or the errno. */
export function writeFromThreadPool(fd: number, message: Buffer): Promise<number> {
  return new Promise(resolve => {
    fs.write(fd, message, 0, message.length, null, error => resolve(error ? Math.abs(error.errno ?? EIO) : 0))
  })
}
