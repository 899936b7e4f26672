/** `config META-URL`: shows the setting, or changes what was typed and prints a line a change (spec cli section 6.5). */

import type { Ino } from '../base/ino.ts'
import { recountOwners } from '../jobs/owner-usage.ts'
import { Driver } from '../meta/driver.ts'
import type { Engine } from '../meta/engine.ts'
import { counter, done, gather, type Operation, QUOTA_DIR } from '../meta/facts.ts'
import {
  compareVersions,
  type Format,
  parseVersion,
  secretsRemoved,
  showFormat,
  type Tier,
  tierZero,
  withTierZero,
} from '../meta/model/format.ts'
import { decryptSecrets } from '../meta/model/secrets.ts'
import { rowsOf } from '../meta/scan.ts'
import { readSessionInfo } from '../meta/session.ts'
import type { ObjectStore } from '../object/store.ts'
import { bucketOwnership } from './bucket-owner.ts'
import { CommandError } from './exit.ts'
import type { Options } from './flags.ts'
import { raised } from './format.ts'
import { bytesText, mbpsText, withCommas } from './humanize.ts'
import { confirm, YELLOW_WARNING } from './prompt.ts'
import { checkTrashDays, loadSetting, proveStorage, storedBucket, storeSetting, understood } from './setting.ts'
import { log as terminalLog } from './terminal-log.ts'
import { checkTag } from './values.ts'
import { NOT_FORMATTED, openEngine, openStorage } from './volume.ts'

/** records removed in one commit */
const BATCH = 500

interface Draft {
  readonly old: Format
  /** secrets in plain */
  next: Format
  readonly lines: string[]
}

export async function run(options: Options, [metaUrl = '']: readonly string[]): Promise<number> {
  const log = terminalLog()
  const engine = await openEngine(metaUrl, { log, mustExist: true })
  try {
    const json = await loadSetting(engine)
    if (json === null) throw new CommandError(NOT_FORMATTED)
    const stored = understood(json)
    if (!options.anyGiven(['yes', 'force'])) {
      process.stdout.write(`${showFormat(secretsRemoved(stored))}\n`)
      return 0
    }
    const plain = decryptSecrets(stored, { keepRemoved: true })
    const draft: Draft = { old: plain, next: plain, lines: [] }
    change(draft, options)
    if (options.given('dir-stats') && !options.bool('dir-stats')) await refuseWhileQuotas(engine)
    const encrypts = options.bool('encrypt-secret') && !stored.KeyEncrypted && hasSecrets(draft.next)
    if (encrypts) draft.lines.push(line('encrypt-secret', 'done'))
    if (draft.lines.length === 0) {
      process.stdout.write('Nothing changed.\n')
      return 0
    }
    if (!options.bool('force')) await ask(draft, options, engine)
    if (!draft.old.UserGroupQuota && draft.next.UserGroupQuota) await countOwners(engine)
    // Secrets that were stored in plain stay so unless asked.
    const encrypt = encrypts || stored.KeyEncrypted === true || !hasSecrets(stored)
    const startsDirStats = !draft.old.DirStats && draft.next.DirStats === true
    // An interruption leaves them switched off; and once more for directories that were made meanwhile.
    if (startsDirStats) await forgetDirUsage(engine)
    await storeSetting(engine, draft.next, { replaces: json, encrypt })
    if (startsDirStats) await forgetDirUsage(engine)
    process.stdout.write(draft.lines.map(each => `${each}\n`).join(''))
    return 0
  } finally {
    await engine.close()
  }
}

const line = (key: string, text: string): string => `${key.padStart(10)}: ${text}`
const hasSecrets = (format: Format): boolean => Boolean(format.SecretKey || format.SessionToken || format.EncryptKey)

/** Applies the given flags in alphabetical order. */
function change(draft: Draft, options: Options): void {
  const { old } = draft
  const set = (key: string, field: keyof Format, value: unknown, show: (value: never) => string = String): void => {
    const before = old[field] ?? (typeof value === 'number' ? 0 : typeof value === 'boolean' ? false : '')
    if (before === value) return
    draft.next = { ...draft.next, [field]: value } as Format
    draft.lines.push(line(key, `${show(before as never)} -> ${show(value as never)}`))
  }
  const setSecret = (key: string, field: 'SecretKey' | 'SessionToken'): void => {
    if (old[field] === options.string(key)) return
    draft.next = { ...draft.next, [field]: options.string(key) }
    draft.lines.push(line(key, 'updated'))
  }
  const setTier = (key: string, field: 'StorageClass' | 'Tag', value: string): void => {
    const tier = tierZero(draft.next)
    if (tier[field] === value) return
    draft.next = withTierZero(draft.next, { ...tier, [field]: value })
    draft.lines.push(`set tier 0 ${key}: ${value}`)
  }
  const changes: Readonly<Record<string, () => void>> = {
    'access-key': () => set('access-key', 'AccessKey', options.string('access-key')),
    bucket: () => {
      const storage = options.given('storage') ? options.string('storage') : old.Storage
      set('bucket', 'Bucket', storedBucket(storage, options.string('bucket')))
    },
    capacity: () => set('capacity', 'Capacity', options.number('capacity'), bytesText),
    'dir-stats': () => set('dir-stats', 'DirStats', options.bool('dir-stats')),
    'download-limit': () => set('download-limit', 'DownloadLimit', options.number('download-limit'), mbpsText),
    'enable-acl': () => {
      if (old.EnableACL && !options.bool('enable-acl')) throw new CommandError('cannot disable acl')
      set('enable-acl', 'EnableACL', options.bool('enable-acl'))
    },
    inodes: () => set('inodes', 'Inodes', options.number('inodes'), withCommas),
    'max-client-version': () => {
      const version = options.string('max-client-version')
      if (version !== '') parseVersion(version)
      set('max-client-version', 'MaxClientVersion', version)
    },
    'min-client-version': () => {
      const version = options.string('min-client-version')
      const before = old.MinClientVersion ?? ''
      if (compareVersions(parseVersion(version), parseVersion(before || '0')) < 0) {
        throw new CommandError(`cannot lower min-client-version from ${before} to ${version}`)
      }
      set('min-client-version', 'MinClientVersion', version)
    },
    'secret-key': () => setSecret('secret-key', 'SecretKey'),
    'session-token': () => setSecret('session-token', 'SessionToken'),
    storage: () => set('storage', 'Storage', options.string('storage').toLowerCase()),
    'storage-class': () => setTier('storage-class', 'StorageClass', options.string('storage-class')),
    tag: () => setTier('tag', 'Tag', checkTag(options.string('tag'))),
    'trash-days': () => set('trash-days', 'TrashDays', checkTrashDays(options.number('trash-days'))),
    'upload-limit': () => set('upload-limit', 'UploadLimit', options.number('upload-limit'), mbpsText),
    'user-group-quota': () => set('user-group-quota', 'UserGroupQuota', options.bool('user-group-quota')),
  }
  for (const [flag, apply] of Object.entries(changes)) if (options.given(flag)) apply()
  const higher = raised(draft.next)
  if (higher.MinClientVersion !== draft.next.MinClientVersion) {
    draft.lines.push(line('min-client-version', `${draft.next.MinClientVersion} -> ${higher.MinClientVersion}`))
    draft.next = higher
  }
}

/** Tests a new storage; asks before a change that locks clients out, empties the trash or refuses writes at once. */
async function ask({ old, next }: Draft, options: Options, engine: Engine): Promise<void> {
  const [tier, nextTier] = [tierZero(old), tierZero(next)]
  const isOtherTier = tier.StorageClass !== nextTier.StorageClass || tier.Tag !== nextTier.Tag
  const isMoved =
    isOtherTier ||
    (['Storage', 'Bucket', 'AccessKey', 'SecretKey', 'SessionToken'] as const).some(key => old[key] !== next[key])
  if (isMoved) {
    const store = await openStorage(next)
    try {
      await proveStorage(store, terminalLog())
      await refuseForeignBucket(store, next)
    } finally {
      await store.close()
    }
  }
  const proceed = async (...warning: string[]): Promise<void> => {
    process.stdout.write(`${YELLOW_WARNING}: ${warning.join('\n')}\n`)
    if (!options.bool('yes') && !(await confirm())) throw new CommandError('Aborted.')
  }
  if (isOtherTier && (tier.StorageClass || tier.Tag)) {
    const shown = ({ StorageClass, Tag }: Tier): string =>
      `storage-class ${StorageClass || '(none)'}, tag ${Tag || '(none)'}`
    await proceed(`existing tier will be overwritten: ${shown(tier)} -> ${shown(nextTier)}`)
  }
  const [space, inodes] = (await engine.gather([counter('usedSpace'), counter('totalInodes')], 'look')) as [
    number,
    number,
  ]
  const [capacity, maxInodes] = [next.Capacity ?? 0, next.Inodes ?? 0]
  const isTooSmall = (limit: number, used: number): boolean => limit > 0 && used > limit
  if (
    (capacity !== (old.Capacity ?? 0) && isTooSmall(capacity, space)) ||
    (maxInodes !== (old.Inodes ?? 0) && isTooSmall(maxInodes, inodes))
  ) {
    await proceed(
      `New quota is too small (used / quota): ${space} / ${capacity} bytes, ${inodes} / ${maxInodes} inodes.`,
    )
  }
  if (next.TrashDays === 0 && old.TrashDays !== 0) {
    await proceed('The current trash will be emptied and future removed files will purged immediately.')
  }
  const out = await lockedOut(old, next, engine)
  const bounds = [next.MinClientVersion, next.MaxClientVersion]
  if (out.length > 0)
    await proceed(`Clients outside versions ${bounds.join(' to ')} will be rejected after modification.`, ...out)
}

async function refuseForeignBucket(store: ObjectStore, next: Format): Promise<void> {
  const found = await bucketOwnership(store, next)
  if (found.kind === 'foreign') throw new CommandError(found.why)
  if (found.kind === 'own') return
  const hint = found.kind === 'empty' ? '; no client uses it before the objects are copied there' : ''
  terminalLog().warn(found.why + hint)
}

/** Connected clients that new version limits would refuse. */
async function lockedOut(old: Format, next: Format, engine: Engine): Promise<string[]> {
  if (old.MinClientVersion === next.MinClientVersion && old.MaxClientVersion === next.MaxClientVersion) return []
  const lines: string[] = []
  for await (const { info } of rowsOf(engine, 'sessions', {})) {
    if (!info) continue
    const { HostName, ProcessID, Version } = readSessionInfo(info) ?? {}
    try {
      const version = parseVersion(String(Version))
      const isBelow = next.MinClientVersion && compareVersions(version, parseVersion(next.MinClientVersion)) < 0
      const isAbove = next.MaxClientVersion && compareVersions(version, parseVersion(next.MaxClientVersion)) > 0
      if (!isBelow && !isAbove) continue
      lines.push(`host ${HostName} pid ${ProcessID} client version error: ${Version}`)
    } catch {
      lines.push(`host ${HostName} pid ${ProcessID} client version error: ${Version} is not a version`)
    }
  }
  return lines
}

async function refuseWhileQuotas(engine: Engine): Promise<void> {
  const inodes: number[] = []
  for await (const { key } of rowsOf(engine, 'quotas', { type: QUOTA_DIR })) inodes.push(key)
  if (inodes.length === 0) return
  throw new CommandError(
    `cannot disable dir stats when there are still ${inodes.length} dir quotas: [${inodes.join(' ')}]`,
  )
}

/** Before the setting says that the sums are kept: an interruption leaves them switched off. */
async function countOwners(engine: Engine): Promise<void> {
  const now = Date.now() / 1000
  let clients = 0
  for await (const { expire } of rowsOf(engine, 'sessions', {})) if (expire >= now) clients++
  if (clients > 0) {
    const hint = 'switch it off and on again when nobody writes for exact sums'
    terminalLog().warn(
      `${clients} clients are connected: what they change before their next heartbeat is not counted; ${hint}`,
    )
  }
  const { inodes, users, groups } = await recountOwners(engine, Math.random)
  terminalLog().info(`Counted ${inodes} inodes of ${users} users and ${groups} groups`)
}

/** Statistics from before they were switched off are wrong by now; a missing record is recomputed when it is read. */
async function forgetDirUsage(engine: Engine): Promise<void> {
  const driver = new Driver(engine, { random: Math.random, onEffect: () => undefined })
  let batch: Ino[] = []
  const flush = async (): Promise<void> => {
    const inos = batch
    batch = []
    await driver.run('change', () => forget(inos))
  }
  for await (const { ino } of rowsOf(engine, 'dirUsages', {})) {
    batch.push(ino)
    if (batch.length === BATCH) await flush()
  }
  if (batch.length > 0) await flush()
}

function* forget(inos: readonly Ino[]): Operation<undefined> {
  yield* gather({ kind: 'format' })
  return done(
    undefined,
    inos.map(ino => ({ kind: 'delDirUsage', ino })),
  )
}
