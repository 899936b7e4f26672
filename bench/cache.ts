/** Warm reads from the disk cache as a share of the ceiling: a server behind the same transport that answers each request by one
 *  pread(2) of the very same cache files (bench/null-fs.ts). Both in turn, medians of the runs; CPU is the server's.
 *
 *    node bench/cache.ts [--runs 3] [--size 256] [--levels extend,full,none] [--seconds 2]     size in MiB, a row of fio in seconds
 *
 *  read              one reader, 1 MiB at a time, the kernel's pages of the file dropped before
 *  random 1, 16      fio, 4 KiB each, direct I/O, so many jobs
 *  The cache files are in the kernel's memory: what is measured is the way from there, not the disk. */

import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ask, OP_INFO } from '../src/cmd/control-client.ts'
import { parseInfo } from '../src/cmd/info.ts'
import { cli, mountedVolume, type TestVolume } from '../test/mount/harness.ts'
import {
  buildClient,
  cpuSeconds,
  measure,
  median,
  mountNull,
  optionsOf,
  peakMiB,
  printTable,
  ratioText,
  whole,
} from './harness.ts'

const { runs, size, levels, seconds } = optionsOf({ runs: 3, size: 256, levels: 'extend,full,none', seconds: 2 })
const GOAL = 0.8
const PAGE = 4096
/** for what was warmed up to be in files */
const WRITTEN_MS = 30_000

interface Cost {
  readonly rate: number
  /** seconds a GiB */
  readonly cpu: number
}
interface Side {
  readonly pid: number
  /** holds the file `big` */
  readonly directory: string
}
interface Row {
  readonly name: string
  readonly unit: string
  /** operations of `unit` a second, and bytes moved */
  readonly run: (directory: string) => Promise<{ readonly rate: number; readonly bytes: number }>
}

const exec = promisify(execFile)
const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-bench-'))
const client = buildClient(dir)

const rows: Row[] = [
  {
    name: 'read',
    unit: 'MiB/s',
    run: async directory => ({ rate: (await measure(client, 'read', directory, size)).rate, bytes: size * 2 ** 20 }),
  },
  ...[1, 16].map(jobs => ({
    name: `random ${jobs}`,
    unit: 'reads/s',
    run: (directory: string) => fio(directory, jobs),
  })),
]

async function fio(directory: string, jobs: number): Promise<{ rate: number; bytes: number }> {
  const options = [
    '--name=random',
    `--filename=${join(directory, 'big')}`,
    '--readonly',
    '--rw=randread',
    `--bs=${PAGE}`,
    `--size=${size}M`,
    '--direct=1',
    '--ioengine=psync',
    '--thread',
    `--numjobs=${jobs}`,
    `--runtime=${seconds}`,
    '--time_based',
    '--group_reporting',
    '--output-format=json',
  ]
  const { stdout } = await exec('fio', options, { maxBuffer: 16 << 20 })
  const [job] = (JSON.parse(stdout) as { jobs: { read: { iops: number; io_bytes: number } }[] }).jobs
  return { rate: job!.read.iops, bytes: job!.read.io_bytes }
}

async function costOf(row: Row, { pid, directory }: Side): Promise<Cost> {
  const before = cpuSeconds(pid)
  const { rate, bytes } = await row.run(directory)
  return { rate, cpu: (cpuSeconds(pid) - before) / (bytes / 2 ** 30) }
}

/** Writes where the blocks of the file are cached, in order, for the other server. */
async function listBlocks(volume: TestVolume, file: string): Promise<string> {
  const body = Buffer.alloc(11)
  body.writeBigUInt64BE(statSync(file, { bigint: true }).ino)
  const { Objects } = parseInfo(await ask(volume.mountPoint, OP_INFO, body))
  const [uuid] = readdirSync(volume.cacheDir)
  const raw = join(volume.cacheDir, uuid!, 'raw')
  const lines = Objects!.map(({ Key, Len }) => `${Len} ${join(raw, Key!.slice(Key!.indexOf('/') + 1))}\n`)
  const list = join(dir, 'blocks')
  writeFileSync(list, lines.join(''))
  return list
}

/** Every block into the cache, and every cache file into the kernel's memory. */
async function warmUp(volume: TestVolume, file: string): Promise<string> {
  const ran = cli(['warmup', file], {}, 300_000)
  if (ran.status !== 0) throw new Error(ran.stderr)
  const list = await listBlocks(volume, file)
  for (const line of readFileSync(list, 'utf8').trimEnd().split('\n')) {
    const path = line.slice(line.indexOf(' ') + 1)
    for (let waitedMs = 0; !existsSync(path); waitedMs += 100) {
      if (waitedMs > WRITTEN_MS) throw new Error(`not cached: ${path}`)
      await sleep(100)
    }
    readFileSync(path)
  }
  return list
}

const table: string[][] = []
async function compare(level: string): Promise<void> {
  const volume = mountedVolume({ format: ['--trash-days', '0'], mount: ['--verify-cache-checksum', level] })
  const directory = join(volume.mountPoint, 'a')
  mkdirSync(directory)
  let through: Awaited<ReturnType<typeof mountNull>> | undefined
  try {
    await measure(client, 'write', directory, size)
    const list = await warmUp(volume, join(directory, 'big'))
    through = await mountNull(dir, 1, list)
    const [theirs, ours]: [Side, Side] = [
      { pid: through.pid, directory: through.mountPoint },
      { pid: volume.pid(), directory },
    ]
    for (const row of rows) {
      const pairs: [Cost, Cost][] = []
      for (let run = 0; run <= runs; run++) {
        const pair: [Cost, Cost] = [await costOf(row, theirs), await costOf(row, ours)]
        if (run > 0) pairs.push(pair) // the first one warms up
      }
      const of = (side: 0 | 1, key: keyof Cost): number => median(pairs.map(pair => pair[side][key]))
      table.push([
        `${row.name}, ${level}`,
        `${whole(of(1, 'rate'))} ${row.unit}`,
        whole(of(0, 'rate')),
        of(1, 'cpu').toFixed(2),
        of(0, 'cpu').toFixed(2),
        whole(peakMiB(ours.pid)),
        ratioText(median(pairs.map(([limit, mount]) => mount.rate / limit.rate)), GOAL),
      ])
    }
    volume.unmount()
  } finally {
    await through?.stop()
    rmSync(join(dir, 'through'), { recursive: true, force: true })
    volume.remove()
  }
}

try {
  for (const level of levels.split(',')) await compare(level)
} finally {
  rmSync(dir, { recursive: true, force: true })
}
printTable(['', 'mount', 'pread', 'CPU s/GiB', 'pread', 'peak MiB', 'ratio'], table)
