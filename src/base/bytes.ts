/** Names and other byte strings. A file name is bytes: inside, it is a latin1 string, one character a byte, lossless,
 *  comparable, a map key. UTF-8 is for screens and logs. */

/** bytes of a file name or link target as a latin1 string */
export type Name = string

export const nameToBytes = (name: Name): Buffer => Buffer.from(name, 'latin1')
export const nameFromBytes = (bytes: Uint8Array): Name =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
/** From text a person typed (UTF-8 in argv) to a name. */
export const nameFromText = (text: string): Name => Buffer.from(text, 'utf8').toString('latin1')
/** For screens and logs; bytes that are not UTF-8 become U+FFFD. */
export const nameToText = (name: Name): string => Buffer.from(name, 'latin1').toString('utf8')

export const TWO_32 = 4294967296

/** Reads an unsigned big-endian 64-bit number that is known to be below 2^53. */
export const readU64 = (bytes: Buffer, offset: number): number =>
  bytes.readUInt32BE(offset) * TWO_32 + bytes.readUInt32BE(offset + 4)
export function writeU64(bytes: Buffer, value: number, offset: number): void {
  bytes.writeUInt32BE(Math.floor(value / TWO_32), offset)
  bytes.writeUInt32BE(value % TWO_32, offset + 4)
}
