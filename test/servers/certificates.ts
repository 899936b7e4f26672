/** Certificates for tests of encryption, made by openssl in a directory: an authority, what it has signed, and what it has not. */

import { spawnSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { skipWithout } from './programs.ts'

/** Why tests with certificates are skipped; false where they are not. */
export const certificatesSkip: string | false = skipWithout('openssl')

export interface Pair {
  readonly certificate: string
  readonly key: string
}

export interface Certificates {
  /** of the authority that signed `server`, `elsewhere` and `client` */
  readonly authority: string
  /** of another one, which signed none of them */
  readonly stranger: string
  /** for 127.0.0.1 and localhost */
  readonly server: Pair
  /** for db.example.com */
  readonly elsewhere: Pair
  /** of the user `juicefs` */
  readonly client: Pair
}

/** Paths of PEM files in `dir`, readable for every user of the machine (servers run as others); keys of servers come as copies
 *  where a server demands an owner. */
export function makeCertificates(dir: string): Certificates {
  const openssl = (...args: readonly string[]): void => {
    const ran = spawnSync('openssl', args, { cwd: dir, encoding: 'utf8' })
    if (ran.status !== 0) throw new Error(`openssl ${args[0]}: ${ran.stderr}`)
  }
  const authority = (name: string): Pair => {
    const pair = { certificate: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) }
    const files = ['-keyout', pair.key, '-out', pair.certificate]
    openssl('req', '-new', '-x509', '-nodes', '-days', '2', '-subj', `/CN=${name}`, ...files, ...EC)
    return pair
  }
  const ours = authority('authority')
  const sign = (name: string, subject: string, extension: string): Pair => {
    const pair = { certificate: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) }
    const [request, extensions] = [join(dir, `${name}.csr`), join(dir, `${name}.ext`)]
    openssl('req', '-new', '-nodes', '-subj', `/CN=${subject}`, '-keyout', pair.key, '-out', request, ...EC)
    writeFileSync(extensions, extension)
    const by = ['-CA', ours.certificate, '-CAkey', ours.key, '-CAcreateserial', '-days', '2']
    openssl('x509', '-req', '-in', request, '-out', pair.certificate, '-extfile', extensions, ...by)
    chmodSync(pair.key, 0o644)
    return pair
  }
  return {
    authority: ours.certificate,
    stranger: authority('stranger').certificate,
    server: sign('server', 'a database', 'subjectAltName=IP:127.0.0.1,DNS:localhost\n'),
    elsewhere: sign('elsewhere', 'db.example.com', 'subjectAltName=DNS:db.example.com\n'),
    client: sign('client', 'juicefs', 'extendedKeyUsage=clientAuth\n'),
  }
}

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
