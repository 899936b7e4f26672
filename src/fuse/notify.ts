/** What the kernel is told to forget. Messages leave one at a time, from another thread: the kernel may hold a lock for a
 *  request that we have not answered yet (a CREATE holds its directory), and a write from the event loop would then never
 *  return, nor could the process be killed.
 *
 *  A queue beyond its bound drops the message: the kernel's own time-outs still apply. Entries and attributes are told for
 *  freshness, never for correctness of data that this mount wrote itself. */

import { type Name, nameToBytes } from '../base/bytes.ts'
import { ENOENT } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import type { Log } from '../base/log.ts'
import type { Invalidator } from '../vfs/file-system.ts'
import { NOTIFY_INVAL_ENTRY, NOTIFY_INVAL_INODE, OUT_HEADER_BYTES } from './constants.ts'
import { putIno, putWide } from './encode.ts'
import type { FuseTransport } from './transport.ts'

const QUEUE_LENGTH = 10_000

interface Message {
  readonly bytes: Buffer
  readonly sent: (() => void) | null
}

export class KernelNotifier implements Invalidator {
  /** Attributes alone need no lock in the kernel, and open(2) waits for them: they must not queue behind a name whose
   *  directory is locked, perhaps by the very CREATE that would wait. */
  readonly #attributes: Lane
  readonly #locking: Lane

  constructor(transport: FuseTransport, log: Log) {
    this.#attributes = new Lane(transport, log)
    this.#locking = new Lane(transport, log)
  }

  inode(ino: Ino, offset: number, length: number): Promise<void> {
    const lane = offset < 0 ? this.#attributes : this.#locking
    return new Promise(sent => lane.add({ bytes: invalInode(ino, offset, length), sent }))
  }

  entry(parent: Ino, name: Name): void {
    this.#locking.add({ bytes: invalEntry(parent, name), sent: null })
  }

  /** Nothing is sent from now on; who waits is let go. */
  close(): void {
    this.#attributes.close()
    this.#locking.close()
  }
}

/** A queue whose messages leave one after the other. */
class Lane {
  readonly #transport: FuseTransport
  readonly #log: Log
  #queue: Message[] = []
  #isSending = false
  #isClosed = false
  #hasDropped = false

  constructor(transport: FuseTransport, log: Log) {
    this.#transport = transport
    this.#log = log
  }

  add(message: Message): void {
    if (this.#isClosed || this.#queue.length >= QUEUE_LENGTH) {
      if (!this.#isClosed && !this.#hasDropped)
        this.#log.warn(`more than ${QUEUE_LENGTH} invalidations wait for the kernel: dropping some`)
      this.#hasDropped = true
      message.sent?.()
      return
    }
    this.#queue.push(message)
    if (!this.#isSending) void this.#send()
  }

  close(): void {
    this.#isClosed = true
  }

  async #send(): Promise<void> {
    this.#isSending = true
    while (this.#queue.length > 0) {
      // All that wait now: shifting them off a long array one by one would be quadratic.
      const messages = this.#queue
      this.#queue = []
      for (const message of messages) {
        const errno = this.#isClosed ? 0 : await this.#transport.notify(message.bytes)
        // ENOENT: the kernel does not know the inode or the name, so there is nothing to forget.
        if (errno !== 0 && errno !== ENOENT && !this.#isClosed)
          this.#log.debug(`the kernel refused an invalidation: errno ${errno}`)
        message.sent?.()
      }
    }
    this.#isSending = false
  }
}

/** fuse_notify_inval_inode_out: 4 ino   6 off   8 len (64 each, signed) */
function invalInode(ino: Ino, offset: number, length: number): Buffer {
  const { bytes, u32 } = message(NOTIFY_INVAL_INODE, 24)
  putIno(u32, 4, ino)
  putWide(u32, 6, offset)
  putWide(u32, 8, length)
  return bytes
}

/** fuse_notify_inval_entry_out: 4 parent (64)   6 namelen   7 flags   8 name and a zero byte */
function invalEntry(parent: Ino, name: Name): Buffer {
  const text = nameToBytes(name)
  const { bytes, u32 } = message(NOTIFY_INVAL_ENTRY, 16 + text.length + 1)
  putIno(u32, 4, parent)
  u32[6] = text.length
  text.copy(bytes, OUT_HEADER_BYTES + 16)
  return bytes
}

function message(code: number, payloadBytes: number): { bytes: Buffer; u32: Uint32Array } {
  const total = OUT_HEADER_BYTES + payloadBytes
  const memory = new ArrayBuffer((total + 7) & ~7)
  const u32 = new Uint32Array(memory)
  u32[0] = total
  u32[1] = code
  return { bytes: Buffer.from(memory, 0, total), u32 }
}
