/** What `format` and `config` share: how options become fields of the setting, and how a setting is stored. */

import { randomBytes } from 'node:crypto'
import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { SystemClock } from '../base/clock.ts'
import { EBUSY, EEXIST, errnoText, isErrno } from '../base/errno.ts'
import { causeText, Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { Driver } from '../meta/driver.ts'
import type { Engine } from '../meta/engine.ts'
import { checkMetaVersion, type Format, parseFormat, serializeFormat } from '../meta/model/format.ts'
import { encryptSecrets } from '../meta/model/secrets.ts'
import { initVolume } from '../meta/ops/init-volume.ts'
import { checkStorageName } from '../object/open.ts'
import { testStorage } from '../object/storage-test.ts'
import type { ObjectStore } from '../object/store.ts'
import { CommandError } from './exit.ts'

/** The stored setting as text, null where the database holds no volume. */
export async function loadSetting(engine: Engine): Promise<string | null> {
  const [json] = (await engine.gather([{ kind: 'format' }], 'look')) as [string | null]
  return json || null
}

/** The stored setting; null where the database holds no volume. Fault where its records are not ours to understand. Which
 *  versions of clients the volume allows is not asked: that is what `config` may be about. */
export async function loadFormat(engine: Engine): Promise<Format | null> {
  const json = await loadSetting(engine)
  return json === null ? null : understood(json)
}

/** A setting that was stored. The same Faults. */
export function understood(json: string): Format {
  const format = parseFormat(json)
  checkMetaVersion(format)
  return format
}

/** Stores a setting with plain secrets, by default encrypting them, and returns it as stored. Durable when it returns.
 *  `replaces`: the text that it was made from, null for a new volume. CommandError where somebody else has changed it since. */
export async function storeSetting(
  engine: Engine,
  format: Format,
  options: { readonly replaces: string | null; readonly encrypt?: boolean },
): Promise<Format> {
  const { replaces } = options
  const stored = options.encrypt === false ? format : encryptSecrets(format, () => randomBytes(12))
  const driver = new Driver(engine, { random: Math.random, onEffect: () => undefined })
  const now = new SystemClock().now()
  const trash = stored.TrashDays > 0
  const how = replaces === null ? { isNew: true } : { isNew: false, replaces }
  const result = await driver.run('change', () => initVolume(serializeFormat(stored), { ...how, trash, now }))
  if (result === EBUSY || result === EEXIST) {
    throw new CommandError(
      'the setting of the volume was changed meanwhile by somebody else: nothing is stored, try again',
    )
  }
  if (isErrno(result)) throw new Fault(`store the setting: ${errnoText(result)}`, { errno: result })
  await engine.sync()
  return stored
}

/** Where none is given: a local directory of `file`, any name of `mem`; others have none. */
export function defaultBucket(storage: string): string {
  checkStorageName(storage)
  if (storage !== 'file' && storage !== 'mem') throw new CommandError(`storage ${storage} needs --bucket`)
  return process.getuid?.() === 0 ? '/var/jfs' : `${homedir()}/.juicefs/local`
}

/** A bucket as it is stored: for `file` absolute, with a slash at the end; for `sqlite3` absolute. */
export function storedBucket(storage: string, bucket: string): string {
  if (storage === 'sqlite3') return resolve(bucket)
  if (storage !== 'file') return bucket
  const path = resolve(bucket.replace(/^file:\/\//, ''))
  return path.endsWith('/') ? path : `${path}/`
}

export function checkTrashDays(days: number): number {
  if (days < 0) throw new CommandError(`Invalid trash days: ${days}`)
  return days
}

/** Puts, gets and deletes a test object, unless the environment says not to. */
export async function proveStorage(store: ObjectStore, log: Log): Promise<void> {
  if (process.env.JFS_NO_CHECK_OBJECT_STORAGE) return
  try {
    await testStorage(store, Math.random, { warn: message => log.warn(message) })
  } catch (error) {
    const cause = error instanceof Fault && error.cause !== undefined ? error.cause : error
    throw new CommandError(`Storage ${store.description} is not configured correctly: ${causeText(cause)}`)
  }
}
