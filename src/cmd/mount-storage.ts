/** The object store of a mount, and what follows the setting of the volume while the mount serves (spec meta-setting, "config"):
 *  place, credentials, storage class and tag, bandwidth limits. What was given to `mount` itself stays as it was given. */

import type { Clock } from '../base/clock.ts'
import { causeText, Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { type Format, tierZero, withTierZero } from '../meta/model/format.ts'
import { decryptSecrets } from '../meta/model/secrets.ts'
import { RateLimit } from '../object/rate-limit.ts'
import type { ObjectStore } from '../object/store.ts'
import { SwappableStore } from '../object/swappable.ts'
import { bucketOwnership } from './bucket-owner.ts'
import { CommandError } from './exit.ts'
import type { MountSettings } from './mount-settings.ts'
import { isInside } from './paths.ts'
import { storedBucket } from './setting.ts'
import { openStorage, warnOfClasses } from './volume.ts'

/** a setting that could not be followed is tried again */
const RETRY_MS = 60_000
const FIRST_RETRY_MS = 2000

export class MountStorage {
  readonly store: SwappableStore
  readonly uploadLimit: RateLimit
  readonly downloadLimit: RateLimit
  readonly #settings: MountSettings
  readonly #log: Log
  /** the setting by which the store was opened */
  #opened: Format
  /** the newest one that there is */
  #wanted: Format | null = null
  #following: Promise<void> = Promise.resolve()
  #retry: NodeJS.Timeout | undefined
  #isClosed = false

  /** Opens the store of a volume's setting. CommandError where the objects would lie inside the mount. */
  static async open(
    stored: Format,
    settings: MountSettings,
    { clock, log }: { readonly clock: Clock; readonly log: Log },
  ): Promise<MountStorage> {
    const format = formatHere(stored, settings)
    const store = new SwappableStore(await openStorage(format), error => log.warn(`close storage: ${causeText(error)}`))
    warnOfClasses(format, log)
    const limitOf = (mbps: number): RateLimit => new RateLimit(mbps, clock)
    const { upload, download } = limitsOf(stored, settings)
    return new MountStorage(store, format, { settings, log, upload: limitOf(upload), download: limitOf(download) })
  }

  private constructor(
    store: SwappableStore,
    opened: Format,
    rest: {
      readonly settings: MountSettings
      readonly log: Log
      readonly upload: RateLimit
      readonly download: RateLimit
    },
  ) {
    this.store = store
    this.#opened = opened
    this.#settings = rest.settings
    this.#log = rest.log
    this.uploadLimit = rest.upload
    this.downloadLimit = rest.download
  }

  /** The setting as this mount uses it. */
  get format(): Format {
    return this.#opened
  }

  /** Of new objects; empty: the bucket's own. */
  get storageClass(): string {
    return tierZero(this.#opened).StorageClass
  }

  /** The setting has changed. Never fails: what cannot be followed is logged, goes on as it was, and is tried again. */
  follow(stored: Format): Promise<void> {
    const { upload, download } = limitsOf(stored, this.#settings)
    this.uploadLimit.set(upload)
    this.downloadLimit.set(download)
    this.#wanted = stored
    clearTimeout(this.#retry)
    // One after the other: an older setting must not overtake.
    this.#following = this.#following.then(() => this.#move(stored, FIRST_RETRY_MS))
    return this.#following
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#retry)
    await this.#following
    await this.store.close()
  }

  async #move(stored: Format, retryMs: number): Promise<void> {
    if (this.#isClosed || stored !== this.#wanted) return
    try {
      const format = formatHere(stored, this.#settings)
      if (placeOf(format) === placeOf(this.#opened)) return
      const next = await openStorage(format)
      try {
        await this.#checkOwner(next, format)
      } catch (error) {
        await next.close()
        throw error
      }
      this.#opened = format
      this.store.replace(next)
      this.#log.info(`Data use ${next.description}`)
    } catch (error) {
      const again = `goes on with ${this.store.description}, will try again`
      this.#log.error(`the new setting of the object storage cannot be followed: ${causeText(error)}; ${again}`)
      this.#retry = setTimeout(() => {
        this.#following = this.#following.then(() => this.#move(stored, Math.min(RETRY_MS, retryMs * 2)))
      }, retryMs).unref()
    }
  }

  /** A Fault where blocks would be looked for, and stored, where they do not belong, and where new keys do not open what the old ones
   *  do. */
  async #checkOwner(next: ObjectStore, format: Format): Promise<void> {
    const found = await bucketOwnership(next, format)
    if (found.kind === 'own') return
    if (found.kind !== 'unnamed') {
      const isElsewhere = format.Storage !== this.#opened.Storage || format.Bucket !== this.#opened.Bucket
      if (found.kind !== 'unknown' || isElsewhere || (await this.#stillServes())) throw new Fault(found.why)
    }
    this.#log.warn(found.why)
  }

  async #stillServes(): Promise<boolean> {
    const { kind } = await bucketOwnership(this.store, this.#opened)
    return kind !== 'unknown'
  }
}

/** Everything of the setting that makes another store of it. Secrets in plain: encrypted, they differ each time they are stored. */
function placeOf(format: Format): string {
  const { Storage, Bucket, AccessKey, SecretKey, SessionToken } = decryptSecrets(format)
  return JSON.stringify([Storage, Bucket, AccessKey, SecretKey, SessionToken, tierZero(format)])
}

/** Mbps; what `mount` was given wins. */
function limitsOf(stored: Format, { limits }: MountSettings): { upload: number; download: number } {
  return {
    upload: limits.uploadMbps || stored.UploadLimit || 0,
    download: limits.downloadMbps || stored.DownloadLimit || 0,
  }
}

/** The setting with what this client overrides. */
function formatHere(stored: Format, settings: MountSettings): Format {
  const { storage, bucket, storageClass, tag, mountPoint } = settings
  const format = { ...stored, ...(storage ? { Storage: storage } : {}) }
  if (bucket !== null) format.Bucket = storedBucket(format.Storage, bucket)
  if (format.Storage === 'file' && isInside(format.Bucket, mountPoint)) {
    throw new CommandError(`the bucket ${format.Bucket} lies inside the mount point ${mountPoint}`)
  }
  if (storageClass !== null || tag !== null) {
    const tier = tierZero(stored)
    return withTierZero(format, { ...tier, StorageClass: storageClass ?? tier.StorageClass, Tag: tag ?? tier.Tag })
  }
  return format
}
