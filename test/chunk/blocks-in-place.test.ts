/** Blocks that are read where a local bucket keeps them, on the disk of the cache. */

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { addon } from '../../src/base/addon.ts'
import { SystemClock } from '../../src/base/clock.ts'
import type { SliceName } from '../../src/chunk/chunk-store.ts'
import type { ChunkOptions } from '../../src/chunk/store.ts'
import { FileStore } from '../../src/object/file.ts'
import { MemStore } from '../../src/object/mem.ts'
import { withPrefix } from '../../src/object/prefix.ts'
import { RateLimit } from '../../src/object/rate-limit.ts'
import type { ByteRange, ObjectStore } from '../../src/object/store.ts'
import { SwappableStore } from '../../src/object/swappable.ts'
import {
  BLOCK,
  eventually,
  keepingLog,
  noCache,
  openTrial,
  pattern,
  readAll,
  type Trial,
  writeSlice,
} from './harness.ts'

const UUID = '11111111-2222-4333-8444-555555555555'
const STAGING = {
  isOn: true,
  thresholdBytes: 0,
  uploadDelayMs: 3_600_000,
  uploadHours: null,
  maxStageWrites: 1000,
  readOnly: false,
}

/** A bucket that tells what it was asked for. */
class Bucket extends FileStore {
  readonly gets: string[] = []
  override get(key: string, range?: ByteRange, expected?: number): Promise<Buffer> {
    this.gets.push(range ? `${key} ${range.offset}+${range.length}` : key)
    return super.get(key, range, expected)
  }
}

let top: string
let dir: string
let bucket: Bucket
let slice = 0
before(async () => {
  top = await fs.mkdtemp(join(tmpdir(), 'in-place-'))
})
after(() => fs.rm(top, { recursive: true }))
beforeEach(async () => {
  dir = await fs.mkdtemp(join(top, 'case-'))
  bucket = await newBucket('bucket')
  slice++
})

async function newBucket(name: string): Promise<Bucket> {
  const store = new Bucket(join(dir, name))
  await store.create()
  await fs.mkdir(join(dir, name, 'vol'))
  return store
}

/** Those that a test that failed has left open would keep the process alive. */
const opened = new Set<Trial>()
afterEach(() => Promise.all([...opened].map(close)))
async function close(trial: Trial): Promise<void> {
  opened.delete(trial)
  await trial.chunks.close()
}

async function open(
  options: Partial<ChunkOptions> = {},
  cache: Partial<ChunkOptions['cache']> = {},
  store: ObjectStore = withPrefix(bucket, 'vol/'),
): Promise<Trial> {
  const where = { dir: join(dir, 'cache'), uuid: UUID, sizeBytes: 1 << 30, freeSpaceRatio: 0.0001, inPlace: true }
  const trial = await openTrial({ ...options, store, cache: { ...noCache, ...where, ...cache } })
  opened.add(trial)
  return trial
}

const raw = (): string => join(dir, 'cache', UUID, 'raw')
const cachedFiles = (): string[] =>
  existsSync(raw()) ? readdirSync(raw(), { recursive: true, encoding: 'utf8' }).filter(path => /_\d+$/.test(path)) : []
const pathOf = (name: string, below = 'bucket', id = 0): string =>
  join(dir, below, 'vol', 'chunks', '0', String(Math.floor(id / 1000)), name)
const openHere = (path: string): number =>
  readdirSync('/proc/self/fd').filter(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(path)
    } catch {
      return false
    }
  }).length
/** Of as many bytes `deepEqual` would make a comparison that takes minutes and all memory, where they differ. */
const same = (actual: Buffer, expected: Buffer): void => assert.ok(actual.equals(expected), 'the bytes are right')
const hits = (trial: { stat(name: string): number }): number => trial.stat('blockcache_hits')
/** What earlier mounts have staged is known: until then each block may be. */
async function settled(trial: Trial, name: SliceName): Promise<void> {
  const isReadInPlace = async (): Promise<boolean> => {
    bucket.gets.length = 0
    await trial.chunks.read(name, 4096, 100)
    return bucket.gets.length === 0
  }
  await eventually(isReadInPlace, 'it is read in place')
}
/** The kernel has nothing at hand while `work` runs. */
async function whereTheKernelWaits(work: () => Promise<void>): Promise<void> {
  const native = addon() as { readNow: unknown; openNow: unknown } | null
  const before = native && { ...native }
  if (native) Object.assign(native, { readNow: () => -11, openNow: () => -11 })
  try {
    await work()
  } finally {
    if (native) Object.assign(native, before)
  }
}
const withoutAddon = addon() === null ? 'without the addon nothing is read at once' : false

describe('a bucket on the disk of the cache', () => {
  it('is the cache: what is written and read is copied nowhere', { skip: withoutAddon }, async () => {
    const { log, lines } = keepingLog()
    const bytes = pattern(BLOCK + 5000)
    const writer = await open({ log })
    await writeSlice(writer.chunks, slice, bytes)
    await close(writer)
    const trial = await open({ log })
    const name = { id: slice, size: bytes.length }
    await settled(trial, name)
    const [hitsBefore, missesBefore] = [hits(trial), trial.stat('blockcache_miss')]
    const now = trial.chunks.read(name, BLOCK - 1000, 6000)
    assert.ok(Array.isArray(now), 'what the kernel has is answered at once')
    same(Buffer.concat(now), bytes.subarray(BLOCK - 1000, BLOCK + 5000))
    same(await readAll(trial.chunks, name), bytes)
    assert.equal(hits(trial), hitsBefore + 4)
    assert.equal(trial.stat('blockcache_miss'), missesBefore)
    assert.deepEqual(bucket.gets, [])
    assert.deepEqual(cachedFiles(), [])
    await close(trial)
    const place = `${join(dir, 'bucket', 'vol')}/`
    const line = `Disk cache: blocks are read in the bucket ${place}, which lies on the disk of ${join(dir, 'cache', UUID)}/`
    assert.equal(lines.filter(text => text.includes(line)).length, 2, lines.join('\n'))
    assert.equal(openHere(place), 0)
  })

  it('is not where it was not said, nor with write-back, compression, or another disk', async () => {
    const elsewhere = new MemStore('elsewhere', new SystemClock())
    const cases: [Partial<ChunkOptions>, Partial<ChunkOptions['cache']>, ObjectStore?][] = [
      [{}, { inPlace: false }],
      [{ writeback: { ...STAGING, uploadDelayMs: 0 } }, {}],
      [{ compression: 'lz4' }, {}],
      [{}, {}, elsewhere],
      [{}, {}, { ...withPrefix(bucket, 'vol/'), files: { directories: ['/proc/'], pathOf: key => `/proc/${key}` } }],
    ]
    for (const [at, [options, cache, store]] of cases.entries()) {
      const id = 1000 * slice + at
      const trial = await open(options, cache, store)
      await writeSlice(trial.chunks, id, pattern(4000))
      await eventually(() => cachedFiles().some(path => path.endsWith(`/${id}_0_4000`)), `case ${at} is cached`)
      if (store === undefined || store.files) {
        await eventually(() => existsSync(pathOf(`${id}_0_4000`, 'bucket', id)), `case ${at} is stored`)
      }
      const key = { id, size: 4000 }
      same(await readAll(trial.chunks, key), pattern(4000))
      assert.deepEqual((await trial.chunks.places(key))[0]!.place, `${join(dir, 'cache', UUID)}/`)
      await close(trial)
    }
  })

  it('is read by the thread pool, in parts, where the kernel has to wait for the disk', async () => {
    await whereTheKernelWaits(async () => {
      const bytes = pattern(BLOCK)
      const trial = await open({ prefetch: 0 })
      const name = await writeSlice(trial.chunks, slice, bytes)
      await settled(trial, name)
      const hitsBefore = hits(trial)
      const part = Buffer.concat(await trial.chunks.read(name, 20_000, 4096))
      same(part, bytes.subarray(20_000, 24_096))
      const first = Buffer.concat(await trial.chunks.read(name, 0, 512))
      same(first, bytes.subarray(0, 512))
      assert.deepEqual(bucket.gets, [])
      assert.equal(hits(trial), hitsBefore + 2)
      assert.equal(openHere(pathOf(`${slice}_0_${BLOCK}`)), 1)
      // Without prefetch, not fetched because of a small part of it.
      await new Promise(resolve => setTimeout(resolve, 50))
      assert.deepEqual(bucket.gets, [])
      // A whole block goes the ordinary way.
      same(await readAll(trial.chunks, name), bytes)
      assert.deepEqual(bucket.gets, [`vol/chunks/0/0/${slice}_0_${BLOCK}`])
      await close(trial)
      assert.deepEqual(cachedFiles(), [])
    })
  })

  it('is fetched after a small part had to be waited for, as many blocks at a time as prefetch says, and copied nowhere', async () => {
    await whereTheKernelWaits(async () => {
      const bytes = pattern(BLOCK)
      const trial = await open({ prefetch: 1 })
      const name = await writeSlice(trial.chunks, slice, bytes)
      await settled(trial, name)
      await eventually(() => Array.isArray(trial.chunks.read(name, 50_000, 100)), 'all of it is in memory')
      trial.chunks.evict(name)
      bucket.gets.length = 0
      same(Buffer.concat(await trial.chunks.read(name, 20_000, 4096)), bytes.subarray(20_000, 24_096))
      await eventually(() => Array.isArray(trial.chunks.read(name, 50_000, 100)), 'all of it is in memory')
      same(Buffer.concat(await trial.chunks.read(name, 50_000, 100)), bytes.subarray(50_000, 50_100))
      assert.deepEqual(bucket.gets, [`vol/chunks/0/0/${slice}_0_${BLOCK}`])
      await close(trial)
      assert.deepEqual(cachedFiles(), [])
    })
  })

  it('is opened ahead where the kernel has the bytes and not the name, and then read at once', {
    skip: withoutAddon,
  }, async () => {
    const native = addon() as { openNow: unknown }
    const { openNow } = native
    const bytes = pattern(BLOCK)
    const trial = await open()
    const name = await writeSlice(trial.chunks, slice, bytes)
    await settled(trial, name)
    trial.chunks.evict(name) // lets go of the file
    native.openNow = () => -11
    try {
      bucket.gets.length = 0
      assert.ok(trial.chunks.prefetch(name, 0, BLOCK), 'it has to be opened')
      await eventually(() => !trial.chunks.prefetch(name, 0, BLOCK), 'there is nothing left to do')
      const now = trial.chunks.read(name, 1000, 60_000)
      assert.ok(Array.isArray(now), 'answered at once')
      same(Buffer.concat(now), bytes.subarray(1000, 61_000))
      assert.deepEqual(bucket.gets, [], 'nothing was fetched')
    } finally {
      native.openNow = openNow
    }
    await close(trial)
  })

  it('with an object that is missing or of another length is asked the ordinary way, which says what is wrong', async () => {
    const trial = await open()
    const name = { id: slice, size: BLOCK }
    const path = pathOf(`${slice}_0_${BLOCK}`)
    await fs.mkdir(join(path, '..'), { recursive: true })
    for (const read of [() => readAll(trial.chunks, name), async () => trial.chunks.read(name, 8192, 4096)]) {
      await assert.rejects(read, /does not exist/)
    }
    assert.deepEqual(await trial.chunks.places(name), [{ place: null, bytes: BLOCK }])
    await fs.writeFile(path, pattern(BLOCK - 4096))
    await assert.rejects(() => readAll(trial.chunks, name), new RegExp(`${slice}_0_${BLOCK}`))
    await assert.rejects(async () => trial.chunks.read(name, BLOCK - 4096, 4096), new RegExp(`${slice}_0_${BLOCK}`))
    await fs.writeFile(path, pattern(BLOCK + 1))
    await assert.rejects(() => readAll(trial.chunks, name), new RegExp(`${slice}_0_${BLOCK}`))
    assert.deepEqual(await trial.chunks.places(name), [{ place: null, bytes: BLOCK }])
    // Nothing of this was held against it: as soon as it is right it is read.
    await fs.writeFile(path, pattern(BLOCK))
    same(await readAll(trial.chunks, name), pattern(BLOCK))
    assert.deepEqual((await fs.stat(path)).size, BLOCK)
    await close(trial)
  })

  it('gives back the space of a removed block at once, though it was just read', async () => {
    const trial = await open()
    const name = await writeSlice(trial.chunks, slice, pattern(BLOCK))
    await settled(trial, name)
    const path = pathOf(`${slice}_0_${BLOCK}`)
    assert.equal(openHere(path), 1)
    await trial.chunks.remove(name)
    await eventually(() => openHere(path) === 0, 'the file is closed')
    assert.equal(existsSync(path), false)
    await assert.rejects(async () => trial.chunks.read(name, 4096, 4096), /does not exist/)
    await close(trial)
  })

  it('counts as cached, needs no warming up, and loses nothing when the cache is emptied', async () => {
    const trial = await open()
    const name = await writeSlice(trial.chunks, slice, pattern(2 * BLOCK))
    const place = `${join(dir, 'bucket', 'vol')}/`
    assert.deepEqual(await trial.chunks.places(name), [
      { place, bytes: BLOCK },
      { place, bytes: BLOCK },
    ])
    await trial.chunks.warm(name)
    assert.deepEqual(bucket.gets, [])
    await settled(trial, name)
    assert.equal(openHere(place), 1)
    trial.chunks.evict(name)
    await eventually(() => openHere(place) === 0, 'the file is closed')
    await new Promise(resolve => setTimeout(resolve, 50))
    for (const index of [0, 1]) assert.ok(existsSync(pathOf(`${slice}_${index}_${BLOCK}`)))
    same(await readAll(trial.chunks, name), pattern(2 * BLOCK))
    assert.deepEqual(cachedFiles(), [])
    await assert.rejects(() => trial.chunks.warm({ id: 10_000 + slice, size: 10 }), /does not exist/)
    await close(trial)
  })

  it('pays for bandwidth, and is cached, for as long as there is a limit', async () => {
    const limit = new RateLimit(0, new SystemClock())
    const paid: number[] = []
    const pay = limit.pay.bind(limit)
    limit.pay = bytes => {
      paid.push(bytes)
      return pay(bytes)
    }
    const trial = await open({ downloadLimit: limit })
    const [first, second] = [2 * slice, 2 * slice + 1].map(id => ({ id: 100_000 + id, size: BLOCK }))
    for (const { id } of [first!, second!]) {
      await withPrefix(bucket, 'vol/').put(`chunks/0/100/${id}_0_${BLOCK}`, pattern(BLOCK, id))
    }
    await settled(trial, first!)
    paid.length = 0
    same(Buffer.concat(await trial.chunks.read(first!, 4096, 4096)), pattern(BLOCK, first!.id).subarray(4096, 8192))
    assert.deepEqual(paid, [])
    limit.set(10_000)
    same(await readAll(trial.chunks, second!), pattern(BLOCK, second!.id))
    assert.deepEqual(paid, [BLOCK])
    await eventually(() => cachedFiles().length === 1, 'it is cached')
    limit.set(0)
    await trial.chunks.read(first!, 8192, 4096)
    assert.deepEqual(paid, [BLOCK])
    await close(trial)
  })

  it('ends when the store is exchanged for one elsewhere, and begins anew for one on this disk', async () => {
    const lie = (id: number): string => `chunks/0/0/${id}_0_4000`
    const far = new MemStore('far', new SystemClock())
    const store = new SwappableStore(withPrefix(bucket, 'vol/'), error => assert.fail(String(error)))
    const trial = await open({}, {}, store)
    const name = await writeSlice(trial.chunks, slice, pattern(4000, 1))
    trial.chunks.evict(name)
    same(await readAll(trial.chunks, name), pattern(4000, 1))

    // Of no volume there is, but it tells the places apart.
    await far.put(lie(slice), pattern(4000, 2))
    store.replace(far)
    trial.chunks.evict(name)
    same(await readAll(trial.chunks, name), pattern(4000, 2))
    await eventually(() => cachedFiles().length === 1, 'it is cached')
    assert.deepEqual((await trial.chunks.places(name))[0]!.place, `${join(dir, 'cache', UUID)}/`)
    assert.equal(openHere(join(dir, 'bucket')), 0)

    const [other, more] = [await newBucket('other'), await newBucket('more')]
    await withPrefix(more, 'vol/').put(lie(slice), pattern(4000, 4))
    await withPrefix(other, 'vol/').put(lie(slice), pattern(4000, 3))
    store.replace(withPrefix(other, 'vol/'))
    trial.chunks.evict(name)
    await readAll(trial.chunks, name) // asks where it lies
    await eventually(async () => {
      const [found] = await trial.chunks.places(name)
      return found!.place === `${join(dir, 'other', 'vol')}/`
    }, 'the new bucket is near')
    trial.chunks.evict(name)
    same(await readAll(trial.chunks, name), pattern(4000, 3))
    assert.equal(openHere(join(dir, 'other')), 1)

    // What is open of the old one is not looked at any more, also where nothing is known of the new one yet.
    store.replace(withPrefix(more, 'vol/'))
    same(await readAll(trial.chunks, name), pattern(4000, 4))
    await eventually(() => openHere(join(dir, 'other')) === 0, 'its files are closed')

    // Files too, on another disk.
    const third = { ...withPrefix(other, 'vol/'), files: { directories: ['/proc/'], pathOf: other.files.pathOf } }
    store.replace(third)
    trial.chunks.evict(name)
    same(await readAll(trial.chunks, name), pattern(4000, 3))
    await eventually(() => cachedFiles().length === 1, 'it is cached again')
    await close(trial)
  })

  it('comes after what an earlier mount has staged, which is uploaded, and before what one has cached', async () => {
    const away = new MemStore('away', new SystemClock())
    const staging = await open({ writeback: STAGING }, {}, away)
    const staged = await writeSlice(staging.chunks, slice, pattern(BLOCK, 5))
    await close(staging)
    const caching = await open({ writeback: { ...STAGING, isOn: false, readOnly: true } }, { inPlace: false }, away)
    const cached = await writeSlice(caching.chunks, 5000 + slice, pattern(3000, 6))
    await eventually(() => cachedFiles().length === 2, 'it is cached')
    await close(caching)
    assert.ok(existsSync(join(dir, 'cache', UUID, 'rawstaging', 'chunks', '0', '0', `${slice}_0_${BLOCK}`)))

    // What lies in the bucket under its name is not it: a power cut may have left that.
    const wrong = `vol/chunks/0/0/${slice}_0_${BLOCK}`
    await bucket.put(wrong, Buffer.alloc(BLOCK))
    const trial = await open({ writeback: { ...STAGING, isOn: false, readOnly: true } })
    same(await readAll(trial.chunks, staged), pattern(BLOCK, 5))
    same(Buffer.concat(await trial.chunks.read(staged, 4096, 100)), pattern(BLOCK, 5).subarray(4096, 4196))
    same(await readAll(trial.chunks, cached), pattern(3000, 6))
    await close(trial)

    const writing = await open({ writeback: { ...STAGING, isOn: false, uploadDelayMs: 0 } })
    same(await readAll(writing.chunks, staged), pattern(BLOCK, 5))
    await eventually(async () => (await bucket.get(wrong)).equals(pattern(BLOCK, 5)), 'it is uploaded')
    await close(writing)
  })

  it('of several shards is read where each lies', async () => {
    const { withShards, shardOf } = await import('../../src/object/shards.ts')
    const shards = await Promise.all(['0', '1', '2'].map(newBucket))
    const trial = await open({}, {}, withPrefix(withShards(shards, '%d'), 'vol/'))
    const name = await writeSlice(trial.chunks, slice, pattern(8 * BLOCK))
    const places = (await trial.chunks.places(name)).map(({ place }) => place)
    const expected = places.map((_, index) => shardOf(`vol/chunks/0/0/${slice}_${index}_${BLOCK}`, 3))
    assert.deepEqual(
      places,
      expected.map(shard => `${join(dir, String(shard), 'vol')}/`),
    )
    assert.ok(new Set(places).size > 1)
    same(await readAll(trial.chunks, name), pattern(8 * BLOCK))
    assert.deepEqual(cachedFiles(), [])
    await close(trial)
  })
})

describe('files of a store', () => {
  it('are none where objects hold something else than what is got', async () => {
    const { withEncryption } = await import('../../src/object/encrypt.ts')
    const { generateKeyPairSync } = await import('node:crypto')
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
    const sealed = withEncryption(withPrefix(bucket, 'vol/'), { algorithm: undefined, pem, passphrase: undefined })
    assert.equal(sealed.files, undefined)
    await sealed.close()
    const { withShards } = await import('../../src/object/shards.ts')
    assert.equal(withShards([bucket, new MemStore('m', new SystemClock())], '%d').files, undefined)
  })

  it('never lie outside of the bucket', () => {
    const files = withPrefix(bucket, 'vol/').files!
    assert.equal(files.pathOf('chunks/1'), join(dir, 'bucket', 'vol', 'chunks', '1'))
    assert.throws(() => files.pathOf('../../x'), /is invalid/)
  })
})
