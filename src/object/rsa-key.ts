/** The RSA key of an encrypted volume: its PEM stands in the setting, the passphrase of that PEM in the environment of whoever
 *  opens the volume (spec data-objects section 2.2). */

import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { EINVAL, ENOTSUP } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'

export const PASSPHRASE_VARIABLE = 'JFS_RSA_PASSPHRASE'

export interface RsaKey {
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  /** of the modulus, and so of everything that the key wraps */
  readonly bytes: number
}

/** OAEP with SHA-256 wraps 32 bytes in no less: 2 · 32 + 2 + 32. */
const SMALLEST_BYTES = 98

/** Reads a private key: PKCS#1 or PKCS#8, plain or encrypted. A passphrase given for a plain key is not looked at. Fault (EINVAL,
 *  ENOTSUP) that says what is wrong; neither the key nor the passphrase is in it. */
export function readRsaKey(pem: string, passphrase: string | undefined): RsaKey {
  const isEncrypted = /BEGIN ENCRYPTED PRIVATE KEY|^Proc-Type: *4, *ENCRYPTED/m.test(pem)
  if (isEncrypted && !passphrase) {
    throw refused(`passphrase is required to private key: please set the '${PASSPHRASE_VARIABLE}' environment variable`)
  }
  if (!/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) {
    const found = /-----BEGIN ([A-Z ]+)-----/.exec(pem)?.[1]
    throw refused(`the RSA key is no private key in PEM form${found ? ` but a ${found.toLowerCase()}` : ''}`)
  }
  const privateKey = decode(pem, isEncrypted ? passphrase : undefined)
  if (privateKey.asymmetricKeyType !== 'rsa') {
    const kind = privateKey.asymmetricKeyType ?? 'SM2 or another unknown one'
    throw refused(`private keys of type ${kind} are not supported, only RSA`, ENOTSUP)
  }
  const bytes = Math.ceil((privateKey.asymmetricKeyDetails?.modulusLength ?? 0) / 8)
  if (bytes < SMALLEST_BYTES) throw refused(`an RSA key of ${bytes * 8} bits is too short`)
  return { privateKey, publicKey: createPublicKey(privateKey), bytes }
}

function decode(pem: string, passphrase: string | undefined): KeyObject {
  try {
    return createPrivateKey(passphrase === undefined ? pem : { key: pem, passphrase })
  } catch (error) {
    // SM2 and other kinds of key that this OpenSSL was built without
    if (/unsupported|unknown|DECODER/i.test(String((error as Error).message)) && passphrase === undefined) {
      throw new Fault('the RSA key cannot be read: it is damaged, or of a kind that is not supported', {
        errno: EINVAL,
        cause: error,
      })
    }
    const cipher = /^DEK-Info: *([A-Z0-9-]+)/m.exec(pem)?.[1]
    if (cipher && (error as { code?: string }).code === 'ERR_OSSL_EVP_UNSUPPORTED') {
      throw new Fault(`the RSA key is locked by ${cipher}, which is not supported: lock it by another cipher`, {
        errno: ENOTSUP,
        cause: error,
      })
    }
    const why =
      passphrase === undefined ? 'it is damaged' : `the passphrase in ${PASSPHRASE_VARIABLE} is wrong, or it is damaged`
    throw new Fault(`the RSA key cannot be read: ${why}`, { errno: EINVAL, cause: error })
  }
}

const refused = (why: string, errno = EINVAL): Fault => new Fault(why, { errno })
