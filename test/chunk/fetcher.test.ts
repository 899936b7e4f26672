import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { SliceName } from '../../src/chunk/chunk-store.ts'
import type { Compression } from '../../src/chunk/codec.ts'
import { ObjectMissing } from '../../src/object/store.ts'
import {
  BLOCK,
  broken,
  eventually,
  FaultyStore,
  KIB,
  noCache,
  openTrial,
  pattern,
  readAll,
  writeSlice,
} from './harness.ts'

const inMemory = { ...noCache, dir: 'memory', sizeBytes: 16 << 20 }

describe('reading slices', () => {
  it('any range of a slice comes back, from the store and from memory', async () => {
    for (const compression of ['none', 'lz4', 'zstd'] satisfies Compression[]) {
      const { chunks } = await openTrial({ compression, cache: inMemory })
      const bytes = pattern(3 * BLOCK + 777)
      const slice = await writeSlice(chunks, 9, bytes)
      for (const off of [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 100, 3 * BLOCK + 776]) {
        for (const len of [0, 1, 4096, BLOCK, 2 * BLOCK]) {
          const count = Math.min(len, bytes.length - off)
          const views = await chunks.read(slice, off, count)
          assert.ok(Buffer.concat(views).equals(bytes.subarray(off, off + count)), `${compression} ${off}+${count}`)
        }
      }
      await chunks.close()
    }
  })

  it('what is in memory is answered at once, as views without a copy', async () => {
    const { chunks } = await openTrial()
    const slice = await writeSlice(chunks, 1, pattern(BLOCK))
    await readAll(chunks, slice)
    const one = chunks.read(slice, 10, 20)
    const two = chunks.read(slice, 10, 20)
    assert.ok(Array.isArray(one) && Array.isArray(two))
    assert.equal(one[0]!.buffer, two[0]!.buffer)
    await chunks.close()
  })

  it('blocks that were read to their end leave memory before long, others and those of a cache in memory stay', async () => {
    const blocks = 20
    for (const [cache, leave] of [
      [noCache, true],
      [inMemory, false],
    ] as const) {
      const { chunks } = await openTrial({ cache })
      const slice = await writeSlice(chunks, 1, pattern(blocks * BLOCK))
      const isThere = (index: number, off = 0, len = BLOCK): boolean =>
        Array.isArray(chunks.read(slice, index * BLOCK + off, len))
      await chunks.read(slice, 0, BLOCK - 1)
      for (let index = 1; index < blocks; index++) await chunks.read(slice, index * BLOCK, BLOCK)
      assert.ok(isThere(0, 0, 1), 'not read to its end')
      assert.ok(isThere(blocks - 1) && isThere(blocks - 8), 'read just now')
      assert.equal(isThere(1, 0, 1), !leave)
      await chunks.close()
    }
  })

  it('one fetch serves all who ask for a block', async () => {
    const { chunks, store } = await openTrial()
    const bytes = pattern(BLOCK)
    const slice = await writeSlice(chunks, 1, bytes)
    const reads = await Promise.all([0, 100, 200].map(async off => chunks.read(slice, off, BLOCK - off)))
    assert.ok(reads[2]![0]!.equals(bytes.subarray(200)))
    assert.equal(store.requests.filter(request => request.startsWith('get')).length, 1)
    await chunks.close()
  })

  it('a small part from the middle of a plain block is fetched alone, then the block is prefetched', async () => {
    const { chunks, store, stat } = await openTrial({ cache: inMemory })
    const bytes = pattern(BLOCK)
    const slice = await writeSlice(chunks, 1, bytes)
    const [part] = await chunks.read(slice, 5000, 4096)
    assert.ok(part!.equals(bytes.subarray(5000, 9096)))
    await turn()
    const key = `chunks/0/0/1_0_${BLOCK}`
    assert.deepEqual(store.requests.slice(1), [`get ${key} 5000+4096`, `get ${key}`])
    assert.ok(Array.isArray(chunks.read(slice, 0, BLOCK)), 'the block is in memory now')
    assert.equal(stat('blockcache_miss'), 2)
    await chunks.close()
  })

  it('the beginning of a block, or more than a quarter, fetches the whole block', async () => {
    for (const [off, len] of [
      [0, 4096],
      [4096, BLOCK / 4 + 1],
    ] as const) {
      const { chunks, store } = await openTrial({ cache: inMemory })
      const slice = await writeSlice(chunks, 1, pattern(BLOCK))
      await chunks.read(slice, off, len)
      assert.deepEqual(store.requests.slice(1), [`get chunks/0/0/1_0_${BLOCK}`])
      await chunks.close()
    }
  })

  it('compressed blocks are never fetched in parts', async () => {
    const { chunks, store } = await openTrial({ compression: 'lz4' })
    const bytes = pattern(BLOCK)
    const slice = await writeSlice(chunks, 1, bytes)
    assert.ok((await chunks.read(slice, 5000, 10))[0]!.equals(bytes.subarray(5000, 5010)))
    assert.deepEqual(store.requests.slice(1), [`get chunks/0/0/1_0_${BLOCK}`])
    await chunks.close()
  })

  it('a range request that fails or comes short falls back to the whole block', async () => {
    for (const twist of ['fail', 'short'] as const) {
      const store = new FaultyStore()
      store.mischief = (_, __, range) => {
        if (!range) return undefined
        return twist === 'fail' ? broken() : Promise.resolve('short' as const)
      }
      const { chunks } = await openTrial({}, store)
      const bytes = pattern(BLOCK)
      const slice = await writeSlice(chunks, 1, bytes)
      assert.ok((await chunks.read(slice, 5000, 10))[0]!.equals(bytes.subarray(5000, 5010)))
      await chunks.close()
    }
  })

  it('a short object is a fault, never short bytes; the next read tries again', async () => {
    const store = new FaultyStore()
    const { chunks } = await openTrial({}, store)
    const bytes = pattern(BLOCK)
    const slice = await writeSlice(chunks, 1, bytes)
    let shorts = 1
    store.mischief = async method => (method === 'get' && shorts-- > 0 ? 'short' : undefined)
    await assert.rejects(async () => chunks.read(slice, 0, BLOCK), /read block fully/)
    assert.ok((await readAll(chunks, slice)).equals(bytes))
    await chunks.close()
  })

  it('a missing object is ObjectMissing', async () => {
    const { chunks } = await openTrial()
    await assert.rejects(async () => chunks.read({ id: 77, size: 100 }, 0, 100), ObjectMissing)
    await chunks.close()
  })

  it('a get that takes too long is a fault', async () => {
    const store = new FaultyStore()
    const { chunks } = await openTrial({ getTimeoutMs: 20 }, store)
    const slice = await writeSlice(chunks, 1, pattern(10))
    store.mischief = () => new Promise(() => {})
    await assert.rejects(async () => chunks.read(slice, 0, 10), /no answer within 20 ms/)
    await chunks.close()
  })

  it('prefetch brings the blocks of a range into memory, says whether it started any, and keeps quiet about failures', async () => {
    const store = new FaultyStore()
    const { chunks } = await openTrial({}, store)
    const slice = await writeSlice(chunks, 1, pattern(3 * BLOCK))
    store.mischief = method => (method === 'get' ? broken() : undefined)
    assert.equal(chunks.prefetch(slice, 0, BLOCK), true)
    await turn()
    store.mischief = () => undefined
    assert.equal(chunks.prefetch(slice, BLOCK - 1, BLOCK + 1), true)
    assert.equal(chunks.prefetch(slice, 0, 2 * BLOCK), false, 'under way already')
    for (let i = 0; i < 5; i++) await turn()
    assert.ok(Array.isArray(chunks.read(slice, 0, 2 * BLOCK)))
    assert.ok(!Array.isArray(chunks.read(slice, 2 * BLOCK, BLOCK)))
    await chunks.close()
  })

  it('memory for blocks that were read is bounded', async () => {
    const { chunks, stat } = await openTrial({ bufferBytes: 10 * BLOCK })
    const slice = await writeSlice(chunks, 1, pattern(20 * BLOCK))
    await readAll(chunks, slice)
    assert.equal(stat('used_read_buffer_size_bytes'), 8 * BLOCK)
    await chunks.close()
  })

  it('as many blocks are on their way as memory is for, and writing takes most of it; the others come after them', async () => {
    const { chunks, store } = await openTrial({ compression: 'zstd', bufferBytes: 16 * BLOCK })
    const bytes = pattern(40 * BLOCK)
    const slices = [await writeSlice(chunks, 1, bytes), await writeSlice(chunks, 2, bytes)] as const
    const hold = async (slice: SliceName, most: number): Promise<void> => {
      store.requests.length = 0
      let release = (): void => {}
      const held = new Promise<undefined>(resolve => {
        release = () => resolve(undefined)
      })
      store.mischief = method => (method === 'get' ? held : undefined)
      const reads = Array.from({ length: 40 }, (_, i) => chunks.read(slice, i * BLOCK + 7, 100))
      await turn()
      assert.equal(store.requests.length, most)
      release()
      const views = (await Promise.all(reads)).flat()
      assert.ok(views.every((view, i) => view.equals(bytes.subarray(i * BLOCK + 7, i * BLOCK + 107))))
      assert.equal(store.requests.length, 40)
    }
    await hold(slices[0], 8)
    const writer = chunks.newWriter()
    writer.write(0, pattern(15 * BLOCK))
    await hold(slices[1], 4)
    await writer.abort()
    await chunks.close()
  })

  it('blocks that are on their way take the place of those that were read', async () => {
    const store = new FaultyStore()
    const { chunks, stat } = await openTrial({ bufferBytes: 10 * BLOCK }, store)
    const slice = await writeSlice(chunks, 1, pattern(8 * BLOCK))
    const other = await writeSlice(chunks, 2, pattern(5 * BLOCK))
    await readAll(chunks, slice)
    let answer = (): void => {}
    const answered = new Promise<undefined>(resolve => {
      answer = () => resolve(undefined)
    })
    store.mischief = (_, key) => (key.endsWith(`2_0_${BLOCK}`) ? undefined : answered)
    assert.equal(stat('used_read_buffer_size_bytes'), 8 * BLOCK)
    chunks.prefetch(other, 0, 5 * BLOCK)
    await chunks.read(other, 0, 10)
    assert.equal(stat('used_read_buffer_size_bytes'), 4 * BLOCK, 'four are on their way')
    answer()
    await eventually(() => stat('used_read_buffer_size_bytes') === 8 * BLOCK, 'the others are here')
    await chunks.close()
  })

  it('a store that fails, delays and cuts by chance never makes a wrong byte', async () => {
    const seed = 20261121
    let state = seed
    const random = (): number => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
      return state / 0x80000000
    }
    const store = new FaultyStore()
    store.mischief = async () => {
      const chance = random()
      if (chance < 0.15) throw new Error('by chance')
      if (chance < 0.3) return 'short'
      for (let i = chance * 10; i > 3; i--) await turn()
      return undefined
    }
    const { chunks, stat } = await openTrial({ bufferBytes: 8 * BLOCK }, store)
    const bytes = pattern(5 * BLOCK + 321)
    const slice = await writeSlice(chunks, 1, bytes, 10_000)
    let good = 0
    for (let i = 0; i < 400; i++) {
      const off = Math.floor(random() * bytes.length)
      const len = Math.floor(random() * (bytes.length - off)) % (i % 2 ? 4 * KIB : 3 * BLOCK)
      const views = await Promise.resolve(chunks.read(slice, off, len)).catch(() => null)
      if (views === null) continue
      good++
      assert.ok(Buffer.concat(views).equals(bytes.subarray(off, off + len)), `seed ${seed}, read ${i}`)
    }
    assert.ok(good > 100)
    assert.equal(stat('object_request_uploading'), 0)
    await chunks.close()
  })

  it('remove deletes every object, goes on after an error and throws it', async () => {
    const store = new FaultyStore()
    const { chunks } = await openTrial({}, store)
    const slice = await writeSlice(chunks, 1, pattern(3 * BLOCK))
    store.mischief = (_, key) => (key.includes('1_1_') ? broken() : undefined)
    await assert.rejects(chunks.remove(slice), /the store is broken/)
    assert.deepEqual(await store.keys(), [`chunks/0/0/1_1_${BLOCK}`])
    store.mischief = () => undefined
    await chunks.remove(slice)
    await chunks.remove(slice)
    assert.deepEqual(await store.keys(), [])
    await chunks.close()
  })

  it('sync names every object of the slices', async () => {
    const store = new FaultyStore()
    const synced: string[] = []
    Object.assign(store, { sync: async (keys: string[]) => void synced.push(...keys) })
    const { chunks } = await openTrial({ hashPrefix: true }, store)
    await chunks.sync([
      { id: 4, size: BLOCK + 1 },
      { id: 255, size: 5 },
    ])
    assert.deepEqual(synced, [`chunks/04/0/4_0_${BLOCK}`, 'chunks/04/0/4_1_1', 'chunks/FF/0/255_0_5'])
    await chunks.close()
  })

  it('with the cache in memory, small blocks are there after their upload', async () => {
    const { chunks, store, stat } = await openTrial({ cache: inMemory })
    const slice = await writeSlice(chunks, 1, pattern(1000))
    assert.ok(Array.isArray(chunks.read(slice, 0, 1000)))
    assert.deepEqual(store.requests, ['put chunks/0/0/1_0_1000'])
    assert.equal(stat('blockcache_hits'), 1)
    assert.equal(stat('blockcache_blocks'), 1)
    await chunks.close()
  })
})
