/** From the setting of a volume to its object store. Drivers are few yet; names of the format that have no driver here say so. */

import { SystemClock } from '../base/clock.ts'
import { EINVAL, ENOTSUP } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import { FileStore } from './file.ts'
import { MemStore } from './mem.ts'
import { withPrefix } from './prefix.ts'
import type { ObjectStore } from './store.ts'

export interface StorageSetting {
  readonly storage: string
  readonly bucket: string
  /** of the volume: the first component of every key */
  readonly name: string
}

/** Names that the volume format knows (spec data-objects section 4) and that have no driver here yet. */
const NOT_YET = new Set(
  `s3 minio wasabi scw space eos oos ibmcos gs wasb oss cos obs tos bos ks3 qingstor qiniu ufile b2 swift storj bunny
   dragonfly hdfs ceph gluster nfs cifs smb sftp webdav redis mysql postgres sqlite3 tikv etcd`.split(/\s+/),
)

/** The volume's store, below `{name}/`. Throws a Fault for a storage that is unknown or not supported yet; does no I/O. */
export function openStore(setting: StorageSetting): ObjectStore {
  return withPrefix(openBackend(setting.storage.toLowerCase(), setting.bucket), `${setting.name}/`)
}

function openBackend(storage: string, bucket: string): ObjectStore {
  if (storage === 'file') return new FileStore(bucket)
  if (storage === 'mem') return new MemStore(bucket.replace(/\/+$/, ''), new SystemClock())
  if (NOT_YET.has(storage)) throw new Fault(`storage ${storage} is not supported yet`, { errno: ENOTSUP })
  throw new Fault(`invalid storage: ${storage}`, { errno: EINVAL })
}
