/** A whole file system without a kernel: real vfs, metadata client and chunk store over memory, 64 KiB blocks. */

import { SystemClock, type Time } from '../../src/base/clock.ts'
import { type Errno, errnoName, isErrno } from '../../src/base/errno.ts'
import { type Ino, ROOT_INO } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import type { Maybe } from '../../src/base/maybe.ts'
import type { Metrics } from '../../src/base/metrics.ts'
import type { ChunkStore } from '../../src/chunk/chunk-store.ts'
import type { ChunkOptions } from '../../src/chunk/store.ts'
import { MetaClient } from '../../src/meta/client.ts'
import { Driver } from '../../src/meta/driver.ts'
import { MemoryEngine } from '../../src/meta/engine/memory.ts'
import type { Engine } from '../../src/meta/engine.ts'
import type { Meta } from '../../src/meta/meta.ts'
import { initVolume } from '../../src/meta/ops/init-volume.ts'
import { DEFAULT_VFS_CONFIG, type VfsConfig } from '../../src/vfs/config.ts'
import type { AddEntry, Context } from '../../src/vfs/file-system.ts'
import type { InternalFiles } from '../../src/vfs/internal-files.ts'
import { Vfs } from '../../src/vfs/vfs.ts'
import { BLOCK, FaultyStore, openTrial } from '../chunk/harness.ts'

export { BLOCK, broken, KIB, pattern } from '../chunk/harness.ts'
export const CHUNK = 64 << 20

export const O_RDONLY = 0
export const O_WRONLY = 1
export const O_RDWR = 2
export const O_EXCL = 0o200
export const O_TRUNC = 0o1000
export const O_APPEND = 0o2000

export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

export const user = (uid = 0, gid = uid): Context => ({ uid, gid, pid: 1, cancelled: false, onCancel: () => {} })
export const ROOT = user(0)

/** The machine's clock, which can be set forward. */
export class TestClock extends SystemClock {
  aheadMs = 0

  override now(): Time {
    const { sec, nsec } = super.now()
    return { sec: sec + Math.floor(this.aheadMs / 1000), nsec }
  }
  override monotonicMs(): number {
    return super.monotonicMs() + this.aheadMs
  }
}

export interface VolumeOptions {
  /** the engine answers in later turns, as a database elsewhere does */
  readonly deferred?: boolean
  readonly config?: Partial<VfsConfig>
  readonly chunkOptions?: Partial<ChunkOptions>
  readonly capacity?: number
  readonly trashDays?: number
  readonly acl?: boolean
  readonly userGroupQuota?: boolean
  readonly internal?: InternalFiles
  /** of another client of the same volume */
  readonly engine?: MemoryEngine
  /** what this client asks instead of the engine itself */
  readonly over?: (engine: MemoryEngine) => Engine
  readonly store?: FaultyStore
}

export interface Volume {
  readonly vfs: Vfs
  readonly meta: MetaClient
  readonly chunks: ChunkStore
  readonly engine: MemoryEngine
  readonly store: FaultyStore
  readonly clock: TestClock
  readonly metrics: Metrics
  /** calls to meta and chunks of the kinds that matter for order: `put …`, `writeSlice …`, `chunks.sync …`, `meta.sync` */
  readonly trace: string[]
  /** replaces a method of meta for a while */
  readonly override: Partial<Meta>
  readonly invalidated: string[]
  close(): Promise<void>
}

export async function openVolume(options: VolumeOptions = {}): Promise<Volume> {
  const clock = new TestClock()
  const engine = options.engine ?? new MemoryEngine({ deferred: options.deferred ?? false })
  const store = options.store ?? new FaultyStore()
  if (options.engine === undefined) await format(engine, options, clock)
  const meta = await MetaClient.open(options.over?.(engine) ?? engine, {
    config: {
      readOnly: false,
      noBackgroundJobs: true,
      heartbeatMs: 0,
      skipDirMtimeNs: 0,
      atimeMode: 'noatime',
      openCacheLimit: 0,
      mountPoint: '/nowhere',
      version: '0.1.0',
    },
    clock,
    log: silentLog,
    random: Math.random,
  })
  await meta.newSession()
  const { chunks, metrics } = await openTrial(options.chunkOptions, store)
  const trace: string[] = []
  const override: Partial<Meta> = {}
  const invalidated: string[] = []
  const vfs = new Vfs({
    meta: tracedMeta(meta, override, trace),
    chunks: tracedChunks(chunks, trace),
    clock,
    config: {
      ...DEFAULT_VFS_CONFIG,
      blockBytes: BLOCK,
      bufferBytes: 32 << 20,
      maxReadaheadBytes: 8 * BLOCK,
      ...options.config,
    },
    log: silentLog,
    ...(options.internal ? { internal: options.internal } : {}),
  })
  vfs.setInvalidator({
    inode: (ino, offset, length) => void invalidated.push(`${ino} ${offset}+${length}`),
    entry: (parent, name) => void invalidated.push(`${parent}/${name}`),
  })
  const close = async (): Promise<void> => {
    await vfs.flushAll()
    await meta.closeSession()
    await chunks.close()
  }
  return { vfs, meta, chunks, engine, store, clock, metrics, trace, override, invalidated, close }
}

async function format(engine: MemoryEngine, options: VolumeOptions, clock: SystemClock): Promise<void> {
  const json = JSON.stringify({
    Name: 'test',
    UUID: '00000000-0000-4000-8000-000000000000',
    Storage: 'mem',
    Bucket: 'mem',
    BlockSize: BLOCK / 1024,
    Capacity: options.capacity ?? 0,
    Inodes: 0,
    TrashDays: options.trashDays ?? 0,
    MetaVersion: 1,
    DirStats: true,
    EnableACL: options.acl ?? false,
    UserGroupQuota: options.userGroupQuota ?? false,
  })
  const trash = (options.trashDays ?? 0) > 0
  const driver = new Driver(engine, { random: Math.random, onEffect() {}, onCommit() {}, onConflict() {} })
  await driver.run('change', () => initVolume(json, { isNew: true, trash, now: clock.now() }))
}

function tracedMeta(meta: MetaClient, override: Partial<Meta>, trace: string[]): Meta {
  return new Proxy(meta, {
    get(target, key) {
      const own = (override as Record<PropertyKey, unknown>)[key]
      if (own !== undefined) return own
      const value = (target as unknown as Record<PropertyKey, unknown>)[key]
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (key === 'writeSlice') trace.push(`writeSlice ${args[1]}:${args[2]}+${(args[3] as { len: number }).len}`)
        if (key === 'sync') trace.push('meta.sync')
        return (value as (...args: unknown[]) => unknown).apply(target, args)
      }
    },
  })
}

function tracedChunks(chunks: ChunkStore, trace: string[]): ChunkStore {
  return {
    blockBytes: chunks.blockBytes,
    read: (slice, off, len) => chunks.read(slice, off, len),
    prefetch(slice, off, len) {
      trace.push(`prefetch ${slice.id} ${off}+${len}`)
      return chunks.prefetch(slice, off, len)
    },
    newWriter(options) {
      const writer = chunks.newWriter(options)
      return {
        get length() {
          return writer.length
        },
        accepts: (off, len) => writer.accepts(off, len),
        write: (off, data) => writer.write(off, data),
        setId: id => writer.setId(id),
        abort: () => writer.abort(),
        async finish() {
          const slice = await writer.finish()
          trace.push(`stored ${slice.size}`)
          return slice
        },
      }
    },
    roomToWrite: () => chunks.roomToWrite(),
    remove(slice) {
      trace.push(`remove ${slice.size}`)
      return chunks.remove(slice)
    },
    sync(slices) {
      trace.push(`chunks.sync ${slices.length}`)
      return chunks.sync(slices)
    },
    warm: slice => chunks.warm(slice),
    evict: slice => chunks.evict(slice),
    places: slice => chunks.places(slice),
    keys: slice => chunks.keys(slice),
    close: () => chunks.close(),
  }
}

/** The value of a success; a verdict of failure fails the test by its name. */
export async function ok<T>(result: Maybe<T | Errno>): Promise<Exclude<T, Errno>> {
  const value = await result
  if (isErrno(value)) throw new Error(`unexpected ${errnoName(value)}`)
  return value as Exclude<T, Errno>
}

export interface TestFile {
  readonly ino: Ino
  readonly fh: number
}

export async function create(v: Volume, name: string, flags = O_RDWR, parent: Ino = ROOT_INO): Promise<TestFile> {
  const made = await ok(v.vfs.create(ROOT, parent, name, 0o100644, 0o022, flags))
  return { ino: made.ino, fh: made.fh }
}

export async function open(v: Volume, ino: Ino, flags = O_RDWR): Promise<TestFile> {
  return { ino, fh: (await ok(v.vfs.open(ROOT, ino, flags))).fh }
}

export async function write(v: Volume, f: TestFile, offset: number, data: Buffer, flags = 0): Promise<void> {
  await ok(v.vfs.write(ROOT, f.ino, f.fh, offset, data, flags))
}

export async function read(v: Volume, f: TestFile, offset: number, size: number): Promise<Buffer> {
  return Buffer.concat(await ok(v.vfs.read(ROOT, f.ino, f.fh, offset, size)))
}

export const OWNER = '00000000000000aa'

export async function close(v: Volume, f: TestFile): Promise<void> {
  await ok(v.vfs.flush(ROOT, f.ino, f.fh, OWNER))
  await ok(v.vfs.release(ROOT, f.ino, f.fh, null))
}

export async function lengthOf(v: Volume, ino: Ino): Promise<number> {
  return (await ok(v.vfs.getattr(ROOT, ino, null))).length
}

/** One READDIR request of at most `room` entries; names and the offset to go on at. */
export async function list(
  v: Volume,
  ino: Ino,
  fh: number,
  offset: number,
  room: number,
  attrs = false,
): Promise<{ names: string[]; next: number; attrs: (number | null)[] }> {
  const names: string[] = []
  const lengths: (number | null)[] = []
  let next = offset
  const add: AddEntry = (name, _ino, _type, attr, nextOffset) => {
    if (names.length === room) return false
    names.push(name)
    lengths.push(attr?.length ?? null)
    next = nextOffset
    return true
  }
  await ok(v.vfs.readdir(ROOT, ino, fh, offset, attrs, add))
  return { names, next, attrs: lengths }
}

export async function listAll(v: Volume, ino: Ino, room = 100): Promise<string[]> {
  const { fh } = await ok(v.vfs.opendir(ROOT, ino, 0))
  const names: string[] = []
  for (let offset = 0; ; ) {
    const page = await list(v, ino, fh, offset, room)
    if (page.names.length === 0) break
    names.push(...page.names)
    offset = page.next
  }
  await ok(v.vfs.releasedir(ROOT, ino, fh))
  return names
}

/** A repeatable stream of numbers in [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}
