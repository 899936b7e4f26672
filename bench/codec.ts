/** What a block costs on its way into an object and back: CPU seconds a GiB of the whole process, those of them on the event loop, and
 *  MiB/s, by compression and encryption, without any store behind (puts are thrown away, gets come from memory).
 *  Run: node bench/codec.ts [--size 512] [--runs 3] [--at-once 4] [--key-bits 2048]. Sizes in MiB; medians of the runs. */

import { generateKeyPairSync } from 'node:crypto'
import { parseArgs } from 'node:util'
import { SystemClock } from '../src/base/clock.ts'
import { type Compression, openCodec } from '../src/chunk/codec.ts'
import { withEncryption } from '../src/object/encrypt.ts'
import { MemStore } from '../src/object/mem.ts'
import type { ObjectStore } from '../src/object/store.ts'
import { median, printTable, whole } from './harness.ts'

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '512' },
    runs: { type: 'string', default: '3' },
    'at-once': { type: 'string', default: '4' },
    'key-bits': { type: 'string', default: '2048' },
  },
})
const BLOCK = 4 << 20
const BLOCKS = (Number(values.size) << 20) / BLOCK
const atOnce = Number(values['at-once'])
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: Number(values['key-bits']) })
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

const ways: Way[] = []
for (const compression of ['none', 'lz4', 'zstd'] as const) {
  for (const algorithm of ['none', 'aes256gcm-rsa', 'chacha20-rsa']) ways.push(await openWay(compression, algorithm))
}
// All ways in turn, again and again: what else the machine does falls on all of them.
for (let run = 0; run < Number(values.runs); run++) {
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
