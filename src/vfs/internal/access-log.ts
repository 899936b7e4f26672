/** `.accesslog` (spec vfs section 9): one line an operation, made only while somebody reads, or when it took ten seconds.
 *
 *  Each open of the file has a queue of its own; a reader that is too slow loses lines, the file system never waits. */

import { errnoText } from '../../base/errno.ts'
import type { Log } from '../../base/log.ts'
import type { Context } from '../file-system.ts'

const MAX_LINES = 10_240
const READ_WAIT_MS = 1000
const SLOW_MICROS = 10_000_000
const KEEP_ALIVE = Buffer.from('#\n')

interface Reader {
  readonly lines: string[]
  /** what did not fit the last read */
  rest: Buffer
  wake: (() => void) | null
}

export class AccessLog {
  readonly #readers = new Map<number, Reader>()
  readonly #log: Log

  constructor(log: Log) {
    this.#log = log
  }

  /** Is a line wanted for an operation that took this long? Ask before formatting one. */
  wants(micros: number): boolean {
    return this.#readers.size > 0 || micros >= SLOW_MICROS
  }

  open(fh: number): void {
    this.#readers.set(fh, { lines: [], rest: Buffer.alloc(0), wake: null })
  }

  close(fh: number): void {
    this.#readers.get(fh)?.wake?.()
    this.#readers.delete(fh)
  }

  /** `what` is `method (args): result` without the status. The time stamp is the end of the operation. */
  add(ctx: Context, what: string, errno: number, micros: number, endMs: number): void {
    const status = errno === 0 ? 'OK' : errnoText(errno)
    const line = `${stamp(endMs)} [uid:${ctx.uid},gid:${ctx.gid},pid:${ctx.pid}] ${what} - ${status} <${(micros / 1e6).toFixed(6)}>\n`
    if (micros >= SLOW_MICROS) this.#log.info(`slow operation: ${line.trimEnd()}`)
    for (const reader of this.#readers.values()) {
      if (reader.lines.length >= MAX_LINES) continue
      reader.lines.push(line)
      reader.wake?.()
    }
  }

  /** What is there within a second, else the keep-alive line; at most `size` bytes. */
  async read(fh: number, size: number): Promise<Buffer> {
    const reader = this.#readers.get(fh)
    if (!reader) return Buffer.alloc(0)
    if (reader.rest.length === 0 && reader.lines.length === 0) {
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, READ_WAIT_MS)
        reader.wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      reader.wake = null
    }
    if (reader.lines.length > 0)
      reader.rest = Buffer.concat([reader.rest, Buffer.from(reader.lines.splice(0).join(''))])
    if (reader.rest.length === 0) return KEEP_ALIVE.subarray(0, size)
    const piece = reader.rest.subarray(0, size)
    reader.rest = reader.rest.subarray(size)
    return piece
  }
}

/** `2026.11.21 07:09:12.122103`, local time */
function stamp(ms: number): string {
  const date = new Date(ms)
  const two = (n: number): string => String(n).padStart(2, '0')
  const micros = String(Math.floor((ms * 1000) % 1e6)).padStart(6, '0')
  return `${date.getFullYear()}.${two(date.getMonth() + 1)}.${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${micros}`
}
