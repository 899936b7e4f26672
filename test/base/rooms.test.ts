import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { giveBack, takeRoom } from '../../src/base/rooms.ts'

describe('rooms', () => {
  for (const bytes of [1, 4096, 65_536, 65_537, (1 << 20) + 65_536]) {
    it(`of ${bytes} bytes are used again when they were given back, and not before`, () => {
      const first = takeRoom(bytes)
      const second = takeRoom(bytes)
      assert.equal(first.length, bytes)
      assert.notEqual(first.buffer, second.buffer)
      giveBack([first.subarray(0, Math.ceil(bytes / 2))])
      const third = takeRoom(bytes)
      assert.equal(third.buffer, first.buffer)
      assert.equal(third.length, bytes)
      assert.notEqual(takeRoom(bytes).buffer, first.buffer)
    })
  }

  it('are given back once: a second time means nothing', () => {
    const room = takeRoom(100)
    giveBack([room])
    giveBack([room])
    const [one, other] = [takeRoom(100), takeRoom(100)]
    assert.notEqual(one.buffer, other.buffer)
  })

  it('that came from elsewhere are left alone', () => {
    const [block, large] = [Buffer.alloc(65_536), takeRoom(4 << 20)]
    giveBack([block, large, block.subarray(5)])
    for (let i = 0; i < 8; i++) assert.ok(![block.buffer, large.buffer].includes(takeRoom(65_536).buffer))
  })
})
