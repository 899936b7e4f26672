/** `format META-URL NAME`: makes a volume, or (deprecated, still used by scripts) changes the setting of an existing one.
 *
 *      check what was typed ─► read the setting ─► test the store ─► is it empty? ─► juicefs_uuid ─► setting
 *
 *  Nothing is written before everything that can be checked has been; a database file is not even made. */

import { randomUUID } from 'node:crypto'
import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Log } from '../base/log.ts'
import type { Engine } from '../meta/engine.ts'
import {
  compareVersions,
  type Format,
  parseVersion,
  secretsRemoved,
  showFormat,
  tierZero,
  withTierZero,
} from '../meta/model/format.ts'
import { decryptSecrets } from '../meta/model/secrets.ts'
import { cipherOf } from '../object/envelope.ts'
import { isEmptyForFormat } from '../object/storage-test.ts'
import type { ObjectStore } from '../object/store.ts'
import { UUID_OBJECT } from './bucket-owner.ts'
import { CommandError, messageOf } from './exit.ts'
import type { Options } from './flags.ts'
import { bytesText } from './humanize.ts'
import { maskPassword, parseMetaUrl } from './meta-url.ts'
import {
  checkTrashDays,
  defaultBucket,
  loadSetting,
  proveStorage,
  storedBucket,
  storeSetting,
  understood,
} from './setting.ts'
import { log as terminalLog } from './terminal-log.ts'
import { checkTag } from './values.ts'
import { openEngine, openStorage, refuseUnsupported, warnOfClasses } from './volume.ts'

const NAME = /^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/
const COMPRESSIONS = ['lz4', 'zstd', 'none']
const MIN_BLOCK = 64 << 10
const MAX_BLOCK = 16 << 20
const MAX_SHARDS = 256
const FIRST_VERSION = '1.1.0-A'
const ACL_VERSION = '1.2.0-A'

/** fields that may never change, and what the refusal calls them */
const IMMUTABLE = [
  ['Name', 'volume name'],
  ['BlockSize', 'block size'],
  ['Compression', 'compression'],
  ['Shards', 'shards'],
  ['HashPrefix', 'hash prefix'],
  ['MetaVersion', 'meta version'],
] as const satisfies readonly (readonly [keyof Format, string])[]

export async function run(options: Options, [metaUrl = '', name = '']: readonly string[]): Promise<number> {
  const log = terminalLog()
  const { path, url } = parseMetaUrl(metaUrl)
  checkTyped(options, name)
  const isThere = path === null || existsSync(path)
  if (!isThere) refuseBadPlace(path)
  // A database that is there is opened; a file that is not is made only when the setting is about to be written.
  let engine: Engine | null = isThere ? await openEngine(url, { log, mustExist: true }) : null
  try {
    if (!engine) log.info(`Meta address: ${maskPassword(url)}`)
    const replaces = engine && (await loadSetting(engine))
    const old = replaces === null ? null : understood(replaces)
    if (old && options.bool('no-update')) return 0
    const wanted = old ? updated(old, options, name, log) : fresh(options, name, log)
    if (old && !options.bool('force')) refuseImmutable(old, wanted)
    if (old && options.bool('force')) log.warn(`Existing volume will be overwrited: ${showFormat(secretsRemoved(old))}`)
    refuseUnsupported(wanted, false)
    const store = await openStorage(wanted)
    log.info(`Data use ${store.description}`)
    warnOfClasses(wanted, log)
    if (!old && (wanted.Shards ?? 0) > 1) await makeBuckets(store, log)
    await proveStorage(store, log)
    if (!old) await refuseOccupied(store)
    if (!old) await putUuid(store, wanted.UUID)
    let stored: Format
    try {
      engine ??= await openEngine(url, { log: { ...log, info: () => undefined } })
      await engine.prepare()
      stored = await storeSetting(engine, wanted, { replaces })
    } catch (error) {
      if (!old)
        await takeBackUuid(store, wanted, engine).catch(problem => log.warn(`${UUID_OBJECT}: ${messageOf(problem)}`))
      throw error
    }
    log.info(`Volume is formatted as ${showFormat(secretsRemoved(stored))}`)
    await store.close()
    return 0
  } finally {
    await engine?.close()
  }
}

/** What can be refused without looking at anything. */
function checkTyped(options: Options, name: string): void {
  if (!NAME.test(name)) {
    throw new CommandError(
      `invalid name: "${name}", only alphabet, number and - are allowed, and the length should be 3 to 63 characters.`,
    )
  }
  if (!COMPRESSIONS.includes(options.string('compress'))) {
    throw new CommandError(`Unsupported compress algorithm: "${options.string('compress')}"`)
  }
  checkTrashDays(options.number('trash-days'))
  checkTag(options.string('tag'))
  if (options.given('encrypt-rsa-key') || options.given('encrypt-algo')) cipherOf(options.string('encrypt-algo'))
  if (options.number('shards') > MAX_SHARDS) throw new CommandError(`too many shards: ${options.number('shards')}`)
}

/** The file's directory must be there and writable: asked now, since the file is made last. */
function refuseBadPlace(path: string): void {
  const directory = dirname(path)
  const doing = `open metadata database ${path}`
  if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
    throw new CommandError(`${doing}: the directory ${directory} does not exist`)
  }
  try {
    accessSync(directory, constants.W_OK)
  } catch (error) {
    throw new CommandError(`${doing}: ${messageOf(error)}`)
  }
}

function fresh(options: Options, name: string, log: Log): Format {
  const storage = options.string('storage').toLowerCase()
  const format: Format = {
    Name: name,
    UUID: randomUUID(),
    Storage: storage,
    StorageClass: options.string('storage-class'),
    Tiers: { 0: { ID: 0, StorageClass: options.string('storage-class'), Tag: options.string('tag') } },
    Bucket: storedBucket(storage, options.string('bucket') || defaultBucket(storage)),
    BlockSize: blockKiB(options, log),
    Compression: options.string('compress'),
    Shards: options.number('shards'),
    HashPrefix: options.bool('hash-prefix'),
    Capacity: options.number('capacity'),
    Inodes: options.number('inodes'),
    EncryptKey: rsaKeyOf(options.string('encrypt-rsa-key')),
    EncryptAlgo: options.string('encrypt-algo'),
    TrashDays: options.number('trash-days'),
    MetaVersion: 1,
    MinClientVersion: FIRST_VERSION,
    DirStats: true,
    EnableACL: options.bool('enable-acl'),
    ...credentials(options),
  }
  return raised(format)
}

/** An existing setting with what was typed; secrets come out in plain and are encrypted again when stored. */
function updated(old: Format, options: Options, name: string, log: Log): Format {
  const changed: Record<string, unknown> = {
    ...decryptSecrets(old, { keepRemoved: true }),
    Name: name,
    ...credentials(options),
  }
  const given = (flag: string, key: keyof Format, value: () => unknown): void => {
    if (options.given(flag)) changed[key] = value()
  }
  given('storage', 'Storage', () => options.string('storage').toLowerCase())
  given('bucket', 'Bucket', () => storedBucket(String(changed.Storage), options.string('bucket')))
  given('capacity', 'Capacity', () => options.number('capacity'))
  given('inodes', 'Inodes', () => options.number('inodes'))
  given('trash-days', 'TrashDays', () => options.number('trash-days'))
  given('block-size', 'BlockSize', () => blockKiB(options, log))
  given('compress', 'Compression', () => options.string('compress'))
  given('shards', 'Shards', () => options.number('shards'))
  given('hash-prefix', 'HashPrefix', () => options.bool('hash-prefix'))
  for (const flag of ['encrypt-rsa-key', 'encrypt-algo']) {
    if (options.given(flag)) log.warn(`Flag "${flag}" is ignored since it cannot be updated`)
  }
  if (options.bool('enable-acl')) changed.EnableACL = true
  const next = changed as unknown as Format
  const tier = tierZero(next)
  const StorageClass = options.given('storage-class') ? options.string('storage-class') : tier.StorageClass
  const Tag = options.given('tag') ? options.string('tag') : tier.Tag
  const isOther = StorageClass !== tier.StorageClass || Tag !== tier.Tag
  return raised(isOther ? withTierZero(next, { ID: 0, StorageClass, Tag }) : next)
}

/** Flags first, then the environment, which is forgotten once read: no child process inherits it. */
function credentials(options: Options): Partial<Format> {
  const found: Record<string, string> = {}
  for (const [flag, variable, key] of [
    ['access-key', 'ACCESS_KEY', 'AccessKey'],
    ['secret-key', 'SECRET_KEY', 'SecretKey'],
    ['session-token', 'SESSION_TOKEN', 'SessionToken'],
  ] as const) {
    const value = options.given(flag) ? options.string(flag) : process.env[variable]
    delete process.env[variable]
    if (value !== undefined && (value !== '' || options.given(flag))) found[key] = value
  }
  return found
}

/** The text of the key's file; whether it is a key shows when the store is opened. */
function rsaKeyOf(path: string): string {
  if (path === '') return ''
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new CommandError(`load RSA key from "${path}": ${messageOf(error)}`)
  }
}

/** KiB, rounded down to a power of two. */
function blockKiB(options: Options, log: Log): number {
  const bytes = options.number('block-size')
  const clamp = (limit: number, why: string): number => {
    log.warn(`block size is too ${why}: ${bytesText(bytes)}, use ${bytesText(limit)} instead`)
    return limit
  }
  const fitting = bytes < MIN_BLOCK ? clamp(MIN_BLOCK, 'small') : bytes > MAX_BLOCK ? clamp(MAX_BLOCK, 'large') : bytes
  return 2 ** Math.floor(Math.log2(fitting)) / 1024
}

/** Features raise the oldest client that may connect. */
export function raised(format: Format): Format {
  if (!format.EnableACL) return format
  const lowest = format.MinClientVersion
  const isNewEnough = lowest && compareVersions(parseVersion(lowest), parseVersion(ACL_VERSION)) >= 0
  return isNewEnough ? format : { ...format, MinClientVersion: ACL_VERSION }
}

function refuseImmutable(old: Format, wanted: Format): void {
  for (const [key, words] of IMMUTABLE) {
    const [before, after] = [old[key], wanted[key]]
    // an absent field and an empty one are the same
    if ((before || 0) !== (after || 0)) {
      throw new CommandError(`format: update format: cannot update ${words} from ${before} to ${after}`)
    }
  }
}

/** The storage test makes buckets only when its own object cannot be put, and that lies in one of them. */
async function makeBuckets(store: ObjectStore, log: Log): Promise<void> {
  await store.create().catch(error => log.warn(`create buckets: ${messageOf(error)}`))
}

async function refuseOccupied(store: ObjectStore): Promise<void> {
  if (process.env.JFS_NO_CHECK_OBJECT_STORAGE || (await isEmptyForFormat(store))) return
  throw new CommandError(`Storage ${store.description} is not empty; please clean it up or pick another volume name`)
}

async function putUuid(store: ObjectStore, uuid: string): Promise<void> {
  await store.put(UUID_OBJECT, Buffer.from(uuid))
  await store.sync?.([UUID_OBJECT])
}

/** The volume could not be stored. Where somebody else has formatted one into the same bucket meanwhile, the object is theirs. */
async function takeBackUuid(store: ObjectStore, wanted: Format, engine: Engine | null): Promise<void> {
  const json = engine && (await loadSetting(engine))
  const theirs = json === null ? null : understood(json)
  const isShared = theirs !== null && (['Storage', 'Bucket', 'Name'] as const).every(key => theirs[key] === wanted[key])
  if (isShared) await putUuid(store, theirs.UUID)
  else if ((await store.get(UUID_OBJECT)).toString('latin1') === wanted.UUID) await store.delete(UUID_OBJECT)
}
