/** From the flags of `mount` to what the rooms want to know. The result is plain data: the background process gets it as JSON
 *  over a channel, so that no secret stands in its argv. */

import type { CacheOptions } from '../chunk/store.ts'
import type { WritebackOptions } from '../chunk/write-back.ts'
import type { MetaConfig } from '../meta/client.ts'
import type { Identity, VfsConfig } from '../vfs/config.ts'
import { cacheSettings, writebackSettings } from './cache-settings.ts'
import { CommandError } from './exit.ts'
import type { Options } from './flags.ts'
import { bytesText } from './humanize.ts'
import { parseMetaUrl } from './meta-url.ts'
import { checkTag } from './values.ts'
import { OUR_VERSION } from './version.ts'

export interface MountSettings {
  readonly metaUrl: string
  /** of the database file; null where the database is a server */
  readonly metaPath: string | null
  readonly mountPoint: string
  readonly meta: MetaConfig
  /** without what the volume decides; null: eight of its blocks */
  readonly vfs: Omit<VfsConfig, 'blockBytes' | 'acl' | 'subdirRoot' | 'maxReadaheadBytes'> & {
    readonly maxReadaheadBytes: number | null
  }
  readonly cache: Omit<CacheOptions, 'uuid'>
  readonly writeback: WritebackOptions
  readonly chunk: {
    readonly maxUploads: number
    readonly maxDownloads: number
    readonly getTimeoutMs: number
    readonly putTimeoutMs: number
    readonly prefetch: number
  }
  /** 0 = objects are not deleted by this client */
  readonly maxDeletes: number
  /** override the setting for this client */
  readonly storage: string | null
  readonly bucket: string | null
  readonly storageClass: string | null
  readonly tag: string | null
  /** 0 = the volume's */
  readonly limits: { readonly uploadMbps: number; readonly downloadMbps: number }
  readonly subdir: string
  readonly checkStorage: boolean
  /** transparent ones, of the kernel */
  readonly hugePages: boolean
  readonly fuse: FuseSettings
  readonly metrics: MetricsSettings
  /** address of the agent to register the metrics at; null = none */
  readonly consul: string | null
}

export interface FuseSettings {
  /** for mount(2), as typed */
  readonly options: readonly string[]
  readonly allowOther: boolean
  readonly writebackCache: boolean
  readonly asyncDio: boolean
  /** instead of `JuiceFS:<volume>` in the mount table */
  readonly source: string | null
  readonly sourcePrefix: string
}

export interface MetricsSettings {
  readonly host: string
  readonly port: number
  /** typed, not the default: a busy port is then an error instead of another port */
  readonly isGiven: boolean
  readonly labels: Readonly<Record<string, string>>
}

const MINUTE_MS = 60_000
const LARGEST_FUSE_IO = 1 << 20
const PAGE = 4096
const NOBODY = 65534

/** `warn` is told what is changed or left out. CommandError on values that cannot be meant. */
export function mountSettings(
  options: Options,
  metaUrl: string,
  mountPoint: string,
  warn: (message: string) => void,
): MountSettings {
  const { url, path } = parseMetaUrl(metaUrl)
  const o = splitFuseOptions(options.string('o'))
  const readOnly = options.bool('read-only') || o.readOnly
  warnOfBackups(options, readOnly, warn)
  if (options.number('max-deletes') === 0) warn('--max-deletes 0: this client deletes no objects')
  const cache = cacheSettings(options, warn)
  const bufferBytes = options.number('buffer-size')
  if (bufferBytes < 8 << 20)
    throw new CommandError(`--buffer-size ${bytesText(bufferBytes)} is too small: 8M is the least`)
  const atimeMode = atimeModeOf(options.string('atime-mode'), warn)
  const ioRetries = options.number('io-retries')
  const allSquash = identityOf(options, 'all-squash', warn)
  const interfaces = options.string('network-interfaces').split(',').filter(Boolean)

  return {
    metaUrl: url,
    metaPath: path,
    mountPoint,
    meta: {
      readOnly,
      noBackgroundJobs: options.bool('no-bgjob'),
      heartbeatMs: heartbeatOf(options, warn),
      skipDirMtimeNs: options.number('skip-dir-mtime') * 1e6,
      atimeMode,
      openCacheMs: options.number('open-cache'),
      openCacheLimit: options.number('open-cache-limit'),
      mountPoint,
      version: OUR_VERSION,
      ...(interfaces.length > 0 ? { networkInterfaces: interfaces } : {}),
    },
    vfs: {
      bufferBytes,
      maxReadaheadBytes: options.given('max-readahead') ? options.number('max-readahead') : null,
      maxFuseIo: fuseIoOf(options),
      ioRetries,
      timeouts: {
        attr: options.number('attr-cache') / 1000,
        entry: options.number('entry-cache') / 1000,
        dirEntry: options.number('dir-entry-cache') / 1000,
        negativeEntry: options.number('negative-entry-cache') / 1000,
      },
      enableXattr: options.bool('enable-xattr') || options.bool('enable-cap') || options.bool('enable-selinux'),
      enableIoctl: options.bool('enable-ioctl'),
      enableCap: options.bool('enable-cap'),
      enableSelinux: options.bool('enable-selinux'),
      readdirCache: options.bool('readdir-cache'),
      hideInternal: options.bool('hide-internal'),
      prefixInternal: options.bool('prefix-internal'),
      directIo: o.directIo,
      umask: options.given('umask') ? options.number('umask') & 0o777 : null,
      rootSquash: allSquash ? null : identityOf(options, 'root-squash', warn),
      allSquash,
      checkPermissions: options.bool('non-default-permission'),
      atimeMode,
      readOnly,
    },
    cache,
    writeback: writebackSettings(options, cache, readOnly, warn),
    chunk: {
      maxUploads: atLeastOne(options, 'max-uploads'),
      maxDownloads: atLeastOne(options, 'max-downloads'),
      getTimeoutMs: timeoutOf(options, 'get-timeout'),
      putTimeoutMs: timeoutOf(options, 'put-timeout'),
      prefetch: options.number('prefetch'),
    },
    maxDeletes: options.number('max-deletes'),
    storage: options.given('storage') ? options.string('storage').toLowerCase() : null,
    bucket: options.given('bucket') ? options.string('bucket') : null,
    storageClass: options.given('storage-class') ? options.string('storage-class') : null,
    tag: options.given('tag') ? checkTag(options.string('tag')) : null,
    limits: { uploadMbps: options.number('upload-limit'), downloadMbps: options.number('download-limit') },
    subdir: options.string('subdir'),
    checkStorage: options.bool('check-storage'),
    hugePages: !options.bool('disable-transparent-hugepage'),
    fuse: {
      options: o.forKernel,
      allowOther: o.allowOther || process.getuid?.() === 0,
      writebackCache: o.writebackCache,
      asyncDio: o.asyncDio,
      source: o.fsname,
      sourcePrefix: process.env.FSTAB_NAME_PREFIX ?? 'JuiceFS:',
    },
    metrics: metricsOf(options),
    consul: options.given('consul') ? options.string('consul') : null,
  }
}

interface SplitOptions {
  readonly forKernel: readonly string[]
  readonly readOnly: boolean
  readonly allowOther: boolean
  readonly writebackCache: boolean
  readonly asyncDio: boolean
  readonly directIo: boolean
  readonly fsname: string | null
}

/** `-o a,b=c`: what concerns us, and the rest for mount(2) (spec vfs section 11.1). `ro` refuses changes here; the kernel's mount
 *  stays rw, as the reference does it. */
export function splitFuseOptions(text: string): SplitOptions {
  const all = text.split(',').filter(Boolean)
  const has = (name: string): boolean => all.includes(name)
  const ours = new Set(
    'ro rw nonempty debug defaults allow_other allow_root writeback_cache async_dio direct_io default_permissions'.split(
      ' ',
    ),
  )
  return {
    forKernel: all.filter(option => !ours.has(option) && !option.startsWith('fsname=')),
    readOnly: has('ro'),
    allowOther: has('allow_other') || has('allow_root'),
    writebackCache: has('writeback_cache'),
    asyncDio: has('async_dio'),
    directIo: has('direct_io'),
    fsname: all.find(option => option.startsWith('fsname='))?.slice('fsname='.length) ?? null,
  }
}

/** `uid:gid`, or one of them: what is missing is nobody, and so is root, which is nobody's mask. */
function identityOf(options: Options, flag: string, warn: (message: string) => void): Identity | null {
  const text = options.string(flag)
  if (text === '') return null
  const match = /^(\d{1,10})?(?::(\d{1,10})?)?$/.exec(text)
  if (!match) throw new CommandError(`Invalid value "${text}" for "${flag}": must be uid:gid`)
  const numberOf = (digits: string | undefined, what: string): number => {
    if (digits === undefined) return NOBODY
    if (Number(digits) !== 0) return Number(digits)
    warn(`Can't map ${what} as 0, use ${NOBODY} instead`)
    return NOBODY
  }
  return { uid: numberOf(match[1], 'uid'), gid: numberOf(match[2], 'gid') }
}

function warnOfBackups(options: Options, readOnly: boolean, warn: (message: string) => void): void {
  const ms = options.number('backup-meta')
  if (ms <= 0) return
  if (ms < 5 * MINUTE_MS && process.env.SKIP_BACKUP_META_CHECK !== 'true') {
    throw new CommandError(`backup-meta should not be less than 5 minutes: ${options.number('backup-meta') / 1000}s`)
  }
  if (readOnly || options.bool('no-bgjob')) return
  warn(
    'Automatic backups of the metadata are not supported yet: copy the database yourself (--backup-meta 0 hides this warning)',
  )
}

function heartbeatOf(options: Options, warn: (message: string) => void): number {
  const ms = options.number('heartbeat')
  const clamped = Math.min(Math.max(ms, 1000), 10 * MINUTE_MS)
  if (clamped !== ms) warn(`heartbeat should be between 1 second and 10 minutes, use ${clamped / 1000}s instead`)
  return clamped
}

function atimeModeOf(text: string, warn: (message: string) => void): 'noatime' | 'relatime' | 'strictatime' {
  if (text === 'noatime' || text === 'relatime' || text === 'strictatime') return text
  warn(`unknown atime-mode "${text}", use noatime`)
  return 'noatime'
}

function fuseIoOf(options: Options): number {
  const bytes = options.number('max-fuse-io')
  return Math.max(PAGE, Math.floor(Math.min(bytes, LARGEST_FUSE_IO) / PAGE) * PAGE)
}

function atLeastOne(options: Options, flag: string): number {
  const value = options.number(flag)
  if (value < 1) throw new CommandError(`Invalid value "${value}" for "${flag}": must be at least 1`)
  return value
}

/** With no time at all every request would fail. */
function timeoutOf(options: Options, flag: string): number {
  const ms = options.number(flag)
  if (ms === 0) throw new CommandError(`Invalid value "${options.typed(flag)}" for "${flag}": must be more than 0`)
  return ms
}

function metricsOf(options: Options): MetricsSettings {
  const address = options.string('metrics')
  const match = /^(.*):(\d{1,5})$/.exec(address)
  if (!match) throw new CommandError(`metrics format error: ${address} is not host:port`)
  const labels: Record<string, string> = {}
  for (const pair of options.string('custom-labels').split(';').filter(Boolean)) {
    const [name, ...value] = pair.split(':')
    if (!name || value.length !== 1 || !/^[a-zA-Z_]\w*$/.test(name))
      throw new CommandError(`invalid custom label: ${pair}`)
    labels[name] = value[0]!
  }
  return { host: match[1] || '0.0.0.0', port: Number(match[2]), isGiven: options.given('metrics'), labels }
}
