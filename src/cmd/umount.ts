/** `umount MOUNTPOINT`: takes a mount of ours away, and waits until the process that served it has written everything and
 *  ended, so that the next command finds the volume closed. */

import { lstatSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf } from '../base/call.ts'
import { FUSE_TYPE } from '../fuse/constants.ts'
import { unmountFuse } from '../fuse/unmount.ts'
import { CommandError, EXIT_FAILED, messageOf } from './exit.ts'
import type { Options } from './flags.ts'
import { bytesText } from './humanize.ts'
import { mountAt, readMounts } from './mount-table.ts'
import { canonicalPath } from './paths.ts'
import { parseStats, readConfig, readInternal, waitForEnd } from './running-mount.ts'
import { log as terminalLog } from './terminal-log.ts'

const END_MS = 30_000
/** Whoever forces expects files to be open, and their mount to live on until they are closed. */
const FORCED_END_MS = 2000
/** how long a living mount may say nothing while it is waited for */
const SILENCE_MS = 60_000
const STAGED = 'juicefs_staging_block_bytes'

export async function run(options: Options, [path = '']: readonly string[]): Promise<number> {
  const { mountPoint, device } = ours(path)
  const config = await readConfig(mountPoint)
  let isFlushed = true
  if (options.bool('flush')) {
    if (!config) throw new CommandError('not a JuiceFS mount point')
    // Without write-back there may be what an earlier mount has left.
    if (config.Chunk?.Writeback || (await stagedBytes(mountPoint)))
      isFlushed = await waitForStaged(mountPoint, config.Pid)
  }
  // Bound to other places too: then its process goes on. Asked now, since the number is free for others afterwards.
  const isElsewhere = readMounts().filter(mount => mount.device === device).length > 1
  const isForced = options.bool('force')
  await unmountFuse(mountPoint, { lazy: isForced })
  const limitMs = isForced ? FORCED_END_MS : END_MS
  if (config?.Pid && !isElsewhere && !(await waitForEnd(config.Pid, limitMs))) {
    terminalLog().warn(
      `${mountPoint} is unmounted, but process ${config.Pid} has not ended yet: files are still open or being written`,
    )
  }
  return isFlushed ? 0 : EXIT_FAILED
}

/** The path as mounted, and the number of the mount. CommandError where nothing of ours is mounted there. */
function ours(path: string): { readonly mountPoint: string; readonly device: string } {
  let mountPoint: string
  try {
    mountPoint = canonicalPath(path)
  } catch (error) {
    throw new CommandError(messageOf(error))
  }
  const mount = mountAt(mountPoint)
  if (mount?.type === FUSE_TYPE) return { mountPoint, device: mount.device }
  try {
    lstatSync(mountPoint)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') throw new CommandError(`${path}: no such file or directory`)
  }
  throw new CommandError(`${path} is not a JuiceFS mount point`)
}

/** Waits for a client to have uploaded what is staged, as long as it lives and answers now and then. False where something is left:
 *  who takes the machine away next must hear of it. */
async function waitForStaged(mountPoint: string, pid: number | undefined): Promise<boolean> {
  const start = performance.now()
  const first = await askedAgain(mountPoint, pid)
  let left = first
  while (left !== null && left > 0) {
    const speed = ((first ?? 0) - left) / ((performance.now() - start) / 1000 || 1)
    const eta = speed > 0 ? `${Math.ceil(left / speed)}s` : '?'
    process.stdout.write(
      `\r${bytesText(left)} staging chunks are being flushed... ${bytesText(Math.round(speed))}/s, left ${eta}`,
    )
    await sleep(1000)
    const now = await askedAgain(mountPoint, pid)
    if (now === null) break
    left = now
  }
  const outcome =
    left === 0 ? 'All staging chunks are flushed' : `${bytesText(left ?? 0)} staging chunks are not flushed`
  process.stdout.write(`\r${' '.repeat(77)}\r${outcome}\n`)
  return left === 0
}

/** A mount that is busy may be silent for a while; null where it is dead, or has been silent for too long. */
async function askedAgain(mountPoint: string, pid: number | undefined): Promise<number | null> {
  const deadline = performance.now() + SILENCE_MS
  for (;;) {
    const bytes = await stagedBytes(mountPoint)
    const isDead = pid === undefined || (await waitForEnd(pid, 0))
    if (bytes !== null || isDead || performance.now() > deadline) return bytes
    await sleep(200)
  }
}

async function stagedBytes(mountPoint: string): Promise<number | null> {
  const stats = await readInternal(mountPoint, 'stats')
  return stats === null ? null : (parseStats(stats).get(STAGED) ?? 0)
}
