/** What compression and encryption cost, in CPU seconds a GiB and MiB/s, medians of the runs:
 *
 *    node bench/codec.ts [--size 256] [--runs 3] [--at-once 4] [--key-bits 2048] [--mount-size 256] [--only A,B]         sizes in MiB
 *
 *  first, of a block on its way into an object and back, without any store behind (puts are thrown away, gets come from memory): CPU of
 *  the whole process, and those of it on the event loop;
 *  then, of a file written and read through a mount (store `file`, no cache, 1 MiB at a time): CPU of the serving process, and the most
 *  memory that was ever resident while it was written and read (VmHWM).
 *
 *  A size of 0 leaves its part out; --only takes the pairs whose names, such as lz4/aes256gcm-rsa, contain one of these. */

import { execFile } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { SystemClock } from '../src/base/clock.ts'
import { type Compression, openCodec } from '../src/chunk/codec.ts'
import { withEncryption } from '../src/object/encrypt.ts'
import { MemStore } from '../src/object/mem.ts'
import type { ObjectStore } from '../src/object/store.ts'
import { mountedVolume } from '../test/mount/harness.ts'
import {
  buildClient,
  cpuSeconds,
  measure,
  median,
  optionsOf,
  peakMiB,
  printTable,
  resetPeak,
  whole,
} from './harness.ts'

const asked = optionsOf({ size: 256, runs: 3, 'at-once': 4, 'key-bits': 2048, 'mount-size': 256, only: '' })
const { runs, only } = asked
const exec = promisify(execFile)
const BLOCK = 4 << 20
const BLOCKS = (asked.size << 20) / BLOCK
const atOnce = asked['at-once']
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: asked['key-bits'] })
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string

/** Keeps the first objects and throws the others away, so that a put costs what is before the store. */
class Sink extends MemStore {
  readonly kept = new Set<string>()
  override async put(key: string, body: Buffer): Promise<void> {
    if (this.kept.has(key)) return
    this.kept.add(key)
    await super.put(key, body)
  }
}

/** Words in a random order, as texts and sources are: lz4 halves it. */
function words(seed: number): Buffer {
  let state = seed
  const next = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state % below
  }
  const letters = (): string => Array.from({ length: 2 + next(9) }, () => String.fromCharCode(97 + next(26))).join('')
  const vocabulary = Array.from({ length: 4000 }, letters)
  const parts: string[] = []
  for (let bytes = 0; bytes < BLOCK; ) {
    // common words are common
    const word = vocabulary[Math.min(next(4000), next(4000))]!
    parts.push(word)
    bytes += word.length + 1
  }
  return Buffer.from(parts.join(' ')).subarray(0, BLOCK)
}
const blocks = [1, 2, 3, 4].map(words)

interface Cost {
  readonly cpu: number
  readonly loop: number
  readonly rate: number
}

async function costOf(work: (index: number) => Promise<unknown>): Promise<Cost> {
  let next = 0
  const [cpu, loop, start] = [process.cpuUsage(), process.threadCpuUsage(), performance.now()]
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (next < BLOCKS) await work(next++)
    }),
  )
  const seconds = (performance.now() - start) / 1000
  const [used, onLoop] = [process.cpuUsage(cpu), process.threadCpuUsage(loop)]
  const gib = (BLOCKS * BLOCK) / 2 ** 30
  return {
    cpu: (used.user + used.system) / 1e6 / gib,
    loop: (onLoop.user + onLoop.system) / 1e6 / gib,
    rate: (BLOCKS * BLOCK) / 2 ** 20 / seconds,
  }
}

const middle = (costs: readonly Cost[]): Cost => ({
  cpu: median(costs.map(({ cpu }) => cpu)),
  loop: median(costs.map(({ loop }) => loop)),
  rate: median(costs.map(({ rate }) => rate)),
})

interface Way {
  readonly name: readonly [compression: string, encryption: string]
  readonly store: ObjectStore
  readonly put: (index: number) => Promise<void>
  readonly get: (index: number) => Promise<void>
  readonly puts: Cost[]
  readonly gets: Cost[]
}

async function openWay(compression: Compression, algorithm: string): Promise<Way> {
  const codec = await openCodec(compression)
  const sink = new Sink('sink', new SystemClock())
  const store = algorithm === 'none' ? sink : withEncryption(sink, { algorithm, pem, passphrase: undefined })
  return {
    name: [compression, algorithm],
    store,
    put: async index => {
      const at = index % blocks.length
      await store.put(`block${at}`, await codec.compress(blocks[at]!))
    },
    get: async index => void (await codec.decompress(await store.get(`block${index % blocks.length}`), BLOCK)),
    puts: [],
    gets: [],
  }
}

const names = (['none', 'lz4', 'zstd'] as const)
  .flatMap(compression => ['none', 'aes256gcm-rsa', 'chacha20-rsa'].map(algorithm => [compression, algorithm] as const))
  .filter(name => only.split(',').some(wanted => name.join('/').includes(wanted)))
if (BLOCKS > 0) await withoutMounts()
if (asked['mount-size'] > 0) await throughMounts(asked['mount-size'])

async function withoutMounts(): Promise<void> {
  const ways: Way[] = []
  for (const [compression, algorithm] of names) ways.push(await openWay(compression, algorithm))
  // All ways in turn, again and again: what else the machine does falls on all of them.
  for (let run = 0; run < runs; run++) {
    for (const { put, get, puts, gets } of ways) {
      for (let i = 0; i < 8; i++) await put(i)
      puts.push(await costOf(put))
      for (let i = 0; i < 8; i++) await get(i)
      gets.push(await costOf(get))
    }
  }
  const cells = ({ cpu, loop, rate }: Cost): string[] => [cpu.toFixed(2), loop.toFixed(2), whole(rate)]
  printTable(
    ['compression', 'encryption', 'put CPU s/GiB', 'loop', 'MiB/s', 'get CPU s/GiB', 'loop', 'MiB/s'],
    ways.map(({ name, puts, gets }) => [...name, ...cells(middle(puts)), ...cells(middle(gets))]),
  )
  for (const { store } of ways) await store.close()
  console.log()
}

async function throughMounts(size: number): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-bench-'))
  const [client, key, text] = [buildClient(dir), join(dir, 'key.pem'), join(dir, 'text')]
  writeFileSync(key, pem)
  writeFileSync(text, Buffer.concat(Array.from({ length: size / 16 }, () => blocks).flat()))
  const table: string[][] = []
  try {
    for (const name of names) table.push([...name, ...(await throughMount(name, { size, client, key, text }))])
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
  const head = ['write CPU s/GiB', 'MiB/s', 'peak MiB', 'read CPU s/GiB', 'MiB/s', 'peak MiB']
  printTable(['compression', 'encryption', ...head], table)
}

interface Tools {
  readonly size: number
  readonly client: string
  readonly key: string
  readonly text: string
}

interface ThroughMount {
  readonly cpu: number
  readonly rate: number
  readonly peak: number
}

async function throughMount(
  [compression, algorithm]: (typeof names)[number],
  { size, client, key, text }: Tools,
): Promise<string[]> {
  const encryption = algorithm === 'none' ? [] : ['--encrypt-rsa-key', key, '--encrypt-algo', algorithm]
  const format = ['--trash-days', '0', '--compress', compression, ...encryption]
  const volume = mountedVolume({ format, mount: ['--cache-size', '0'] })
  try {
    const pid = volume.pid()
    const cost = async (work: () => Promise<unknown>): Promise<ThroughMount> => {
      resetPeak(pid)
      const [cpu, start] = [cpuSeconds(pid), performance.now()]
      await work()
      const seconds = (performance.now() - start) / 1000
      return { cpu: (cpuSeconds(pid) - cpu) / (size / 1024), rate: size / seconds, peak: peakMiB(pid) }
    }
    const directory = join(volume.mountPoint, 'a')
    mkdirSync(directory)
    const costs: Record<'writes' | 'reads', ThroughMount[]> = { writes: [], reads: [] }
    const peaks = { write: 0, read: 0 }
    for (let run = 0; run <= runs; run++) {
      // Written over it would soon be compacted, while it is read.
      rmSync(join(directory, 'big'), { force: true })
      const write = await cost(() => exec('dd', [`if=${text}`, `of=${join(directory, 'big')}`, 'bs=1M', 'status=none']))
      const read = await cost(() => measure(client, 'read', directory, size))
      peaks.write = Math.max(peaks.write, write.peak)
      peaks.read = Math.max(peaks.read, read.peak)
      if (run === 0) continue // warms up
      costs.writes.push(write)
      costs.reads.push(read)
    }
    const cells = (list: readonly ThroughMount[], peak: number): string[] => [
      median(list.map(({ cpu }) => cpu)).toFixed(2),
      whole(median(list.map(({ rate }) => rate))),
      whole(peak),
    ]
    const row = [...cells(costs.writes, peaks.write), ...cells(costs.reads, peaks.read)]
    volume.unmount()
    return row
  } finally {
    volume.remove()
  }
}
