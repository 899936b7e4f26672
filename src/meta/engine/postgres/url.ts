/** `postgres://user:password@host:port/database?options`, with libpq's options (spec meta-sql section 1, cli section 4). A unix
 *  socket is `postgres://user@/database?host=/its/directory`. */

import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import type { ConnectionOptions } from 'node:tls'
import { EINVAL } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import { type Environment, passwordOf } from '../sql/password.ts'
import { tablePrefix } from '../sql/schema.ts'

export interface PostgresUrl {
  /** a name, an address, or the directory of a unix socket */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string | undefined
  readonly database: string
  /** the ways to connect, in the order in which they are tried: false = in the clear */
  readonly encryption: readonly (false | ConnectionOptions)[]
  /** the schema of the tables; undefined = where the server's search_path finds them */
  readonly schema: string | undefined
  /** what every table's name begins with */
  readonly tablePrefix: string
  /** false: no named statements, for poolers that hand each transaction another connection */
  readonly prepared: boolean
  readonly maxConnections: number
  /** after so long a connection that nobody needs is closed */
  readonly maxIdleMs: number
  readonly applicationName: string
  /** for messages: without the password */
  readonly address: string
}

/** Concurrency does not need as many: a flight is one round trip, and who waits for a connection waits for one flight. */
const MAX_CONNECTIONS = 8
const MAX_IDLE_SEC = 300
/** so that jfs_…_user_group_quota has 63 */
const LONGEST_PREFIX = 42

/** Options of the reference's connection pool that have no meaning here are accepted; so are those of libpq that only steer
 *  the connection (`connect_timeout`, `keepalives`, …). Faults (EINVAL): another scheme, no database, no or two schemas in
 *  `search_path`, an unknown sslmode, a certificate that cannot be read. */
export function parsePostgresUrl(text: string, env: Environment): PostgresUrl {
  // As in Go: the last @ before the path ends the password.
  const parts = /^postgres(?:ql)?:\/\/(?:([^/?]*)@)?([^@/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(text)
  if (!parts) throw invalid(`invalid uri: not postgres://user:password@host:port/database`)
  const [, login, place = '', path = '', query = ''] = parts
  const options = new URLSearchParams(query)
  const colon = login?.indexOf(':') ?? -1
  const user = decoded(colon < 0 ? (login ?? '') : login!.slice(0, colon)) || options.get('user') || ''
  const given = colon < 0 ? options.get('password') : decoded(login!.slice(colon + 1))
  const secret = given || passwordOf(env)
  if (secret && !given && login === undefined)
    throw invalid('invalid uri: META_PASSWORD needs a user: postgres://user@…')
  const database = decoded(path) || options.get('dbname') || ''
  if (database === '') throw invalid('invalid uri: the name of the database is missing')
  const { host, port } = placeOf(place, options)
  const isLocal = host.startsWith('/')
  const prefix = options.get('table_prefix') ?? ''
  if (!/^[\w-]*$/.test(prefix)) throw invalid(`table_prefix ${prefix}: only letters, digits, - and _ are possible`)
  if (prefix.length > LONGEST_PREFIX) {
    throw invalid(
      `table_prefix ${prefix}: ${LONGEST_PREFIX} characters at most, for PostgreSQL cuts longer names of tables`,
    )
  }
  return {
    host,
    port,
    user: user || userInfo().username,
    password: secret || undefined,
    database,
    encryption: isLocal ? [false] : encryptionOf(options),
    schema: schemaOf(options.get('search_path')),
    tablePrefix: tablePrefix(prefix),
    prepared: !['off', 'false', '0', 'no'].includes(options.get('prepared') ?? ''),
    maxConnections: positive(options.get('max_open_conns')) ?? MAX_CONNECTIONS,
    maxIdleMs: (positive(options.get('max_idle_time')) ?? MAX_IDLE_SEC) * 1000,
    applicationName: options.get('application_name') ?? 'juicefs-ts',
    address: isLocal ? `${host}/.s.PGSQL.${port}` : `${host.includes(':') ? `[${host}]` : host}:${port}`,
  }
}

function placeOf(place: string, options: URLSearchParams): { host: string; port: number } {
  const [, host = '', port = ''] = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(place) ?? []
  if (place !== '' && host === '' && port === '') throw invalid(`invalid uri: no host and port: ${place.split(':')[0]}`)
  const number = Number(port || options.get('port') || 5432)
  if (!(number > 0 && number < 65536)) throw invalid(`invalid uri: port ${port}`)
  return { host: decoded(host.replace(/^\[|\]$/g, '')) || options.get('host') || 'localhost', port: number }
}

/** libpq's table of sslmode: what is tried, and what of the server's certificate is checked. */
function encryptionOf(options: URLSearchParams): readonly (false | ConnectionOptions)[] {
  const mode = options.get('sslmode') ?? 'prefer'
  const file = (name: string): Buffer | undefined => {
    const path = options.get(name)
    if (path === null || path === '' || path === 'system') return undefined
    try {
      return readFileSync(path)
    } catch (error) {
      throw new Fault(`read ${name} ${path}`, { errno: EINVAL, cause: error })
    }
  }
  if (mode === 'disable') return [false]
  const [ca, cert, key] = [file('sslrootcert'), file('sslcert'), file('sslkey')]
  const files = { ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) }
  const unchecked = { ...files, rejectUnauthorized: false }
  const chain = { ...files, rejectUnauthorized: true, checkServerIdentity: () => undefined }
  switch (mode) {
    case 'allow':
      return [false, unchecked]
    case 'prefer':
      return [unchecked, false]
    case 'require':
      return [ca ? chain : unchecked] // with a root certificate libpq checks the chain here too
    case 'verify-ca':
      return [chain]
    case 'verify-full':
      return [{ ...files, rejectUnauthorized: true }]
    default:
      throw invalid(`sslmode ${mode}: must be disable, allow, prefer, require, verify-ca or verify-full`)
  }
}

function schemaOf(option: string | null): string | undefined {
  if (option === null || option === '') return undefined
  const schemas = option.split(',').map(name => name.trim().replace(/^"(.*)"$/, '$1'))
  if (schemas.length !== 1 || schemas[0] === '') throw invalid(`search_path ${option}: one schema only`)
  return schemas[0]
}

const positive = (text: string | null): number | undefined => {
  const number = Number(text ?? 0)
  return number > 0 ? number : undefined
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text // a password with a % that escapes nothing
  }
}

const invalid = (what: string): Fault => new Fault(what, { errno: EINVAL })
