import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SystemClock } from '../../src/base/clock.ts'
import { MemStore } from '../../src/object/mem.ts'
import { SwappableStore } from '../../src/object/swappable.ts'

class Slow extends MemStore {
  closed = 0
  release: () => void = () => {}
  override async put(key: string, body: Buffer): Promise<void> {
    await new Promise<void>(resolve => {
      this.release = resolve
    })
    await super.put(key, body)
  }
  override async close(): Promise<void> {
    this.closed++
  }
}
const bytes = Buffer.from('x')
const slow = (name: string): Slow => new Slow(name, new SystemClock())
const neverFails = (error: unknown): void => assert.fail(String(error))

describe('a store that is replaced', () => {
  it('ends what was begun, and is closed when that has ended', async () => {
    const [before, after] = [slow('before'), new MemStore('after', new SystemClock())]
    const store = new SwappableStore(before, neverFails)
    const putting = store.put('k', bytes)
    store.replace(after)
    assert.equal(store.description, 'mem://after/')
    await store.put('k2', bytes)
    assert.equal(before.closed, 0)
    before.release()
    await putting
    assert.ok(await before.head('k'))
    assert.ok((await after.head('k2')) && !(await after.head('k')))
    assert.equal(before.closed, 1)
  })

  it('is closed at once, and once, when nobody uses it', async () => {
    const before = slow('before')
    const store = new SwappableStore(before, neverFails)
    store.replace(new MemStore('after', new SystemClock()))
    await store.list('', '', 1)
    await store.close()
    assert.equal(before.closed, 1)
  })

  it('that cannot be closed is told, and harms nobody', async () => {
    const problems: string[] = []
    const before = slow('before')
    before.close = () => Promise.reject(new Error('no'))
    const store = new SwappableStore(before, error => problems.push(String(error)))
    store.replace(new MemStore('after', new SystemClock()))
    assert.equal(store.sync, undefined, 'memory has nothing to sync')
    await store.get('k').catch(() => undefined)
    assert.deepEqual(problems, ['Error: no'])
  })
})
