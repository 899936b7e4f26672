/** Attaching to the kernel's tree (spec vfs section 11.1).
 *
 *  root, addon     open /dev/fuse, mount(2)
 *  root, no addon  open /dev/fuse, mount(8) with the descriptor inherited
 *  others          fusermount3 mounts and hands the descriptor over a socket (addon only) */

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { EINVAL, EIO, ENOENT, type Errno, errnoOf, errnoText } from '../base/errno.ts'
import { causeText, Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { FUSE_TYPE } from './constants.ts'
import { ThreadPoolTransport } from './fs-transport.ts'
import { type NativeFuse, nativeFuse } from './native-addon.ts'
import { NativeTransport } from './native-transport.ts'
import type { FuseTransport } from './transport.ts'
import { unmountFuse } from './unmount.ts'

export interface MountOptions {
  readonly mountPoint: string
  /** what the mount table shows as the device: `JuiceFS:<volume>` */
  readonly source: string
  /** the `-o` list, split at commas */
  readonly options: readonly string[]
  readonly allowOther: boolean
  readonly defaultPermissions: boolean
  /** bytes of the largest write request */
  readonly maxWrite: number
  readonly log: Log
}

const SUBTYPE = FUSE_TYPE.slice(FUSE_TYPE.indexOf('.') + 1)
/** Answered by us, or said in INIT; the kernel would refuse them as options of a mount. */
const OURS = new Set([
  'allow_other',
  'allow_root',
  'default_permissions',
  'nonempty',
  'ro',
  'rw',
  'debug',
  'writeback_cache',
  'async_dio',
  'nosuid',
  'nodev',
])

/** Options that mount(2) takes as flags (linux/mount.h) and would refuse in its data. What they switch off is off without them. */
const FLAGS: Readonly<Record<string, number>> = {
  sync: 0x10,
  dirsync: 0x80,
  noexec: 0x08,
  noatime: 0x400,
  nodiratime: 0x800,
  relatime: 0x20_0000,
  strictatime: 0x100_0000,
  lazytime: 0x200_0000,
  async: 0,
  exec: 0,
  atime: 0,
  diratime: 0,
  norelatime: 0,
  nostrictatime: 0,
  nolazytime: 0,
}

/** Mounts, and returns the way to serve it; a Fault of one line when it cannot. A mount that a killed process left behind at
 *  this place is detached first. `/dev/fd/N` is a descriptor of /dev/fuse that somebody else has mounted. */
export async function mountFuse(options: MountOptions): Promise<FuseTransport> {
  const addon = nativeFuse()
  const inherited = /^\/dev\/fd\/(\d+)$/.exec(options.mountPoint)
  if (inherited) return transportOn(addon, Number(inherited[1]), null, options)
  const mountPoint = await resolveMountPoint(options.mountPoint)
  const isRoot = process.getuid?.() === 0
  if (!addon && !isRoot)
    throw new Fault(`mount ${mountPoint}: without the native addon only root can mount: run \`npm run setup\``, {
      errno: EINVAL,
    })
  let fd: number
  if (!isRoot) fd = mountByHelper(addon!, mountPoint, options)
  else if (addon) fd = mountDirectly(addon, mountPoint, options)
  else fd = mountByCommand(mountPoint, options)
  return transportOn(addon, fd, mountPoint, options)
}

function transportOn(
  addon: NativeFuse | null,
  fd: number,
  mountPoint: string | null,
  { maxWrite, log }: MountOptions,
): FuseTransport {
  if (!addon) {
    log.warn(
      'without the native addon: serving through the thread pool, at a quarter of the speed; `npm run setup` builds it',
    )
    return new ThreadPoolTransport(fd, maxWrite, mountPoint)
  }
  const failed = addon.prepareDescriptor(fd)
  if (failed < 0) throw new Fault(`prepare the FUSE descriptor: ${errnoText(-failed)}`, { errno: -failed as Errno })
  return new NativeTransport(addon, fd, maxWrite, mountPoint)
}

/** Absolute, without symbolic links, as the mount table will show it. */
async function resolveMountPoint(given: string): Promise<string> {
  try {
    return fs.realpathSync(given)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code !== 'ENOTCONN' && code !== 'ECONNABORTED')
      throw new Fault(`mount point ${given}`, { errno: errnoOf(error), cause: error })
  }
  await unmountFuse(given, { lazy: true })
  return fs.realpathSync(given)
}

/** Options of mount(2), `passed` those typed. */
function dataOf(fd: number, options: MountOptions, passed: readonly string[]): string {
  const parts = [
    `fd=${fd}`,
    'rootmode=40000',
    `user_id=${process.getuid?.() ?? 0}`,
    `group_id=${process.getgid?.() ?? 0}`,
    `max_read=${options.maxWrite}`,
    ...passed,
  ]
  if (options.defaultPermissions) parts.push('default_permissions')
  if (options.allowOther) parts.push('allow_other')
  return parts.join(',')
}
const passedOn = ({ options }: MountOptions): string[] => options.filter(option => option !== '' && !OURS.has(option))

function mountDirectly(addon: NativeFuse, mountPoint: string, options: MountOptions): number {
  const fd = addon.openDevice()
  if (fd < 0) throw new Fault(`open /dev/fuse: ${errnoText(-fd)}`, { errno: -fd as Errno })
  const typed = passedOn(options)
  const flags = typed.reduce((sum, option) => sum | (FLAGS[option] ?? 0), 0)
  const data = dataOf(
    fd,
    options,
    typed.filter(option => !Object.hasOwn(FLAGS, option)),
  )
  const failed = addon.mount(options.source, mountPoint, FUSE_TYPE, flags, data)
  if (failed < 0) {
    fs.closeSync(fd)
    // The kernel does not say which.
    const asked =
      -failed === EINVAL && typed.length > 0 ? ` (is one of these no option of FUSE: ${typed.join(',')}?)` : ''
    throw new Fault(`mount ${mountPoint}: ${errnoText(-failed)}${asked}`, { errno: -failed as Errno })
  }
  return fd
}

function mountByCommand(mountPoint: string, options: MountOptions): number {
  let fd: number
  try {
    fd = fs.openSync('/dev/fuse', fs.constants.O_RDWR)
  } catch (error) {
    throw new Fault('open /dev/fuse', { errno: errnoOf(error), cause: error })
  }
  // The device is descriptor 3 of mount(8); the number is only looked up while mount(2) runs.
  const list = `nosuid,nodev,${dataOf(3, options, passedOn(options))}`
  const ran = spawnSync('mount', ['-i', '-t', FUSE_TYPE, '-o', list, options.source, mountPoint], {
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe', fd],
  })
  if (ran.error || ran.status !== 0) {
    fs.closeSync(fd)
    throw new Fault(`mount ${mountPoint}: ${ran.error ? causeText(ran.error) : ran.stderr.trim()}`)
  }
  return fd
}

function mountByHelper(addon: NativeFuse, mountPoint: string, options: MountOptions): number {
  const pair = addon.socketPair()
  if (typeof pair === 'number') throw new Fault(`make a socket pair: ${errnoText(-pair)}`, { errno: -pair as Errno })
  const [ours, theirs] = pair
  const list = [
    ...passedOn(options),
    ...(options.defaultPermissions ? ['default_permissions'] : []),
    ...(options.allowOther ? ['allow_other'] : []),
    `fsname=${escapeOption(options.source)}`,
    `subtype=${SUBTYPE}`,
    `max_read=${options.maxWrite}`,
    'nosuid',
    'nodev',
  ].join(',')
  let problem = 'neither fusermount3 nor fusermount was found'
  try {
    for (const helper of ['fusermount3', 'fusermount']) {
      const ran = spawnSync(helper, ['-o', list, '--', mountPoint], {
        encoding: 'utf8',
        env: { ...process.env, _FUSE_COMMFD: '3' },
        stdio: ['ignore', 'ignore', 'pipe', theirs],
      })
      if (ran.error && errnoOf(ran.error) === ENOENT) continue
      if (ran.status === 0) {
        const fd = addon.receiveDescriptor(ours)
        if (fd >= 0) return fd
        problem = `${helper} sent no descriptor: ${errnoText(-fd)}`
      } else problem = ran.stderr?.trim() || `${helper}: status ${ran.status}`
      break
    }
  } finally {
    fs.closeSync(ours)
    fs.closeSync(theirs)
  }
  throw new Fault(`mount ${mountPoint}: ${problem}`, { errno: EIO })
}

const escapeOption = (text: string): string => text.replace(/[\\,]/g, character => `\\${character}`)
