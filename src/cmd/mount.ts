/** `mount META-URL MOUNTPOINT`: checks what can be checked from here, then serves in this process, or (`-d`) starts the serving
 *  process in a session of its own and waits until it says that the mount answers.
 *
 *      command                        serving process
 *         │ ── spawn (setsid, cwd /) ──► │
 *         │ ◄────── waiting ──────────── │      its argv shows no password:
 *         │ ─────── order ─────────────► │      the settings come over the channel
 *         │ ◄─ opened · ready | failed ─ │
 *         ▼ exit 0 | 1                   ▼ serves */

import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { addon } from '../base/addon.ts'
import { expandCacheDirs } from '../chunk/cache-paths.ts'
import { FUSE_TYPE } from '../fuse/constants.ts'
import { unmountFuse } from '../fuse/unmount.ts'
import { CommandError, messageOf } from './exit.ts'
import type { Options } from './flags.ts'
import { maskPassword } from './meta-url.ts'
import type { DaemonNews, DaemonOrder } from './mount-daemon.ts'
import { prepareMountPoint } from './mount-point.ts'
import { type MountSettings, mountSettings } from './mount-settings.ts'
import { mountAt } from './mount-table.ts'
import { isInside, makeDirectory } from './paths.ts'
import { readConfig } from './running-mount.ts'
import { loadFormat } from './setting.ts'
import { logTaste, log as terminalLog } from './terminal-log.ts'
import { openEngine } from './volume.ts'

const DEFAULT_TIMEOUT_SEC = 10
const DOT_MS = 500
/** for a serving process that was told to end to do so, before it is killed */
const GRACE_MS = 3000
const script = new URL(import.meta.url.endsWith('.ts') ? './mount-daemon.ts' : './mount-daemon.js', import.meta.url)

export async function run(options: Options, [metaUrl = '', path = '']: readonly string[]): Promise<number> {
  const log = terminalLog()
  const isBackground = options.bool('background') && !process.env.JFS_FOREGROUND
  const first = mountSettings(options, metaUrl, resolve(path), message => log.warn(message))
  if (options.bool('skip-mounted') && (await isMountedThere(metaUrl, path))) {
    log.info(`the volume is mounted at "${path}" already`)
    return 0
  }
  const mountPoint = await prepareMountPoint(path, { force: options.bool('force'), log })
  const settings: MountSettings = { ...first, mountPoint, meta: { ...first.meta, mountPoint } }
  const logFile = logFileOf(options)
  await refuseInside(settings, isBackground ? logFile : null)
  const title = `juicefs-ts mount ${maskPassword(settings.metaUrl)} ${mountPoint}`
  const keep = async (): Promise<void> => {
    if (!options.bool('update-fstab')) return
    const { fstabOptions, keepInFstab } = await import('./fstab.ts')
    keepInFstab({ metaUrl: settings.metaUrl, mountPoint, options: fstabOptions(options) }, log)
  }
  if (isBackground) {
    await startInBackground({ settings, title, log: { ...logTaste(), syslog: !options.bool('no-syslog') } }, logFile)
    await keep()
    return 0
  }
  process.title = title
  const { serve } = await import('./mount-daemon.ts')
  return serve(settings, log, {
    onOpened: () => undefined,
    onReady: name => {
      log.info(readyText(name, mountPoint))
      keep().catch(error => log.warn(`update fstab: ${messageOf(error)}`))
    },
  })
}

/** Does a living mount at this path serve the volume of this META-URL? */
async function isMountedThere(metaUrl: string, path: string): Promise<boolean> {
  if (mountAt(resolve(path))?.type !== FUSE_TYPE) return false
  const config = await readConfig(path)
  if (!config?.Format?.UUID) return false
  const quiet = { ...terminalLog(), info: () => undefined }
  const engine = await openEngine(metaUrl, { log: quiet, readOnly: true, mustExist: true })
  try {
    return (await loadFormat(engine))?.UUID === config.Format.UUID
  } finally {
    await engine.close()
  }
}

/** Green also where nobody sees colours: scripts match it. */
const readyText = (name: string, mountPoint: string): string => `\x1b[92mOK\x1b[0m, ${name} is ready at "${mountPoint}"`

const logFileOf = (options: Options): string =>
  resolve(
    options.string('log') || (process.getuid?.() === 0 ? '/var/log/juicefs.log' : `${homedir()}/.juicefs/juicefs.log`),
  )

/** What the mount needs must not be reached through the mount: it would wait for itself. */
async function refuseInside({ mountPoint, metaPath, cache }: MountSettings, logFile: string | null): Promise<void> {
  const places: (readonly [what: string, path: string])[] = []
  if (metaPath !== null) places.push(['metadata database', metaPath])
  if (cache.dir !== 'memory') for (const dir of await expandCacheDirs(cache.dir)) places.push(['cache directory', dir])
  if (logFile !== null) places.push(['log file', logFile])
  for (const [what, path] of places) {
    if (isInside(path, mountPoint))
      throw new CommandError(`the ${what} ${path} lies inside the mount point ${mountPoint}`)
  }
}

async function startInBackground(order: DaemonOrder, logFile: string): Promise<void> {
  const log = terminalLog()
  const { mountPoint, metaUrl } = order.settings
  const timeoutSec = Number(process.env.JFS_MOUNT_TIMEOUT) || DEFAULT_TIMEOUT_SEC
  log.info(`Meta address: ${maskPassword(metaUrl)}`)
  addon() // warns of one that is out of date; the serving process will do so in its log only
  const child = spawnDaemon(order, logFile)
  let dots = 0
  const timer = setInterval(() => {
    dots++
    process.stdout.write('.')
  }, DOT_MS)
  try {
    const news = await Promise.race([
      outcomeOf(child, order, store => log.info(`Data use ${store}`)),
      timeout(timeoutSec * 1000),
    ])
    if (dots > 0) process.stdout.write('\n')
    const hint = `please check the log ("${logFile}") or re-mount in foreground`
    if (news === null) {
      await giveUp(child, mountPoint)
      const what =
        child.pid === undefined ? 'mount process is not started yet' : `tried to kill mount process ${child.pid}`
      throw new CommandError(`The mount point is not ready in ${timeoutSec} seconds (${what}), ${hint}`)
    }
    if (news.kind === 'failed') throw new CommandError(news.message)
    if (news.kind === 'gone') throw new CommandError(`the mount process ended early (${news.how}), ${hint}`)
    log.info(readyText(news.volumeName, mountPoint))
    child.unref()
  } finally {
    clearInterval(timer)
  }
}

function spawnDaemon({ title, settings }: DaemonOrder, logFile: string): ChildProcess {
  let fd: number
  try {
    makeDirectory(dirname(logFile))
    fd = openSync(logFile, 'a', 0o644)
  } catch (error) {
    throw new CommandError(`log file ${logFile}: ${messageOf(error)}`)
  }
  try {
    // The last arguments are for `ps` only, and room for the title.
    const argv = [
      ...process.execArgv,
      fileURLToPath(script),
      maskPassword(settings.metaUrl),
      settings.mountPoint,
      title.replace(/./g, ' '),
    ]
    return spawn(process.execPath, argv, { detached: true, cwd: '/', stdio: ['ignore', fd, fd, 'ipc'] })
  } finally {
    closeSync(fd)
  }
}

type Outcome = Extract<DaemonNews, { kind: 'ready' | 'failed' }> | { readonly kind: 'gone'; readonly how: string }

/** Sends the order when the process asks for it; settles with its last word. */
function outcomeOf(child: ChildProcess, order: DaemonOrder, onOpened: (store: string) => void): Promise<Outcome> {
  return new Promise(settle => {
    child.on('message', (news: DaemonNews) => {
      if (news.kind === 'waiting') child.send(order)
      else if (news.kind === 'opened') onOpened(news.store)
      else settle(news)
    })
    child.on('error', error => settle({ kind: 'failed', message: `start the mount process: ${messageOf(error)}` }))
    child.on('exit', (code, signal) => settle({ kind: 'gone', how: signal ? `signal ${signal}` : `exit code ${code}` }))
  })
}

const timeout = (ms: number): Promise<null> => new Promise(settle => void setTimeout(settle, ms, null).unref())

/** Ends a serving process that did not get ready, and takes away what it may have mounted. */
async function giveUp(child: ChildProcess, mountPoint: string): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGTERM')
    await Promise.race([new Promise(settle => child.once('exit', settle)), timeout(GRACE_MS)])
    child.kill('SIGKILL')
  }
  if (mountAt(mountPoint)?.type === FUSE_TYPE) await unmountFuse(mountPoint, { lazy: true }).catch(() => undefined)
}
