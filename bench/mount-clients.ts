/** The mounts that bench/mounts.ts compares, each on a bucket of its own: how they are started, where their process is, how they end.
 *  Whatever is still mounted when this process ends, also by a signal, is unmounted and killed. */

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { newVolume, type TestVolume } from '../test/mount/harness.ts'
import { ACCESS_KEY, SECRET_KEY } from '../test/servers/s3.ts'

export interface Endpoint {
  /** `http://127.0.0.1:9000` */
  readonly url: string
  /** certificate (its own authority) and key, PEM; null without TLS */
  readonly tls: { readonly cert: string; readonly key: string } | null
}

export interface MountedClient {
  readonly mountPoint: string
  /** pid of the process that serves it */
  pid(): number
  /** Mounts; nothing is cached yet. `keeps`: what is read is kept on disk. */
  mount(keeps: boolean): Promise<void>
  /** Returns when all is in the store and the process has ended. */
  unmount(): Promise<void>
  /** Also after a failure. */
  remove(): void
}

export type ClientName = 'ours' | 'rclone' | 's3fs'

const MOUNT_MS = 20_000
const END_MS = 60_000

const open = new Set<MountedClient>()
process.once('exit', () => {
  for (const client of open) client.remove()
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1))

export function newClient(name: ClientName, endpoint: Endpoint, bucket: string, uploads: number): MountedClient {
  const make = { ours, rclone, s3fs }[name]
  const client = make(endpoint, bucket, uploads)
  open.add(client)
  return client
}

/** Defaults, but for the number of uploads, and `--cache-size 0` where reads are not kept. */
function ours({ url, tls }: Endpoint, bucket: string, uploads: number): MountedClient {
  const query = tls ? `?ca-certs=${tls.cert}&ssl-cert=${tls.cert}&ssl-key=${tls.key}` : ''
  const keys = ['--access-key', ACCESS_KEY, '--secret-key', SECRET_KEY]
  const format = ['--storage', 's3', '--bucket', `${url}/${bucket}${query}`, ...keys, '--trash-days', '0']
  const volume: TestVolume = newVolume({ format })
  let server = 0
  const client: MountedClient = {
    mountPoint: volume.mountPoint,
    pid: () => server,
    async mount(keeps) {
      rmSync(volume.cacheDir, { recursive: true, force: true })
      const cache = keeps ? [] : ['--cache-size', '0']
      volume.mount(['--backup-meta', '0', '--max-uploads', String(uploads), ...cache])
      server = volume.pid()
    },
    async unmount() {
      volume.unmount()
      await until(() => !isRunning(server), END_MS, 'juicefs-ts did not end')
    },
    remove() {
      volume.remove()
      open.delete(client)
    },
  }
  return client
}

/** `--vfs-cache-mode writes`: what is written is a local file until it is closed, what is read is not kept; without a mode programs could not
 *  write as they like. `full` keeps what is read too. An upload begins at the close instead of five seconds later. */
function rclone({ url, tls }: Endpoint, bucket: string, uploads: number): MountedClient {
  return foreground('rclone', (dir, keeps) => ({
    program: 'rclone',
    args: [
      ...['mount', `store:${bucket}`, join(dir, 'mnt'), '--config', join(dir, 'none.conf')],
      ...['--vfs-cache-mode', keeps ? 'full' : 'writes', '--vfs-write-back', '0', '--cache-dir', join(dir, 'cache')],
      ...['--s3-upload-concurrency', String(uploads), '--s3-no-check-bucket', '--allow-other'],
      ...(tls ? ['--ca-cert', tls.cert] : []),
    ],
    env: {
      AWS_CA_BUNDLE: undefined, // its library cannot take one here
      RCLONE_CONFIG_STORE_TYPE: 's3',
      RCLONE_CONFIG_STORE_PROVIDER: 'Other',
      RCLONE_CONFIG_STORE_ACCESS_KEY_ID: ACCESS_KEY,
      RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY: SECRET_KEY,
      RCLONE_CONFIG_STORE_ENDPOINT: url,
      RCLONE_CONFIG_STORE_REGION: 'us-east-1',
      RCLONE_CONFIG_STORE_FORCE_PATH_STYLE: 'true',
    },
  }))
}

/** It has what it reads and writes in a temporary file for as long as the file is open; with `use_cache` the file stays. */
function s3fs({ url, tls }: Endpoint, bucket: string, uploads: number): MountedClient {
  return foreground('s3fs', (dir, keeps) => {
    const passwords = join(dir, 'passwd')
    writeFileSync(passwords, `${ACCESS_KEY}:${SECRET_KEY}\n`, { mode: 0o600 })
    const cache = join(dir, 'cache')
    mkdirSync(cache)
    const options = [
      `url=${url}`,
      `passwd_file=${passwords}`,
      'use_path_request_style',
      `parallel_count=${uploads}`,
      ...(keeps ? [`use_cache=${cache}`] : [`tmpdir=${cache}`]),
    ]
    return {
      program: 's3fs',
      args: [bucket, join(dir, 'mnt'), '-f', ...options.flatMap(option => ['-o', option])],
      env: tls ? { CURL_CA_BUNDLE: tls.cert } : {},
    }
  })
}

interface Command {
  readonly program: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
}

/** A program that serves a mount until it is unmounted, in a new directory each time. */
function foreground(name: string, command: (dir: string, keeps: boolean) => Command): MountedClient {
  const base = mkdtempSync(join(tmpdir(), `bench-${name}-`))
  const dir = join(base, 'run')
  const mountPoint = join(dir, 'mnt')
  let child: ChildProcess | undefined
  let output = ''
  const client: MountedClient = {
    mountPoint,
    pid: () => child!.pid!,
    async mount(keeps) {
      rmSync(dir, { recursive: true, force: true })
      mkdirSync(mountPoint, { recursive: true })
      const { program, args, env } = command(dir, keeps)
      output = ''
      child = spawn(program, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
      for (const stream of [child.stdout!, child.stderr!]) {
        stream.on('data', part => {
          output = (output + part).slice(-4000)
        })
      }
      const isReady = (): boolean => {
        if (child!.exitCode !== null) throw new Error(`${name} did not mount: ${output}`)
        return isMounted(mountPoint)
      }
      await until(isReady, MOUNT_MS, `${name} did not mount: ${output}`)
    },
    async unmount() {
      const { exitCode } = child!
      if (exitCode !== null) throw new Error(`${name} ended by itself: ${output}`)
      execFileSync('fusermount3', ['-u', mountPoint])
      await until(
        () => child!.exitCode !== null || child!.signalCode !== null,
        END_MS,
        `${name} did not end: ${output}`,
      )
    },
    remove() {
      if (isMounted(mountPoint)) spawnSync('umount', ['-l', mountPoint], { stdio: 'ignore' })
      if (child && child.exitCode === null) child.kill('SIGKILL')
      rmSync(base, { recursive: true, force: true })
      open.delete(client)
    },
  }
  return client
}

async function until(isTrue: () => boolean, limitMs: number, failure: string): Promise<void> {
  for (const deadline = performance.now() + limitMs; !isTrue(); ) {
    if (performance.now() > deadline) throw new Error(failure)
    await sleep(10)
  }
}

function isMounted(path: string): boolean {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .some(line => line.split(' ')[4] === path)
}

function isRunning(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]![0] !== 'Z'
  } catch {
    return false
  }
}

/** A certificate of this machine, its own authority, below `dir`. */
export function makeCertificate(dir: string): { readonly cert: string; readonly key: string } {
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')]
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1']
  const files = ['-nodes', '-days', '2', '-keyout', key, '-out', cert]
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', ...subject, ...files], { stdio: 'ignore' })
  return { cert, key }
}
