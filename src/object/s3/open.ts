/** From the setting of a volume to a bucket of S3. */

import type { Clock } from '../../base/clock.ts'
import { isTrue } from '../bucket-url.ts'
import type { HttpTimes } from '../http/client.ts'
import { SecureContextSetting } from '../http/tls.ts'
import type { ObjectStore } from '../store.ts'
import { credentialSource, type Environment, type KeySetting } from './credentials.ts'
import { FIRST_REGION, placeOf, s3Url } from './place.ts'
import { S3Store } from './store.ts'
import { VENDORS } from './vendors.ts'

export interface S3Setting extends KeySetting {
  readonly bucket: string
  readonly storageClass?: string | undefined
  readonly tag?: string | undefined
}

/** Does no I/O. The query of the bucket's URL may say `disable-checksum=<bool>`, `region=…`; `disable-100-continue` changes nothing,
 *  since we never wait for a 100. */
export function openS3(
  kind: string,
  setting: S3Setting,
  { env, clock, times }: { readonly env: Environment; readonly clock: Clock; readonly times?: HttpTimes },
): ObjectStore {
  const url = s3Url(kind, setting.bucket)
  const tls = SecureContextSetting.takeFrom(url)
  const disables = url.searchParams.get('disable-checksum')
  return new S3Store({
    kind,
    place: placeOf(kind, url, env),
    credentials: credentialSource(kind, setting, { env, clock }),
    tls,
    clock,
    ...(times && { times }),
    defaultRegion: env.AWS_REGION || env.AWS_DEFAULT_REGION || FIRST_REGION,
    storageClass: setting.storageClass ?? '',
    tag: setting.tag ?? '',
    checksum: disables === null ? VENDORS[kind]?.checksum !== false : !isTrue(disables),
  })
}
