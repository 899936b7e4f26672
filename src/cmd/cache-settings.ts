/** From the flags of `mount` about the disk cache and write-back to what the chunk room wants to know (spec disk-cache section 1). */

import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { splitCacheDirs } from '../chunk/cache-paths.ts'
import { DEFAULT_HEALTH, type HealthLimits } from '../chunk/disk-health.ts'
import type { CacheOptions } from '../chunk/store.ts'
import { parseUploadHours } from '../chunk/upload-hours.ts'
import type { WritebackOptions } from '../chunk/write-back.ts'
import { CommandError } from './exit.ts'
import type { Options } from './flags.ts'
import { parseDurationMs } from './values.ts'

type Warn = (message: string) => void

const MEMORY = 'memory'
const DEFAULT_FREE_RATIO = 0.1

export function cacheSettings(options: Options, warn: Warn): Omit<CacheOptions, 'uuid'> {
  const ratio = options.number('free-space-ratio')
  if (!(ratio >= 0 && ratio < 1))
    throw new CommandError(`Invalid value "${ratio}" for "free-space-ratio": must be below 1`)
  const expireMs = options.number('cache-expire')
  const dropPages = (process.env.JFS_DROP_OSCACHE ?? '') !== ''
  return {
    dir: cacheDirOf(options),
    sizeBytes: options.number('cache-size'),
    items: options.number('cache-items'),
    freeSpaceRatio: ratio || DEFAULT_FREE_RATIO,
    mode: options.number('cache-mode'),
    partialOnly: options.bool('cache-partial-only'),
    largeWrite: options.bool('cache-large-write'),
    verifyChecksum: verifyLevelOf(options.string('verify-cache-checksum'), warn),
    eviction: evictionOf(options.string('cache-eviction')),
    scanIntervalMs: options.number('cache-scan-interval'),
    expireMs: expireMs > 0 ? Math.max(1000, expireMs) : 0,
    health: healthLimits(),
    dropPages,
    // Who names a directory wants his blocks there.
    inPlace: options.string('cache-dir') === '' && !dropPages,
  }
}

/** Staging needs a disk: without one it is left out, and `warn` is told. */
export function writebackSettings(
  options: Options,
  cache: Omit<CacheOptions, 'uuid'>,
  readOnly: boolean,
  warn: Warn,
): WritebackOptions {
  const wanted = options.bool('writeback')
  const hasDisk = cache.sizeBytes > 0 && cache.dir !== MEMORY
  if (wanted && !hasDisk) warn('--writeback needs a cache directory on a disk: blocks are uploaded at once')
  const hours = options.string('upload-hours')
  const uploadHours = parseUploadHours(hours)
  if (hours !== '' && uploadHours === null) warn(`--upload-hours ${hours} is no span such as 22-6, ignored`)
  if (!wanted) {
    for (const flag of ['upload-delay', 'upload-hours', 'writeback-threshold-size']) {
      if (options.given(flag)) warn(`--${flag} has no effect without --writeback`)
    }
  }
  const isOn = wanted && hasDisk && !readOnly
  return {
    isOn,
    thresholdBytes: options.number('writeback-threshold-size'),
    uploadDelayMs: isOn ? Math.max(0, options.number('upload-delay')) : 0,
    uploadHours: isOn ? uploadHours : null,
    maxStageWrites: options.number('max-stage-write'),
    readOnly,
  }
}

/** Absolute, since the serving process has another working directory; several joined as they were. */
function cacheDirOf(options: Options): string {
  const text =
    options.string('cache-dir') || (process.getuid?.() === 0 ? '/var/jfsCache' : `${homedir()}/.juicefs/cache`)
  if (text === MEMORY) return text
  const absolute = splitCacheDirs(text).map(path => resolve(path.replace(/^~(?=\/|$)/, homedir())))
  if (absolute.length === 0) throw new CommandError(`Invalid value "${text}" for "cache-dir": no directory`)
  return absolute.join(text.includes(':') ? ':' : ',')
}

function verifyLevelOf(text: string, warn: Warn): CacheOptions['verifyChecksum'] {
  if (text === 'none' || text === 'full' || text === 'shrink' || text === 'extend') return text
  warn(`unknown verify-cache-checksum "${text}", use extend`)
  return 'extend'
}

function evictionOf(text: string): CacheOptions['eviction'] {
  if (text === 'none' || text === '2-random' || text === 'lru') return text
  throw new CommandError(`Invalid value "${text}" for "cache-eviction": must be one of none, 2-random, lru`)
}

function healthLimits(): HealthLimits {
  const { env } = process
  const numberOf = (name: string, fallback: number): number => {
    const value = Number(env[name] || Number.NaN)
    return value >= 0 ? value : fallback
  }
  const durationOf = (name: string, fallback: number): number => {
    const ms = parseDurationMs(env[name] ?? '')
    return ms !== null && ms > 0 ? ms : fallback
  }
  return {
    maxIoMs: durationOf('JFS_MAX_IO_DURATION', DEFAULT_HEALTH.maxIoMs),
    maxErrorPercent: numberOf('JFS_MAX_IO_ERR_PERCENTAGE', DEFAULT_HEALTH.maxErrorPercent),
    unstableToDownMs: durationOf('JFS_MAX_DURATION_TO_DOWN', DEFAULT_HEALTH.unstableToDownMs),
    unstableConcurrency: numberOf('JFS_MAX_CONCURRENCY_FOR_UNSTABLE', DEFAULT_HEALTH.unstableConcurrency),
  }
}
