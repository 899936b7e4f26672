/** `redis://`, `rediss://` and `unix://` addresses, as JuiceFS writes them (spec meta-redis section 1):
 *
 *      redis[s]://[user[:password]@]host[:6379][/db][?options]       one server
 *      unix://[user:password@]/path?db=N                             one server, by its socket
 *      redis[s]://[…@]master,sentinel1,…[:26379]/db                  a comma before the first colon: Sentinel
 *      redis[s]://[…@]host:port,host:port,…/db                       a colon before the first comma: Cluster
 *
 *  A single host that turns out to be part of a cluster is one (open.ts). */

import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { EINVAL } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'

export interface Address {
  readonly host: string
  readonly port: number
}
export type Place =
  | { readonly kind: 'server'; readonly host: string; readonly port: number }
  | { readonly kind: 'socket'; readonly path: string }
  | { readonly kind: 'sentinel'; readonly master: string; readonly sentinels: readonly Address[] }
  | { readonly kind: 'cluster'; readonly seeds: readonly Address[] }

export interface RedisUrl {
  readonly place: Place
  readonly db: number
  readonly username: string | undefined
  readonly password: string | undefined
  readonly sentinelPassword: string | undefined
  readonly tls: ConnectionOptions | undefined
  readonly minRetryMs: number
  readonly maxRetryMs: number
  readonly readTimeoutMs: number
  /** options that have no effect here */
  readonly ignored: readonly string[]
}

const PORT = 6379
const SENTINEL_PORT = 26379
/** Of all others (`client-cache`, `route-read`, `write-timeout`, what is spelled wrong) is told that they do nothing. */
const KNOWN = new Set([
  ...['db', 'min-retry-backoff', 'max-retry-backoff', 'read-timeout', 'insecure-skip-verify'],
  ...['tls-cert-file', 'tls-key-file', 'tls-ca-cert-file', 'tls-server-name'],
])

export type Environment = Readonly<Record<string, string | undefined>>

/** Faults (EINVAL) never hold the password. */
export function parseRedisUrl(url: string, env: Environment): RedisUrl {
  const scheme = url.slice(0, url.indexOf('://'))
  const [address, query] = splitOnce(url.slice(scheme.length + 3), '?')
  const at = address.lastIndexOf('@')
  const [user, password] = splitOnce(address.slice(0, Math.max(at, 0)), ':')
  const rest = address.slice(at + 1)
  const options = optionsOf(query)
  const isSocket = scheme === 'unix'
  const [hosts, path = ''] = isSocket ? [rest] : splitOnce(rest, '/')
  const db = isSocket ? (options.get('db') ?? '') : path
  if (!/^\d{0,9}$/.test(db)) throw invalid(`the database number is "${db}", not a number`)
  const duration = (name: string, otherwise: number): number =>
    options.has(name) ? milliseconds(name, options.get(name)!) : otherwise
  return {
    place: isSocket ? { kind: 'socket', path: rest } : placeOf(hosts),
    db: Number(db),
    username: user === '' ? undefined : decoded(user),
    password: password === undefined || password === '' ? passwordFrom(env) : decoded(password),
    sentinelPassword: env.SENTINEL_PASSWORD || undefined,
    tls: scheme === 'rediss' ? tlsOf(options) : undefined,
    minRetryMs: duration('min-retry-backoff', 20),
    maxRetryMs: duration('max-retry-backoff', 10_000),
    readTimeoutMs: duration('read-timeout', 30_000),
    ignored: [...options.keys()].filter(name => !KNOWN.has(name)),
  }
}

/** For messages and logs. */
export function placeText(place: Place): string {
  const list = (addresses: readonly Address[]): string => addresses.map(addressText).join(',')
  switch (place.kind) {
    case 'server':
      return addressText(place)
    case 'socket':
      return place.path
    case 'sentinel':
      return `${place.master} of sentinels ${list(place.sentinels)}`
    case 'cluster':
      return `cluster ${list(place.seeds)}`
  }
}
export const addressText = ({ host, port }: Address): string => `${host.includes(':') ? `[${host}]` : host}:${port}`

function placeOf(hosts: string): Place {
  if (!hosts.includes(',')) {
    const { host, port } = hostAndPort(hosts || 'localhost')
    return { kind: 'server', host, port: port ?? PORT }
  }
  const names = hosts.split(',').filter(name => name !== '')
  const colon = hosts.indexOf(':')
  if (colon >= 0 && colon < hosts.indexOf(',')) {
    return { kind: 'cluster', seeds: names.map(name => withPort(hostAndPort(name), PORT)) }
  }
  const [master = '', ...sentinels] = names
  if (sentinels.length === 0) throw invalid(`no sentinel is named behind the master ${master}`)
  const found = sentinels.map(hostAndPort)
  const port = found.at(-1)!.port ?? SENTINEL_PORT
  return { kind: 'sentinel', master, sentinels: found.map(each => withPort(each, port)) }
}

interface MaybePort {
  readonly host: string
  readonly port: number | undefined
}
const withPort = ({ host, port }: MaybePort, otherwise: number): Address => ({ host, port: port ?? otherwise })

function hostAndPort(text: string): MaybePort {
  const match = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text)
  const host = match?.[1] ?? match?.[2]
  // Behind the colon may stand a password whose @ was forgotten.
  if (!match || !host) throw invalid(`"${text.split(':')[0]}" is no host and port`)
  const port = match[3] === undefined ? undefined : Number(match[3])
  if (port !== undefined && (port === 0 || port > 65535)) throw invalid(`there is no port ${port}`)
  return { host, port }
}

/** Dashes and underscores are the same. */
function optionsOf(query: string | undefined): Map<string, string> {
  return new Map([...new URLSearchParams(query ?? '')].map(([name, value]) => [name.replaceAll('_', '-'), value]))
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** `20ms`, `1.5s`, `1m30s`. */
function milliseconds(name: string, text: string): number {
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) throw invalid(`${name}: "${text}" is no duration such as 500ms or 30s`)
  let sum = 0
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)) sum += Number(number) * UNITS[unit!]!
  return sum
}

function tlsOf(options: ReadonlyMap<string, string>): ConnectionOptions {
  const file = (name: string): Buffer | undefined => {
    const path = options.get(name)
    try {
      return path ? readFileSync(path) : undefined
    } catch (error) {
      throw new Fault(name, { errno: EINVAL, cause: error })
    }
  }
  const servername = options.get('tls-server-name')
  const skip = options.get('insecure-skip-verify')
  const [cert, key, ca] = [file('tls-cert-file'), file('tls-key-file'), file('tls-ca-cert-file')]
  return {
    ...(servername ? { servername } : {}),
    ...(cert ? { cert } : {}),
    ...(key ? { key } : {}),
    ...(ca ? { ca } : {}),
    rejectUnauthorized: skip === undefined || skip === 'false' || skip === '0',
  }
}

function passwordFrom(env: Environment): string | undefined {
  const given = env.REDIS_PASSWORD || env.META_PASSWORD
  if (given || !env.META_PASSWORD_FILE) return given || undefined
  try {
    return readFileSync(env.META_PASSWORD_FILE, 'utf8').split('\n')[0]!.trim() || undefined
  } catch (error) {
    throw new Fault('META_PASSWORD_FILE', { errno: EINVAL, cause: error })
  }
}

/** Percent-encoded where it decodes, else as it stands. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function splitOnce(text: string, separator: string): [first: string, rest: string | undefined] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
}

const invalid = (what: string): Fault => new Fault(`the address of Redis: ${what}`, { errno: EINVAL })
