/** The peak memory of a mount under one load each, against its bound: 300 MiB + `--buffer-size` + the memory cache.
 *
 *    node bench/memory.ts [--size 512] [--only A,B]        big files in MiB; only the loads whose names contain one of these
 *
 *  Judged is `peak`: VmHWM, the most that was ever resident, code and mapped files too, which the kernel counts. `anonymous`: the most of
 *  RssAnon, looked at 20 times a second: what the program itself keeps. The store `mem` keeps its objects in the same process: they come
 *  on top of its bound. */

import { execFile } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { newVolume, run } from '../test/mount/harness.ts'
import { ACCESS_KEY, SECRET_KEY, skipVersity, startVersity } from '../test/servers/s3.ts'
import { buildClient, measure, optionsOf, peakMiB, printTable, resetPeak, whole } from './harness.ts'

const { size, only } = optionsOf({ size: 512, only: '' })
const BUFFER_MIB = 300
const BASE_MIB = 300
const CACHE_MIB = 200
const SLOW_MBPS = 400
const ENTRIES = 100_000
const OPEN_FILES = 10_000
const SMALL_FILES = 5000

interface Load {
  readonly name: string
  readonly format?: readonly string[]
  readonly mount?: readonly string[]
  /** what may come on top, MiB */
  readonly more?: number
  /** before the peak counts */
  readonly prepare?: (directory: string) => Promise<unknown>
  readonly work: (directory: string) => Promise<unknown>
}

const exec = promisify(execFile)
const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-bench-'))
const client = buildClient(dir)

const write = (directory: string): Promise<unknown> => measure(client, 'write', directory, size)
async function writeAndRead(directory: string): Promise<void> {
  await write(directory)
  for (let i = 0; i < 3; i++) await measure(client, 'read', directory, size)
}
const fio = (directory: string, ...options: string[]): Promise<unknown> =>
  exec('fio', ['--name=load', `--directory=${directory}`, '--thread', '--ioengine=psync', ...options], {
    maxBuffer: 16 << 20,
  })
async function juicefs(...args: string[]): Promise<void> {
  const ran = await run(join(import.meta.dirname, '..', 'bin', 'juicefs-ts'), args)
  if (ran.status !== 0) throw new Error(`${args.join(' ')}: ${ran.stderr}`)
}

const manyWrites = (directory: string): Promise<unknown> =>
  fio(directory, '--rw=write', '--bs=1M', `--size=${size / 64}M`, '--numjobs=64', '--fallocate=none')
const randomReads = (directory: string, threads = 16): Promise<unknown> =>
  fio(
    directory,
    '--filename=big',
    '--rw=randread',
    '--bs=4k',
    '--direct=1',
    `--size=${size}M`,
    `--numjobs=${threads}`,
    '--runtime=5',
    '--time_based',
  )
const streams = (directory: string): Promise<unknown> =>
  fio(
    directory,
    '--filename=big',
    '--rw=read',
    '--bs=1M',
    `--size=${size / 16}M`,
    `--offset_increment=${size / 16}M`,
    '--numjobs=16',
  )
/** A program of its own, so that its calls do not hold up the sampling. */
const inNode = (openFiles: number, script: string, ...args: string[]): Promise<unknown> =>
  exec('prlimit', [`--nofile=${openFiles}`, process.execPath, '-e', script, ...args], { maxBuffer: 16 << 20 })

const SMALL = `const fs=require('node:fs/promises'),[d,n]=process.argv.slice(1),b=Buffer.alloc(131072,'x');let i=0;
const work=async()=>{for(let k=i++;k<n;k=i++)await fs.writeFile(d+'/s'+k,b.subarray(0,1+k*7919%b.length))};
const back=async()=>{for(let k=i++;k<n;k=i++)await fs.readFile(d+'/s'+k)};
const all=f=>Promise.all(Array.from({length:16},f));(async()=>{await all(work);i=0;await all(back)})()`
const OPEN = `const fs=require('node:fs'),[d,n]=process.argv.slice(1),b=Buffer.alloc(4096,'y'),all=[];
for(let i=0;i<n;i++){const f=fs.openSync(d+'/o'+i,'w+');fs.writeSync(f,b);all.push(f)}
for(const f of all)fs.readSync(f,b,0,4096,0);for(const f of all)fs.closeSync(f)`

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const pem = join(dir, 'key.pem')
writeFileSync(pem, privateKey.export({ type: 'pkcs8', format: 'pem' }))
/** words in no order, that compress to about a half */
const text = join(dir, 'text')
writeFileSync(
  text,
  Buffer.from(Array.from({ length: 16 << 20 }, (_, i) => 97 + (Math.imul(i ^ (i >> 3), 0x9e3779b1) >>> 28))),
)
const noise = join(dir, 'noise')
writeFileSync(noise, randomBytes(16 << 20))
const writeOf = (file: string, directory: string): Promise<unknown> =>
  exec('sh', ['-c', `for i in $(seq ${size / 16}); do cat ${file}; done > ${join(directory, 'big')}`])
const writeText = async (directory: string): Promise<void> => {
  await writeOf(text, directory)
  for (let i = 0; i < 3; i++) await measure(client, 'read', directory, size)
}

function loads(bucket: (() => readonly string[]) | null): Load[] {
  const encoded = ['--compress', 'lz4', '--encrypt-rsa-key', pem, '--encrypt-algo', 'chacha20-rsa']
  const noCache = ['--cache-size', '0']
  const noiseFile = (directory: string): Promise<unknown> => writeOf(noise, directory)
  const rows: (Load | null)[] = [
    { name: 'big file, file', work: writeAndRead },
    { name: 'big file, file, no cache', mount: ['--cache-size', '0'], work: writeAndRead },
    bucket && { name: 'big file, s3', format: bucket(), work: writeAndRead },
    bucket && { name: 'big file, s3, no cache', format: bucket(), mount: ['--cache-size', '0'], work: writeAndRead },
    { name: `big file of ${size} MiB, mem`, format: ['--storage', 'mem'], more: size, work: writeAndRead },
    {
      name: `big file, memory cache of ${CACHE_MIB} MiB`,
      mount: ['--cache-dir', 'memory', '--cache-size', `${CACHE_MIB}M`],
      more: CACHE_MIB,
      work: writeAndRead,
    },
    { name: 'big file, lz4', format: ['--compress', 'lz4'], mount: ['--cache-size', '0'], work: writeText },
    {
      name: 'big file, zstd, aes256gcm-rsa',
      format: ['--compress', 'zstd', '--encrypt-rsa-key', pem],
      work: writeText,
    },
    { name: 'big file, lz4, chacha20-rsa', format: encoded, mount: noCache, work: writeText },
    {
      name: 'noise, lz4, chacha20-rsa, 16 streams',
      format: encoded,
      mount: noCache,
      prepare: noiseFile,
      work: streams,
    },
    {
      name: 'noise, lz4, chacha20-rsa, random 4 KiB, 128 threads',
      format: encoded,
      mount: noCache,
      prepare: noiseFile,
      work: directory => randomReads(directory, 128),
    },
    { name: '64 threads writing, lz4, chacha20-rsa', format: encoded, mount: noCache, work: manyWrites },
    {
      name: `big file, write-back, store of ${SLOW_MBPS} Mbit/s`,
      mount: ['--writeback', '--upload-limit', String(SLOW_MBPS)],
      work: writeAndRead,
    },
    {
      name: `big file, store of ${SLOW_MBPS} Mbit/s`,
      mount: ['--upload-limit', String(SLOW_MBPS)],
      work: write,
    },
    {
      name: `noise, zstd, aes256gcm-rsa, store of ${SLOW_MBPS} Mbit/s`,
      format: ['--compress', 'zstd', '--encrypt-rsa-key', pem],
      mount: ['--upload-limit', String(SLOW_MBPS)],
      work: directory => writeOf(noise, directory),
    },
    {
      name: '64 threads writing',
      work: manyWrites,
    },
    bucket && {
      name: '64 threads writing, s3',
      format: bucket(),
      work: manyWrites,
    },
    {
      name: 'random 4 KiB, 16 threads',
      prepare: async directory => {
        await write(directory)
        await juicefs('warmup', join(directory, 'big'))
      },
      work: directory => randomReads(directory),
    },
    {
      name: 'random 4 KiB from the store, 16 threads',
      mount: ['--cache-size', '0'],
      prepare: write,
      work: directory => randomReads(directory),
    },
    {
      name: `${whole(SMALL_FILES)} small files`,
      work: directory => inNode(1024, SMALL, directory, String(SMALL_FILES)),
    },
    {
      name: `${whole(ENTRIES)} entries listed`,
      prepare: directory => measure(client, 'fill', directory, ENTRIES, 4),
      work: directory => measure(client, 'readdir', directory, ENTRIES),
    },
    {
      name: `${whole(OPEN_FILES)} open files`,
      work: directory => inNode(OPEN_FILES + 100, OPEN, directory, String(OPEN_FILES)),
    },
    {
      name: 'warm-up',
      prepare: write,
      work: directory => juicefs('warmup', join(directory, 'big')),
    },
    {
      name: 'compaction of 1,000 slices',
      prepare: directory =>
        fio(directory, '--filename=big', '--rw=randwrite', '--bs=64k', '--size=64M', '--io_size=64M', '--fsync=1'),
      work: directory => juicefs('compact', directory),
    },
  ]
  return rows.filter(row => row !== null).filter(({ name }) => only.split(',').some(wanted => name.includes(wanted)))
}

/** Looks at RssAnon until told to stop. */
function watchAnonymous(pid: number): () => number {
  let most = 0
  const timer = setInterval(() => {
    const kib = /RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]
    most = Math.max(most, Number(kib) / 1024)
  }, 50)
  return () => {
    clearInterval(timer)
    return most
  }
}

const table: string[][] = []
async function judge({ name, format = [], mount = [], more = 0, prepare, work }: Load): Promise<void> {
  const volume = newVolume({ format: ['--trash-days', '0', ...format] })
  try {
    volume.mount(mount)
    const directory = join(volume.mountPoint, 'a')
    mkdirSync(directory)
    const pid = volume.pid()
    if (prepare) {
      await prepare(directory)
      await sleep(10_000) // what that took is given back
    }
    resetPeak(pid)
    const stop = watchAnonymous(pid)
    await work(directory)
    await sleep(1000)
    const [anonymous, peak, bound] = [stop(), peakMiB(pid), BASE_MIB + BUFFER_MIB + more]
    table.push([name, whole(peak), whole(anonymous), whole(bound), peak <= bound ? 'ok' : 'OVER'])
    console.error(table.at(-1)!.join('  '))
    volume.unmount()
  } finally {
    volume.remove()
  }
}

const server = skipVersity ? null : await startVersity()
if (skipVersity) console.log(`versitygw: ${skipVersity}`)
try {
  let buckets = 0
  const bucket = ({ port }: { readonly port: number }): readonly string[] => [
    ...['--storage', 's3', '--bucket', `http://127.0.0.1:${port}/memory${buckets++}`],
    ...['--access-key', ACCESS_KEY, '--secret-key', SECRET_KEY],
  ]
  for (const load of loads(server && (() => bucket(server)))) await judge(load)
} finally {
  await server?.stop()
  rmSync(dir, { recursive: true, force: true })
}
printTable(['load', 'peak MiB', 'anonymous', 'bound', ''], table)
