import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { drop, own, ownBytes, reuse, toOwn } from '../../src/base/own-memory.ts'

const isFree = (view: Buffer): boolean => (view.buffer as ArrayBuffer).detached

describe('memory that has an owner', () => {
  it('is free when it is dropped, whatever part was looked at, without a collection', () => {
    const before = process.memoryUsage().arrayBuffers
    for (let i = 0; i < 64; i++) {
      const bytes = ownBytes(4 << 20)
      drop(bytes.subarray(5, 10))
      assert.ok(isFree(bytes))
      assert.equal(bytes.length, 0)
    }
    const moreBytes = process.memoryUsage().arrayBuffers - before
    assert.ok(moreBytes < 1 << 20, `${moreBytes} bytes are still there`)
  })

  it('is taken over where it is, once', () => {
    const bytes = ownBytes(100).fill('a')
    const taken = toOwn(bytes)
    assert.equal(taken.buffer, bytes.buffer)
    assert.notEqual(toOwn(bytes).buffer, bytes.buffer)
    drop(bytes)
    assert.ok(!isFree(taken))
    assert.equal(taken.toString(), 'a'.repeat(100))
  })

  it('is taken over where it is if there is the room that is wanted before it, else freed when it was copied', () => {
    for (const [start, isCopied] of [
      [0, true],
      [3, true],
      [4, false],
      [9, false],
    ] as const) {
      const memory = ownBytes(100).fill('x')
      const taken = toOwn(memory.fill('ab', start).subarray(start), 4)
      assert.equal(taken.toString(), 'ab'.repeat(50).slice(0, 100 - start))
      assert.ok(taken.byteOffset >= 4)
      assert.equal(taken.buffer !== memory.buffer, isCopied)
      assert.equal(isFree(memory), isCopied)
    }
  })
})

describe('memory that is used again', () => {
  it('is kept up to 32 MiB: the oldest is freed, of whatever size, and so is what is small', () => {
    const blocks = Array.from({ length: 9 }, (_, i) => Buffer.allocUnsafeSlow((4 << 20) - i))
    for (const { buffer } of blocks) reuse(buffer)
    assert.deepEqual(
      blocks.map(block => isFree(block)),
      blocks.map((_, i) => i === 0),
    )
    assert.equal(ownBytes((4 << 20) - 5).buffer, blocks[5]!.buffer)
    const small = Buffer.allocUnsafeSlow(1000)
    reuse(small.buffer)
    assert.ok(isFree(small))
  })
})

describe('memory that nobody called his own', () => {
  it('is left alone', () => {
    const stored = Buffer.alloc(100, 'a')
    const taken = toOwn(stored.subarray(10, 20), 4)
    taken.fill('b')
    drop(stored)
    assert.equal(stored.toString(), 'a'.repeat(100))
  })

  it('has an owner from when that is said', () => {
    const bytes = Buffer.alloc(100)
    own(bytes.subarray(3))
    drop(bytes)
    assert.ok(isFree(bytes))
  })
})
