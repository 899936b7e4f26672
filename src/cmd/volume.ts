/** Opens the two halves of a volume: its metadata engine and its object store. Shared by all commands. */

import { existsSync } from 'node:fs'
import type { Clock } from '../base/clock.ts'
import { Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { MetaClient, type MetaConfig } from '../meta/client.ts'
import type { Engine } from '../meta/engine.ts'
import { checkCompatible, type Format, tierZero, unsupportedFeatures } from '../meta/model/format.ts'
import { decryptSecrets } from '../meta/model/secrets.ts'
import { openStore } from '../object/open.ts'
import { PASSPHRASE_VARIABLE } from '../object/rsa-key.ts'
import type { ObjectStore } from '../object/store.ts'
import { CommandError } from './exit.ts'
import { maskPassword, parseMetaUrl } from './meta-url.ts'
import { OUR_VERSION, SHOWN_VERSION } from './version.ts'

export const NOT_FORMATTED = 'database is not formatted, please run `juicefs-ts format ...` first'

/** Opens the engine of a META-URL and says so in the log. A Fault or CommandError on an unknown driver, or on a database that
 *  cannot be opened. */
export async function openEngine(
  metaUrl: string,
  options: { readonly log: Log; readonly readOnly?: boolean; readonly mustExist?: boolean },
): Promise<Engine> {
  const { driver, url, path } = parseMetaUrl(metaUrl)
  const { log, readOnly = false, mustExist = false } = options
  log.info(`Meta address: ${maskPassword(url)}`)
  if (mustExist && path !== null && !existsSync(path))
    throw new CommandError(`${NOT_FORMATTED} (there is no file ${path})`)
  switch (driver) {
    case 'sqlite3': {
      const { SqliteEngine } = await import('../meta/engine/sqlite/engine.ts')
      return SqliteEngine.open(url, { readOnly, mustExist, log: message => log.warn(message) })
    }
    case 'redis': {
      const { RedisEngine } = await import('../meta/engine/redis/engine.ts')
      return RedisEngine.open(url, { readOnly, log })
    }
    case 'postgres': {
      const { PostgresEngine } = await import('../meta/engine/postgres/engine.ts')
      return PostgresEngine.open(url, { readOnly, log: message => log.warn(message) })
    }
    case 'mysql': {
      const { MysqlEngine } = await import('../meta/engine/mysql/engine.ts')
      return MysqlEngine.open(url, { readOnly, log: message => log.warn(message) })
    }
  }
}

/** For commands that look at a volume without mounting it. */
export const commandConfig: MetaConfig = {
  readOnly: false,
  noBackgroundJobs: true,
  heartbeatMs: 0,
  skipDirMtimeNs: 100e6,
  atimeMode: 'noatime',
  openCacheLimit: 10_000,
  mountPoint: '',
  version: OUR_VERSION,
}

export interface OpenMetaOptions {
  readonly config: MetaConfig
  readonly clock: Clock
  readonly log: Log
  readonly random: () => number
}

/** Opens a formatted volume that this client understands. */
export async function openMeta(metaUrl: string, options: OpenMetaOptions): Promise<MetaClient> {
  const { log } = options
  const engine = await openEngine(metaUrl, { log, readOnly: options.config.readOnly, mustExist: true })
  try {
    const meta = await MetaClient.open(engine, options)
    checkCompatible(meta.format, SHOWN_VERSION)
    return meta
  } catch (error) {
    await engine.close()
    throw error
  }
}

/** The object store that a setting names; its secrets may be encrypted. The passphrase of an encrypted volume's key stands in the
 *  environment. */
export async function openStorage(format: Format): Promise<ObjectStore> {
  const { AccessKey, SecretKey, SessionToken, EncryptKey, EncryptAlgo } = decryptSecrets(format)
  const { StorageClass, Tag } = tierZero(format)
  const passphrase = process.env[PASSPHRASE_VARIABLE]
  const setting = {
    storage: format.Storage,
    bucket: format.Bucket,
    name: format.Name,
    accessKey: AccessKey,
    secretKey: SecretKey,
    sessionToken: SessionToken,
    storageClass: StorageClass,
    tag: Tag,
    shards: format.Shards,
    encryption: EncryptKey ? { algorithm: EncryptAlgo, pem: EncryptKey, passphrase } : undefined,
  }
  try {
    return await openStore(setting)
  } catch (error) {
    throw error instanceof Fault ? new Fault('object storage', { errno: error.errno, cause: error }) : error
  }
}

/** Storages that keep bytes and nothing beside them. */
const WITHOUT_CLASSES = new Set('file mem redis mysql postgres sqlite3 webdav sftp hdfs'.split(' '))

/** A storage class or a tag that the storage cannot keep is left out, and that is said. */
export function warnOfClasses(format: Format, log: Log): void {
  const { StorageClass, Tag } = tierZero(format)
  if ((StorageClass || Tag) && WITHOUT_CLASSES.has(format.Storage.toLowerCase())) {
    log.warn(`Set storage tier: not supported by storage ${format.Storage}`)
  }
}

/** Faults where this client would harm the volume or miss what its other clients rely on (design.md, trap h). */
export function refuseUnsupported(format: Format, readOnly: boolean): void {
  const features = unsupportedFeatures(format, readOnly)
  if (features.length === 0) return
  const hint = !readOnly && unsupportedFeatures(format, true).length === 0 ? '; it can be mounted with --read-only' : ''
  throw new Fault(`volume ${format.Name} uses what is not supported yet: ${features.join(', ')}${hint}`)
}
