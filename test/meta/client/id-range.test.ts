import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { IdRange } from '../../../src/meta/id-range.ts'

/** An engine that hands out ranges when told to. */
class Source {
  next = 1
  readonly #waiting: { count: number; resolve: (first: number) => void; reject: (error: Error) => void }[] = []
  readonly fetch = (count: number): Promise<number> =>
    new Promise((resolve, reject) => this.#waiting.push({ count, resolve, reject }))

  get asked(): number {
    return this.#waiting.length
  }
  async answer(): Promise<void> {
    const { count, resolve } = this.#waiting.shift()!
    resolve(this.next)
    this.next += count
    await new Promise(setImmediate)
  }
  async fail(): Promise<void> {
    this.#waiting.shift()!.reject(new Error('no connection'))
    await new Promise(setImmediate)
  }
}

describe('ids', () => {
  it('come at once while the next range is asked for, so that nobody ever waits', async () => {
    const source = new Source()
    const range = new IdRange(source.fetch, 100, 1)
    const first = range.take()
    await source.answer()
    assert.equal(await first, 1)
    for (let id = 2; id <= 1000; id++) {
      assert.equal(range.take(), id)
      if (source.asked > 0) await source.answer()
    }
  })

  it('are asked for once, however many wait', async () => {
    const source = new Source()
    const range = new IdRange(source.fetch, 10, 1)
    const waiting = Array.from({ length: 8 }, () => range.take())
    assert.equal(source.asked, 1)
    await source.answer()
    assert.deepEqual(await Promise.all(waiting), [1, 2, 3, 4, 5, 6, 7, 8])
  })

  it('are asked for again after a range could not be had, and those who waited hear of it', async () => {
    const source = new Source()
    const range = new IdRange(source.fetch, 10, 1)
    const waiting = [range.take(), range.take()]
    await Promise.all([source.fail(), ...waiting.map(id => assert.rejects(async () => id, /no connection/))])
    const again = range.take()
    await source.answer()
    assert.equal(await again, 1)
  })

  it('are given while there are any, although the next range cannot be had', async () => {
    const source = new Source()
    const range = new IdRange(source.fetch, 10, 1)
    const first = range.take()
    await source.answer()
    assert.equal(await first, 1)
    for (let id = 2; id <= 10; id++) {
      assert.equal(range.take(), id)
      if (source.asked > 0) await source.fail()
    }
    const waiting = [range.take(), range.take()]
    assert.equal(source.asked, 1)
    await source.answer()
    assert.deepEqual(await Promise.all(waiting), [11, 12])
  })

  it('a range that was only asked for ahead of need may fail: whoever waits for it gets the next one', async () => {
    const source = new Source()
    const range = new IdRange(source.fetch, 2, 1)
    const first = range.take()
    await source.answer()
    assert.deepEqual([await first, range.take()], [1, 2])
    const waiting = [range.take(), range.take()]
    await source.fail()
    await source.answer()
    assert.deepEqual(await Promise.all(waiting), [3, 4])
  })

  it('below the first are skipped', () => {
    const range = new IdRange(() => 0, 10, 2)
    assert.equal(range.take(), 2)
  })

  it('are given by an engine that answers at once even when it fails ahead of need', () => {
    let fails = false
    const range = new IdRange(
      () => {
        if (fails) throw new Error('disk full')
        return 1
      },
      4,
      1,
    )
    assert.equal(range.take(), 1)
    fails = true
    assert.deepEqual([range.take(), range.take(), range.take()], [2, 3, 4])
    assert.throws(() => range.take(), /disk full/)
  })

  it('of a server that is another one by now are given back: it may have given them to somebody else', () => {
    let server = 'a'
    const next = { a: 1, b: 1001 }
    const fetch = (count: number): number => {
      const first = next[server as 'a' | 'b']
      next[server as 'a' | 'b'] += count
      return first
    }
    const range = new IdRange(fetch, 10, 1, () => server)
    assert.deepEqual([range.take(), range.take()], [1, 2])
    server = 'b'
    assert.equal(range.take(), 1001)
  })

  it('never come twice: a counter that went back is moved on, for others too', async () => {
    let server = 'a'
    let next = 1
    const range = new IdRange(
      async count => {
        next += count
        return next - count
      },
      10,
      1,
      () => server,
    )
    for (let id = 1; id <= 14; id++) assert.equal(await range.take(), id)
    server = 'b'
    next = 5 // of a copy that was made earlier
    const given = [await range.take(), await range.take()] as number[]
    assert.ok(given[0]! > 20 && given[1] === given[0]! + 1, String(given))
    assert.ok(next > given[1]!)
  })
})
