/** What every object store keeps (spec data-objects section 5): one suite, a factory a store. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { isEmptyForFormat, testStorage } from '../../src/object/storage-test.ts'
import { ObjectMissing, type ObjectStore } from '../../src/object/store.ts'

/** A fresh, empty store for each test, and what cleans it up. */
export type StoreFactory = () => Promise<{ store: ObjectStore; cleanUp: () => Promise<void> }>

export interface SuiteOptions {
  /** what head and list tell beyond an object's own bytes: the envelope of encryption */
  readonly overheadBytes?: number
}

export function objectSuite(name: string, make: StoreFactory, options: SuiteOptions = {}): void {
  const check = (claim: string, body: (store: ObjectStore) => Promise<void>) =>
    it(claim, async () => {
      const { store, cleanUp } = await make()
      try {
        await body(store)
      } finally {
        await store.close()
        await cleanUp()
      }
    })
  const keysOf = async (store: ObjectStore, prefix: string, marker: string, limit: number): Promise<string[]> =>
    (await store.list(prefix, marker, limit)).map(info => info.key)

  describe(`object store ${name}`, () => {
    check('an object comes back as it was put, whatever its size', async store => {
      for (const size of [1, 36, 4095, 4096, 4097, 65536, (4 << 20) + 1]) {
        const bytes = randomBytes(size)
        await store.put(`chunks/0/0/${size}`, bytes)
        assert.ok((await store.get(`chunks/0/0/${size}`)).equals(bytes))
      }
    })

    check('an empty object can be put and got', async store => {
      await store.put('a/empty', Buffer.alloc(0))
      assert.equal((await store.get('a/empty')).length, 0)
    })

    check('a put replaces the object', async store => {
      await store.put('k', Buffer.from('a longer one'))
      await store.put('k', Buffer.from('short'))
      assert.equal((await store.get('k')).toString(), 'short')
    })

    check('the body of a put belongs to the caller again once it is done', async store => {
      const body = Buffer.from('before')
      await store.put('k', body)
      body.fill('x')
      assert.equal((await store.get('k')).toString(), 'before')
    })

    check('what a get gave stays as it is when the object is replaced and deleted', async store => {
      await store.put('k', Buffer.from('stored'))
      const got = await store.get('k')
      await store.put('k', Buffer.from('others'))
      await store.delete('k')
      assert.equal(got.toString(), 'stored')
    })

    check('a range is cut out, and cut off where the object ends', async store => {
      await store.put('k', Buffer.from('0123456789'))
      const range = async (offset: number, length: number) => (await store.get('k', { offset, length })).toString()
      assert.equal(await range(0, 3), '012')
      assert.equal(await range(4, 2), '45')
      assert.equal(await range(8, 5), '89')
      assert.equal(await range(10, 5), '')
      assert.equal(await range(99, 5), '')
    })

    check('a missing object is ObjectMissing on get and null on head', async store => {
      await assert.rejects(store.get('chunks/0/0/1_0_4'), ObjectMissing)
      await assert.rejects(store.get('none', { offset: 1, length: 1 }), ObjectMissing)
      assert.equal(await store.head('chunks/0/0/1_0_4'), null)
    })

    check('deleting a missing object succeeds, and a deleted object is gone', async store => {
      await store.delete('chunks/9/9/none')
      await store.put('chunks/0/0/1', Buffer.from('x'))
      await store.delete('chunks/0/0/1')
      assert.equal(await store.head('chunks/0/0/1'), null)
      await assert.rejects(store.get('chunks/0/0/1'), ObjectMissing)
    })

    check('head tells size and time', async store => {
      const before = Date.now() - 2000
      await store.put('a/b', Buffer.alloc(777))
      const info = await store.head('a/b')
      assert.equal(info?.key, 'a/b')
      assert.equal(info?.size, 777 + (options.overheadBytes ?? 0))
      assert.equal(info?.isDirectory, false)
      assert.ok(info !== null && info.mtimeMs >= before && info.mtimeMs <= Date.now() + 2000)
    })

    check('a listing is in byte order, also where names sort around the slash', async store => {
      const keys = [
        'a-b',
        'a/b',
        'a/b-c/d',
        'a/b/c',
        'a0',
        'B',
        'chunks/00/0/1_0_9',
        'chunks/0/0/10_0_9',
        'chunks/0/0/9_0_9',
        'z',
      ]
      const filtered = keys.filter(key => key !== 'a/b') // on files a name is a directory or an object, never both
      for (const key of filtered) await store.put(key, Buffer.from('1'))
      assert.deepEqual(await keysOf(store, '', '', 100), [...filtered].sort())
    })

    check('a listing page by page equals the listing at once', async store => {
      const keys = Array.from({ length: 57 }, (_, i) => `d${i % 5}/e${i % 3}/${(i * 7919) % 101}`)
      await Promise.all([...new Set(keys)].map(key => store.put(key, Buffer.from('1'))))
      const all = await keysOf(store, '', '', 1000)
      assert.deepEqual(all, [...new Set(keys)].sort())
      for (const limit of [1, 2, 7, 56, 57, 58]) {
        const paged: string[] = []
        for (let marker = ''; ; ) {
          const page = await keysOf(store, '', marker, limit)
          assert.ok(page.length <= limit)
          paged.push(...page)
          if (page.length < limit) break
          marker = page.at(-1)!
        }
        assert.deepEqual(paged, all)
      }
    })

    check(
      'a listing keeps to its prefix, which may end within a name, and to its marker, which need not exist',
      async store => {
        for (const key of ['ab/1', 'ab/2', 'abc', 'abd/x', 'b']) await store.put(key, Buffer.from('1'))
        assert.deepEqual(await keysOf(store, 'ab', '', 10), ['ab/1', 'ab/2', 'abc', 'abd/x'])
        assert.deepEqual(await keysOf(store, 'ab/', '', 10), ['ab/1', 'ab/2'])
        assert.deepEqual(await keysOf(store, 'ab', 'ab/1z', 10), ['ab/2', 'abc', 'abd/x'])
        assert.deepEqual(await keysOf(store, 'none/', '', 10), [])
      },
    )

    check('many puts of the same key at once leave one whole object', async store => {
      const bodies = Array.from({ length: 8 }, (_, i) => Buffer.alloc(100_000, i))
      await Promise.all(bodies.map(body => store.put('same', body)))
      const found = await store.get('same')
      assert.ok(bodies.some(body => body.equals(found)))
      assert.deepEqual(await keysOf(store, '', '', 10), ['same'])
    })

    check('objects can be made durable, few, many or none, also those that are gone', async store => {
      const keys = Array.from({ length: 70 }, (_, i) => `chunks/${i % 3}/${i}`)
      await Promise.all(keys.map(key => store.put(key, Buffer.from(key))))
      await store.sync?.([])
      await store.sync?.(keys.slice(0, 3))
      await store.sync?.(keys)
      await store.sync?.(['chunks/none', 'no/such/directory'])
    })

    check('the storage test passes and leaves nothing behind', async store => {
      await testStorage(store, Math.random)
      assert.deepEqual(await keysOf(store, '', '', 10), [])
      assert.equal(await isEmptyForFormat(store), true)
    })

    check(
      'a store with somebody else’s object is not empty for format; leftovers of a storage test do not count',
      async store => {
        await store.put('testing/abc', Buffer.from('x'))
        assert.equal(await isEmptyForFormat(store), true)
        await store.put('x/y', Buffer.from('data'))
        assert.equal(await isEmptyForFormat(store), false)
      },
    )
  })
}
