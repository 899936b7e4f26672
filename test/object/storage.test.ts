import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { SystemClock } from '../../src/base/clock.ts'
import { Fault } from '../../src/base/fault.ts'
import { FileStore } from '../../src/object/file.ts'
import { MemStore } from '../../src/object/mem.ts'
import { openStore } from '../../src/object/open.ts'
import { testStorage } from '../../src/object/storage-test.ts'
import type { ObjectStore } from '../../src/object/store.ts'

let dir: string
before(async () => {
  dir = await fs.mkdtemp(join(tmpdir(), 'storage-'))
})
after(() => fs.rm(dir, { recursive: true }))

describe('opening a store', () => {
  it('tells where the data lies', async () => {
    assert.equal(
      (await openStore({ storage: 'file', bucket: '/var/jfs/', name: 'myvol' })).description,
      'file:///var/jfs/myvol/',
    )
    assert.equal(
      (await openStore({ storage: 'FILE', bucket: '/var/jfs', name: 'myvol' })).description,
      'file:///var/jfs/myvol/',
    )
  })

  it('refuses storages that are unknown, and those of the format that are not built yet', async () => {
    await assert.rejects(openStore({ storage: 'foo', bucket: 'b', name: 'v' }), /^Fault: invalid storage: foo$/)
    await assert.rejects(
      openStore({ storage: 'tikv', bucket: 'b', name: 'v' }),
      /^Fault: storage tikv is not supported yet$/,
    )
  })
})

describe('files as objects', () => {
  it('lie below the bucket and the name of the volume', async () => {
    const store = await openStore({ storage: 'file', bucket: `${dir}/`, name: 'vol' })
    await store.put('chunks/0/0/1_0_6', Buffer.from('hello\n'))
    assert.equal(await fs.readFile(`${dir}/vol/chunks/0/0/1_0_6`, 'utf8'), 'hello\n')
    assert.equal((await fs.stat(`${dir}/vol/chunks/0/0/1_0_6`)).mode & 0o777, 0o666 & ~process.umask())
    assert.equal((await fs.stat(`${dir}/vol/chunks`)).mode & 0o777, 0o777 & ~process.umask())
  })

  it('a bucket that is away is not made anew: puts and syncs fail until it is back', async () => {
    const root = join(dir, 'away')
    const store = new FileStore(root)
    await store.create()
    await store.put('vol/chunks/0/0/1_0_1', Buffer.from('x'))
    await fs.rename(root, `${root}.moved`)
    await assert.rejects(store.put('vol/chunks/0/0/2_0_1', Buffer.from('y')), Fault)
    await assert.rejects(store.put('vol/chunks/9/9/2_0_1', Buffer.from('y')), Fault)
    await assert.rejects(store.sync(['vol/chunks/0/0/1_0_1']), Fault)
    await fs.rename(`${root}.moved`, root)
    await store.put('vol/chunks/0/0/2_0_1', Buffer.from('y'))
    await store.sync(['vol/chunks/0/0/1_0_1', 'vol/chunks/0/0/2_0_1', 'vol/chunks/0/0/3_0_1'])
    assert.equal((await store.get('vol/chunks/0/0/1_0_1')).toString(), 'x')
  })

  it('a shard that no object has come to yet is made where the others lie, on their disk only', async () => {
    const open = (bucket: string): Promise<ObjectStore> =>
      openStore({ storage: 'file', bucket, name: 'vol', shards: 3 })
    await fs.mkdir(join(dir, 'shard1'))
    const store = await open(join(dir, 'shard%d'))
    for (let i = 0; i < 20; i++) await store.put(`chunks/0/0/${i}_0_1`, Buffer.from('x'))
    assert.equal((await store.list('', '', 100)).length, 20)
    await store.sync?.(['chunks/0/0/1_0_1'])
    for (const shard of ['shard0', 'shard2']) assert.ok((await fs.readdir(join(dir, shard, 'vol'))).length > 0)

    // Another disk holds the one that is there: those that are missing may be on disks that are not mounted.
    const elsewhere = await fs.mkdtemp('/dev/shm/shards-')
    try {
      await fs.symlink(elsewhere, join(dir, 'disk1'))
      const apart = await open(join(dir, 'disk%d'))
      const puts = Array.from({ length: 20 }, (_, i) => apart.put(`chunks/0/0/${i}_0_1`, Buffer.from('x')))
      const outcomes = await Promise.allSettled(puts)
      assert.ok(
        outcomes.some(({ status }) => status === 'rejected') && outcomes.some(({ status }) => status === 'fulfilled'),
      )
      await assert.rejects(fs.stat(join(dir, 'disk0')), { code: 'ENOENT' })
    } finally {
      await fs.rm(elsewhere, { recursive: true })
    }

    // None is there: nothing tells that it ever was.
    const away = await open(join(dir, 'away%d'))
    await assert.rejects(away.put('chunks/0/0/1_0_1', Buffer.from('x')), Fault)
  })

  it('a put that fails leaves no temporary file and the old object', async () => {
    const root = join(dir, 'failed')
    const store = new FileStore(root)
    await fs.mkdir(join(root, 'is-a-directory', 'inner'), { recursive: true })
    await assert.rejects(store.put('is-a-directory', Buffer.from('x')), Fault)
    await fs.writeFile(join(root, 'is-a-file'), 'old')
    await assert.rejects(store.put('is-a-file/below', Buffer.from('x')), Fault)
    assert.deepEqual((await fs.readdir(root)).sort(), ['is-a-directory', 'is-a-file'])
    assert.equal(await fs.readFile(join(root, 'is-a-file'), 'utf8'), 'old')
  })

  it('a name longer than a temporary file could carry is put all the same', async () => {
    const store = new FileStore(join(dir, 'long'))
    await store.create()
    const key = 'k'.repeat(255)
    await store.put(key, Buffer.from('x'))
    assert.equal((await store.get(key)).toString(), 'x')
  })

  it('a key that climbs out of the bucket is refused', async () => {
    const store = new FileStore(join(dir, 'jail'))
    for (const key of ['../x', 'a/../../x', '']) {
      await assert.rejects(store.put(key, Buffer.from('x')), /is invalid/)
      await assert.rejects(store.delete(key), /is invalid/)
    }
  })

  it('symbolic links are followed when read and listed; dangling ones and pipes are no objects', async () => {
    const root = join(dir, 'links')
    await fs.mkdir(join(root, 'real'), { recursive: true })
    await fs.writeFile(join(root, 'real', 'x'), '12345')
    await fs.symlink(join(root, 'real', 'x'), join(root, 'file-link'))
    await fs.symlink(join(root, 'real'), join(root, 'dir-link'))
    await fs.symlink('nowhere', join(root, 'dangling'))
    const store = new FileStore(root)
    const found = (await store.list('', '', 10)).map(({ key, size }) => [key, size])
    assert.deepEqual(found, [
      ['dir-link/x', 5],
      ['file-link', 5],
      ['real/x', 5],
    ])
    assert.equal((await store.get('dir-link/x')).toString(), '12345')
  })

  it('a directory is no object, yet its key with a slash makes and removes it', async () => {
    const store = new FileStore(join(dir, 'dirs'))
    await store.create()
    await store.put('testing/', Buffer.alloc(0))
    assert.equal((await store.head('testing/'))?.isDirectory, true)
    await assert.rejects(store.get('testing/'), /does not exist/)
    await store.delete('testing/')
    assert.equal(await store.head('testing/'), null)
  })

  it('create makes the bucket with everything above it', async () => {
    const root = join(dir, 'new', 'and', 'deep')
    await new FileStore(root).create()
    await new FileStore(root).create()
    assert.ok((await fs.stat(root)).isDirectory())
  })

  it('create is refused where nothing can be made, and where a file stands in the way', async () => {
    const file = join(dir, 'file')
    await fs.writeFile(file, 'x')
    for (const place of ['/proc/nowhere/bucket', file, join(file, 'below')])
      await assert.rejects(new FileStore(place).create(), { name: 'Fault' }, place)
  })
})

describe('storage test', () => {
  it('makes the bucket where the first put fails', async () => {
    const store = new MemStore('trial', new SystemClock())
    let made = false
    const put = store.put.bind(store)
    store.put = async (key, body) => {
      if (!made) throw new Error('NoSuchBucket')
      await put(key, body)
    }
    store.create = async () => {
      made = true
    }
    await testStorage(store, Math.random)
    assert.ok(made)
  })

  it('gives up after three tries and says why', async () => {
    const store = new MemStore('trial', new SystemClock())
    store.get = async () => Buffer.alloc(100)
    const warnings: string[] = []
    const pauses: number[] = []
    const hooks = {
      warn: (message: string) => warnings.push(message),
      pause: async (ms: number) => pauses.push(ms),
    }
    await assert.rejects(testStorage(store, Math.random, hooks), /came back with other bytes/)
    assert.deepEqual(pauses, [1000, 4000])
    assert.equal(warnings.length, 3)
    assert.match(warnings[2]!, /^Test storage mem:\/\/trial\/ failed: .*, tries: #3$/)
  })

  it('does not make a bucket where access is denied', async () => {
    const store = new MemStore('trial', new SystemClock())
    store.put = async () => {
      throw new Error('Access Denied')
    }
    store.create = async () => assert.fail('not asked to')
    await assert.rejects(testStorage(store, Math.random, { pause: async () => {} }), /Access Denied/)
  })
})
