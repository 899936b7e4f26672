import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { DroppedMemory, keep, settled } from '../../src/base/dropped-memory.ts'
import { collectGarbage } from '../../src/base/idle-memory.ts'

const MIB = 1 << 20

interface Trial {
  readonly dropped: DroppedMemory
  collections: number
  needed: number
  nowMs: number
  tookMs: number
}

function trial(mostMiB: number): Trial {
  const state: Trial = {
    collections: 0,
    needed: 0,
    nowMs: 0,
    tookMs: 0,
    dropped: new DroppedMemory({
      mostBytes: mostMiB * MIB,
      neededBytes: () => state.needed,
      collect: () => {
        state.collections++
        state.nowMs += state.tookMs
      },
      nowMs: () => state.nowMs,
    }),
  }
  return state
}
/** kept, so that nothing is freed by chance */
const kept: Buffer[] = []
function make({ dropped }: Trial, count: number): void {
  for (let i = 0; i < count; i++) {
    const buffer = Buffer.alloc(MIB)
    kept.push(buffer)
    dropped.made(buffer)
  }
}

describe('memory that nobody needs any more', () => {
  it('is not what somebody keeps: looking at the objects of a store in memory is no reason to collect', () => {
    const state = trial(8)
    for (let i = 0; i < 20; i++) {
      const object = Buffer.alloc(MIB)
      keep(object.buffer)
      state.dropped.made(object.subarray(5))
    }
    assert.equal(state.collections, 0)
    make(state, 8)
    assert.equal(state.collections, 0)
    make(state, 1)
    assert.equal(state.collections, 1)
  })

  it('is collected when it is more than allowed, and again when half as much is new', () => {
    const state = trial(8)
    make(state, 8)
    assert.equal(state.collections, 0)
    make(state, 1)
    assert.equal(state.collections, 1)
    make(state, 3)
    assert.equal(state.collections, 1)
    make(state, 1)
    assert.equal(state.collections, 2)
  })

  it('is not what its owner still needs', () => {
    const state = trial(8)
    state.needed = 20 * MIB
    make(state, 28)
    assert.equal(state.collections, 0)
    make(state, 1)
    assert.equal(state.collections, 1)
  })

  it('is counted once, however many views of it come by', () => {
    const state = trial(8)
    const [block] = kept.splice(0, 1)
    for (let i = 0; i < 100; i++) state.dropped.made(block!.subarray(i))
    assert.equal(state.collections, 0)
  })

  it('does not cost more than a sixth of the time', () => {
    const state = trial(8)
    state.tookMs = 100
    make(state, 9)
    state.nowMs += 499
    make(state, 3)
    assert.equal(state.collections, 1)
    state.nowMs += 1
    make(state, 1)
    assert.equal(state.collections, 2)
  })

  it('costs more where half as much again as is allowed waits', () => {
    const state = trial(8)
    state.tookMs = 100
    make(state, 12)
    assert.equal(state.collections, 1)
    make(state, 1)
    assert.equal(state.collections, 2)
    make(state, 3)
    assert.equal(state.collections, 2)
    make(state, 1)
    assert.equal(state.collections, 3)
  })

  it('is not counted any more when it is used again, until it is made into something new', () => {
    const state = trial(8)
    const block = Buffer.alloc(8 * MIB)
    for (let i = 0; i < 10; i++) {
      state.dropped.made(block)
      settled(block.buffer)
    }
    settled(block.buffer)
    make(state, 8)
    assert.equal(state.collections, 0)
    state.dropped.made(block)
    assert.equal(state.collections, 1)
  })

  it('is not counted any more when it was freed', async () => {
    let collections = 0
    const dropped = new DroppedMemory({ mostBytes: 8 * MIB, neededBytes: () => 0, collect: () => collections++ })
    const drop = (count: number): void => {
      for (let i = 0; i < count; i++) dropped.made(Buffer.alloc(MIB))
    }
    drop(8)
    for (let i = 0; i < 20; i++) {
      collectGarbage()
      await sleep(5)
    }
    drop(7)
    assert.equal(collections, 0)
  })
})
