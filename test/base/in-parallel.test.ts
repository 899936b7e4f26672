import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inParallel } from '../../src/base/in-parallel.ts'

describe('work in parallel', () => {
  async function* numbers(count: number, onEnd: () => void = () => {}): AsyncGenerator<number, void> {
    try {
      for (let i = 0; i < count; i++) {
        await sleep(1)
        yield i
      }
    } finally {
      onEnd()
    }
  }

  it('does everything once, so many at a time', async () => {
    const done: number[] = []
    let running = 0
    let most = 0
    await inParallel(numbers(20), 4, async i => {
      most = Math.max(most, ++running)
      await sleep(15)
      running--
      done.push(i)
    })
    assert.deepEqual(
      done.sort((a, b) => a - b),
      Array.from({ length: 20 }, (_, i) => i),
    )
    assert.equal(most, 4)
  })

  it('ends with the first failure, lets what runs end, and takes nothing more', async () => {
    const begun: number[] = []
    let running = 0
    let isEnded = false
    const work = async (i: number): Promise<void> => {
      begun.push(i)
      running++
      await sleep(i === 2 ? 1 : 30)
      running--
      if (i === 2) throw new Error('number two')
    }
    const onEnd = (): void => {
      isEnded = true
    }
    await assert.rejects(inParallel(numbers(100, onEnd), 3, work), /number two/)
    assert.equal(running, 0)
    assert.ok(begun.length < 10)
    assert.ok(isEnded)
  })
})
