/** META-URL: `<driver>://<address>`, without a scheme `redis` (spec cli section 4). */

import { resolve } from 'node:path'
import { CommandError } from './exit.ts'

export type MetaDriver = 'sqlite3' | 'redis' | 'postgres' | 'mysql'

/** Which engine a scheme belongs to. Engines that are added here are opened in volume.ts. */
const DRIVERS: Readonly<Record<string, MetaDriver>> = {
  sqlite3: 'sqlite3',
  redis: 'redis',
  rediss: 'redis',
  unix: 'redis',
  postgres: 'postgres',
  mysql: 'mysql',
}
/** Schemes of the format that have no engine here yet. */
const NOT_YET = new Set('badger tikv etcd fdb memkv'.split(' '))

export interface MetaUrl {
  readonly driver: MetaDriver
  /** complete; the path of a database file is made absolute */
  readonly url: string
  /** of the database file; null where the database is a server */
  readonly path: string | null
}

/** Only splits: what the rest of the address means is the engine's business. CommandError on a scheme that has no engine. */
export function parseMetaUrl(text: string): MetaUrl {
  const full = text.includes('://') ? text : `redis://${text}`
  const scheme = full.slice(0, full.indexOf('://'))
  if (NOT_YET.has(scheme)) throw new CommandError(`engine ${scheme} is not supported yet`)
  const driver = Object.hasOwn(DRIVERS, scheme) ? DRIVERS[scheme] : undefined
  if (driver === undefined) throw new CommandError(`Invalid meta driver: ${scheme}`)
  return driver === 'sqlite3' ? fileUrl(full) : { driver, url: full, path: null }
}

function fileUrl(full: string): MetaUrl {
  const rest = full.slice('sqlite3://'.length)
  const mark = rest.indexOf('?')
  const given = mark < 0 ? rest : rest.slice(0, mark)
  if (given === '') throw new CommandError(`${full}: the path of the database file is missing`)
  const path = resolve(given)
  return { driver: 'sqlite3', url: `sqlite3://${path}${mark < 0 ? '' : rest.slice(mark)}`, path }
}

/** For display: what lies between the first `:` after the scheme and the last `@` becomes `****`, and so does a password among the
 *  options, as libpq has it. */
export function maskPassword(text: string): string {
  if (!text.includes('://')) return text
  const url = text.replace(/([?&]password=)[^&]*/g, '$1****')
  const start = url.indexOf('://') + 3
  const at = url.lastIndexOf('@')
  const colon = url.indexOf(':', start)
  return colon < 0 || at < colon ? url : `${url.slice(0, colon)}:****${url.slice(at)}`
}
