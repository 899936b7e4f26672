import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SystemClock } from '../../src/base/clock.ts'
import { MemStore } from '../../src/object/mem.ts'
import { shardBuckets, shardOf, withShards } from '../../src/object/shards.ts'
import type { ObjectStore } from '../../src/object/store.ts'

/** Counts the keys that its listings give, and never gives more than ten. */
class Counted extends MemStore {
  listed = 0
  override readonly limits = { rangeReads: true, maxListPage: 10 }
  override async list(prefix: string, marker: string, limit: number) {
    const page = await super.list(prefix, marker, Math.min(limit, 10))
    this.listed += page.length
    return page
  }
}

function three(): { store: ObjectStore; buckets: Counted[] } {
  const buckets = [0, 1, 2].map(index => new Counted(`b${index}`, new SystemClock()))
  return { store: withShards(buckets, 'b%d'), buckets }
}
const bytes = Buffer.from('x')

describe('sharding over buckets', () => {
  it('hashes the whole key by FNV-1a of 32 bits', () => {
    // verified on a volume of the reference: 2741330961 mod 3
    assert.equal(shardOf('volsh/juicefs_uuid', 2 ** 32), 2741330961)
    assert.equal(shardOf('volsh/juicefs_uuid', 3), 0)
    // the vectors of the algorithm's authors
    assert.equal(shardOf('', 2 ** 32), 0x811c9dc5)
    assert.equal(shardOf('a', 2 ** 32), 0xe40c292c)
    assert.equal(shardOf('foobar', 2 ** 32), 0xbf9cf968)
  })

  it('numbers the buckets from 0 by the verb in their name', () => {
    assert.deepEqual(shardBuckets('/data/%d/', 3), ['/data/0/', '/data/1/', '/data/2/'])
    assert.deepEqual(shardBuckets('https://b%02d.s3.example.com', 2), [
      'https://b00.s3.example.com',
      'https://b01.s3.example.com',
    ])
    assert.equal(shardBuckets('b%x', 12)[11], 'bb')
  })
  it('refuses a name that is the same for all', () => {
    assert.throws(() => shardBuckets('/data/', 3), /can not generate different endpoint using \/data\//)
    assert.throws(() => shardBuckets('/da%2Fta/', 3), /can not generate different endpoint/)
  })

  it('puts each object into the bucket of its key, and finds it there', async () => {
    const { store, buckets } = three()
    for (let i = 0; i < 60; i++) {
      const key = `vol/chunks/0/0/${i}_0_1`
      await store.put(key, bytes)
      assert.ok(await buckets[shardOf(key, 3)]!.head(key))
      assert.ok((await store.get(key)).equals(bytes))
    }
    const counts = await Promise.all(buckets.map(async bucket => (await bucket.list('', '', 100)).length))
    assert.ok(counts.every(count => count > 3))
    await store.delete('vol/chunks/0/0/7_0_1')
    assert.equal(await store.head('vol/chunks/0/0/7_0_1'), null)
  })

  it('lists all buckets as one, in order, however the pages fall', async () => {
    const { store, buckets } = three()
    const keys = Array.from({ length: 100 }, (_, i) => `k/${String((i * 37) % 100).padStart(3, '0')}`)
    for (const key of keys) await store.put(key, bytes)
    for (const limit of [1, 7, 10, 99, 100, 101]) {
      const found: string[] = []
      for (let marker = ''; ; marker = found.at(-1)!) {
        const page = await store.list('k/', marker, limit)
        found.push(...page.map(({ key }) => key))
        if (page.length < limit) break
      }
      assert.deepEqual(found, [...keys].sort(), `pages of ${limit}`)
    }
    for (const bucket of buckets) bucket.listed = 0
    for (let marker = '', n = 0; n < 10; n++) marker = (await store.list('k/', marker, 10)).at(-1)!.key
    const read = buckets.reduce((sum, { listed }) => sum + listed, 0)
    assert.ok(read < 250, `100 keys in pages of 10 took ${read} of the buckets'`)
  })

  it('lists a bucket that holds everything', async () => {
    const { store, buckets } = three()
    const own = Array.from({ length: 300 }, (_, i) => `k${i}`).filter(key => shardOf(key, 3) === 1)
    for (const key of own) await buckets[1]!.put(key, bytes)
    assert.deepEqual(
      (await store.list('', '', 1000)).map(({ key }) => key),
      [...own].sort(),
    )
  })

  it('makes every bucket, and syncs each with its own keys only', async () => {
    const calls: string[] = []
    const stores = [0, 1].map(index => {
      const store: ObjectStore = new MemStore(`b${index}`, new SystemClock())
      store.create = async () => void calls.push(`create ${index}`)
      store.sync = async keys => void calls.push(`sync ${index} ${keys.join(' ')}`)
      return store
    })
    const store = withShards(stores, 'b%d')
    await store.create()
    await store.sync!(['a', 'b', 'c'])
    const kept = (index: number): string => ['a', 'b', 'c'].filter(key => shardOf(key, 2) === index).join(' ')
    assert.deepEqual(calls, ['create 0', 'create 1', `sync 0 ${kept(0)}`, `sync 1 ${kept(1)}`])
  })
  it('needs no sync where no bucket does', () => assert.equal(three().store.sync, undefined))
})
