/** `mysql://user:password@(host:port)/database?options`, the address of the Go driver that the reference uses (spec meta-sql
 *  section 1, cli section 4). A unix socket is `mysql://user@unix(/its/path)/database`. Without parentheses it is understood too. */

import { EINVAL } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import { type Environment, passwordOf } from '../sql/password.ts'
import { tablePrefix } from '../sql/schema.ts'

export interface MysqlUrl {
  readonly host: string
  readonly port: number
  /** of a unix socket, instead of host and port */
  readonly socketPath: string | undefined
  readonly user: string
  readonly password: string | undefined
  readonly database: string
  /** the ways to connect, in the order in which they are tried: false = in the clear. `isChecked`: an authority that this
   *  machine trusts must have certified the server for `host` */
  readonly encryption: readonly (false | { readonly isChecked: boolean })[]
  /** what every table's name begins with */
  readonly tablePrefix: string
  readonly maxConnections: number
  /** after so long a connection that nobody needs is closed */
  readonly maxIdleMs: number
  /** for messages: without the password */
  readonly address: string
}

/** Concurrency does not need as many: a commit is one round trip, and who waits for a connection waits for one. */
const MAX_CONNECTIONS = 8
const MAX_IDLE_SEC = 300
const DEFAULT_PORT = 3306

/** Options that only steer the reference's driver or its pool (`charset`, `collation`, `parseTime`, `max_idle_conns`, …) are
 *  accepted and have no effect; so are those that set variables of the server's session. Faults (EINVAL): another scheme, no
 *  database, no host and port, an unknown `tls`. */
export function parseMysqlUrl(text: string, env: Environment): MysqlUrl {
  // As the Go driver does: the last / before the options begins the database, the last @ before it ends the password.
  const parts = /^mysql:\/\/(?:(.*)@)?([^@]*)\/([^/?]*)(?:\?(.*))?$/s.exec(text)
  if (!parts) throw invalid('invalid uri: not mysql://user:password@(host:port)/database')
  const [, login, place = '', database = '', query = ''] = parts
  if (database === '') throw invalid('invalid uri: the name of the database is missing')
  const colon = login?.indexOf(':') ?? -1
  const given = colon < 0 ? undefined : passwordFrom(login!.slice(colon + 1))
  const secret = given || passwordOf(env)
  if (secret && !given && login === undefined) throw invalid('invalid uri: META_PASSWORD needs a user: mysql://user@…')
  const options = new URLSearchParams(query)
  const prefix = options.get('table_prefix') ?? ''
  if (!/^[\w-]*$/.test(prefix)) throw invalid(`table_prefix ${prefix}: only letters, digits, - and _ are possible`)
  return {
    ...placeOf(place),
    user: colon < 0 ? (login ?? '') : login!.slice(0, colon),
    password: secret || undefined,
    database: decoded(database),
    encryption: encryptionOf(options.get('tls')),
    tablePrefix: tablePrefix(prefix),
    maxConnections: positive(options.get('max_open_conns')) ?? MAX_CONNECTIONS,
    maxIdleMs: (positive(options.get('max_idle_time')) ?? MAX_IDLE_SEC) * 1000,
  }
}

type Place = Pick<MysqlUrl, 'host' | 'port' | 'socketPath' | 'address'>

function placeOf(text: string): Place {
  const [, net = '', inside] = /^(\w*)\((.*)\)$/.exec(text) ?? []
  if (net === 'unix') {
    if (!inside) throw invalid(`invalid uri: no path of a socket: ${text}`)
    return { host: '', port: 0, socketPath: inside, address: inside }
  }
  if (net !== '' && net !== 'tcp') throw invalid(`invalid uri: ${net}(…): must be tcp or unix`)
  const [whole, host = '', port = ''] = /^(\[[^\]]*\]|[^:()[\]]*)(?::(\d*))?$/.exec(inside ?? text) ?? []
  const number = Number(port || DEFAULT_PORT)
  if (whole === undefined || !(number > 0 && number < 65536))
    throw invalid(`invalid uri: no host and port: ${text.split(':')[0]}`)
  const name = host.replace(/^\[|\]$/g, '') || '127.0.0.1'
  const shown = name.includes(':') ? `[${name}]` : name
  return { host: name, port: number, socketPath: undefined, address: `${shown}:${number}` }
}

function encryptionOf(mode: string | null): MysqlUrl['encryption'] {
  switch (mode) {
    case null:
    case '':
    case 'false':
      return [false]
    case 'preferred':
      return [{ isChecked: false }, false]
    case 'skip-verify':
      return [{ isChecked: false }]
    case 'true':
      return [{ isChecked: true }]
    default:
      throw invalid(`tls ${mode}: must be true, skip-verify, preferred or false`)
  }
}

/** As it stands, unless it could be part of a URL: then percent forms are decoded. So a password from a form that escapes and one
 *  that was typed both work, as in the reference. */
const passwordFrom = (text: string): string =>
  /^(?:[\w\-.~!$&'()*+,;=:@]|%[0-9a-f]{2})*$/i.test(text) ? decoded(text) : text

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const positive = (text: string | null): number | undefined => {
  const number = Number(text ?? 0)
  return number > 0 ? number : undefined
}

const invalid = (what: string): Fault => new Fault(what, { errno: EINVAL })
