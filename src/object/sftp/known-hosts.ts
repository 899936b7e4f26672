/** Is a host key one that the user's `known_hosts` file vouches for (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT")? Plain and hashed
 *  names, patterns, `[host]:port`, `@revoked`; certificate authorities are passed over. */

import { createHmac } from 'node:crypto'

/** `name`: `host`, or `[host]:port` where the port is not 22. `key`: as it stands in the protocol. */
export function isKnownHost(file: string, name: string, key: Buffer): boolean {
  const encoded = key.toString('base64')
  let isKnown = false
  for (const line of file.split('\n')) {
    const fields = line.trim().split(/\s+/)
    const marker = fields[0]?.startsWith('@') ? fields.shift() : undefined
    const [names = '', , text] = fields
    if (names.startsWith('#') || text !== encoded || !namesHost(names, name)) continue
    if (marker === '@revoked') return false
    if (marker === undefined) isKnown = true
  }
  return isKnown
}

function namesHost(names: string, name: string): boolean {
  if (names.startsWith('|1|')) {
    const [, , salt = '', hash = ''] = names.split('|')
    return createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest('base64') === hash
  }
  let matches = false
  for (const pattern of names.split(',')) {
    const isNegated = pattern.startsWith('!')
    const literal = pattern.slice(isNegated ? 1 : 0).replace(/[.+^${}()|[\]\\]/g, '\\$&')
    if (!new RegExp(`^${literal.replaceAll('*', '.*').replaceAll('?', '.')}$`, 'i').test(name)) continue
    if (isNegated) return false
    matches = true
  }
  return matches
}
