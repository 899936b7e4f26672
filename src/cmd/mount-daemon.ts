/** The serving process: of its own with `mount -d`, the command itself in foreground. One process a mount; nobody restarts it
 *  (a supervisor is not built: docs/commands.md). */

import { setFlagsFromString } from 'node:v8'
import { type Level, type Log, openLog } from '../base/log.ts'
import { disableHugePages, raiseLimits } from '../fuse/native-addon.ts'
import { EXIT_VOLUME_GONE, messageOf } from './exit.ts'
import type { MountSettings } from './mount-settings.ts'
import { startMount } from './serve-mount.ts'
import { openSyslog } from './syslog.ts'
import { writeLog } from './terminal-log.ts'

/** after a signal: how long open files may keep the process, then it flushes and ends */
const LINGER_MS = 30_000
const OPEN_FILES = 100_000

/** From the command to its background process, over the channel. */
export interface DaemonOrder {
  readonly settings: MountSettings
  readonly title: string
  readonly log: { readonly level: Level; readonly id: string; readonly syslog: boolean }
}
/** Back again. */
export type DaemonNews =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'opened'; readonly store: string }
  | { readonly kind: 'ready'; readonly volumeName: string }
  | { readonly kind: 'failed'; readonly message: string }

/** V8 answers every 32 MiB of new blocks with a collection of the whole heap (a fifth of the time of a big read), unless they
 *  count towards the limit of the heap as objects do: then the quick collections of young objects take them. A flag of the
 *  runtime that comes along; an older one does without. */
function collectBlocksYoung(): void {
  if (Number.parseInt(process.versions.node, 10) >= 24)
    setFlagsFromString('--external-memory-accounted-in-global-limit')
}

/** Serves until it is unmounted or told to end; returns the exit code. */
export async function serve(
  settings: MountSettings,
  log: Log,
  told: { readonly onOpened: (store: string) => void; readonly onReady: (volumeName: string) => void },
): Promise<number> {
  raiseLimits(OPEN_FILES)
  if (!settings.hugePages && !disableHugePages())
    log.warn('transparent huge pages stay: switching them off takes the native addon and a kernel that can')
  collectBlocksYoung()
  // A broken job must not end the mount: whoever depends on it gets an error, the log the stack.
  const survive = (error: unknown): void =>
    log.error(error instanceof Error ? (error.stack ?? error.message) : String(error))
  const mount = await startMount(settings, log, { onOpened: told.onOpened })
  process.on('uncaughtException', survive).on('unhandledRejection', survive)
  let isEnding = false
  let linger: (() => void) | undefined
  const lingered = new Promise<void>(resolve => {
    linger = resolve
  })
  const end = (signal: string): void => {
    if (isEnding) {
      linger?.()
      return
    }
    isEnding = true
    log.info(`Received signal ${signal}, exiting...`)
    mount.unmount().catch(error => log.error(`umount ${settings.mountPoint}: ${messageOf(error)}`))
    setTimeout(() => {
      log.warn(`files are still open ${LINGER_MS / 1000} seconds after the unmount: flushing and exiting`)
      linger?.()
    }, LINGER_MS).unref()
  }
  process.on('SIGTERM', () => end('SIGTERM')).on('SIGINT', () => end('SIGINT'))
  process.on('SIGHUP', () => {
    log.info('Received signal SIGHUP, flushing')
    mount.flush().catch(survive)
  })
  told.onReady(mount.volumeName)
  await Promise.race([mount.ended, lingered])
  await mount.close()
  log.info(`The juicefs mount process exit successfully, mountpoint: "${settings.mountPoint}"`)
  return mount.isVolumeGone ? EXIT_VOLUME_GONE : 0
}

/** Started by `mount -d`: the order comes over the channel, standard output and error are the log file. */
async function runInBackground({ settings, title, log: wanted }: DaemonOrder): Promise<number> {
  process.title = title
  const syslog = wanted.syslog ? openSyslog() : null
  const log = openLog({
    level: wanted.level,
    colour: false,
    id: wanted.id,
    write: line => {
      writeLog(line)
      syslog?.(line)
    },
  })
  try {
    return await serve(settings, log, {
      onOpened: store => void tell({ kind: 'opened', store }),
      onReady: volumeName => {
        tell({ kind: 'ready', volumeName }).then(() => process.connected && process.disconnect())
      },
    })
  } catch (error) {
    log.fatal(messageOf(error))
    await tell({ kind: 'failed', message: messageOf(error) })
    return 1
  }
}

/** The command that started us may be gone; the mount goes on without it. */
function tell(news: DaemonNews): Promise<void> {
  return new Promise(resolve => {
    if (process.connected && process.send) process.send(news, undefined, undefined, () => resolve())
    else resolve()
  })
}

if (import.meta.main) {
  process.once('message', (order: DaemonOrder) => {
    runInBackground(order).then(
      code => process.exit(code),
      error => {
        writeLog(`${error instanceof Error ? error.stack : error}\n`)
        process.exit(1)
      },
    )
  })
  void tell({ kind: 'waiting' })
}
