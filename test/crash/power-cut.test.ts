/** Power cuts, modelled: what survives is the database as it was when its log was last synced, and of the objects and the staged
 *  blocks those that were synced and are not deleted. Deletions are taken to survive at once, which is the worst that a disk can do.
 *
 *      step ─► … ─► cut: copy of the last durable state ─► opened by a new client ─► every file that was fsynced reads back */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, linkSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, it } from 'node:test'
import type { Ino } from '../../src/base/ino.ts'
import { ROOT_INO } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import { Metrics } from '../../src/base/metrics.ts'
import type { SliceName } from '../../src/chunk/chunk-store.ts'
import { blocksOf, objectKey } from '../../src/chunk/keys.ts'
import { BackgroundJobs } from '../../src/jobs/jobs.ts'
import { checkVolume } from '../../src/meta/check.ts'
import type { MemoryEngine } from '../../src/meta/engine/memory.ts'
import { SqliteEngine } from '../../src/meta/engine/sqlite/engine.ts'
import { FileStore } from '../../src/object/file.ts'
import { withPrefix } from '../../src/object/prefix.ts'
import type { ObjectStore } from '../../src/object/store.ts'
import { noCache } from '../chunk/harness.ts'
import { size } from '../judges/judges.ts'
import { newVolume } from '../mount/harness.ts'
import * as vfs from '../vfs/harness.ts'
import { bytesOf } from './harness.ts'

const steps = size(150, 2000)
const STAGING = 'cache/u/rawstaging'

/** A disk with a cache that loses everything that was not synced. */
class Disk {
  readonly store: ObjectStore
  readonly engine: SqliteEngine
  /** of the disk cache, below it what is staged */
  readonly cacheDir: string
  readonly #dir: string
  readonly #durable: string

  constructor(dir: string) {
    this.#dir = dir
    this.#durable = join(dir, 'durable')
    this.cacheDir = join(dir, 'cache')
    for (const name of ['bucket', 'cache']) mkdirSync(join(this.#durable, name), { recursive: true })
    this.store = this.#traced(withPrefix(new FileStore(join(dir, 'bucket')), 'test-volume/'))
    this.engine = SqliteEngine.open(`sqlite3://${join(dir, 'meta.db')}`, { mustExist: true })
    const real = this.engine.sync.bind(this.engine)
    this.engine.sync = async () => {
      await real()
      this.#keepDatabase()
    }
    this.#keepDatabase()
  }

  /** By another process: closing a database file drops the locks of ours. */
  #keepDatabase(): void {
    const files = ['meta.db', 'meta.db-wal'].map(name => join(this.#dir, name)).filter(existsSync)
    execFileSync('cp', [...files, this.#durable])
  }

  #traced(store: ObjectStore): ObjectStore {
    const path = (root: string, key: string): string => join(root, 'bucket', 'test-volume', key)
    return {
      description: store.description,
      limits: store.limits,
      get: (key, range) => store.get(key, range),
      put: (key, body) => store.put(key, body),
      head: key => store.head(key),
      list: (prefix, marker, limit) => store.list(prefix, marker, limit),
      create: () => store.create(),
      close: () => store.close(),
      delete: async key => {
        rmSync(path(this.#durable, key), { force: true })
        await store.delete(key)
      },
      sync: async keys => {
        await store.sync!(keys)
        for (const key of keys) {
          const kept = path(this.#durable, key)
          mkdirSync(dirname(kept), { recursive: true })
          if (!existsSync(kept) && existsSync(path(this.#dir, key))) linkSync(path(this.#dir, key), kept)
        }
      },
    }
  }

  /** Slices that were promised to be durable: what of them is staged now survives as long as nobody takes it away. */
  keepStaged(slices: readonly SliceName[]): void {
    for (const slice of slices) {
      for (const block of blocksOf(slice, vfs.BLOCK)) {
        const [live, kept] = [this.#dir, this.#durable].map(root => join(root, STAGING, objectKey(block, false)))
        if (!existsSync(live!) || existsSync(kept!)) continue
        mkdirSync(dirname(kept!), { recursive: true })
        linkSync(live!, kept!)
      }
    }
  }

  /** What a power cut leaves now, in a directory of its own. */
  cut(to: string): void {
    for (const path of readdirSync(join(this.#durable, 'cache'), { recursive: true }) as string[]) {
      const isGone = /_\d+_\d+$/.test(path) && !existsSync(join(this.cacheDir, path))
      if (isGone) rmSync(join(this.#durable, 'cache', path))
    }
    cpSync(this.#durable, to, { recursive: true })
  }
}

/** `staging`: the cache directory, where blocks are staged before they are stored; null: they are not. */
async function open(
  engine: SqliteEngine,
  store: ObjectStore,
  staging: string | null,
  delayMs = 0,
): Promise<vfs.Volume> {
  const cache = { ...noCache, dir: staging ?? '', uuid: 'u', sizeBytes: 1 << 30, freeSpaceRatio: 0.0001 }
  const writeback = {
    isOn: true,
    thresholdBytes: 0,
    uploadDelayMs: delayMs,
    uploadHours: null,
    maxStageWrites: 10,
    readOnly: false,
  }
  return vfs.openVolume({
    engine: engine as unknown as MemoryEngine, // the harness needs an engine, whichever
    chunkOptions: staging === null ? { store } : { store, cache, writeback },
  })
}

async function readsBack(
  dir: string,
  files: ReadonlyMap<Ino, Buffer>,
  when: string,
  isStaging: boolean,
): Promise<void> {
  const engine = SqliteEngine.open(`sqlite3://${join(dir, 'meta.db')}`, { mustExist: true })
  const store = withPrefix(new FileStore(join(dir, 'bucket')), 'test-volume/')
  const v = await open(engine, store, isStaging ? join(dir, 'cache') : null)
  for (const [ino, bytes] of files) {
    const file = await vfs.open(v, ino, vfs.O_RDONLY)
    assert.equal(await vfs.lengthOf(v, ino), bytes.length, `${when}: length of inode ${ino}`)
    assert.ok((await vfs.read(v, file, 0, bytes.length + 1)).equals(bytes), `${when}: bytes of inode ${ino}`)
    await vfs.close(v, file)
  }
  await v.close()
  assert.deepEqual(await checkVolume(engine), [], when)
  await engine.close()
}

describe('a power cut', () => {
  for (const isStaging of [false, true]) cutsAtAnyMoment(isStaging)
})

function cutsAtAnyMoment(isStaging: boolean): void {
  const how = isStaging ? ', staged or uploaded' : ''
  const title = `at any of ${steps} moments leaves every fsynced file as it was${how}`
  it(title, { timeout: 60_000 + steps * 200 }, async t => {
    const seed = size(11, Date.now() % 1_000_000)
    t.diagnostic(`seed ${seed}`)
    const random = vfs.seeded(seed)
    const below = (limit: number): number => Math.floor(random() * limit)
    const volume = newVolume({ format: ['--block-size', '64K', '--trash-days', '0'] })
    try {
      const disk = new Disk(volume.dir)
      const v = await open(disk.engine, disk.store, isStaging ? disk.cacheDir : null, 20)
      const { meta, chunks, clock } = v
      const sync = chunks.sync.bind(chunks)
      chunks.sync = async slices => {
        await sync(slices)
        if (isStaging) disk.keepStaged(slices)
      }
      const jobs = new BackgroundJobs({
        meta,
        chunks,
        clock,
        log: silentLog,
        random,
        metrics: new Metrics(),
        maxDeletes: 2,
        sweeps: false,
      })
      jobs.start()
      /** what each open file holds now, and whether that was fsynced */
      const files: { file: vfs.TestFile; name: string; bytes: Buffer; isDurable: boolean }[] = []
      for (let step = 0; step < steps; step++) {
        const dice = below(12)
        const at = files[below(files.length)]
        if (dice < 2 || at === undefined) {
          const name = `f${step}`
          const bytes = bytesOf(step, below(3) * vfs.BLOCK + below(1000))
          const file = await vfs.create(v, name)
          await vfs.write(v, file, 0, bytes)
          files.push({ file, name, bytes, isDurable: false })
        } else if (dice < 6) {
          const piece = bytesOf(step, 1 + below(3000))
          const offset = below(at.bytes.length + 1)
          await vfs.write(v, at.file, offset, piece)
          const changed = Buffer.alloc(Math.max(at.bytes.length, offset + piece.length))
          at.bytes.copy(changed)
          piece.copy(changed, offset)
          Object.assign(at, { bytes: changed, isDurable: false })
          if (below(2) === 0) await vfs.ok(v.vfs.flush(vfs.ROOT, at.file.ino, at.file.fh, vfs.OWNER))
        } else if (dice < 9) {
          await vfs.ok(v.vfs.fsync(vfs.ROOT, at.file.ino, at.file.fh, false))
          at.isDurable = true
        } else if (dice === 9 && at.bytes.length > 0) {
          const name = `c${step}`
          const file = await vfs.create(v, name)
          await vfs.ok(
            v.vfs.copyFileRange(vfs.ROOT, { ...at.file, offset: 0 }, { ...file, offset: 0 }, at.bytes.length, 0),
          )
          files.push({ file, name, bytes: at.bytes, isDurable: false })
        } else if (dice === 10) {
          await jobs.compaction.compact(at.file.ino, 0)
        } else if (files.length > 4) {
          files.splice(files.indexOf(at), 1)
          await vfs.ok(v.vfs.unlink(vfs.ROOT, ROOT_INO, at.name))
          await vfs.close(v, at.file)
        }
        if (below(3) > 0) continue
        const dir = join(volume.dir, 'cut')
        disk.cut(dir)
        const expected = new Map(files.filter(each => each.isDurable).map(({ file, bytes }) => [file.ino, bytes]))
        await readsBack(dir, expected, `after step ${step}`, isStaging)
        rmSync(dir, { recursive: true })
      }
      for (const { file } of files) await vfs.close(v, file)
      await jobs.stop()
      await v.close()
      await disk.engine.close()
    } finally {
      volume.remove()
    }
  })
}
