import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { IdleMemory } from '../../src/base/idle-memory.ts'
import { BlockCache } from '../../src/chunk/block-cache.ts'

describe('memory of an idle client', () => {
  it('the collector runs once, some seconds after the last use, and again only after another', t => {
    t.mock.timers.enable({ apis: ['setInterval', 'setTimeout'] })
    let [runs, trims] = [0, 0]
    const idle = new IdleMemory(
      () => trims++,
      () => runs++,
    )
    idle.touch()
    t.mock.timers.tick(4000)
    idle.touch()
    t.mock.timers.tick(4000)
    assert.equal(runs, 0, 'in use')
    t.mock.timers.tick(60_000)
    assert.equal(runs, 1)
    idle.touch()
    t.mock.timers.tick(8000)
    assert.equal(runs, 2)
    idle.close()
    t.mock.timers.tick(60_000)
    assert.equal(trims, 1, 'memory is trimmed after the first; the second was closed before')
  })
})

describe('blocks in memory', () => {
  const cacheOf = (bytes: number): BlockCache => new BlockCache({ budgetBytes: () => bytes, idleMs: () => 4000 })

  it('the least recently read block makes room', () => {
    const cache = cacheOf(300)
    for (const key of [1, 2, 3]) cache.put(key, Buffer.alloc(100, key))
    assert.ok(cache.get(1, 100))
    cache.put(4, Buffer.alloc(100, 4))
    assert.deepEqual(
      [1, 2, 3, 4].map(key => cache.has(key)),
      [true, false, true, true],
    )
    assert.equal(cache.bytes, 300)
    cache.clear()
  })

  it('a block of another length than asked for is not the block', () => {
    const cache = cacheOf(300)
    cache.put(1, Buffer.alloc(100))
    assert.equal(cache.get(1, 99), undefined)
    cache.clear()
  })

  it('a block larger than the budget is not kept', () => {
    const cache = cacheOf(99)
    cache.put(1, Buffer.alloc(100))
    assert.equal(cache.count, 0)
    assert.equal(cache.bytes, 0)
  })

  it('what nobody reads for a while is dropped, the rest stays', t => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const cache = cacheOf(1000)
    cache.put(1, Buffer.alloc(100))
    cache.put(2, Buffer.alloc(100))
    t.mock.timers.tick(3000)
    assert.ok(cache.get(2, 100))
    t.mock.timers.tick(3000)
    assert.deepEqual([cache.has(1), cache.has(2)], [false, true])
    t.mock.timers.tick(3000)
    assert.equal(cache.bytes, 0)
  })
})
