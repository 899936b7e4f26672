import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { collectGarbage } from '../../src/base/idle-memory.ts'
import { drop, free, ownBytes } from '../../src/base/own-memory.ts'
import { type Compression, openCodec } from '../../src/chunk/codec.ts'

const HELLO = Buffer.from('hello hello hello hello hello hello hello\n')
const LZ4 = Buffer.from('6F68656C6C6F2006000C50656C6C6F0A', 'hex')
const ZSTD = Buffer.from('28B52FFD202A6D00003868656C6C6F200A0100429622', 'hex')

describe('block codec', () => {
  it('decodes what JuiceFS wrote with lz4', async () => {
    const lz4 = await openCodec('lz4')
    assert.ok((await lz4.decompress(LZ4, HELLO.length)).equals(HELLO))
  })

  it('decodes what JuiceFS wrote with zstd, and writes the same bytes', async () => {
    const zstd = await openCodec('zstd')
    assert.ok((await zstd.decompress(ZSTD, HELLO.length)).equals(HELLO))
    assert.equal((await zstd.compress(HELLO)).toString('hex'), ZSTD.toString('hex'))
  })

  it('lz4 keeps nothing of what it has given', async () => {
    const lz4 = await openCodec('lz4')
    const block = Buffer.alloc(4 << 20, randomBytes(1000))
    const body = Buffer.from(await lz4.compress(block))
    const work = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        await lz4.decompress(body, block.length)
        if (i % 8 === 7) collectGarbage()
      }
      await sleep(50)
    }
    await work(24)
    const before = process.memoryUsage.rss()
    await work(64)
    const moreMiB = (process.memoryUsage.rss() - before) / 2 ** 20
    assert.ok(moreMiB < 128, `${moreMiB} MiB more are in use after 256 MiB`)
  })

  for (const compression of ['lz4', 'zstd'] satisfies Compression[]) {
    it(`${compression}: encoded bytes do not wait for the collector`, async () => {
      const codec = await openCodec(compression)
      const block = randomBytes(4 << 20)
      const before = process.memoryUsage().arrayBuffers
      let mostMiB = 0
      for (let i = 0; i < 24; i++) {
        drop(await codec.compress(block))
        const plain = await codec.decompress(await codec.compress(block), block.length)
        mostMiB = Math.max(mostMiB, (process.memoryUsage().arrayBuffers - before) / 2 ** 20)
        free(plain.buffer)
      }
      assert.ok(mostMiB < 20, `${mostMiB} MiB, where a block of 4 is decoded at a time`)
    })

    it(`${compression}: of many blocks that wait only few have memory for their answers`, async () => {
      const codec = await openCodec(compression)
      const block = randomBytes(4 << 20)
      const body = Buffer.from(await codec.compress(block))
      for (const work of [() => codec.compress(block), () => codec.decompress(body, block.length)]) {
        const before = process.memoryUsage().arrayBuffers
        const jobs = Array.from({ length: 24 }, work)
        const moreMiB = (process.memoryUsage().arrayBuffers - before) / 2 ** 20
        assert.ok(moreMiB < 5 * (availableParallelism() + 3), `${moreMiB} MiB`)
        await Promise.all(jobs)
      }
    })

    it(`${compression}: a body without an owner is left as it was, any other is freed`, async () => {
      const codec = await openCodec(compression)
      const block = Buffer.alloc(1 << 20, 'ab')
      const body = Buffer.from(await codec.compress(block))
      const copy = ownBytes(body.length)
      body.copy(copy)
      for (const each of [body, body, copy]) assert.ok((await codec.decompress(each, block.length)).equals(block))
      assert.ok(body.length > 0)
      assert.equal(copy.length, 0)
    })
  }

  it('lz4 objects are raw blocks: no magic, no length', async () => {
    const lz4 = await openCodec('lz4')
    const body = await lz4.compress(HELLO)
    assert.equal(body.subarray(0, 9).toString('hex'), '6f68656c6c6f200600', 'token, six literals, offset 6')
    const zeros = await lz4.compress(Buffer.alloc(4 << 20))
    assert.equal(zeros.subarray(0, 6).toString('hex'), '1f000100ffff')
  })

  it('zstd frames carry the plain length and no checksum', async () => {
    const zstd = await openCodec('zstd')
    assert.equal((await zstd.compress(Buffer.alloc(4 << 20))).subarray(0, 10).toString('hex'), '28b52ffd804800004000')
    assert.equal((await zstd.compress(randomBytes(70000))).subarray(0, 9).toString('hex'), '28b52ffda070110100')
  })

  for (const compression of ['none', 'lz4', 'zstd'] satisfies Compression[]) {
    it(`${compression}: every block comes back, from one byte to 4 MiB, compressible or not`, async () => {
      const codec = await openCodec(compression)
      for (const size of [1, 2, 12, 13, 64, 255, 256, 65535, 65536, 65537, 4 << 20]) {
        for (const plain of [Buffer.alloc(size, 'ab'), randomBytes(size)]) {
          const body = await codec.compress(plain)
          assert.ok((await codec.decompress(body, size)).equals(plain), `${size} bytes`)
        }
      }
    })

    it(`${compression}: a body that gives another length, or none, is a fault`, async () => {
      const codec = await openCodec(compression)
      const body = Buffer.from(await codec.compress(HELLO))
      for (const length of [HELLO.length - 1, HELLO.length + 1, 1, 4 << 20]) {
        await assert.rejects(async () => codec.decompress(body, length), { name: 'Fault' }, `${length}`)
      }
      await assert.rejects(async () => codec.decompress(body.subarray(0, body.length - 3), HELLO.length), {
        name: 'Fault',
      })
      await assert.rejects(async () => codec.decompress(Buffer.alloc(0), HELLO.length), { name: 'Fault' })
    })
  }

  it('bytes that are no encoding are a fault', async () => {
    for (const compression of ['lz4', 'zstd'] satisfies Compression[]) {
      const codec = await openCodec(compression)
      await assert.rejects(async () => codec.decompress(Buffer.from('ff010203040506070809', 'hex'), 5000), {
        name: 'Fault',
      })
      await assert.rejects(async () => codec.decompress(randomBytes(100_000), 10), { name: 'Fault' })
    }
  })
})
