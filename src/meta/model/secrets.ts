/** Secrets inside the setting (spec meta-setting, "Secrets"): AES-128-GCM under a key made of the volume's UUID. Whoever can
 *  read the setting can decrypt them: this hides them from a glance, no more.
 *
 *      base64 of   nonce 12 | ciphertext | tag 16 */

import { createCipheriv, createDecipheriv, createHash } from 'node:crypto'
import { EINVAL, ENOTSUP } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import type { Format } from './format.ts'

const NONCE_BYTES = 12
const TAG_BYTES = 16
const SECRETS = ['SecretKey', 'SessionToken', 'EncryptKey'] as const

/** stands where a dump has left a secret out */
const REMOVED = 'removed'

/** Encrypts what is set; a setting without secrets, or encrypted already, comes back as it is. `nonce`: 12 random bytes each time. */
export function encryptSecrets(format: Format, nonce: () => Buffer): Format {
  if (format.KeyEncrypted || SECRETS.every(key => !format[key])) return format
  refuseSm4(format)
  const sealed = (text: string): string => (text === REMOVED ? text : seal(keyOf(format), nonce(), text))
  return { ...changeSecrets(format, sealed), KeyEncrypted: true }
}

/** Plain secrets. A Fault says which one cannot be read. `keepRemoved`: for whoever may be about to set it again. */
export function decryptSecrets(format: Format, options: { readonly keepRemoved?: boolean } = {}): Format {
  if (options.keepRemoved !== true && SECRETS.some(key => format[key] === REMOVED))
    throw new Fault('secret was removed; please correct it with `config` command', { errno: EINVAL })
  if (!format.KeyEncrypted) return format
  refuseSm4(format)
  const plain = (text: string, name: string): string => (text === REMOVED ? text : open(keyOf(format), text, name))
  return { ...changeSecrets(format, plain), KeyEncrypted: false }
}

function changeSecrets(format: Format, change: (text: string, name: string) => string): Format {
  const changed: Record<string, unknown> = { ...format }
  for (const name of SECRETS) if (format[name]) changed[name] = change(format[name], name)
  return changed as unknown as Format
}

const keyOf = (format: Format): Buffer => createHash('md5').update(format.UUID).digest()

function seal(key: Buffer, nonce: Buffer, text: string): string {
  const cipher = createCipheriv('aes-128-gcm', key, nonce)
  return Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]).toString('base64')
}

function open(key: Buffer, text: string, name: string): string {
  try {
    const bytes = Buffer.from(text, 'base64')
    const cipher = createDecipheriv('aes-128-gcm', key, bytes.subarray(0, NONCE_BYTES))
    cipher.setAuthTag(bytes.subarray(bytes.length - TAG_BYTES))
    const plain = cipher.update(bytes.subarray(NONCE_BYTES, bytes.length - TAG_BYTES))
    return Buffer.concat([plain, cipher.final()]).toString('utf8')
  } catch (error) {
    throw new Fault(`${name} of the setting cannot be decrypted`, { errno: EINVAL, cause: error })
  }
}

function refuseSm4(format: Format): void {
  if (format.EncryptAlgo === 'sm4gcm')
    throw new Fault('encryption of secrets by sm4gcm is not supported yet', { errno: ENOTSUP })
}
