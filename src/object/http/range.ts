/** Parts of an object over HTTP (RFC 9110 section 14). */

import { Fault } from '../../base/fault.ts'
import type { ByteRange } from '../store.ts'
import type { HttpAnswer } from './message.ts'

/** What was asked for, out of an answer that holds it; at least one byte was asked for. A Fault where it holds something else. */
export function cutRange(doing: string, { status, headers, body }: HttpAnswer, { offset, length }: ByteRange): Buffer {
  // A server may ignore a range.
  if (status !== 206) return body.subarray(offset, offset + length)
  const [, from, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers['content-range'] ?? '') ?? []
  if (Number(from) !== offset || body.length !== Math.min(Math.max(length, 1), Number(total) - offset)) {
    throw new Fault(
      `${doing}: asked for ${length} bytes at ${offset}, got ${body.length} of ${headers['content-range']}`,
    )
  }
  return body.subarray(0, length)
}
