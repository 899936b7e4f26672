/** Called by mount(8) as /sbin/mount.juicefs (spec cli section 11): its arguments as those of our own `mount -d`.
 *
 *      mount.juicefs SOURCE TARGET [-sfnv] [-N namespace] [-t type] [-o options]
 *
 *  Options of the entry that are flags of `mount` become flags, the rest goes to FUSE; what concerns mount(8) or the boot alone is
 *  dropped. */

import { CommandError } from './exit.ts'
import { GLOBAL_FLAGS, MOUNT_FLAGS } from './flag-tables.ts'

/** Said to mount(8) or to systemd, not to us. */
const DROPPED = new Set(
  '_netdev nofail rw defaults remount background auto noauto user nouser users owner group'.split(' '),
)
const RENAMED: Readonly<Record<string, string>> = {
  attrcacheto: 'attr-cache',
  entrycacheto: 'entry-cache',
  direntrycacheto: 'dir-entry-cache',
  debug: 'verbose',
}

/** The same command as the command line of `mount`, or null where too little is said. `isFake` (-f): check, do not mount. */
export function helperArguments(argv: readonly string[]): { readonly argv: string[]; readonly isFake: boolean } | null {
  const places: string[] = []
  const lists: string[] = []
  let isFake = false
  for (let i = 0; i < argv.length; i++) {
    const token = argv[i]!
    if (token === '-o') lists.push(argv[++i] ?? '')
    else if (token === '-N' || token === '-t') i++
    else if (/^-[sfnvr]+$/.test(token)) {
      isFake ||= token.includes('f')
      if (token.includes('r')) lists.push('ro')
    } else places.push(token)
  }
  const [metaUrl, mountPoint] = places
  if (metaUrl === undefined || mountPoint === undefined) return null
  const flags: string[] = []
  const forFuse: string[] = []
  for (const option of lists.flatMap(splitOptions)) {
    const [name, value] = splitOption(option)
    if (DROPPED.has(name) || /^x-/i.test(name)) continue
    const flag = [...MOUNT_FLAGS, ...GLOBAL_FLAGS].find(each => each.name === (RENAMED[name] ?? name))
    // `debug` is a flag of ours and an option of FUSE.
    if (!flag || flag.name === 'o' || name === 'debug') forFuse.push(option)
    if (!flag || flag.name === 'o') continue
    if (flag.kind !== 'bool' && value === undefined) throw new CommandError(`option ${name} requires a value`)
    flags.push(value === undefined ? `--${flag.name}` : `--${flag.name}=${value}`)
  }
  const fuse = forFuse.length > 0 ? ['-o', forFuse.join(',')] : []
  // mount(8) skips what is mounted by comparing the source, and ours is not the META-URL: `mount -a` comes here each time. Who asks
  // for a remount wants something to change, which takes an unmount.
  const isRemount = lists.flatMap(splitOptions).includes('remount')
  const again = isRemount ? [] : ['--skip-mounted']
  return { argv: ['mount', '-d', ...again, ...flags, ...fuse, metaUrl, mountPoint], isFake }
}

/** At commas, except inside double quotes. */
const splitOptions = (list: string): string[] => list.match(/(?:"[^"]*"|[^,"])+/g) ?? []

function splitOption(option: string): [name: string, value: string | undefined] {
  const equals = option.indexOf('=')
  if (equals < 0) return [option, undefined]
  return [option.slice(0, equals), option.slice(equals + 1).replace(/^"(.*)"$/, '$1')]
}
