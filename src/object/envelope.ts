/** The envelope around every object of an encrypted volume (spec data-objects section 2.2): each object has a data key and a
 *  nonce of its own, the data key is wrapped by the volume's RSA key.
 *
 *      0   2   3            3+K      3+K+N                    end−16     end
 *      ├─K─┼─N─┼─wrapped key─┼─nonce──┼─────── ciphertext ──────┼── tag ───┤
 *      big-endian K = bytes of the modulus; N = 12; no associated data
 *
 *  Plain functions that keep the processor busy: 4 MiB take 1 to 2 ms, unwrapping a key of 2048 bits 0.3 ms and of 4096 bits
 *  1.5 ms. envelope-threads.ts calls them off the event loop. */

import {
  type CipherGCMTypes,
  type CipherKey,
  constants,
  createCipheriv,
  createDecipheriv,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto'
import { assert } from '../base/assert.ts'
import { EINVAL, ENOTSUP } from '../base/errno.ts'
import { causeText, Fault } from '../base/fault.ts'
import { free } from '../base/own-memory.ts'
import type { RsaKey } from './rsa-key.ts'

export type EnvelopeCipher = 'aes-256-gcm' | 'chacha20-poly1305'

/** What an envelope is sealed and opened with; can be sent to a thread. */
export interface EnvelopeKey extends RsaKey {
  readonly cipher: EnvelopeCipher
}

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const LENGTHS_BYTES = 3
const LABEL = Buffer.from('keys')
/** A piece is encrypted or decrypted, and copied back, while it is in the processor's cache (of 16 KiB to 4 MiB measured, the fastest). */
const PIECE_BYTES = 128 << 10

/** From `EncryptAlgo` of the setting. Fault (ENOTSUP, EINVAL) for others. */
export function cipherOf(algorithm: string | undefined): EnvelopeCipher {
  if (!algorithm || algorithm === 'aes256gcm-rsa') return 'aes-256-gcm'
  if (algorithm === 'chacha20-rsa') return 'chacha20-poly1305'
  if (algorithm === 'sm4gcm') throw new Fault('encryption by sm4gcm is not supported yet', { errno: ENOTSUP })
  throw new Fault(`unsupported encryption algorithm: "${algorithm}"`, { errno: EINVAL })
}

/** bytes before the ciphertext */
export const headBytes = (key: EnvelopeKey): number => LENGTHS_BYTES + key.bytes + NONCE_BYTES
export const envelopeBytes = (key: EnvelopeKey, plainBytes: number): number => headBytes(key) + plainBytes + TAG_BYTES

/** Seals in place: `envelope` has `envelopeBytes`, and the plain bytes stand where the ciphertext will be. */
export function seal(key: EnvelopeKey, envelope: Buffer): void {
  const start = headBytes(key)
  const end = envelope.length - TAG_BYTES
  assert(end >= start, 'an envelope has room for its head and its tag')
  const dataKey = randomBytes(KEY_BYTES)
  const nonce = randomBytes(NONCE_BYTES)
  const wrapped = publicEncrypt({ key: key.publicKey, ...OAEP }, dataKey)
  envelope.writeUInt16BE(wrapped.length, 0)
  envelope[2] = NONCE_BYTES
  envelope.set(wrapped, LENGTHS_BYTES)
  envelope.set(nonce, start - NONCE_BYTES)
  const cipher = createCipheriv(nameFor(key), dataKey, nonce, { authTagLength: TAG_BYTES })
  inPlace(cipher, envelope.subarray(start, end))
  cipher.final()
  envelope.set(cipher.getAuthTag(), end)
}

/** Opens in place: the plain bytes, a view of `envelope`. A Fault where the envelope is cut or damaged, or sealed with another key; then
 *  nobody may look at what is in it now. */
export function unseal(key: EnvelopeKey, envelope: Buffer): Buffer {
  const wrappedBytes = envelope.length < LENGTHS_BYTES ? 0 : envelope.readUInt16BE(0)
  const nonceBytes = envelope[2] ?? 0
  const start = LENGTHS_BYTES + wrappedBytes + nonceBytes
  const end = envelope.length - TAG_BYTES
  if (wrappedBytes === 0 || nonceBytes === 0 || end < start) {
    throw new Fault(`decrypt: ${envelope.length} bytes are no envelope, the object is damaged or was never encrypted`)
  }
  const nonce = envelope.subarray(LENGTHS_BYTES + wrappedBytes, start)
  try {
    const dataKey = unwrap(key.privateKey, envelope.subarray(LENGTHS_BYTES, LENGTHS_BYTES + wrappedBytes))
    const decipher = createDecipheriv(nameFor(key), dataKey, nonce, { authTagLength: TAG_BYTES })
    decipher.setAuthTag(envelope.subarray(end))
    const plain = envelope.subarray(start, end)
    inPlace(decipher, plain)
    // Nobody sees the bytes before the tag has been checked.
    decipher.final()
    return plain
  } catch (error) {
    throw new Fault(`decryption error: the object is damaged, or sealed with another key (${causeText(error)})`)
  }
}

/** A cipher gives each piece in memory of its own, of which V8 would let a hundred MiB wait: freed at once, malloc has it for the next
 *  one (0.8 ms for 4 MiB instead of 2). */
function inPlace(cipher: { update(bytes: Buffer): Buffer }, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
    const piece = cipher.update(bytes.subarray(at, at + PIECE_BYTES))
    bytes.set(piece, at)
    if (piece.buffer.byteLength === piece.length) free(piece.buffer)
  }
}

const OAEP = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256', oaepLabel: LABEL } as const

const unwrap = (key: KeyObject, wrapped: Buffer): CipherKey => privateDecrypt({ key, ...OAEP }, wrapped)

/** Both are AEADs and called alike; Node's types know only the names of the first family. */
const nameFor = (key: EnvelopeKey): CipherGCMTypes => key.cipher as CipherGCMTypes
