import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { BLOCK, broken, FaultyStore, KIB, openTrial, pattern, readAll, writeSlice } from './harness.ts'

const CHUNK = 64 << 20

describe('slice writer', () => {
  it('what was written comes back, for sizes around every edge and any cut into pieces', async () => {
    const { chunks, stat } = await openTrial()
    let id = 0
    for (const size of [1, 4095, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK + 17]) {
      for (const piece of [size, 1 + (size >> 3), 4096]) {
        const bytes = pattern(size, ++id)
        const slice = await writeSlice(chunks, id, bytes, piece)
        assert.deepEqual(slice, { id, size })
        assert.ok((await readAll(chunks, slice)).equals(bytes), `size ${size} in pieces of ${piece}`)
      }
    }
    await chunks.close()
    assert.equal(stat('used_buffer_size_bytes'), 0)
  })

  it('a slice of a whole chunk is sixteen objects of 4 MiB under the keys of the format', async () => {
    const { chunks, store } = await openTrial({ blockBytes: 4 << 20, bufferBytes: 300 << 20 })
    const bytes = pattern(CHUNK)
    const slice = await writeSlice(chunks, 4097, bytes, 1 << 20)
    const keys = Array.from({ length: 16 }, (_, i) => `chunks/0/4/4097_${i}_4194304`)
    assert.deepEqual(await store.keys(), [...keys].sort())
    assert.deepEqual(
      chunks.keys(slice),
      keys.map(key => ({ key, size: 4194304 })),
    )
    assert.ok((await readAll(chunks, slice)).equals(bytes))
    await chunks.close()
  })

  it('an empty slice has no objects and needs no id', async () => {
    const { chunks, store } = await openTrial()
    assert.deepEqual(await chunks.newWriter().finish(), { id: 0, size: 0 })
    assert.deepEqual(await store.keys(), [])
    await chunks.close()
  })

  it('takes bytes only without a gap, at or behind the first unsent byte, and within a chunk', async () => {
    const { chunks } = await openTrial()
    const writer = chunks.newWriter()
    writer.setId(1)
    assert.equal(writer.accepts(1, 1), false)
    writer.write(0, pattern(BLOCK + 100))
    assert.equal(writer.accepts(BLOCK - 1, 1), false, 'the first block is on its way')
    assert.equal(writer.accepts(BLOCK, 10), true, 'the tail block is still here')
    assert.equal(writer.accepts(BLOCK + 100, CHUNK - BLOCK - 100), true)
    assert.equal(writer.accepts(BLOCK + 100, CHUNK - BLOCK - 99), false)
    assert.equal(writer.accepts(BLOCK + 101, 1), false, 'a gap')
    await writer.finish()
    assert.equal(writer.accepts(BLOCK + 100, 1), false, 'finished')
    await chunks.close()
  })

  it('rewriting the tail before it is sent stores the later bytes', async () => {
    const { chunks } = await openTrial()
    const writer = chunks.newWriter()
    const bytes = pattern(BLOCK + 5000)
    writer.write(0, bytes)
    const again = pattern(3000, 9)
    writer.write(100, again) // no id yet: even the full block can be written over
    writer.setId(7)
    writer.write(BLOCK + 10, again)
    again.copy(bytes, 100)
    again.copy(bytes, BLOCK + 10)
    const slice = await writer.finish()
    assert.ok((await readAll(chunks, slice)).equals(bytes))
    await chunks.close()
  })

  it('full blocks go out as soon as the id is known, the rest at the end', async () => {
    const { chunks, store } = await openTrial()
    const writer = chunks.newWriter()
    writer.write(0, pattern(2 * BLOCK + 1))
    await turn()
    assert.deepEqual(store.requests, [])
    writer.setId(3)
    await turn()
    assert.deepEqual(store.requests, [`put chunks/0/0/3_0_${BLOCK}`, `put chunks/0/0/3_1_${BLOCK}`])
    await writer.finish()
    assert.equal(store.requests.at(-1), 'put chunks/0/0/3_2_1')
    await chunks.close()
  })

  it('uploads that end out of order store every block', async () => {
    const store = new FaultyStore()
    const gates: (() => void)[] = []
    store.mischief = method =>
      method === 'put' ? new Promise(resolve => gates.push(() => resolve(undefined))) : undefined
    const { chunks } = await openTrial({}, store)
    const bytes = pattern(4 * BLOCK)
    const written = writeSlice(chunks, 5, bytes)
    await turn()
    assert.equal(gates.length, 4)
    for (const i of [2, 0, 3, 1]) {
      gates[i]!()
      await turn()
    }
    assert.ok((await readAll(chunks, await written)).equals(bytes))
    await chunks.close()
  })

  it('no more uploads run at a time than allowed', async () => {
    const store = new FaultyStore()
    let running = 0
    let most = 0
    store.mischief = async () => {
      most = Math.max(most, ++running)
      await turn()
      running--
      return undefined
    }
    const { chunks } = await openTrial({ maxUploads: 3 }, store)
    await Promise.all([1, 2, 3].map(id => writeSlice(chunks, id, pattern(8 * BLOCK))))
    assert.equal(most, 3)
    await chunks.close()
  })

  it('a put that fails is tried again after 1, 4, 9 … seconds', async () => {
    const store = new FaultyStore()
    let failures = 3
    store.mischief = method => (method === 'put' && failures-- > 0 ? broken() : undefined)
    const { chunks, pauses, stat } = await openTrial({}, store)
    const bytes = pattern(100)
    const slice = await writeSlice(chunks, 1, bytes)
    assert.deepEqual(pauses, [1000, 4000, 9000])
    assert.equal(stat('object_request_errors'), 3)
    assert.ok((await readAll(chunks, slice)).equals(bytes))
    await chunks.close()
  })

  it('a put that fails for good rejects finish, takes no more bytes, deletes what was stored and gives the buffers back', async () => {
    const store = new FaultyStore()
    store.mischief = (method, key) => (method === 'put' && key.includes('1_1_') ? broken() : undefined)
    const { chunks, stat } = await openTrial({ ioRetries: 2 }, store)
    const writer = chunks.newWriter()
    writer.setId(1)
    writer.write(0, pattern(3 * BLOCK))
    while (writer.accepts(3 * BLOCK, 1)) await turn()
    await assert.rejects(writer.finish(), /store block 1 of slice 1.*the store is broken/)
    assert.deepEqual(await store.keys(), [])
    assert.equal(stat('used_buffer_size_bytes'), 0)
    await writer.abort() // harmless afterwards
    await chunks.close()
  })

  it('abort deletes uploaded blocks and gives the buffers back', async () => {
    const { chunks, store, stat } = await openTrial()
    const writer = chunks.newWriter()
    writer.setId(1)
    writer.write(0, pattern(2 * BLOCK + 10))
    await turn()
    assert.equal((await store.keys()).length, 2)
    await writer.abort()
    assert.deepEqual(await store.keys(), [])
    assert.equal(stat('used_buffer_size_bytes'), 0)
    assert.equal(writer.accepts(2 * BLOCK + 10, 1), false)
    await chunks.close()
  })

  it('a put that times out is repeated, and its buffer is not reused before the late attempt has ended', async () => {
    const store = new FaultyStore()
    let release = (): void => {}
    let first = true
    store.mischief = () => {
      if (!first) return undefined
      first = false
      return new Promise(resolve => {
        release = () => resolve(undefined)
      })
    }
    const { chunks, stat } = await openTrial({ putTimeoutMs: 20 }, store)
    const slice = await writeSlice(chunks, 1, pattern(100))
    assert.equal(slice.size, 100)
    assert.equal(stat('used_buffer_size_bytes'), 64 * KIB)
    release()
    await turn()
    assert.equal(stat('used_buffer_size_bytes'), 0)
    await chunks.close()
  })

  it('write buffers are bounded: writers wait until uploads have made room', async () => {
    const store = new FaultyStore()
    const gates: (() => void)[] = []
    store.mischief = method =>
      method === 'put' ? new Promise(resolve => gates.push(() => resolve(undefined))) : undefined
    const { chunks } = await openTrial({ bufferBytes: 2 * BLOCK }, store)
    const writer = chunks.newWriter()
    writer.setId(1)
    assert.equal(chunks.roomToWrite(), undefined)
    writer.write(0, pattern(2 * BLOCK))
    const room = chunks.roomToWrite()
    assert.ok(room)
    let woken = false
    void room.then(() => {
      woken = true
    })
    await turn()
    assert.equal(woken, false)
    gates[0]!()
    await room
    gates[1]!()
    await writer.finish()
    await chunks.close()
  })
})
