/** User and password over HTTP: Basic (RFC 7617), or Digest (RFC 7616) where the server asks for it. */

import { createHash, randomBytes } from 'node:crypto'
import { Fault } from '../../base/fault.ts'

export interface Login {
  readonly user: string
  readonly password: string
}

export const basicHeader = ({ user, password }: Login): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`

export interface Challenge {
  readonly realm: string
  readonly nonce: string
  readonly opaque: string | undefined
  readonly algorithm: 'MD5' | 'SHA-256'
  readonly hasQop: boolean
}

/** The Digest challenge of an answer with status 401; null where it asks for something else. A Fault where only algorithms are
 *  offered that we do not have. */
export function digestChallenge(header: string | undefined): Challenge | null {
  const offer = /\bdigest\s+(.*)/i.exec(header ?? '')?.[1]
  if (offer === undefined) return null
  const field = (name: string): string | undefined => {
    const [, quoted, plain] =
      new RegExp(`\\b${name}\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s,]+))`, 'i').exec(offer) ?? []
    return quoted?.replace(/\\(.)/g, '$1') ?? plain
  }
  const algorithm = (field('algorithm') ?? 'MD5').toUpperCase()
  if (algorithm !== 'MD5' && algorithm !== 'SHA-256') throw new Fault(`the server asks for Digest by ${algorithm}`)
  const qop = field('qop')
  if (qop !== undefined && !/\bauth\b(?!-)/.test(qop)) throw new Fault(`the server asks for Digest with ${qop}`)
  return {
    realm: field('realm') ?? '',
    nonce: field('nonce') ?? '',
    opaque: field('opaque'),
    algorithm,
    hasQop: qop !== undefined,
  }
}

/** `count`: requests under this nonce so far, this one included. */
export function digestHeader(challenge: Challenge, login: Login, method: string, path: string, count: number): string {
  const { realm, nonce, opaque, algorithm, hasQop } = challenge
  const hash = (text: string): string =>
    createHash(algorithm === 'MD5' ? 'md5' : 'sha256')
      .update(text)
      .digest('hex')
  const quoted = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`
  const secret = hash(`${login.user}:${realm}:${login.password}`)
  const nc = count.toString(16).padStart(8, '0')
  const cnonce = randomBytes(8).toString('hex')
  const middle = hasQop ? `${nonce}:${nc}:${cnonce}:auth` : nonce
  const fields = [
    `username=${quoted(login.user)}`,
    `realm=${quoted(realm)}`,
    `nonce=${quoted(nonce)}`,
    `uri=${quoted(path)}`,
    `algorithm=${algorithm}`,
    `response="${hash(`${secret}:${middle}:${hash(`${method}:${path}`)}`)}"`,
    ...(opaque === undefined ? [] : [`opaque=${quoted(opaque)}`]),
    ...(hasQop ? ['qop=auth', `nc=${nc}`, `cnonce="${cnonce}"`] : []),
  ]
  return `Digest ${fields.join(', ')}`
}
