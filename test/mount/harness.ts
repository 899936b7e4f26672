/** Volumes formatted and mounted for real by the command line, for tests: in temporary directories, cleaned up also after
 *  a failure. The mount is served by a process of its own, so tests may use ordinary synchronous file calls on it. */

import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const projectRoot = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
export const launcher = join(projectRoot, 'bin', 'juicefs-ts')

/** Why real mounts cannot be tested here, or false. */
export const mountSkip: string | false = !existsSync('/dev/fuse')
  ? '/dev/fuse is missing'
  : process.getuid?.() !== 0
    ? 'mounting for tests needs root'
    : false

/** for a serving process to end once its mount is gone */
const END_MS = 5000

export interface Ran {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs the command line to its end. */
export function cli(args: readonly string[], env: Record<string, string> = {}, timeoutMs = 60_000): Ran {
  const ran = spawnSync(launcher, args, { encoding: 'utf8', timeout: timeoutMs, env: { ...process.env, ...env } })
  return { status: ran.status, stdout: ran.stdout, stderr: ran.stderr }
}

/** It failed, and says why in one line: with this message, without a stack. */
export function refused({ status, stdout, stderr }: Ran, message: RegExp): void {
  assert.equal(status, 1, `${stdout}${stderr}`)
  const [complaint = '', ...more] = stderr.split('\n').filter(line => /<FATAL>|<ERROR>/.test(line))
  assert.match(complaint, message)
  assert.deepEqual(more, [], stderr)
  assert.doesNotMatch(stderr, /^\s+at .*\.ts:\d+/m, 'no stack trace')
}

/** Runs any program to its end without blocking this process; output is kept, the newest `keepBytes` of it. */
export function run(
  file: string,
  args: readonly string[],
  options: { cwd?: string; env?: Record<string, string>; timeoutMs?: number } = {},
): Promise<Ran> {
  return new Promise(resolve => {
    const child: ChildProcess = execFile(
      file,
      args,
      {
        cwd: options.cwd,
        env: { ...process.env, ...options.env },
        timeout: options.timeoutMs ?? 300_000,
        maxBuffer: 64 << 20,
        encoding: 'utf8',
      },
      (error, stdout, stderr) => resolve({ status: error ? (child.exitCode ?? -1) : 0, stdout, stderr }),
    )
  })
}

/** Runs a script in Python, which has calls that Node has not, locks above all; in a process of its own, so that mounts are used as any
 *  program uses them. */
export const python = (script: string, ...args: readonly string[]): Promise<Ran> =>
  run('python3', ['-c', script, ...args], { timeoutMs: 60_000 })

/** Locks one file through two mounts. Is the second kept out, and how many seconds after the unlock is it woken? */
export async function lockThrough(
  kind: 'flock' | 'lockf',
  mounts: readonly [string, string],
): Promise<{ readonly isExcluded: boolean; readonly wokenAfterSec: number }> {
  const script = `import fcntl, subprocess, sys, time
mine = open(sys.argv[1] + '/lock', 'w'); other = open(sys.argv[2] + '/lock', 'w')
lock = fcntl.${kind}
lock(mine, fcntl.LOCK_EX)
try: lock(other, fcntl.LOCK_EX | fcntl.LOCK_NB); print('both')
except BlockingIOError: print('excluded')
code = 'import fcntl,sys,time; f=open(sys.argv[1],"w"); print("waits",flush=True); fcntl.${kind}(f,fcntl.LOCK_EX); print(time.time())'
waiter = subprocess.Popen([sys.executable, '-c', code, sys.argv[2] + '/lock'], stdout=subprocess.PIPE, text=True)
waiter.stdout.readline(); time.sleep(0.7)
freed = time.time(); lock(mine, fcntl.LOCK_UN)
print(float(waiter.communicate()[0]) - freed)`
  const { status, stdout, stderr } = await python(script, ...mounts)
  assert.equal(status, 0, stderr)
  const [excluded, seconds] = stdout.split('\n')
  return { isExcluded: excluded === 'excluded', wokenAfterSec: Number(seconds) }
}

export interface TestVolume {
  readonly dir: string
  readonly mountPoint: string
  readonly metaUrl: string
  readonly bucket: string
  readonly cacheDir: string
  readonly logFile: string
  mount(extra?: readonly string[]): void
  unmount(): void
  /** pid of the serving process, from `.config` */
  pid(): number
  remove(): void
}

export interface VolumeOptions {
  readonly name?: string
  readonly metaUrl?: string
  readonly format?: readonly string[]
  readonly env?: Record<string, string>
  /** No `--cache-dir`: as users mount. */
  readonly defaultCache?: boolean
}

/** of root */
const DEFAULT_CACHE = '/var/jfsCache'

/** A new volume: SQLite (or the database at `metaUrl`) + local directory, in a temporary directory of its own, not yet mounted. */
export function newVolume(options: VolumeOptions = {}): TestVolume {
  const dir = mkdtempSync(join(process.env.JUICEFS_TS_TEST_DIR ?? tmpdir(), 'juicefs-ts-'))
  chmodSync(dir, 0o755) // other users work in the mount too
  const mountPoint = join(dir, 'mnt')
  const bucket = join(dir, 'bucket')
  const cacheDir = options.defaultCache ? DEFAULT_CACHE : join(dir, 'cache')
  const logFile = join(dir, 'mount.log')
  const metaUrl = options.metaUrl ?? `sqlite3://${join(dir, 'meta.db')}`
  mkdirSync(mountPoint)
  const formatted = cli(
    [
      'format',
      '--storage',
      'file',
      '--bucket',
      bucket,
      ...(options.format ?? []),
      metaUrl,
      options.name ?? 'test-volume',
    ],
    options.env,
  )
  if (formatted.status !== 0) {
    rmSync(dir, { recursive: true, force: true })
    throw new Error(`format failed: ${formatted.stderr}`)
  }
  const ownCache = options.defaultCache ? join(DEFAULT_CACHE, uuidOf(metaUrl)) : null
  let servedBy: number | null = null
  const volume: TestVolume = {
    dir,
    mountPoint,
    metaUrl,
    bucket,
    cacheDir,
    logFile,
    mount(extra = []) {
      const args = [
        'mount',
        '-d',
        '--no-syslog',
        '--log',
        logFile,
        ...(options.defaultCache ? [] : ['--cache-dir', cacheDir]),
        '--metrics',
        '127.0.0.1:0',
        ...extra,
        metaUrl,
        mountPoint,
      ]
      const mounted = cli(args, options.env)
      if (mounted.status !== 0)
        throw new Error(`mount failed: ${mounted.stderr}\n${existsSync(logFile) ? readFileSync(logFile, 'utf8') : ''}`)
      servedBy = serverOf(mountPoint)
    },
    unmount() {
      const ended = cli(['umount', mountPoint])
      if (ended.status !== 0) throw new Error(`umount failed: ${ended.stderr}`)
    },
    pid() {
      return (JSON.parse(readFileSync(join(mountPoint, '.config'), 'utf8')) as { Pid: number }).Pid
    },
    remove() {
      spawnSync('umount', ['-l', mountPoint], { stdio: 'ignore' })
      // It may still be writing into the directory.
      if (servedBy !== null) endProcess(servedBy)
      rmSync(dir, { recursive: true, force: true })
      if (ownCache !== null) rmSync(ownCache, { recursive: true, force: true })
    },
  }
  return volume
}

function uuidOf(metaUrl: string): string {
  const { stdout, stderr } = cli(['config', metaUrl])
  const uuid = /"UUID": "([0-9a-f-]{36})"/.exec(stdout)?.[1]
  if (uuid === undefined) throw new Error(`config tells no UUID: ${stdout}${stderr}`)
  return uuid
}

/** pid of whoever serves the mount; null where its `.config` cannot be read. */
function serverOf(mountPoint: string): number | null {
  for (const name of ['.config', '.jfs.config']) {
    try {
      return (JSON.parse(readFileSync(join(mountPoint, name), 'utf8')) as { Pid: number }).Pid
    } catch {
      // by its other name, or not at all
    }
  }
  return null
}

/** Waits for a serving process that was unmounted to end, and ends it if it does not. */
function endProcess(pid: number): void {
  const isServing = (): boolean => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('juicefs')
    } catch {
      return false
    }
  }
  const pause = new Int32Array(new SharedArrayBuffer(4))
  for (let waitedMs = 0; isServing(); waitedMs += 10) {
    if (waitedMs === END_MS) process.kill(pid, 'SIGKILL')
    Atomics.wait(pause, 0, 0, 10)
  }
}

/** A new volume, mounted. */
export function mountedVolume(options: VolumeOptions & { readonly mount?: readonly string[] } = {}): TestVolume {
  const volume = newVolume(options)
  try {
    volume.mount(options.mount)
  } catch (error) {
    volume.remove()
    throw error
  }
  return volume
}

/** Starts a program in the background; the caller ends it. */
export function start(file: string, args: readonly string[], options: { cwd?: string } = {}): ChildProcess {
  return spawn(file, args, { cwd: options.cwd, stdio: ['ignore', 'pipe', 'pipe'] })
}
