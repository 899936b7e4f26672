/** From the setting of a volume to its object store. Drivers are loaded when they are first needed: a volume on local files pays
 *  nothing for the others. Names of the format that have no driver here say so. */

import { SystemClock } from '../base/clock.ts'
import { EINVAL, ENOTSUP } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import type { EncryptionSetting } from './encrypt.ts'
import { withPrefix } from './prefix.ts'
import { shardBuckets, withShards } from './shards.ts'
import { SqlStore } from './sql/store.ts'
import type { ObjectStore } from './store.ts'

export interface StorageSetting {
  readonly storage: string
  /** path or URL, in the forms of spec data-objects section 4 */
  readonly bucket: string
  /** of the volume: the first component of every key */
  readonly name: string
  /** key or user */
  readonly accessKey?: string | undefined
  /** secret key or password, in plain */
  readonly secretKey?: string | undefined
  readonly sessionToken?: string | undefined
  /** of new objects, for stores that have classes; empty: the bucket's default */
  readonly storageClass?: string | undefined
  /** `key=value` of new objects, for stores that have tags */
  readonly tag?: string | undefined
  /** number of buckets; `bucket` then holds a `%d`. 0 or 1: one */
  readonly shards?: number | undefined
  /** absent: objects are stored as they are */
  readonly encryption?: EncryptionSetting | undefined
}

/** s3 and those that speak its protocol (s3/vendors.ts) */
const S3_KINDS = new Set('s3 minio storj wasabi scw space b2 eos oos ks3 qiniu qingstor oss cos obs tos bos'.split(' '))

/** Names that the volume format knows (spec data-objects section 4) and that have no driver here yet. */
const NOT_YET = new Set(
  `ibmcos gs wasb ufile bunny dragonfly ceph gluster nfs cifs smb tikv
   etcd`.split(/\s+/),
)

/** with a driver of its own */
const OTHER_KINDS = new Set('file mem redis hdfs mysql postgres sqlite3 sftp swift webdav'.split(' '))

/** Faults where no driver is called so, or the one that is is not built. Names are told apart without regard to case. */
export function checkStorageName(storage: string): void {
  const kind = storage.toLowerCase()
  if (OTHER_KINDS.has(kind) || S3_KINDS.has(kind)) return
  if (NOT_YET.has(kind)) throw new Fault(`storage ${kind} is not supported yet`, { errno: ENOTSUP })
  throw new Fault(`invalid storage: ${kind}`, { errno: EINVAL })
}

/** The volume's store, below `{name}/`: encrypt( prefix( shard( back ends ))). Throws a Fault for a storage that is unknown or not
 *  supported yet, for a bucket that is not spelled as its storage demands, and for an encryption key that cannot be read. Whether
 *  the store can be reached shows at the first call. */
export async function openStore(setting: StorageSetting): Promise<ObjectStore> {
  const store = withPrefix(await openBuckets(setting), `${setting.name}/`)
  if (!setting.encryption) return store
  const { withEncryption } = await import('./encrypt.ts')
  return withEncryption(store, setting.encryption)
}

async function openBuckets(setting: StorageSetting): Promise<ObjectStore> {
  const { bucket, shards = 0 } = setting
  if (shards <= 1) return openBackend(setting)
  const stores: ObjectStore[] = []
  const buckets = shardBuckets(bucket, shards)
  for (const each of buckets) stores.push(await openBackend({ ...setting, bucket: each }, buckets))
  return withShards(stores, bucket)
}

/** One bucket, as it is; `shards`: the names of all. */
async function openBackend(setting: StorageSetting, shards: readonly string[] = []): Promise<ObjectStore> {
  const { bucket } = setting
  const kind = setting.storage.toLowerCase()
  switch (kind) {
    case 'file': {
      const { FileStore } = await import('./file.ts')
      return new FileStore(bucket, shards)
    }
    case 'mem': {
      const { MemStore } = await import('./mem.ts')
      return new MemStore(bucket.replace(/\/+$/, ''), new SystemClock())
    }
    case 'redis': {
      const { RedisStore } = await import('./redis.ts')
      const clock = new SystemClock()
      return new RedisStore(setting, process.env, () => clock.now().sec * 1000)
    }
    case 'hdfs': {
      const { WebHdfsStore } = await import('./webhdfs.ts')
      return new WebHdfsStore(setting, process.env)
    }
    case 'mysql': {
      const { MysqlBlobs } = await import('./sql/mysql.ts')
      return new SqlStore(await MysqlBlobs.open(setting))
    }
    case 'postgres': {
      const { PostgresBlobs } = await import('./sql/postgres.ts')
      return new SqlStore(await PostgresBlobs.open(setting))
    }
    case 'sqlite3': {
      const { SqliteBlobs } = await import('./sql/sqlite.ts')
      return new SqlStore(new SqliteBlobs(bucket))
    }
    case 'sftp': {
      const { SftpStore } = await import('./sftp/store.ts')
      return new SftpStore(setting, process.env)
    }
    case 'swift': {
      const { SwiftStore } = await import('./swift/store.ts')
      return new SwiftStore(setting, process.env)
    }
    case 'webdav': {
      const { WebdavStore } = await import('./webdav.ts')
      return new WebdavStore(setting)
    }
  }
  checkStorageName(kind)
  const { openS3 } = await import('./s3/open.ts')
  return openS3(kind, setting, { env: process.env, clock: new SystemClock() })
}
