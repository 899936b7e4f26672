/** Big and small files over S3 servers through mounts: ours, `rclone mount`, `s3fs`; beside them bare clients without any mount
 *  (bench/bare-s3.ts), with as many requests at once as a mount has uploads, and for small files as there are programs.
 *
 *      node bench/mounts.ts [--servers versitygw,s3proxy] [--tls no,yes] [--mounts ours,rclone,s3fs] [--rounds 3] [--minutes 6]
 *                           [--size 256] [--files 100] [--file-size 128] [--programs 1] [--uploads 20]
 *
 *  `--minutes`: fewer rounds where the machine is slow. `--size` in MiB, `--file-size` in KiB; so many `--programs` write (read) small
 *  files at the same time. sh scripts/setup-bench.sh installs rclone and s3fs.
 *
 *  A write ends when the bucket lists all bytes, since mounts upload at other moments: an fsync and a close are part of it. A read
 *  begins on a fresh mount with nothing cached, and what it brings is not kept on disk, but in the row `read, kept`. All ways in
 *  turn in each round, the median of the rounds counts. CPU: of the process that serves the mount, of the bare client itself. */

import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { SystemClock } from '../src/base/clock.ts'
import { checksumOf } from '../src/object/checksum.ts'
import { openS3 } from '../src/object/s3/open.ts'
import type { ObjectStore } from '../src/object/store.ts'
import type { RunningProgram } from '../test/servers/programs.ts'
import {
  ACCESS_KEY,
  type S3ServerOptions,
  SECRET_KEY,
  skipS3Proxy,
  skipVersity,
  startS3Proxy,
  startVersity,
} from '../test/servers/s3.ts'
import { type BareServer, bareRequest, sendAllBare, sendAllOverSockets } from './bare-s3.ts'
import { cpuSeconds, median, optionsOf, peakMiB, printTable } from './harness.ts'
import { now, type Times } from './mount-application.ts'
import { type ClientName, type Endpoint, type MountedClient, makeCertificate, newClient } from './mount-clients.ts'

const MiB = 1 << 20
const BLOCK = 4 * MiB
const STEPS = ['write big', 'read big', 'read, kept', 'write small', 'read small'] as const
export type Step = (typeof STEPS)[number]

interface Cell {
  /** MiB, or small files, a second */
  readonly rate: number
  /** seconds a GiB, or milliseconds a small file */
  readonly cpu: number
}
type Cells = Partial<Record<Step, Cell>> & { peak?: number }

interface Place {
  readonly endpoint: Endpoint
  readonly bare: BareServer
  readonly program: RunningProgram
}

async function main(): Promise<void> {
  const asked = optionsOf({
    servers: 'versitygw,s3proxy',
    tls: 'no,yes',
    mounts: 'ours,rclone,s3fs',
    rounds: 3,
    minutes: 6,
    size: 256,
    files: 100,
    'file-size': 128,
    programs: 1,
    uploads: 20,
  })
  const { files, programs, uploads, rounds } = asked
  const load = { mib: asked.size, files, fileKib: asked['file-size'], programs, uploads }
  const names = asked.mounts.split(',') as ClientName[]
  const dir = mkdtempSync(join(tmpdir(), 'bench-mounts-'))
  const removeAtExit = (path: string): void =>
    void process.once('exit', () => rmSync(path, { recursive: true, force: true }))
  removeAtExit(dir)
  const cases = asked.servers
    .split(',')
    .flatMap(server => asked.tls.split(',').map(tls => [server, tls === 'yes'] as const))
  const endMs = performance.now() + asked.minutes * 60_000
  for (const [i, [server, isSecure]] of cases.entries()) {
    const limit = { rounds, ms: (endMs - performance.now()) / (cases.length - i) }
    const place = await start(server, isSecure ? makeCertificate(dir) : undefined)
    if (place === null) continue
    removeAtExit(place.program.dir)
    const title = `${server}${isSecure ? ', TLS' : ''}`
    await compare(title, place, names, limit, load).finally(() => place.program.stop())
  }
}

interface Limit {
  readonly rounds: number
  /** No round begins that would likely end later; one is made in any case. */
  readonly ms: number
}

interface Load {
  readonly mib: number
  readonly files: number
  readonly fileKib: number
  readonly programs: number
  readonly uploads: number
}

/** versitygw closes every connection after its answer unless it is told to keep them; S3Proxy ciphers slowly without Java's second compiler. */
async function start(name: string, tls: S3ServerOptions['tls']): Promise<Place | null> {
  const skip = name === 'versitygw' ? skipVersity : skipS3Proxy
  if (skip) {
    console.log(`${name}: ${skip}`)
    return null
  }
  const secure = tls ? { tls } : {}
  const program = await (name === 'versitygw'
    ? startVersity({ ...secure, flags: ['--keep-alive', '--quiet'] })
    : startS3Proxy({ ...secure, flags: ['-Xmx1g'] }))
  const { port } = program
  return {
    program,
    endpoint: { url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`, tls: tls ?? null },
    bare: { port, ca: tls ? readFileSync(tls.cert, 'utf8') : null },
  }
}

async function compare(title: string, place: Place, names: readonly ClientName[], limit: Limit, load: Load) {
  const ways = ['sockets', 'bare', ...names] as const
  const all = new Map<string, Cells[]>(ways.map(way => [way, []]))
  await measureBare(place, 'sockets', { ...load, mib: 128, files: 20 })
  const startMs = performance.now()
  let round = 0
  for (; round < limit.rounds; round++) {
    const usedMs = performance.now() - startMs
    if (round > 0 && usedMs + usedMs / round > limit.ms) break
    for (let i = 0; i < ways.length; i++) {
      const way = ways[(i + round) % ways.length]!
      const isBare = way === 'sockets' || way === 'bare'
      const cells = isBare ? await measureBare(place, way, load) : await measureMount(place, way, load)
      all.get(way)!.push(cells)
    }
  }
  const middle = (way: string, step: Step, field: keyof Cell): number =>
    median(all.get(way)!.map(cells => cells[step]?.[field] ?? Number.NaN))
  const cell = (way: string, step: Step): string => {
    const [rate, cpu] = [middle(way, step, 'rate'), middle(way, step, 'cpu')]
    return Number.isNaN(rate) ? '' : `${rate.toFixed(0)} (${cpu.toFixed(2)})`
  }
  const share = (way: string, step: Step): string => {
    const of = step === 'read, kept' ? 'read big' : step
    return (middle('ours', step, 'rate') / middle(way, of, 'rate')).toFixed(2)
  }
  console.log(`\n${title}: MiB/s (CPU s/GiB), small files/s (CPU ms a file), ${round} rounds`)
  const rows = STEPS.map(step => [
    step,
    ...ways.map(way => cell(way, step)),
    ...(names.includes('ours') ? [share('sockets', step), share('bare', step)] : ['', '']),
  ])
  const peak = (way: string): string => median(all.get(way)!.map(cells => cells.peak ?? 0)).toFixed(0)
  rows.push(['peak memory, MiB', '', '', ...names.map(peak), '', ''])
  printTable(['', ...ways, 'ours/sockets', 'ours/bare'], rows)
}

async function withBucket<T>({ endpoint, program }: Place, work: (bucket: string, store: ObjectStore) => Promise<T>) {
  const bucket = `b${randomBytes(6).toString('hex')}`
  const { url, tls } = endpoint
  const query = tls ? `?ca-certs=${tls.cert}&ssl-cert=${tls.cert}&ssl-key=${tls.key}` : ''
  const setting = { bucket: `${url}/${bucket}${query}`, accessKey: ACCESS_KEY, secretKey: SECRET_KEY }
  const store = openS3('s3', setting, { env: {}, clock: new SystemClock() })
  try {
    await store.create()
    return await work(bucket, store)
  } finally {
    await store.close()
    rmSync(join(program.dir, 'data', bucket), { recursive: true, force: true })
  }
}

function measureBare(place: Place, way: 'sockets' | 'bare', load: Load): Promise<Cells> {
  const send = way === 'bare' ? sendAllBare : sendAllOverSockets
  return withBucket(place, async bucket => {
    const measured: Cells = {}
    for (const [size, step] of [
      ['big', 'write big'],
      ['big', 'read big'],
      ['small', 'write small'],
      ['small', 'read small'],
    ] as const) {
      const body = randomBytes(size === 'big' ? BLOCK : load.fileKib << 10)
      const count = size === 'big' ? Math.ceil((load.mib * MiB) / BLOCK) : load.files
      const method = step.startsWith('write') ? 'PUT' : 'GET'
      const path = (i: number): string => `/${bucket}/chunks/0/0/${size}_${i}_${body.length}`
      // Our puts carry it too; versitygw then computes no checksum of its own. An ordinary client sends none.
      const checksum: Record<string, string> =
        method === 'PUT' && way === 'sockets' ? { 'x-amz-checksum-crc32c': base64Checksum(body) } : {}
      const requests = await Promise.all(
        Array.from({ length: count }, (_, i) => bareRequest(place.bare, method, path(i), body, checksum)),
      )
      const before = process.cpuUsage()
      const seconds = await send(place.bare, requests, size === 'big' ? load.uploads : load.programs)
      const { user, system } = process.cpuUsage(before)
      measured[step] = cellOf(step, load, seconds, (user + system) / 1e6)
    }
    return measured
  })
}

function base64Checksum(body: Buffer): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(Number(checksumOf(body)))
  return bytes.toString('base64')
}

/** Each on a fresh mount. */
const PHASES = [
  { keeps: true, steps: ['write big', 'write small'] },
  { keeps: false, steps: ['read big', 'read small'] },
  { keeps: true, steps: ['read, kept'] },
] as const

function measureMount(place: Place, name: ClientName, load: Load): Promise<Cells> {
  return withBucket(place, async (bucket, store) => {
    const measured: Cells = {}
    const client = newClient(name, place.endpoint, bucket, load.uploads)
    let peak = 0
    try {
      for (const { keeps, steps } of PHASES) {
        await client.mount(keeps)
        for (const step of steps) measured[step] = await measureStep(client, step, store, load)
        peak = Math.max(peak, peakMiB(client.pid()))
        await client.unmount()
      }
    } finally {
      client.remove()
    }
    return { ...measured, peak }
  })
}

async function measureStep(client: MountedClient, step: Step, store: ObjectStore, load: Load): Promise<Cell> {
  const writes = step.startsWith('write')
  const programs = isBig(step) ? 1 : load.programs
  const expected = isBig(step) ? load.mib * MiB : load.files * (load.fileKib << 10)
  const before = writes ? await storedBytes(store) : 0
  const pid = client.pid()
  const cpu = cpuSeconds(pid)
  const times = await Promise.all(
    Array.from({ length: programs }, (_, i) => runApplication(step, client.mountPoint, load, i)),
  )
  let end = Math.max(...times.map(time => time.end))
  while (writes && (await storedBytes(store)) - before < expected) {
    await sleep(10)
    end = now()
  }
  const seconds = (end - Math.min(...times.map(time => time.begin))) / 1000
  return cellOf(step, load, seconds, cpuSeconds(pid) - cpu)
}

const isBig = (step: Step): boolean => !step.endsWith('small')

function cellOf(step: Step, { mib, files }: Load, seconds: number, cpu: number): Cell {
  if (isBig(step)) return { rate: mib / seconds, cpu: cpu / (mib / 1024) }
  return { rate: files / seconds, cpu: (cpu * 1000) / files }
}

/** S3Proxy fails to list what is being written at that moment. */
async function storedBytes(store: ObjectStore): Promise<number> {
  const infos = await store.list('', '', 100_000).catch(() => [])
  return infos.reduce((sum, { size }) => sum + size, 0)
}

async function runApplication(step: Step, mountPoint: string, load: Load, program: number): Promise<Times> {
  const { mib, files, fileKib, programs } = load
  const args = [step, mountPoint, mib, files, fileKib, programs, program].map(String)
  const child = fork(join(import.meta.dirname, 'mount-application.ts'), args)
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`${step} failed in ${mountPoint} (${code})`)
  })
  const [times] = (await Promise.race([once(child, 'message'), ended])) as [Times]
  ended.catch(() => {})
  return times
}

await main()
