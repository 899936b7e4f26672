/** `mount --update-fstab`: the mount comes back at the next boot (spec cli section 11).
 *
 *      <META-URL>  <mount point>  juicefs  _netdev,nofail,<options, sorted>  0 0
 *
 *  mount(8) hands an entry of type `juicefs` to /sbin/mount.juicefs, which is a link to our launcher (mount-helper.ts). */

import {
  chmodSync,
  chownSync,
  closeSync,
  fsyncSync,
  lstatSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeSync,
} from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { codeOf } from '../base/call.ts'
import type { Log } from '../base/log.ts'
import { messageOf } from './exit.ts'
import { MOUNT_FLAGS } from './flag-tables.ts'
import type { Options } from './flags.ts'

export interface FstabEntry {
  readonly metaUrl: string
  readonly mountPoint: string
  /** `name` or `name=value`, in their order */
  readonly options: readonly string[]
}
/** Where things lie; the tests have places of their own. */
export interface FstabPlaces {
  readonly fstab: string
  /** what mount(8) runs for entries of type juicefs */
  readonly helper: string
  readonly launcher: string
  /** files that stand in a container only: its table is nobody's */
  readonly containerMarks: readonly string[]
}

const SYSTEM_PLACES: FstabPlaces = {
  fstab: '/etc/fstab',
  helper: '/sbin/mount.juicefs',
  // The same two steps up from src/cmd and from dist/cmd.
  launcher: fileURLToPath(new URL('../../bin/juicefs-ts', import.meta.url)),
  containerMarks: ['/.dockerenv', '/run/.containerenv'],
}

const TYPE = 'juicefs'
/** how this mount was started, not what it is */
const NOT_KEPT = new Set(['update-fstab', 'background', 'foreground', 'force', 'skip-mounted', 'o'])
const PATHS = new Set(['cache-dir', 'log'])

/** Writes the entry, replacing the one of the same volume and mount point, and makes the helper's link. What cannot be done is a
 *  warning: the mount itself stands. */
export function keepInFstab(entry: FstabEntry, log: Log, places: FstabPlaces = SYSTEM_PLACES): void {
  const reason = refusal(places)
  if (reason !== null) {
    log.warn(reason)
    return
  }
  try {
    replaceEntry(places.fstab, entry)
    linkHelper(places, log)
    log.info(`Successfully updated fstab, now you can mount with \`mount "${entry.mountPoint}"\``)
  } catch (error) {
    log.warn(`failed to update ${places.fstab}: ${messageOf(error)}`)
  }
}

function refusal({ containerMarks }: FstabPlaces): string | null {
  if (process.getuid?.() !== 0) return '--update-fstab should be used with root'
  const isContainer = containerMarks.some(each => existing(each) !== null)
  return isContainer || process.env.JFS_INSIDE_CONTAINER ? '--update-fstab is ignored inside a container' : null
}

/** The options of an entry that mounts as this command line does. */
export function fstabOptions(options: Options): string[] {
  const kept = MOUNT_FLAGS.flatMap(({ name, kind }) => {
    const typed = NOT_KEPT.has(name) ? undefined : options.typed(name)
    if (typed === undefined) return []
    if (kind === 'bool') return [options.bool(name) ? name : `${name}=false`]
    return [`${name}=${quoted(PATHS.has(name) ? absolute(typed) : typed)}`]
  })
  const forKernel = options.string('o').split(',').filter(Boolean)
  return ['_netdev', 'nofail', ...kept.sort(), ...forKernel]
}

/** One line of the table, without a newline. */
export const fstabLine = ({ metaUrl, mountPoint, options }: FstabEntry): string =>
  `${escaped(metaUrl)}  ${escaped(mountPoint)}  ${TYPE}  ${escaped(options.join(','))}  0 0`

/** Through a file beside it: a crash leaves the old table or the new one. */
function replaceEntry(path: string, entry: FstabEntry): void {
  const target = existing(path)
  const text = target === null ? '' : readFileSync(target, 'utf8')
  const isOurs = (line: string): boolean => {
    const [source, mountPoint] = line.trim().split(/\s+/)
    return source === escaped(entry.metaUrl) && mountPoint === escaped(entry.mountPoint)
  }
  const lines = text.split('\n').filter(line => !isOurs(line))
  while (lines.at(-1) === '') lines.pop()
  const temporary = `${target ?? path}.tmp`
  const fd = openSync(temporary, 'w', 0o644)
  try {
    if (target !== null) {
      const { mode, uid, gid } = statSync(target)
      chmodSync(temporary, mode)
      chownSync(temporary, uid, gid)
    }
    writeSync(fd, [...lines, fstabLine(entry), ''].join('\n'))
    fsyncSync(fd)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  } finally {
    closeSync(fd)
  }
  renameSync(temporary, target ?? path)
}

/** The file itself behind symbolic links, or null where there is none yet. */
function existing(path: string): string | null {
  try {
    return realpathSync(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw error
  }
}

function linkHelper({ helper, launcher }: FstabPlaces, log: Log): void {
  try {
    lstatSync(helper)
  } catch {
    try {
      symlinkSync(launcher, helper)
    } catch (error) {
      log.warn(`failed to create ${helper}: ${messageOf(error)}`)
    }
    return
  }
  const points = existing(helper)
  if (points !== existing(launcher))
    log.warn(`${helper} is ${points === null ? 'a broken link' : points}: that is what will mount the entry`)
}

/** Several directories are separated by `:`, else by `,`. */
function absolute(paths: string): string {
  const separator = paths.includes(':') ? ':' : ','
  return paths
    .split(separator)
    .map(path => (path === 'memory' ? path : resolve(path)))
    .join(separator)
}

/** Commas separate options: mount(8) takes one inside double quotes for a part of the value. */
const quoted = (value: string): string => (value.includes(',') ? `"${value}"` : value)

/** Blanks and backslashes stand as octal (fstab(5)). */
const escaped = (field: string): string =>
  field.replace(/[\s\\#]/g, character => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`)
