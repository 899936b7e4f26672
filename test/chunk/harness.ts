/** A chunk store over a memory object store that can be told to misbehave. */

import { SystemClock } from '../../src/base/clock.ts'
import { Fault } from '../../src/base/fault.ts'
import { type Log, openLog, silentLog } from '../../src/base/log.ts'
import { Metrics } from '../../src/base/metrics.ts'
import type { ChunkStore, SliceName } from '../../src/chunk/chunk-store.ts'
import { type CacheOptions, type ChunkOptions, openChunks } from '../../src/chunk/store.ts'
import { MemStore } from '../../src/object/mem.ts'
import type { ObjectStore } from '../../src/object/store.ts'

export const KIB = 1024
export const BLOCK = 64 * KIB

/** What the next request shall do instead; undefined = behave. */
export type Mischief = (
  method: 'get' | 'put' | 'delete',
  key: string,
  range: boolean,
) => Promise<'short' | undefined> | undefined

export class FaultyStore implements ObjectStore {
  readonly inner = new MemStore('trial', new SystemClock())
  readonly description = 'faulty'
  readonly limits = this.inner.limits
  readonly requests: string[] = []
  mischief: Mischief = () => undefined

  async get(key: string, range?: { readonly offset: number; readonly length: number }): Promise<Buffer> {
    this.requests.push(range ? `get ${key} ${range.offset}+${range.length}` : `get ${key}`)
    const twist = await this.mischief('get', key, range !== undefined)
    const bytes = await this.inner.get(key, range)
    return twist === 'short' ? bytes.subarray(0, bytes.length - 1) : bytes
  }
  async put(key: string, body: Buffer): Promise<void> {
    this.requests.push(`put ${key}`)
    await this.mischief('put', key, false)
    await this.inner.put(key, body)
  }
  async delete(key: string): Promise<void> {
    this.requests.push(`delete ${key}`)
    await this.mischief('delete', key, false)
    await this.inner.delete(key)
  }
  head(key: string) {
    return this.inner.head(key)
  }
  list(prefix: string, marker: string, limit: number) {
    return this.inner.list(prefix, marker, limit)
  }
  async create(): Promise<void> {}
  async close(): Promise<void> {}

  async keys(): Promise<string[]> {
    return (await this.list('', '', 10_000)).map(info => info.key)
  }
}

export const broken = (): Promise<never> => Promise.reject(new Fault('the store is broken'))

/** A log that keeps its lines. */
export function keepingLog(): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = []
  return {
    lines,
    log: openLog({ level: 'INFO', colour: false, id: '', write: line => void lines.push(line.trimEnd()) }),
  }
}

/** Until it holds, or some time has passed. */
export async function eventually(claim: () => boolean | Promise<boolean>, what: string, ms = 2000): Promise<void> {
  for (let waited = 0; waited < ms; waited += 5) {
    if (await claim()) return
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  throw new Error(`never came true: ${what}`)
}

export const noCache: CacheOptions = {
  dir: '/nonexistent',
  uuid: '00000000-0000-4000-8000-000000000000',
  sizeBytes: 0,
  items: 0,
  freeSpaceRatio: 0.1,
  mode: 0o600,
  partialOnly: false,
  largeWrite: false,
  verifyChecksum: 'extend',
  eviction: '2-random',
  scanIntervalMs: 0,
  expireMs: 0,
}

export interface Trial {
  readonly chunks: ChunkStore
  readonly store: FaultyStore
  readonly metrics: Metrics
  /** pauses between attempts, in ms */
  readonly pauses: number[]
  /** a value of `.stats` */
  stat(name: string): number
}

export async function openTrial(options: Partial<ChunkOptions> = {}, store = new FaultyStore()): Promise<Trial> {
  const metrics = new Metrics()
  const pauses: number[] = []
  const chunks = await openChunks({
    store,
    blockBytes: BLOCK,
    compression: 'none',
    hashPrefix: false,
    bufferBytes: 32 << 20,
    maxUploads: 20,
    maxDownloads: 200,
    getTimeoutMs: 60_000,
    putTimeoutMs: 60_000,
    ioRetries: 10,
    cache: noCache,
    prefetch: 1,
    clock: new SystemClock(),
    random: Math.random,
    log: silentLog,
    metrics,
    pause: async ms => {
      pauses.push(ms)
    },
    ...options,
  })
  return {
    chunks,
    store,
    metrics,
    pauses,
    stat(name) {
      const line = metrics
        .renderStats()
        .split('\n')
        .find(text => text.startsWith(`juicefs_${name} `))
      return line === undefined ? Number.NaN : Number(line.split(' ')[1])
    },
  }
}

/** Bytes that differ at every offset and with every seed. */
export function pattern(length: number, seed = 1): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 17 + (i >> 16) * 101 + seed * 7) & 0xff
  return bytes
}

export async function writeSlice(
  chunks: ChunkStore,
  id: number,
  bytes: Buffer,
  piece = bytes.length || 1,
): Promise<SliceName> {
  const writer = chunks.newWriter()
  writer.setId(id)
  for (let at = 0; at < bytes.length; at += piece) writer.write(at, bytes.subarray(at, at + piece))
  return writer.finish()
}

export const readAll = async (chunks: ChunkStore, slice: SliceName): Promise<Buffer> =>
  Buffer.concat(await chunks.read(slice, 0, slice.size))
