import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { returnBuffers } from '../../src/base/buffer-pool.ts'
import { drop, ownBytes, toOwn } from '../../src/base/own-memory.ts'
import { hold, letGo, letGoView, share, viewFor } from '../../src/base/shared-memory.ts'

/** of a size that nobody else here asks for */
let size = 100_000
const newBlock = (): Buffer => {
  size += 8
  const block = ownBytes(size)
  share(block)
  return block
}
/** Is this what the next who wants so many bytes gets? */
const isUsedAgain = (block: Buffer): boolean => ownBytes(block.length).buffer === block.buffer

describe('shared memory', () => {
  it('is used again when its holders have let go, and not before', () => {
    const block = newBlock()
    hold(block)
    hold(block.subarray(7))
    letGo(block)
    letGo(block)
    assert.ok(!isUsedAgain(block))
    letGo(block.subarray(3, 5))
    assert.ok(isUsedAgain(block))
    assert.ok(!isUsedAgain(block))
  })

  it('is held by each view that a reader has, until the reader gives that view back', () => {
    const block = newBlock().fill('x')
    const [one, two, same] = [viewFor(block, 0, 10), viewFor(block, 5, 20), viewFor(block, 0, 10)]
    letGo(block)
    returnBuffers([one, two])
    returnBuffers([one])
    letGoView(two)
    returnBuffers([same.subarray(0)])
    assert.ok(!isUsedAgain(block), 'one reader has not given back what he got')
    returnBuffers([same])
    assert.ok(isUsedAgain(block))
  })

  it('that somebody never lets go is not used again', () => {
    const block = newBlock()
    viewFor(block, 0, 10)
    letGo(block)
    assert.ok(!isUsedAgain(block))
  })

  it('is held as often as it was shared', () => {
    const block = newBlock()
    share(block)
    letGo(block)
    assert.ok(!isUsedAgain(block))
    letGo(block)
    assert.ok(isUsedAgain(block))
  })

  it('has no owner any more: it is neither taken over nor freed', () => {
    const block = newBlock().fill('y')
    assert.notEqual(toOwn(block).buffer, block.buffer)
    drop(block)
    assert.equal(block[50], 'y'.charCodeAt(0))
  })

  it('takes no part where it had no owner: what is a view of something else stays as it is', () => {
    const something = Buffer.alloc(200_000, 'z')
    const block = something.subarray(0, 100_000)
    share(block)
    hold(block)
    const view = viewFor(block, 0, 10)
    for (let i = 0; i < 3; i++) letGo(block)
    returnBuffers([view])
    assert.notEqual(ownBytes(200_000).buffer, something.buffer)
  })
})
