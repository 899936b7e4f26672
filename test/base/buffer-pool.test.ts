import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { returnBuffers, takeBuffer } from '../../src/base/buffer-pool.ts'

describe('pooled buffers', () => {
  for (const bytes of [1, 4096, 65_536, 65_537, (1 << 20) + 65_536]) {
    it(`of ${bytes} bytes are used again when they were returned, and not before`, () => {
      const first = takeBuffer(bytes)
      const second = takeBuffer(bytes)
      assert.equal(first.length, bytes)
      assert.notEqual(first.buffer, second.buffer)
      returnBuffers([first.subarray(0, Math.ceil(bytes / 2))])
      const third = takeBuffer(bytes)
      assert.equal(third.buffer, first.buffer)
      assert.equal(third.length, bytes)
      assert.notEqual(takeBuffer(bytes).buffer, first.buffer)
    })
  }

  it('are returned once: a second time means nothing', () => {
    const buffer = takeBuffer(100)
    returnBuffers([buffer])
    returnBuffers([buffer])
    const [one, other] = [takeBuffer(100), takeBuffer(100)]
    assert.notEqual(one.buffer, other.buffer)
  })

  it('that came from elsewhere are left alone', () => {
    const [block, large] = [Buffer.alloc(65_536), takeBuffer(4 << 20)]
    returnBuffers([block, large, block.subarray(5)])
    for (let i = 0; i < 8; i++) assert.ok(![block.buffer, large.buffer].includes(takeBuffer(65_536).buffer))
  })
})
