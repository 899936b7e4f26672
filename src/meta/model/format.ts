/** The volume setting written by `format` (spec meta-setting). Keys are spelled as stored; unknown keys are kept in place. */

import { EINVAL, ENOTSUP } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'

export interface Tier {
  readonly ID: number
  readonly StorageClass: string
  readonly Tag: string
}
export interface Format {
  readonly Name: string
  readonly UUID: string
  readonly Storage: string
  readonly StorageClass?: string
  readonly Tiers?: Readonly<Record<string, Tier>> | null
  readonly Bucket: string
  readonly AccessKey?: string
  readonly SecretKey?: string
  readonly SessionToken?: string
  /** KiB */
  readonly BlockSize: number
  readonly Compression?: string
  readonly Shards?: number
  readonly HashPrefix?: boolean
  /** bytes; 0 or absent = unlimited */
  readonly Capacity?: number
  readonly Inodes?: number
  readonly EncryptKey?: string
  readonly EncryptAlgo?: string
  readonly KeyEncrypted?: boolean
  /** Mbps */
  readonly UploadLimit?: number
  readonly DownloadLimit?: number
  readonly TrashDays: number
  readonly MetaVersion?: number
  readonly MinClientVersion?: string
  readonly MaxClientVersion?: string
  readonly DirStats?: boolean
  readonly UserGroupQuota?: boolean
  readonly EnableACL: boolean
  readonly RangerRestUrl?: string
  readonly RangerService?: string
  readonly ChangeLog?: boolean
  readonly ChangeLogMaxAge?: number
  readonly ChangeLogMaxLines?: number
  readonly KerbConf?: string
}

/** In the order in which they are written. */
const KEYS = [
  'Name',
  'UUID',
  'Storage',
  'StorageClass',
  'Tiers',
  'Bucket',
  'AccessKey',
  'SecretKey',
  'SessionToken',
  'BlockSize',
  'Compression',
  'Shards',
  'HashPrefix',
  'Capacity',
  'Inodes',
  'EncryptKey',
  'EncryptAlgo',
  'KeyEncrypted',
  'UploadLimit',
  'DownloadLimit',
  'TrashDays',
  'MetaVersion',
  'MinClientVersion',
  'MaxClientVersion',
  'DirStats',
  'UserGroupQuota',
  'EnableACL',
  'RangerRestUrl',
  'RangerService',
  'ChangeLog',
  'ChangeLogMaxAge',
  'ChangeLogMaxLines',
  'KerbConf',
] as const satisfies readonly (keyof Format)[]

/** Written also when they are empty. */
const ALWAYS: ReadonlySet<string> = new Set([
  'Name',
  'UUID',
  'Storage',
  'Tiers',
  'Bucket',
  'BlockSize',
  'TrashDays',
  'EnableACL',
])
const known: ReadonlySet<string> = new Set(KEYS)

/** The newest structure of the metadata that this client understands. */
const MAX_META_VERSION = 1

/** Reads a stored setting. Fault (EINVAL) where it is no setting: broken JSON, or a field of another type. */
export function parseFormat(json: string): Format {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch (error) {
    throw new Fault('the setting of the volume is damaged', { errno: EINVAL, cause: error })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw damaged('it is no JSON object')
  const fields = value as Record<string, unknown>
  for (const key of ['Name', 'UUID'] as const) {
    if (typeof fields[key] !== 'string' || fields[key] === '') throw damaged(`${key} is missing`)
  }
  const blockKiB = fields.BlockSize
  if (typeof blockKiB !== 'number' || !Number.isInteger(blockKiB) || blockKiB < 64 || blockKiB > 16384) {
    throw damaged(`BlockSize is ${JSON.stringify(blockKiB)}`)
  }
  for (const key of ['TrashDays', 'Capacity', 'Inodes', 'MetaVersion', 'Shards'] as const) {
    if (fields[key] !== undefined && typeof fields[key] !== 'number') throw damaged(`${key} is no number`)
  }
  return { Storage: 'file', Bucket: '', TrashDays: 0, EnableACL: false, ...fields } as unknown as Format
}

const damaged = (what: string): Fault => new Fault(`the setting of the volume is damaged: ${what}`, { errno: EINVAL })

/** The stored form: one field a line and an empty indent, empty fields left out, unknown keys at the end. */
export const serializeFormat = (format: Format): string => render(format, 1).replace(/^ +/gm, '')

/** For people: two spaces of indent. */
export const showFormat = (format: Format): string => render(format, 2)

function render(format: Format, indent: number): string {
  // Escaped as the reference writes it; a reader of any kind sees the same text.
  return JSON.stringify(tidyFormat(format), null, indent).replace(
    /[<>&\u2028\u2029]/g,
    char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** Known fields in their order, empty optional ones left out, then whatever we do not know. */
export function tidyFormat(format: Format): Format {
  const source = format as unknown as Record<string, unknown>
  const tidy: Record<string, unknown> = {}
  for (const key of KEYS) {
    const value = source[key] ?? (key === 'Tiers' ? null : undefined)
    if (ALWAYS.has(key) || (value !== undefined && value !== null && value !== '' && value !== 0 && value !== false))
      tidy[key] = value
  }
  for (const [key, value] of Object.entries(source)) if (!known.has(key)) tidy[key] = value
  return tidy as unknown as Format
}

/** What new objects get unless a file says otherwise. A volume from before there were tiers has only `StorageClass`. */
export const tierZero = (format: Format): Tier =>
  format.Tiers?.[0] ?? { ID: 0, StorageClass: format.StorageClass ?? '', Tag: '' }

export const withTierZero = (format: Format, tier: Tier): Format => ({
  ...format,
  StorageClass: tier.StorageClass,
  Tiers: { ...format.Tiers, 0: tier },
})

/** What may be shown: secrets read `removed`. */
export function secretsRemoved(format: Format): Format {
  const shown: Record<string, unknown> = { ...format }
  for (const key of ['SecretKey', 'SessionToken', 'EncryptKey']) if (shown[key]) shown[key] = 'removed'
  return shown as unknown as Format
}

/** What of this volume we cannot honour, by the names of its features; a client that mounted it all the same would write
 *  what others cannot read, or leave out what others rely on (design.md, trap h). */
export function unsupportedFeatures(format: Format, readOnly: boolean): string[] {
  const found: string[] = []
  if (format.EncryptKey && format.EncryptAlgo === 'sm4gcm') found.push('encryption of data by sm4gcm (EncryptAlgo)')
  if (readOnly) return found
  if (format.ChangeLog) found.push('the metadata change log (ChangeLog)')
  if (format.RangerRestUrl || format.RangerService) found.push('Ranger access control')
  if (format.KerbConf) found.push('Kerberos')
  if (Object.keys(format.Tiers ?? {}).some(id => id !== '0')) found.push('storage tiers (Tiers)')
  for (const [key, value] of Object.entries(format))
    if (!known.has(key) && value) found.push(`the unknown setting ${key}`)
  return found
}

/** Faults where the records of this volume are laid out in a way that this client does not know. */
export function checkMetaVersion(format: Format): void {
  if ((format.MetaVersion ?? 0) > MAX_META_VERSION) {
    throw new Fault(`incompatible metadata version: ${format.MetaVersion}; please upgrade the client`, {
      errno: ENOTSUP,
    })
  }
}

/** Faults where this volume must not be used by a client of this version (spec meta-setting, "Compatibility checks"). */
export function checkCompatible(format: Format, clientVersion: string): void {
  checkMetaVersion(format)
  const ours = parseVersion(clientVersion)
  const [lowest, highest] = [limitOf(format.MinClientVersion), limitOf(format.MaxClientVersion)]
  if (lowest && compareVersions(ours, lowest) < 0) {
    throw new Fault(`allowed minimum version: ${format.MinClientVersion}; please upgrade the client`, {
      errno: ENOTSUP,
    })
  }
  if (highest && compareVersions(ours, highest) > 0) {
    throw new Fault(`allowed maximum version: ${format.MaxClientVersion}; please use an older client`, {
      errno: ENOTSUP,
    })
  }
}

const limitOf = (text: string | undefined): Version | null => (text ? parseVersion(text) : null)

export interface Version {
  readonly numbers: readonly [major: number, minor: number, patch: number]
  /** '' for a release, which is newer than each of its pre-releases */
  readonly pre: string
}

/** `major[.minor[.patch]][-pre][+build]`; the build is ignored. Fault (EINVAL) for anything else. */
export function parseVersion(text: string): Version {
  const match = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:-([^+]*))?(?:\+.*)?$/.exec(text)
  if (!match) throw new Fault(`Invalid version string: ${text}`, { errno: EINVAL })
  return { numbers: [Number(match[1]), Number(match[2] ?? 0), Number(match[3] ?? 0)], pre: match[4] ?? '' }
}

/** Negative: a is older than b. */
export function compareVersions(a: Version, b: Version): number {
  for (let i = 0; i < 3; i++) {
    const difference = a.numbers[i]! - b.numbers[i]!
    if (difference !== 0) return difference
  }
  if (a.pre === b.pre) return 0
  if (a.pre === '' || b.pre === '') return a.pre === '' ? 1 : -1
  return a.pre < b.pre ? -1 : 1
}
