/** Staging and uploads of the chunk room: real directories, a store in memory that can be told to misbehave. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { SystemClock, type Time } from '../../src/base/clock.ts'
import type { ChunkOptions } from '../../src/chunk/store.ts'
import type { WritebackOptions } from '../../src/chunk/write-back.ts'
import {
  BLOCK,
  broken,
  eventually,
  FaultyStore,
  keepingLog,
  noCache,
  openTrial,
  pattern,
  readAll,
  type Trial,
  writeSlice,
} from './harness.ts'

const UUID = '11111111-2222-4333-8444-555555555555'
const HOUR_MS = 3_600_000
const whileAway: Partial<WritebackOptions> = { uploadDelayMs: HOUR_MS }

let dir: string
before(async () => {
  dir = await fs.mkdtemp(join(tmpdir(), 'write-back-'))
})
after(() => fs.rm(dir, { recursive: true }))

/** The machine's clock, which can be set forward. */
class SetClock extends SystemClock {
  aheadMs = 0
  /** so many looks at it tell what it was two seconds ago */
  lateLooks = 0
  override now(): Time {
    const { sec, nsec } = super.now()
    const late = this.lateLooks > 0 ? 1 : 0
    this.lateLooks -= late
    return { sec: sec + Math.floor(this.aheadMs / 1000) - 2 * late, nsec }
  }
}

interface StagingTrial extends Trial {
  readonly where: string
  readonly root: string
  readonly lines: string[]
  readonly clock: SetClock
}

interface Wanted {
  readonly name: string
  readonly writeback?: Partial<WritebackOptions>
  readonly cache?: Partial<ChunkOptions['cache']>
  readonly options?: Partial<ChunkOptions>
  readonly store?: FaultyStore
}

async function open({ name, writeback, cache, options, store }: Wanted): Promise<StagingTrial> {
  const where = join(dir, name)
  const { log, lines } = keepingLog()
  const clock = new SetClock()
  const all: WritebackOptions = {
    isOn: true,
    thresholdBytes: 0,
    uploadDelayMs: 0,
    uploadHours: null,
    maxStageWrites: 1000,
    readOnly: false,
    ...writeback,
  }
  const trial = await openTrial(
    {
      cache: { ...noCache, dir: where, uuid: UUID, sizeBytes: 1 << 30, freeSpaceRatio: 0.0001, ...cache },
      writeback: all,
      log,
      clock,
      ...options,
    },
    store,
  )
  return { ...trial, where, root: `${where}/${UUID}`, lines, clock }
}

const exists = (path: string): Promise<boolean> =>
  fs.stat(path).then(
    () => true,
    () => false,
  )
const puts = (trial: Trial): string[] => trial.store.requests.filter(request => request.startsWith('put'))
const staged = (root: string, name: string): string => `${root}/rawstaging/chunks/0/0/${name}`
const cached = (root: string, name: string): string => `${root}/raw/chunks/0/0/${name}`
const warned = (trial: StagingTrial, text: RegExp): boolean => trial.lines.some(line => text.test(line))

describe('a staged block', () => {
  it('lies in rawstaging byte for byte as JuiceFS writes it, with a second link in raw', async () => {
    const trial = await open({ name: 'layout', writeback: whileAway })
    await writeSlice(trial.chunks, 42, Buffer.from('hello\n'))
    await writeSlice(trial.chunks, 43, pattern(40_000))
    const path = staged(trial.root, '42_0_6')
    // data | CRC-32C of its one piece, big-endian
    assert.equal((await fs.readFile(path)).toString('hex'), '68656c6c6f0a353dd8be')
    // data | CRC-32C of bytes 0…32767 | of bytes 32768…39999; no footer: that is for other tiers than the default
    assert.equal((await fs.stat(staged(trial.root, '43_0_40000'))).size, 40_000 + 8)
    await eventually(async () => (await fs.stat(path)).nlink === 2, 'the second link is made')
    const [one, other] = [await fs.stat(path), await fs.stat(cached(trial.root, '42_0_6'))]
    assert.equal(one.ino, other.ino)
    assert.equal(one.mode & 0o777, 0o600)
    assert.equal((await fs.stat(join(trial.root, 'rawstaging/chunks'))).mode & 0o777, 0o700)
    assert.deepEqual(await trial.store.keys(), [], 'nothing is uploaded yet')
    assert.equal(trial.stat('staging_blocks'), 2)
    assert.equal(trial.stat('staging_block_bytes'), 40_006)
    assert.equal(trial.stat('staging_write_bytes'), 40_006)
    await trial.chunks.close()
  })

  it('has checksums also where the cache has none', async () => {
    const trial = await open({ name: 'sums', writeback: whileAway, cache: { verifyChecksum: 'none' } })
    await writeSlice(trial.chunks, 42, Buffer.from('hello\n'))
    assert.equal((await fs.readFile(staged(trial.root, '42_0_6'))).toString('hex'), '68656c6c6f0a353dd8be')
    await trial.chunks.close()
  })

  it('is read before it is uploaded, whole and in part, also by the next process', async () => {
    const first = await open({ name: 'reads', writeback: whileAway })
    const bytes = pattern(3 * BLOCK + 100)
    const slice = await writeSlice(first.chunks, 7, bytes)
    assert.ok((await readAll(first.chunks, slice)).equals(bytes))
    await first.chunks.close()
    const second = await open({ name: 'reads', writeback: whileAway })
    assert.ok((await readAll(second.chunks, slice)).equals(bytes))
    const [part] = await second.chunks.read(slice, BLOCK + 5000, 300)
    assert.ok(part!.equals(bytes.subarray(BLOCK + 5000, BLOCK + 5300)))
    assert.deepEqual(second.store.requests, [])
    await second.chunks.close()
  })

  it('is uploaded when its time has come, and is an ordinary cached block from then on', async () => {
    const trial = await open({ name: 'uploads', writeback: { uploadDelayMs: 150 } })
    const bytes = pattern(2 * BLOCK + 10)
    const slice = await writeSlice(trial.chunks, 7, bytes)
    assert.deepEqual(puts(trial), [])
    await eventually(() => trial.stat('staging_blocks') === 0, 'everything is uploaded')
    assert.deepEqual(await trial.store.keys(), [
      `chunks/0/0/7_0_${BLOCK}`,
      `chunks/0/0/7_1_${BLOCK}`,
      'chunks/0/0/7_2_10',
    ])
    await eventually(async () => !(await exists(staged(trial.root, '7_2_10'))), 'its files are gone')
    assert.equal((await fs.stat(cached(trial.root, '7_2_10'))).nlink, 1)
    assert.equal(trial.stat('blockcache_blocks'), 3)
    assert.ok(trial.stat('staging_block_delay_seconds') >= 0.4, 'three blocks, 0.15 s each')
    trial.store.mischief = () => broken()
    assert.ok((await readAll(trial.chunks, slice)).equals(bytes), 'from the cache')
    await trial.chunks.close()
    assert.equal(trial.stat('used_buffer_size_bytes'), 0)
  })

  it('without a delay is uploaded from memory at once, and acknowledged before that', async () => {
    const store = new FaultyStore()
    let letGo: () => void = () => {}
    const held = new Promise<undefined>(resolve => {
      letGo = () => resolve(undefined)
    })
    store.mischief = method => (method === 'put' ? held : undefined)
    const trial = await open({ name: 'at-once', store })
    const slice = await writeSlice(trial.chunks, 7, pattern(100))
    assert.equal(trial.stat('staging_blocks'), 1)
    assert.equal(puts(trial).length, 1, 'the upload is under way')
    assert.ok((await readAll(trial.chunks, slice)).equals(pattern(100)))
    letGo()
    await eventually(() => trial.stat('staging_blocks') === 0, 'it is uploaded')
    await trial.chunks.close()
    assert.equal(trial.stat('used_buffer_size_bytes'), 0)
  })

  it('of a removed slice goes, and is never uploaded', async () => {
    const trial = await open({ name: 'removed', writeback: whileAway })
    const slice = await writeSlice(trial.chunks, 7, pattern(BLOCK + 100))
    await trial.chunks.remove(slice)
    assert.equal(await exists(staged(trial.root, '7_1_100')), false)
    await eventually(async () => !(await exists(cached(trial.root, '7_1_100'))), 'the link is gone too')
    assert.equal(trial.stat('staging_blocks'), 0)
    assert.deepEqual(puts(trial), [])
    await trial.chunks.close()
  })

  it('of a slice that is removed during its upload leaves no object', async () => {
    const store = new FaultyStore()
    let letGo: () => void = () => {}
    const held = new Promise<undefined>(resolve => {
      letGo = () => resolve(undefined)
    })
    store.mischief = method => (method === 'put' ? held : undefined)
    const trial = await open({ name: 'removed-late', store })
    const slice = await writeSlice(trial.chunks, 7, pattern(100))
    await trial.chunks.remove(slice)
    letGo()
    await eventually(() => store.requests.filter(request => request.startsWith('delete')).length === 2, 'deleted again')
    assert.deepEqual(await store.keys(), [])
    await trial.chunks.close()
    assert.equal(trial.stat('used_buffer_size_bytes'), 0)
  })

  it('is not counted, evicted or expired by the cache', async () => {
    const trial = await open({
      name: 'kept',
      writeback: whileAway,
      cache: { sizeBytes: 3 * (BLOCK + 4096), expireMs: 1000 },
    })
    const slice = await writeSlice(trial.chunks, 7, pattern(2 * BLOCK))
    for (let id = 100; id < 110; id++) trial.store.inner.put(`chunks/0/0/${id}_0_${BLOCK}`, pattern(BLOCK))
    for (let id = 100; id < 110; id++) await readAll(trial.chunks, { id, size: BLOCK })
    await eventually(() => trial.stat('blockcache_evicts') >= 7, 'others were evicted')
    trial.clock.aheadMs = 10_000
    await eventually(() => trial.stat('blockcache_blocks') === 0, 'others have expired')
    assert.ok((await readAll(trial.chunks, slice)).equals(pattern(2 * BLOCK)))
    assert.equal(trial.stat('staging_blocks'), 2)
    await trial.chunks.close()
  })
})

describe('what goes straight to the store', () => {
  it('are blocks of the threshold and above', async () => {
    const trial = await open({ name: 'threshold', writeback: { ...whileAway, thresholdBytes: 100 } })
    await writeSlice(trial.chunks, 7, pattern(99))
    await writeSlice(trial.chunks, 8, pattern(100))
    assert.deepEqual(await trial.store.keys(), ['chunks/0/0/8_0_100'])
    await trial.chunks.close()
  })

  it('are blocks beyond the number that may be staged at a time', async () => {
    const trial = await open({ name: 'most', writeback: { ...whileAway, maxStageWrites: 2 } })
    await writeSlice(trial.chunks, 7, pattern(5 * BLOCK))
    assert.equal(trial.stat('staging_blocks') + (await trial.store.keys()).length, 5)
    assert.ok((await trial.store.keys()).length >= 1)
    await trial.chunks.close()
  })

  it('are blocks beyond the size of the cache', async () => {
    const trial = await open({ name: 'cap', writeback: whileAway, cache: { sizeBytes: 3 * BLOCK } })
    for (let id = 1; id <= 5; id++) await writeSlice(trial.chunks, id, pattern(BLOCK))
    assert.equal(trial.stat('staging_blocks'), 3)
    assert.equal((await trial.store.keys()).length, 2)
    await trial.chunks.close()
  })

  it('are merged slices', async () => {
    const trial = await open({ name: 'direct', writeback: whileAway })
    const writer = trial.chunks.newWriter({ direct: true })
    writer.setId(7)
    writer.write(0, pattern(100))
    await writer.finish()
    assert.deepEqual(await trial.store.keys(), ['chunks/0/0/7_0_100'])
    await trial.chunks.close()
  })

  it('are all blocks once the staging directory has vanished, which is not made again', async () => {
    const trial = await open({ name: 'gone', writeback: whileAway })
    await fs.rm(trial.root, { recursive: true })
    const bytes = pattern(BLOCK + 1)
    const slice = await writeSlice(trial.chunks, 7, bytes)
    assert.equal((await trial.store.keys()).length, 2)
    assert.equal(trial.stat('staging_block_errors'), 2)
    assert.ok(warned(trial, /write chunks\/0\/0\/7_1_1 to disk: .*, upload it directly/))
    assert.equal(await exists(`${trial.root}/rawstaging`), false)
    assert.ok((await readAll(trial.chunks, slice)).equals(bytes))
    await trial.chunks.close()
    assert.equal(trial.stat('used_buffer_size_bytes'), 0)
  })

  it('are blocks whose disk does not answer in time; what it does later is undone', async () => {
    const trial = await open({ name: 'hung', writeback: whileAway, options: { putTimeoutMs: 300 } })
    await fs.mkdir(`${trial.root}/rawstaging/chunks/0/0`, { recursive: true })
    const fifo = staged(trial.root, '7_0_100.tmp')
    execFileSync('mkfifo', [fifo]) // opening it for writing waits for a reader
    await writeSlice(trial.chunks, 7, pattern(100))
    assert.deepEqual(await trial.store.keys(), ['chunks/0/0/7_0_100'])
    assert.equal(trial.stat('staging_writing_blocks'), 1)
    assert.ok(trial.stat('used_buffer_size_bytes') > 0, 'the bytes are still looked at')
    const reader = await fs.open(fifo, 'r+')
    await eventually(() => trial.stat('staging_writing_blocks') === 0, 'the disk has answered')
    await eventually(async () => !(await exists(staged(trial.root, '7_0_100'))), 'and that is undone')
    await reader.close()
    await trial.chunks.close()
    assert.equal(trial.stat('used_buffer_size_bytes'), 0)
  })
})

describe('the staging directory after a crash', () => {
  it('is found, uploaded and emptied by the next client, whether it stages or not', async () => {
    for (const isOn of [true, false]) {
      const name = `found-${isOn}`
      const first = await open({ name, writeback: whileAway })
      const bytes = pattern(2 * BLOCK + 5)
      const slice = await writeSlice(first.chunks, 9, bytes)
      // no close: the process was killed
      const second = await open({ name, writeback: { isOn } })
      await eventually(async () => (await second.store.keys()).length === 3, 'everything is uploaded')
      await eventually(() => second.stat('staging_blocks') === 0, 'and forgotten')
      assert.ok(warned(second, /Found 3 staging blocks \(131077 bytes\) in .*\/ with \d+ms/))
      assert.ok((await readAll(second.chunks, slice)).equals(bytes))
      await eventually(async () => !(await exists(staged(second.root, '9_2_5'))), 'its files are gone')
      await second.chunks.close()
      await first.chunks.close()
    }
  })

  it('waits for the rest of the delay, counted from when a block was staged', async () => {
    const first = await open({ name: 'rest', writeback: whileAway })
    await writeSlice(first.chunks, 1, pattern(10))
    await writeSlice(first.chunks, 2, pattern(10))
    const old = new Date(Date.now() - HOUR_MS - 1000)
    await fs.utimes(staged(first.root, '1_0_10'), old, old)
    const second = await open({ name: 'rest', writeback: whileAway })
    await eventually(async () => (await second.store.keys()).length === 1, 'the old one is uploaded')
    assert.deepEqual(await second.store.keys(), ['chunks/0/0/1_0_10'])
    assert.equal(second.stat('staging_blocks'), 1)
    await second.chunks.close()
    await first.chunks.close()
  })

  it('is left alone by a read-only client, which reads from it', async () => {
    const first = await open({ name: 'read-only', writeback: whileAway })
    const slice = await writeSlice(first.chunks, 1, pattern(10))
    await eventually(() => exists(cached(first.root, '1_0_10')), 'the second link is made')
    await fs.unlink(cached(first.root, '1_0_10'))
    const second = await open({ name: 'read-only', writeback: { isOn: false, readOnly: true } })
    await eventually(() => warned(second, /1 staging blocks are not uploaded: this mount is read-only/), 'it is said')
    assert.ok((await readAll(second.chunks, slice)).equals(pattern(10)))
    assert.deepEqual(second.store.requests, [])
    await second.chunks.close()
    await first.chunks.close()
  })

  it('with files of others in it: they are named and left alone, stale temporary ones removed', async () => {
    const root = join(dir, 'foreign', UUID)
    await fs.mkdir(`${root}/rawstaging/chunks/0/0`, { recursive: true })
    await fs.mkdir(`${root}/rawstaging/chunks/9/9`, { recursive: true })
    const [odd, wrong] = [`${root}/rawstaging/notes`, `${root}/rawstaging/chunks/9/9/5_0_10`]
    for (const path of [odd, wrong]) await fs.writeFile(path, 'x')
    for (const name of ['3_0_10.tmp', '4_0_10.tmp']) await fs.writeFile(staged(root, name), 'x')
    const old = new Date(Date.now() - 120_000)
    await fs.utimes(staged(root, '3_0_10.tmp'), old, old)
    const trial = await open({ name: 'foreign' })
    await eventually(
      () => trial.lines.filter(line => line.includes('Ignore invalid file')).length === 2,
      'two are named',
    )
    await eventually(async () => !(await exists(staged(root, '3_0_10.tmp'))), 'the stale one is removed')
    assert.ok(warned(trial, /Ignore invalid file in staging: .*\/rawstaging\/notes/))
    assert.ok(warned(trial, /Ignore invalid file in staging: .*\/chunks\/9\/9\/5_0_10/), 'not where its number belongs')
    for (const path of [odd, wrong, staged(root, '4_0_10.tmp')]) assert.ok(await exists(path), path)
    await trial.chunks.close()
  })

  it('with blocks of JuiceFS in it, with and without checksums and footers, is uploaded as well', async () => {
    const root = join(dir, 'theirs', UUID)
    await fs.mkdir(`${root}/rawstaging/chunks/0/0`, { recursive: true })
    const sums = '353dd8be'
    const files = {
      '1_0_6': `68656c6c6f0a${sums}`,
      '2_0_6': '68656c6c6f0a',
      '3_0_6': `68656c6c6f0a${sums}4653001082a474696572cc01a3706164c4020000`,
      '4_0_6': '68656c6c6f0a4653000e82a474696572cc01a3706164c400',
    }
    for (const [name, hex] of Object.entries(files)) await fs.writeFile(staged(root, name), Buffer.from(hex, 'hex'))
    const trial = await open({ name: 'theirs' })
    await eventually(() => trial.stat('staging_blocks') === 0 && puts(trial).length === 4, 'all are uploaded')
    for (const name of Object.keys(files)) {
      assert.equal((await trial.store.inner.get(`chunks/0/0/${name}`)).toString(), 'hello\n')
    }
    assert.ok(warned(trial, /3_0_6 is stored in the default tier, not in tier 1/))
    assert.ok(warned(trial, /4_0_6 is stored in the default tier, not in tier 1/))
    await trial.chunks.close()
  })

  it('that is not empty at the end is told of', async () => {
    const trial = await open({ name: 'left', writeback: whileAway })
    await writeSlice(trial.chunks, 1, pattern(1000))
    await trial.chunks.close()
    assert.ok(warned(trial, /1 staging blocks \(1000 bytes\) are not uploaded yet, .*left\/.*\/rawstaging/))
    assert.ok(await exists(staged(trial.root, '1_0_1000')))
  })
})

describe('uploads of staged blocks', () => {
  it('is uploaded in time where it comes due while the clock is being looked at', async () => {
    const trial = await open({ name: 'just due', writeback: { uploadDelayMs: 150 } })
    await writeSlice(trial.chunks, 1, pattern(1000))
    await sleep(75) // whoever looks at the clock after a write has done so
    // At the end of the delay: not due yet at two looks, long due at the next.
    trial.clock.aheadMs = 1000
    trial.clock.lateLooks = 2
    await eventually(() => puts(trial).length > 0, 'it is uploaded', 5000)
    assert.equal(trial.clock.lateLooks, 0)
    await trial.chunks.close()
  })

  it('are in the order of staging', async () => {
    const trial = await open({ name: 'order', writeback: { uploadDelayMs: 100 }, options: { maxUploads: 1 } })
    for (let id = 5; id >= 1; id--) await writeSlice(trial.chunks, id, pattern(10))
    await eventually(() => trial.stat('staging_blocks') === 0, 'everything is uploaded')
    assert.deepEqual(
      puts(trial),
      [5, 4, 3, 2, 1].map(id => `put chunks/0/0/${id}_0_10`),
    )
    await trial.chunks.close()
  })

  it('that hang do not hold up those that become due meanwhile', async () => {
    const store = new FaultyStore()
    let letGo: () => void = () => {}
    const held = new Promise<undefined>(resolve => {
      letGo = () => resolve(undefined)
    })
    store.mischief = (method, key) => (method === 'put' && key.includes('/1_0_') ? held : undefined)
    const trial = await open({ name: 'hanging', writeback: { uploadDelayMs: 200 }, options: { maxUploads: 2 }, store })
    await writeSlice(trial.chunks, 1, pattern(10))
    await sleep(100)
    await writeSlice(trial.chunks, 2, pattern(10))
    await eventually(async () => (await store.keys()).includes('chunks/0/0/2_0_10'), 'the second is stored')
    assert.equal(trial.stat('staging_blocks'), 1)
    letGo()
    await eventually(() => trial.stat('staging_blocks') === 0, 'the first as well')
    await trial.chunks.close()
  })

  it('hold no more memory than their share of the buffers', async () => {
    const store = new FaultyStore()
    let running = 0
    let most = 0
    store.mischief = method => {
      if (method !== 'put') return undefined
      most = Math.max(most, ++running)
      return sleep(10).then(() => {
        running--
        return undefined
      })
    }
    const bufferBytes = 20 * BLOCK // a fifth of it: four blocks
    const trial = await open({ name: 'memory', writeback: { uploadDelayMs: 50 }, options: { bufferBytes }, store })
    for (let id = 1; id <= 20; id++) await writeSlice(trial.chunks, id, pattern(BLOCK))
    await eventually(() => trial.stat('staging_blocks') === 0, 'everything is uploaded')
    assert.equal(most, 4)
    await trial.chunks.close()
  })

  it('that fail are tried three times, and again a minute later', async () => {
    const store = new FaultyStore()
    store.mischief = method => (method === 'put' ? broken() : undefined)
    const trial = await open({ name: 'failing', writeback: { uploadDelayMs: 20 }, store })
    const slice = await writeSlice(trial.chunks, 1, pattern(10))
    await eventually(() => warned(trial, /upload staging block chunks\/0\/0\/1_0_10: .* try again in 60s/), 'put off')
    assert.equal(puts(trial).length, 3)
    assert.deepEqual(trial.pauses, [1000, 4000])
    assert.equal(trial.stat('staging_blocks'), 1)
    assert.ok((await readAll(trial.chunks, slice)).equals(pattern(10)))
    store.mischief = () => undefined
    trial.clock.aheadMs = 61_000
    await writeSlice(trial.chunks, 2, pattern(10)) // whatever happens next looks at the clock
    await eventually(() => trial.stat('staging_blocks') === 0, 'both are uploaded')
    await trial.chunks.close()
  })

  it('are waited for a day past their delay: then new blocks go straight to the store, until the late ones are there', async () => {
    const store = new FaultyStore()
    store.mischief = (method, key) => (method === 'put' && key.includes('/1_0_') ? broken() : undefined)
    const trial = await open({ name: 'overdue', writeback: { uploadDelayMs: HOUR_MS }, store })
    const late = await writeSlice(trial.chunks, 1, pattern(10))
    trial.clock.aheadMs = 24.9 * HOUR_MS
    await writeSlice(trial.chunks, 2, pattern(10))
    assert.equal(trial.stat('staging_write_bytes'), 20, 'still staged')
    trial.clock.aheadMs = 25.1 * HOUR_MS
    await writeSlice(trial.chunks, 3, pattern(10))
    assert.equal(trial.stat('staging_write_bytes'), 20, 'not staged')
    assert.ok((await trial.store.keys()).includes('chunks/0/0/3_0_10'), 'stored before it was acknowledged')
    assert.ok(warned(trial, /ERROR.*staging blocks wait for their upload since \d{4}-.*straight to the object storage/))
    assert.ok((await readAll(trial.chunks, late)).equals(pattern(10)))
    store.mischief = () => undefined
    trial.clock.aheadMs = 25.2 * HOUR_MS
    await writeSlice(trial.chunks, 4, pattern(10))
    await eventually(async () => (await trial.store.keys()).includes('chunks/0/0/1_0_10'), 'the late one is uploaded')
    trial.clock.aheadMs = 25.3 * HOUR_MS
    await writeSlice(trial.chunks, 5, pattern(10))
    assert.equal(trial.stat('staging_write_bytes'), 30, 'staged again')
    await trial.chunks.close()
  })

  it('happen in the hours that are given for them', async () => {
    const hour = new Date().getHours()
    const next = { from: (hour + 1) % 24, to: (hour + 2) % 24 }
    const trial = await open({ name: 'hours', writeback: { uploadHours: next } })
    await writeSlice(trial.chunks, 1, pattern(10))
    await sleep(50)
    assert.deepEqual(puts(trial), [])
    trial.clock.aheadMs = HOUR_MS
    await writeSlice(trial.chunks, 2, pattern(10))
    await eventually(() => trial.stat('staging_blocks') === 0, 'both are uploaded')
    await trial.chunks.close()
  })

  it('never upload a damaged block: the log names it, and only the damaged part cannot be read', async () => {
    const first = await open({ name: 'damaged', writeback: whileAway })
    const bytes = pattern(BLOCK)
    const slice = await writeSlice(first.chunks, 1, bytes)
    const path = staged(first.root, `1_0_${BLOCK}`)
    const file = await fs.readFile(path)
    file[40_000]! ^= 1
    await fs.writeFile(path, file)
    const trial = await open({ name: 'damaged' })
    await eventually(() => warned(trial, /ERROR.*1_0_65536 in .* is damaged .* not uploaded/), 'it is said')
    assert.deepEqual(puts(trial), [])
    assert.ok(await exists(path), 'nobody throws it away')
    const [good] = await trial.chunks.read(slice, 100, 1000)
    assert.ok(good!.equals(bytes.subarray(100, 1100)))
    await assert.rejects(Promise.resolve(trial.chunks.read(slice, 40_000, 10)), /does not exist/)
    assert.equal(trial.stat('staging_blocks'), 0, 'nothing that waits for its upload')
    await trial.chunks.close()
    await first.chunks.close()
  })

  it('tell of blocks that have vanished, unless another client has uploaded them', async () => {
    const first = await open({ name: 'vanished', writeback: whileAway })
    await writeSlice(first.chunks, 1, pattern(10))
    await writeSlice(first.chunks, 2, pattern(20))
    const trial = await open({ name: 'vanished', writeback: { uploadDelayMs: 400 } })
    await eventually(() => trial.stat('staging_blocks') === 2, 'both are found')
    await trial.store.inner.put('chunks/0/0/1_0_10', pattern(10))
    for (const name of ['1_0_10', '2_0_20']) await fs.unlink(staged(trial.root, name))
    await eventually(() => trial.stat('staging_blocks') === 0, 'neither waits any longer')
    assert.ok(warned(trial, /ERROR.*2_0_20 has vanished .*: its 20 bytes are lost/))
    assert.ok(!warned(trial, /1_0_10 has vanished/))
    await trial.chunks.close()
    await first.chunks.close()
  })
})

describe('durability with write-back', () => {
  /** A store that says when it was asked to make what durable. */
  class SyncedStore extends FaultyStore {
    async sync(keys: readonly string[]): Promise<void> {
      for (const key of keys) this.requests.push(`sync ${key}`)
    }
  }

  it('a sync is of the staging directory; before the staged file goes, its object is durable too', async () => {
    const store = new SyncedStore()
    const trial = await open({ name: 'synced', writeback: { uploadDelayMs: 300 }, store })
    const durable = await writeSlice(trial.chunks, 1, pattern(10))
    await writeSlice(trial.chunks, 2, pattern(10))
    await trial.chunks.sync([durable])
    assert.equal(store.requests.length, 0)
    await eventually(() => trial.stat('staging_blocks') === 0, 'both are uploaded')
    const [first, second] = [1, 2].map(id => `chunks/0/0/${id}_0_10`)
    assert.deepEqual(
      store.requests.filter(request => request.startsWith('sync')),
      [`sync ${first}`],
      'nobody asked for the other',
    )
    await trial.chunks.sync([durable, { id: 2, size: 10 }])
    assert.deepEqual(store.requests.slice(-2), [`sync ${first}`, `sync ${second}`], 'uploaded: the store is asked')
    await trial.chunks.close()
  })

  it('an object that does not become durable keeps its staged file', async () => {
    const store = new SyncedStore()
    store.sync = (): Promise<void> => broken()
    const trial = await open({ name: 'unsynced', writeback: { uploadDelayMs: 100 }, store })
    const slice = await writeSlice(trial.chunks, 1, pattern(10))
    await trial.chunks.sync([slice])
    await eventually(() => warned(trial, /upload staging block .*try again/), 'it is put off')
    assert.ok(await exists(staged(trial.root, '1_0_10')))
    await trial.chunks.close()
  })

  it('a sync of a block that another client has uploaded meanwhile asks the store', async () => {
    const store = new SyncedStore()
    const trial = await open({ name: 'shared', writeback: whileAway, store })
    const slice = await writeSlice(trial.chunks, 1, pattern(10))
    await store.inner.put('chunks/0/0/1_0_10', pattern(10))
    await fs.unlink(staged(trial.root, '1_0_10'))
    await trial.chunks.sync([slice])
    assert.deepEqual(store.requests, ['sync chunks/0/0/1_0_10'])
    assert.equal(trial.stat('staging_blocks'), 0)
    await trial.chunks.close()
  })

  it('a sync of a block that is neither staged any more nor stored fails', async () => {
    const trial = await open({ name: 'lost', writeback: whileAway })
    const slice = await writeSlice(trial.chunks, 1, pattern(10))
    await fs.unlink(staged(trial.root, '1_0_10'))
    await assert.rejects(trial.chunks.sync([slice]), /ENOENT/)
    await trial.chunks.close()
  })
})

const rootOnly = process.geteuid?.() !== 0 && 'mounting a tmpfs needs root'

describe('a small staging disk', { skip: rootOnly }, () => {
  async function onTmpfs(size: string, work: (where: string) => Promise<void>): Promise<void> {
    const where = await fs.mkdtemp(join(tmpdir(), 'small-stage-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'small-stage', where])
    try {
      await work(where)
    } finally {
      execFileSync('umount', ['-l', where])
      await fs.rm(where, { recursive: true })
    }
  }
  const usedBytes = (where: string): number =>
    Number(execFileSync('df', ['--output=used', '-B1', where], { encoding: 'latin1' }).split('\n')[1])

  it('takes blocks until half of what shall stay free is used up; the others go to the store', async () => {
    await onTmpfs('2m', async where => {
      const trial = await open({ name: 'ratio', writeback: whileAway, cache: { dir: where, freeSpaceRatio: 0.5 } })
      const bytes = pattern(30 * BLOCK)
      const slice = await writeSlice(trial.chunks, 1, bytes)
      assert.ok(trial.stat('staging_blocks') >= 10 && trial.stat('staging_blocks') < 30)
      assert.ok(usedBytes(where) <= 1.6 * 2 ** 20, `${usedBytes(where)} bytes of 2 MiB`)
      assert.equal(trial.stat('staging_blocks') + (await trial.store.keys()).length, 30)
      assert.ok((await readAll(trial.chunks, slice)).equals(bytes))
      await trial.chunks.close()
    })
  })

  it('that is full is written around, and leaves nothing half written', async () => {
    await onTmpfs('1m', async where => {
      const trial = await open({ name: 'full', writeback: whileAway, cache: { dir: where } })
      await fs.writeFile(join(where, 'filler'), Buffer.alloc(900 << 10))
      const bytes = pattern(20 * BLOCK)
      const slice = await writeSlice(trial.chunks, 1, bytes)
      assert.ok((await readAll(trial.chunks, slice)).equals(bytes))
      assert.ok((await trial.store.keys()).length >= 18)
      const left = await fs.readdir(`${where}/${UUID}/rawstaging/chunks/0/0`).catch(() => [])
      assert.ok(!left.some(name => name.endsWith('.tmp')))
      assert.equal(left.length, trial.stat('staging_blocks'))
      await trial.chunks.close()
      assert.equal(trial.stat('used_buffer_size_bytes'), 0)
    })
  })

  it('without room has its blocks uploaded before their time', async () => {
    await onTmpfs('2m', async where => {
      const trial = await open({ name: 'pressure', writeback: whileAway, cache: { dir: where, freeSpaceRatio: 0.5 } })
      await writeSlice(trial.chunks, 1, pattern(20 * BLOCK))
      await eventually(() => trial.stat('staging_blocks') === 0, 'everything is uploaded', 5000)
      assert.equal((await trial.store.keys()).length, 20)
      await eventually(() => usedBytes(where) < 1.1 * 2 ** 20, 'and the disk has its free half again', 5000)
      await trial.chunks.close()
    })
  })
})
