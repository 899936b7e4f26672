/** META-URL: `<driver>://<address>`, without a scheme `redis` (spec cli section 4). */

import { resolve } from 'node:path'
import { CommandError } from './exit.ts'

/** Names of the format that have no engine here yet. */
const NOT_YET = new Set('redis rediss unix mysql postgres badger tikv etcd fdb memkv'.split(' '))

export interface MetaUrl {
  readonly driver: 'sqlite3'
  /** complete, its path made absolute */
  readonly url: string
  /** of the database file */
  readonly path: string
}

export function parseMetaUrl(text: string): MetaUrl {
  const full = text.includes('://') ? text : `redis://${text}`
  const driver = full.slice(0, full.indexOf('://'))
  if (NOT_YET.has(driver)) throw new CommandError(`engine ${driver} is not supported yet`)
  if (driver !== 'sqlite3') throw new CommandError(`Invalid meta driver: ${driver}`)
  const rest = full.slice('sqlite3://'.length)
  const mark = rest.indexOf('?')
  const given = mark < 0 ? rest : rest.slice(0, mark)
  if (given === '') throw new CommandError(`${full}: the path of the database file is missing`)
  const path = resolve(given)
  return { driver, url: `sqlite3://${path}${mark < 0 ? '' : rest.slice(mark)}`, path }
}

/** For display: what lies between the first `:` after the scheme and the last `@` becomes `****`. */
export function maskPassword(url: string): string {
  if (!url.includes('://')) return url
  const start = url.indexOf('://') < 0 ? 0 : url.indexOf('://') + 3
  const at = url.lastIndexOf('@')
  const colon = url.indexOf(':', start)
  return colon < 0 || at < colon ? url : `${url.slice(0, colon)}:****${url.slice(at)}`
}
