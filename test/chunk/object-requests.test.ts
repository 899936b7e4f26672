/** Requests to the object store: bandwidth limits, second requests for slow downloads, and what an error says. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { SystemClock } from '../../src/base/clock.ts'
import { EACCES } from '../../src/base/errno.ts'
import { Fault } from '../../src/base/fault.ts'
import { silentLog } from '../../src/base/log.ts'
import { Metrics } from '../../src/base/metrics.ts'
import { ownBytes } from '../../src/base/own-memory.ts'
import { BlockObjects } from '../../src/chunk/block-objects.ts'
import type { Codec } from '../../src/chunk/codec.ts'
import { Hedges } from '../../src/chunk/hedges.ts'
import { RateLimit } from '../../src/object/rate-limit.ts'
import { ObjectMissing } from '../../src/object/store.ts'
import { BLOCK, eventually, FaultyStore, KIB, openTrial, pattern, readAll, writeSlice } from './harness.ts'

/** Learns what is usual, so that the next slow download is known as slow; gives right to two second requests. */
async function accustomed() {
  const trial = await openTrial({ maxDownloads: 4 })
  for (let id = 1; id <= 72; id++) await readAll(trial.chunks, await writeSlice(trial.chunks, id, pattern(100)))
  trial.store.requests.length = 0
  return trial
}
const gets = (store: FaultyStore): number => store.requests.filter(request => request.startsWith('get')).length
const fail = (): Promise<never> => Promise.reject(new Fault('connection reset'))

describe('a slow download', () => {
  it('is requested a second time, and the first answer wins', async () => {
    const { chunks, store, stat } = await accustomed()
    const bytes = pattern(100, 9)
    const slice = await writeSlice(chunks, 900, bytes)
    let asked = 0
    store.mischief = method => (method === 'get' && asked++ === 0 ? new Promise(() => {}) : undefined)
    const start = performance.now()
    assert.ok((await readAll(chunks, slice)).equals(bytes))
    assert.ok(performance.now() - start < 2000)
    assert.equal(gets(store), 2)
    assert.equal(stat('object_request_hedged'), 1)
    await chunks.close()
  })

  it('is answered by the first request where that is faster after all, also when the second fails', async () => {
    const { chunks, store } = await accustomed()
    const bytes = pattern(100, 9)
    const slice = await writeSlice(chunks, 900, bytes)
    let asked = 0
    store.mischief = method => {
      if (method !== 'get') return undefined
      return asked++ === 0 ? sleep(200).then(() => undefined) : fail()
    }
    assert.ok((await readAll(chunks, slice)).equals(bytes))
    assert.equal(gets(store), 2)
    await chunks.close()
  })

  it('that fails twice tells the first failure', async () => {
    const { chunks, store } = await accustomed()
    const slice = await writeSlice(chunks, 900, pattern(100))
    let asked = 0
    store.mischief = method => {
      if (method !== 'get') return undefined
      const n = ++asked
      return sleep(n === 1 ? 200 : 10).then(() => Promise.reject(new Fault(`failure ${n}`)))
    }
    await assert.rejects(readAll(chunks, slice), /failure 1/)
    await chunks.close()
  })

  it('waits for its only answer where the budget is used up', async () => {
    const { chunks, store, stat } = await accustomed()
    const slices = []
    for (let id = 900; id < 905; id++) slices.push(await writeSlice(chunks, id, pattern(100)))
    store.mischief = method => (method === 'get' ? sleep(150).then(() => undefined) : undefined)
    for (const slice of slices) await readAll(chunks, slice)
    assert.equal(stat('object_request_hedged'), 2)
    assert.equal(gets(store), 7)
    await chunks.close()
  })

  it('is not repeated where all downloads are taken, nor under a download limit', async () => {
    const full = await openTrial({ maxDownloads: 1 })
    const limited = await openTrial({ downloadLimit: new RateLimit(8000, new SystemClock()) })
    for (const { chunks, store } of [full, limited]) {
      for (let id = 1; id <= 72; id++) await readAll(chunks, await writeSlice(chunks, id, pattern(100)))
      const slice = await writeSlice(chunks, 900, pattern(100))
      store.requests.length = 0
      store.mischief = method => (method === 'get' ? sleep(150).then(() => undefined) : undefined)
      await readAll(chunks, slice)
      assert.equal(gets(store), 1)
      await chunks.close()
    }
  })

  it('is what takes half as long again as most did, and never less than a tenth of a second', () => {
    const hedges = new Hedges()
    assert.equal(hedges.begin('large'), Number.POSITIVE_INFINITY)
    for (let i = 1; i <= 128; i++) hedges.observe('large', i * 10)
    const slow = hedges.begin('large')
    assert.ok(slow > 1.5 * 1200 && slow < 1.5 * 1260, `${slow} ms`)
    for (let i = 0; i < 128; i++) hedges.observe('small', 2)
    assert.equal(hedges.begin('small'), 100)
  })

  it('leads to second requests for three in a hundred at most', () => {
    const hedges = new Hedges()
    let taken = 0
    for (let i = 0; i < 10_000; i++) {
      hedges.begin('small')
      if (hedges.take()) taken++
    }
    assert.ok(taken >= 290 && taken <= 300, `${taken}`)
    for (let i = 0; i < 10_000; i++) hedges.begin('small')
    let saved = 0
    while (hedges.take()) saved++
    assert.equal(saved, 5)
  })
})

describe('a bandwidth limit', () => {
  /** A limit that says what is paid and lets nobody wait. */
  class Ledger extends RateLimit {
    readonly paid: number[] = []
    constructor() {
      super(0, { monotonicMs: () => 0 })
    }
    override pay(bytes: number): undefined {
      this.paid.push(bytes)
      return undefined
    }
  }

  it('counts each attempt of an upload by its encoded length, and a plain download by the length asked for', async () => {
    const [uploadLimit, downloadLimit] = [new Ledger(), new Ledger()]
    const { chunks, store } = await openTrial({ uploadLimit, downloadLimit })
    let failures = 1
    store.mischief = method => (method === 'put' && failures-- > 0 ? fail() : undefined)
    const slice = await writeSlice(chunks, 7, pattern(BLOCK + 10 * KIB))
    assert.deepEqual(uploadLimit.paid.sort(), [10 * KIB, BLOCK, BLOCK].sort())
    await readAll(chunks, slice)
    assert.deepEqual(downloadLimit.paid.sort(), [10 * KIB, BLOCK].sort())
    await chunks.close()
    const again = await openTrial({ downloadLimit }, store)
    downloadLimit.paid.length = 0
    await again.chunks.read(slice, 5 * KIB, 3 * KIB)
    assert.deepEqual(downloadLimit.paid, [3 * KIB])
    await again.chunks.close()
  })

  it('counts compressed downloads by what came', async () => {
    const [uploadLimit, downloadLimit] = [new Ledger(), new Ledger()]
    const { chunks } = await openTrial({ uploadLimit, downloadLimit, compression: 'zstd' })
    const slice = await writeSlice(chunks, 7, Buffer.alloc(BLOCK))
    await readAll(chunks, slice)
    assert.ok(uploadLimit.paid[0]! < 100)
    assert.deepEqual(downloadLimit.paid, uploadLimit.paid)
    await chunks.close()
  })

  it('makes uploads wait without holding more than their blocks, and time-outs do not count the wait', async () => {
    const uploadLimit = new RateLimit(8, new SystemClock()) // 850 KB/s, burst 100 KB
    const { chunks, stat } = await openTrial({ uploadLimit, putTimeoutMs: 50, maxUploads: 20 })
    const start = performance.now()
    const slice = await writeSlice(chunks, 3, pattern(6 * BLOCK))
    const ms = performance.now() - start
    assert.ok(ms > 250 && ms < 1500, `${6 * BLOCK} bytes took ${ms} ms`)
    assert.equal(stat('object_request_errors'), 0)
    assert.ok((await readAll(chunks, slice)).equals(pattern(6 * BLOCK)))
    await chunks.close()
  })
})

describe('an error of the store', () => {
  it('names request, object, time and cause, and keeps its errno', async () => {
    const { chunks, store } = await openTrial({ ioRetries: 0 })
    const dns = Object.assign(new Error('getaddrinfo ENOTFOUND bucket.example.com'), { code: 'ENOTFOUND' })
    store.mischief = () => Promise.reject(dns)
    const failure = await writeSlice(chunks, 5, pattern(10)).then(
      () => assert.fail('stored'),
      (error: unknown) => error as Fault,
    )
    assert.match(failure.message, /PUT chunks\/0\/0\/5_0_10 \(\d+ ms\): getaddrinfo ENOTFOUND bucket\.example\.com/)
    store.mischief = () => Promise.reject(new Fault('ExpiredToken: the token has expired', { errno: EACCES }))
    await assert.rejects(Promise.resolve(chunks.read({ id: 5, size: 10 }, 0, 10)), (error: unknown) => {
      return (
        error instanceof Fault &&
        error.errno === EACCES &&
        /^GET chunks\/0\/0\/5_0_10 \(\d+ ms\): ExpiredToken: the token has expired$/.test(error.message)
      )
    })
    await chunks.close()
  })

  it('that an object is missing stays recognisable', async () => {
    const { chunks } = await openTrial()
    await assert.rejects(Promise.resolve(chunks.read({ id: 77, size: 10 }, 0, 10)), ObjectMissing)
    await chunks.close()
  })

  it('of a put is logged with each new attempt', async () => {
    const warnings: string[] = []
    const log = { ...silentLog, warn: (message: string) => void warnings.push(message) }
    const { chunks, store } = await openTrial({ log, ioRetries: 2 })
    let failures = 1
    store.mischief = method => (method === 'put' && failures-- > 0 ? fail() : undefined)
    await writeSlice(chunks, 5, pattern(10))
    assert.equal(warnings.length, 1)
    assert.match(warnings[0]!, /^PUT chunks\/0\/0\/5_0_10 \(\d+ ms\): connection reset, will try again$/)
    await chunks.close()
  })

  it('is told at debug level with the cost, as success is', async () => {
    const lines: string[] = []
    const log = { ...silentLog, debug: (message: string) => void lines.push(message) }
    const { chunks } = await openTrial({ log })
    await writeSlice(chunks, 5, pattern(10))
    assert.match(lines[0]!, /^PUT chunks\/0\/0\/5_0_10 \(req_id: "", err: <nil>, cost: \d+\.\d{3}ms\)$/)
    await chunks.close()
  })
})

describe('the label storage_class', () => {
  it('is that of new objects, STANDARD where the bucket decides', async () => {
    for (const [storageClass, label] of [
      ['', 'STANDARD'],
      ['COLD', 'COLD'],
    ] as const) {
      const { chunks, metrics } = await openTrial({ storageClass })
      await writeSlice(chunks, 5, pattern(10))
      const text = metrics.renderPrometheus({})
      assert.match(text, new RegExp(`object_request_data_bytes\\{[^}]*method="PUT"[^}]*storage_class="${label}"`))
      await chunks.close()
    }
  })
})

describe('an upload that takes longer than its time-out', () => {
  it('counts when it ends well after all: a slow line is no reason to send a block again and again', async () => {
    const { chunks, store } = await openTrial({ putTimeoutMs: 100, ioRetries: 10, pause: () => sleep(10) })
    store.mischief = method => (method === 'put' ? sleep(250).then(() => undefined) : undefined)
    const start = performance.now()
    const slice = await writeSlice(chunks, 5, pattern(10))
    const ms = performance.now() - start
    assert.ok(ms < 400, `${ms} ms`)
    store.mischief = () => undefined
    assert.ok((await readAll(chunks, slice)).equals(pattern(10)))
    await chunks.close()
  })

  it('counts during the pause before the next attempt too, which is then left out', async () => {
    const { chunks, store } = await openTrial({ putTimeoutMs: 50, ioRetries: 1, pause: () => sleep(5000) })
    store.mischief = method => (method === 'put' ? sleep(150).then(() => undefined) : undefined)
    const start = performance.now()
    await writeSlice(chunks, 5, pattern(10))
    assert.ok(performance.now() - start < 2000)
    assert.deepEqual(store.requests, ['put chunks/0/0/5_0_10'])
    await chunks.close()
  })

  it('keeps its bytes until every attempt has ended, and is overtaken by a faster one', async () => {
    const { chunks, store, stat } = await openTrial({ putTimeoutMs: 50, ioRetries: 3, pause: () => sleep(5) })
    let asked = 0
    store.mischief = method => {
      if (method !== 'put') return undefined
      return asked++ === 0 ? sleep(400).then(() => undefined) : undefined
    }
    const start = performance.now()
    await writeSlice(chunks, 5, pattern(10))
    assert.ok(performance.now() - start < 300)
    assert.ok(stat('used_buffer_size_bytes') > 0)
    await eventually(() => stat('used_buffer_size_bytes') === 0, 'the buffer is given back')
    await chunks.close()
  })

  it('is synced only when no attempt can put an unsynced copy in its place any more', async () => {
    const { chunks, store } = await openTrial({ putTimeoutMs: 50, ioRetries: 3, pause: () => sleep(5) })
    const events: string[] = []
    let asked = 0
    store.mischief = method => {
      if (method !== 'put' || asked++ > 0) return undefined
      return sleep(300).then(() => void events.push('first attempt'))
    }
    Object.assign(store, { sync: async () => void events.push('sync') })
    const slice = await writeSlice(chunks, 5, pattern(10))
    assert.deepEqual(events, [])
    await chunks.sync([slice])
    assert.deepEqual(events, ['first attempt', 'sync'])
    await chunks.close()
  })

  it('fails when all attempts do, whenever', async () => {
    const { chunks, store } = await openTrial({ putTimeoutMs: 30, ioRetries: 2, pause: () => sleep(5) })
    store.mischief = method => (method === 'put' ? sleep(60).then(fail) : undefined)
    await assert.rejects(writeSlice(chunks, 5, pattern(10)), Fault)
    await chunks.close()
  })
})

describe('what a block was encoded into', () => {
  it('counts as memory of the write buffers until every attempt has ended, and is free then', async () => {
    const bodies: Buffer[] = []
    const codec: Codec = {
      plain: false,
      compress: block => {
        const body = ownBytes(2 * block.length)
        bodies.push(body)
        return body
      },
      decompress: body => body,
    }
    const store = Object.assign(new FaultyStore(), {
      limits: { rangeReads: false, maxListPage: 1000, copiesBodies: true },
    })
    const { promise, resolve } = Promise.withResolvers<undefined>()
    let asked = 0
    store.mischief = method => (method === 'put' && asked++ === 0 ? promise : undefined)
    const objects = new BlockObjects({
      store,
      codec,
      hashPrefix: false,
      maxUploads: 2,
      maxDownloads: 2,
      getTimeoutMs: 1000,
      putTimeoutMs: 20,
      ioRetries: 1,
      clock: new SystemClock(),
      log: silentLog,
      metrics: new Metrics(),
      pause: () => sleep(1),
    })
    let released = 0
    const put = objects.put({ id: 1, index: 0, length: 1000 }, Buffer.alloc(1000), {
      stop: () => false,
      release: () => released++,
    })
    await turn()
    assert.equal(objects.encodedBytes, 4000)
    await put
    assert.equal(objects.encodedBytes, 4000, 'the first attempt goes on')
    assert.equal(bodies[0]!.length, 2000)
    assert.equal(released, 0)
    resolve(undefined)
    await eventually(() => released === 1, 'the attempt ends')
    assert.equal(objects.encodedBytes, 0)
    assert.equal(bodies[0]!.length, 0)
  })
})

describe('a download that takes longer than its time-out', () => {
  it('is gone on with by the next attempt instead of begun again', async () => {
    const { chunks, store } = await openTrial({ getTimeoutMs: 100 })
    const slice = await writeSlice(chunks, 5, pattern(BLOCK))
    store.requests.length = 0
    store.mischief = method => (method === 'get' ? sleep(150).then(() => undefined) : undefined)
    await assert.rejects(Promise.resolve(chunks.read(slice, 0, BLOCK)), /no answer within 100 ms/)
    assert.ok((await readAll(chunks, slice)).equals(pattern(BLOCK)))
    assert.deepEqual(store.requests, ['get chunks/0/0/5_0_65536'])
    await chunks.close()
  })

  it('is begun again by the attempt after that, and where it has failed', async () => {
    const { chunks, store } = await openTrial({ getTimeoutMs: 50 })
    const slice = await writeSlice(chunks, 5, pattern(BLOCK))
    store.requests.length = 0
    let asked = 0
    store.mischief = method => (method === 'get' && asked++ === 0 ? new Promise(() => {}) : undefined)
    for (let i = 0; i < 2; i++) await assert.rejects(Promise.resolve(chunks.read(slice, 0, BLOCK)), /no answer within/)
    assert.ok((await readAll(chunks, slice)).equals(pattern(BLOCK)))
    assert.equal(store.requests.length, 2)

    const other = await writeSlice(chunks, 6, pattern(BLOCK))
    asked = 0
    store.mischief = method => (method === 'get' && asked++ === 0 ? sleep(80).then(fail) : undefined)
    await assert.rejects(Promise.resolve(chunks.read(other, 0, BLOCK)), /no answer within/)
    await sleep(60)
    assert.ok((await readAll(chunks, other)).equals(pattern(BLOCK)))
    await chunks.close()
  })
})

describe('a compressed block', () => {
  it('is not encoded before it can be uploaded: as many encoded ones wait as there are uploads', async () => {
    const store = new FaultyStore()
    const held = Promise.withResolvers<undefined>()
    store.mischief = () => held.promise
    let encoded = 0
    const codec: Codec = {
      plain: false,
      compress: block => {
        encoded++
        return block
      },
      decompress: body => body,
    }
    const objects = new BlockObjects({
      store,
      codec,
      hashPrefix: false,
      maxUploads: 2,
      maxDownloads: 2,
      getTimeoutMs: 10_000,
      putTimeoutMs: 10_000,
      ioRetries: 0,
      clock: new SystemClock(),
      log: silentLog,
      metrics: new Metrics(),
      pause: () => Promise.resolve(),
    })
    const puts = [1, 2, 3, 4, 5].map(id =>
      objects.put({ id, index: 0, length: 10 }, pattern(10), { stop: () => false, release: () => {} }),
    )
    await sleep(20)
    assert.equal(encoded, 2)
    held.resolve(undefined)
    await Promise.all(puts)
    assert.equal(encoded, 5)
  })
})
