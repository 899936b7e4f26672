/** Opens the two halves of a volume: its metadata engine and its object store. Shared by all commands. */

import type { Clock } from '../base/clock.ts'
import { Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { MetaClient, type MetaConfig } from '../meta/client.ts'
import type { Engine } from '../meta/engine.ts'
import type { Format } from '../meta/model/format.ts'
import { openStore } from '../object/open.ts'
import type { ObjectStore } from '../object/store.ts'

/** Drivers of META-URLs that the volume format knows and that have no engine here yet. */
const NOT_YET = new Set(['redis', 'rediss', 'unix', 'mysql', 'postgres', 'tikv', 'etcd', 'badger', 'fdb', 'memkv'])

/** `sqlite3` of `sqlite3://…`; without `://` it is redis (spec cli section 4). */
export function driverOf(metaUrl: string): string {
  const at = metaUrl.indexOf('://')
  return at < 0 ? 'redis' : metaUrl.slice(0, at)
}

/** What a person may see of a META-URL: the password is masked. */
export function maskedUrl(metaUrl: string): string {
  const start = metaUrl.indexOf('://') + 3
  const at = metaUrl.lastIndexOf('@')
  const colon = metaUrl.indexOf(':', start)
  return colon < 0 || at < colon ? metaUrl : `${metaUrl.slice(0, colon)}:****${metaUrl.slice(at)}`
}

/** Opens the engine of a META-URL. Fault on an unknown driver, or on a database that cannot be opened. */
export async function openEngine(
  metaUrl: string,
  options: { log: Log; readOnly?: boolean; mustExist?: boolean },
): Promise<Engine> {
  const driver = driverOf(metaUrl)
  if (driver === 'sqlite3') {
    const { SqliteEngine } = await import('../meta/engine/sqlite/engine.ts')
    return SqliteEngine.open(metaUrl, {
      readOnly: options.readOnly ?? false,
      mustExist: options.mustExist ?? false,
      log: message => options.log.warn(message),
    })
  }
  if (NOT_YET.has(driver)) throw new Fault(`metadata engine ${driver} is not supported yet`)
  throw new Fault(`Invalid meta driver: ${driver}`)
}

/** For commands that work on a volume without mounting it. */
export const commandConfig = (version: string): MetaConfig => ({
  readOnly: false,
  noBackgroundJobs: true,
  heartbeatMs: 0,
  skipDirMtimeNs: 100e6,
  atimeMode: 'noatime',
  openCacheLimit: 10_000,
  mountPoint: '',
  version,
})

export async function openMeta(
  metaUrl: string,
  options: { config: MetaConfig; clock: Clock; log: Log; random: () => number; readOnly?: boolean },
): Promise<MetaClient> {
  const engine = await openEngine(metaUrl, { log: options.log, readOnly: options.readOnly ?? false, mustExist: true })
  try {
    return await MetaClient.open(engine, options)
  } catch (error) {
    await engine.close()
    throw error
  }
}

/** The object store that a setting names. */
export function openStorage(format: Format): ObjectStore {
  return openStore({ storage: format.Storage, bucket: format.Bucket, name: format.Name })
}
