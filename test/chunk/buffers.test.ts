import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { WriteBuffers } from '../../src/chunk/buffers.ts'

const MIB = 1 << 20

describe('write buffers', () => {
  it('grow by four from 64 KiB to a block, so that a small file holds little', () => {
    const buffers = new WriteBuffers({ blockBytes: 4 * MIB, limitBytes: 64 * MIB })
    const sizes = [1, 65536, 65537, 300_000, MIB, MIB + 1, 4 * MIB].map(bytes => buffers.acquire(bytes).length)
    assert.deepEqual(sizes, [65536, 65536, 262144, MIB, MIB, 4 * MIB, 4 * MIB])
    buffers.close()
  })

  it('are reused, counted, and given back to the system when idle for some seconds', t => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const buffers = new WriteBuffers({ blockBytes: 4 * MIB, limitBytes: 64 * MIB })
    const first = buffers.acquire(4 * MIB)
    assert.equal(buffers.usedBytes, 4 * MIB)
    buffers.release(first)
    assert.equal(buffers.usedBytes, 0)
    assert.equal(buffers.acquire(2 * MIB), first)
    buffers.release(first)
    assert.equal(buffers.idleBytes, 4 * MIB)
    t.mock.timers.tick(2000)
    assert.equal(buffers.idleBytes, 4 * MIB, 'it was used since the last look')
    t.mock.timers.tick(2000)
    assert.equal(buffers.idleBytes, 0)
    assert.equal(first.length, 0, 'detached: the memory is free now')
    buffers.close()
  })

  it('are kept up to a quarter of the limit, and beyond it given back at once', () => {
    const buffers = new WriteBuffers({ blockBytes: MIB, limitBytes: 16 * MIB })
    const burst = Array.from({ length: 12 }, () => buffers.acquire(MIB))
    for (const buffer of burst) buffers.release(buffer)
    assert.equal(buffers.idleBytes, 4 * MIB)
    assert.equal(burst.filter(({ length }) => length === 0).length, 8)
    buffers.close()
  })

  it('are not kept on top of what is in use and what it was encoded into', () => {
    let encodedBytes = 0
    const buffers = new WriteBuffers({ blockBytes: 4 * MIB, limitBytes: 16 * MIB, encodedBytes: () => encodedBytes })
    const small = Array.from({ length: 4 }, () => buffers.acquire(MIB))
    for (const buffer of small) buffers.release(buffer)
    assert.equal(buffers.idleBytes, 4 * MIB)
    const held = Array.from({ length: 3 }, () => buffers.acquire(4 * MIB))
    assert.equal(buffers.idleBytes, 4 * MIB)
    encodedBytes = 2 * MIB
    held.push(buffers.acquire(MIB))
    assert.equal(buffers.usedBytes + buffers.idleBytes + encodedBytes, 18 * MIB, 'one was used again')
    held.push(buffers.acquire(200_000))
    assert.equal(buffers.idleBytes, 0)
    encodedBytes = 6 * MIB
    buffers.release(held[0]!)
    assert.equal(buffers.idleBytes, 0, 'there was no room for it')
    buffers.release(held[1]!)
    assert.equal(buffers.idleBytes, 4 * MIB)
    buffers.close()
  })

  it('let no more be written while what they hold is encoded, unless nothing is in use', async () => {
    let encodedBytes = 2 * MIB
    const buffers = new WriteBuffers({ blockBytes: MIB, limitBytes: 4 * MIB, encodedBytes: () => encodedBytes })
    const held = [buffers.acquire(MIB)]
    assert.equal(buffers.roomToWrite(), undefined)
    held.push(buffers.acquire(MIB))
    const waits = [1, 2].map(() => buffers.roomToWrite())
    let woken = 0
    for (const wait of waits) wait!.then(() => woken++)
    encodedBytes = 5 * MIB
    buffers.release(held[0]!)
    await turn()
    assert.equal(woken, 0)
    buffers.release(held[1]!)
    await waits[0]
    assert.equal(woken, 1)
    assert.equal(buffers.roomToWrite(), undefined)
    buffers.close()
    await waits[1]
  })

  it('a buffer released twice is noticed', () => {
    const buffers = new WriteBuffers({ blockBytes: MIB, limitBytes: 4 * MIB })
    const buffer = buffers.acquire(MIB)
    buffers.release(buffer)
    assert.throws(() => buffers.release(buffer), /released once/)
    buffers.close()
  })

  it('writers that wait for room are woken in their order, no more at once than there is room for', async () => {
    const buffers = new WriteBuffers({ blockBytes: MIB, limitBytes: 2 * MIB })
    const held = [buffers.acquire(MIB), buffers.acquire(MIB)]
    const woken: number[] = []
    const waits = [1, 2, 3].map(n => buffers.roomToWrite()?.then(() => woken.push(n)))
    buffers.release(held[0]!)
    await waits[0]
    assert.deepEqual(woken, [1])
    buffers.release(held[1]!)
    await Promise.all(waits)
    assert.deepEqual(woken, [1, 2, 3])
    buffers.close()
  })
})
