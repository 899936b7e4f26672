/** Checksums of whole objects, for stores that keep metadata beside them (spec data-objects section 2.3): CRC-32C of the bytes
 *  that are sent, after compression and encryption, as a decimal number under the name `Crc32c`. A driver sets it on every put and
 *  checks it on every get of a whole object; an object without one, written by an older client or another tool, passes. */

import { crc32c } from '@node-rs/crc32'
import { Fault } from '../base/fault.ts'

/** The name of the metadata; as a header of S3 `x-amz-meta-crc32c`. */
export const CHECKSUM_NAME = 'Crc32c'

export const checksumOf = (body: Uint8Array): string => String(crc32c(body))

/** Fault where the bytes are not those that were put. `stored` as the store gives it; undefined or empty: it has none. */
export function verifyChecksum(key: string, body: Uint8Array, stored: string | undefined): void {
  if (!stored) return
  const found = checksumOf(body)
  if (found !== stored) throw new Fault(`object ${key}: its checksum is ${found}, but ${stored} was put`)
}
