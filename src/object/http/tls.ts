/** Which servers are trusted, and how the client proves who it is. Parameters of a bucket's URL, before any driver looks at it
 *  (spec data-objects section 4):
 *
 *      ?tls-insecure-skip-verify=true                         any server
 *      ?ca-certs=<pem>&ssl-cert=<pem>&ssl-key=<pem>           only servers of this authority; a certificate of ours */

import { readFileSync } from 'node:fs'
import tls from 'node:tls'
import { EINVAL, errnoOf } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import { isTrue } from '../bucket-url.ts'

const FILES = ['ca-certs', 'ssl-cert', 'ssl-key'] as const
const SKIP = 'tls-insecure-skip-verify'

export class SecureContextSetting {
  readonly #skipsVerify: boolean
  /** paths of authority, certificate, key */
  readonly #files: readonly string[] | null
  #options: tls.ConnectionOptions | undefined

  private constructor(skipsVerify: boolean, files: readonly string[] | null) {
    this.#skipsVerify = skipsVerify
    this.#files = files
  }

  /** Takes its parameters out of the query of `url`; reads no file yet. */
  static takeFrom(url: URL): SecureContextSetting {
    const query = url.searchParams
    const files = FILES.map(name => query.get(name))
    const given = files.filter(path => path !== null)
    if (given.length > 0 && given.length < FILES.length) {
      throw new Fault(`the bucket's URL needs all of ${FILES.join(', ')}, or none`, { errno: EINVAL })
    }
    const skips = isTrue(query.get(SKIP))
    for (const name of [SKIP, ...FILES]) query.delete(name)
    return new SecureContextSetting(skips, given.length > 0 ? given : null)
  }

  /** Made once and shared by all connections: reading the authorities takes some 70 ms. */
  connectOptions(): tls.ConnectionOptions {
    this.#options ??= { secureContext: this.#context(), rejectUnauthorized: !this.#skipsVerify }
    return this.#options
  }

  #context(): tls.SecureContext {
    if (this.#files) {
      const [ca, cert, key] = this.#files.map(readPem)
      return tls.createSecureContext({ ca: ca!, cert: cert!, key: key! })
    }
    // Node brings authorities of its own; the machine's are what other tools trust, a company's among them.
    const authorities = new Set([...tls.getCACertificates('default'), ...tls.getCACertificates('system')])
    return tls.createSecureContext({ ca: [...authorities] })
  }
}

function readPem(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new Fault(`read ${path}`, { errno: errnoOf(error), cause: error })
  }
}
