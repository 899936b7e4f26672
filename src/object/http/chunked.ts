/** Bodies of unknown length, sent in pieces with a length each (RFC 9112 section 7.1):
 *
 *      1a; extension CRLF   26 bytes CRLF   …   0 CRLF   trailer lines   CRLF */

import { Fault } from '../../base/fault.ts'

/** of a line of lengths or of the trailer */
const MAX_LINE = 16 << 10

export class ChunkedBody {
  readonly #parts: Buffer[] = []
  #length = 0
  #line = ''
  /** bytes of the piece that are still to come, the end of line behind it included */
  #left = 0
  #state: 'size' | 'data' | 'trailer' | 'done' = 'size'

  /** Takes what came, which may be used again afterwards. True: the body is whole. Throws a Fault on what does not follow the form,
   *  and on bytes after the end. */
  take(bytes: Buffer): boolean {
    for (let at = 0; at < bytes.length; ) {
      if (this.#state === 'done') throw new Fault('the answer goes on after its end')
      at = this.#state === 'data' ? this.#takeData(bytes, at) : this.#takeLine(bytes, at)
    }
    return this.#state === 'done'
  }

  get length(): number {
    return this.#length
  }

  body(): Buffer {
    return Buffer.concat(this.#parts, this.#length)
  }

  #takeData(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#left)
    // the last two are the end of line
    const dataEnd = Math.min(end, at + Math.max(0, this.#left - 2))
    if (dataEnd > at) {
      this.#parts.push(Buffer.from(bytes.subarray(at, dataEnd)))
      this.#length += dataEnd - at
    }
    this.#left -= end - at
    if (this.#left === 0) this.#state = 'size'
    return end
  }

  #takeLine(bytes: Buffer, at: number): number {
    const newline = bytes.indexOf(10, at)
    const end = newline < 0 ? bytes.length : newline + 1
    this.#line += bytes.toString('latin1', at, end)
    if (this.#line.length > MAX_LINE) throw new Fault('the answer has a line without end')
    if (newline >= 0) {
      const line = this.#line.replace(/\r?\n$/, '')
      this.#line = ''
      if (this.#state === 'size') this.#startPiece(line)
      else if (line === '') this.#state = 'done'
    }
    return end
  }

  #startPiece(line: string): void {
    const [, size] = /^([0-9a-f]{1,8})[ \t]*(?:;.*)?$/i.exec(line) ?? []
    if (size === undefined) throw new Fault(`the answer has a piece of length ${JSON.stringify(line.slice(0, 20))}`)
    const length = Number.parseInt(size, 16)
    if (length === 0) this.#state = 'trailer'
    else {
      this.#state = 'data'
      this.#left = length + 2
    }
  }
}
