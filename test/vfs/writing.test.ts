import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EBADF, EDQUOT, EIO, ENOSPC, type Errno } from '../../src/base/errno.ts'
import { Fault } from '../../src/base/fault.ts'
import { ROOT_INO } from '../../src/base/ino.ts'
import {
  BLOCK,
  broken,
  CHUNK,
  close,
  create,
  lengthOf,
  O_RDONLY,
  OWNER,
  ok,
  open,
  openVolume,
  pattern,
  ROOT,
  read,
  sleep,
  type TestFile,
  type Volume,
  write,
} from './harness.ts'

const flush = (v: Volume, f: TestFile) => v.vfs.flush(ROOT, f.ino, f.fh, OWNER)
const fsync = (v: Volume, f: TestFile) => v.vfs.fsync(ROOT, f.ino, f.fh, false)
const tryWrite = (v: Volume, f: TestFile, offset = 0) => v.vfs.write(ROOT, f.ino, f.fh, offset, Buffer.from('x'), 0)
const commits = (v: Volume): string[] => v.trace.filter(line => line.startsWith('writeSlice'))

/** Holds up the puts whose key ends so until `release`. */
function holdPuts(v: Volume, ...suffixes: string[]): { release(): void } {
  const gate = Promise.withResolvers<undefined>()
  v.store.mischief = (method, key) =>
    method === 'put' && suffixes.some(suffix => key.endsWith(suffix)) ? gate.promise : undefined
  return { release: () => gate.resolve(undefined) }
}

describe('the order of commits', () => {
  it('slices of a chunk are named in the order they were begun, whatever upload is first', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    const gate = holdPuts(v, '_0_100')
    await write(v, f, 0, pattern(100))
    await write(v, f, 5 * BLOCK, pattern(200))
    const done = flush(v, f)
    await sleep(20)
    assert.deepEqual(v.trace, ['stored 200'])
    gate.release()
    assert.equal(await done, undefined)
    assert.deepEqual(commits(v), [`writeSlice 0:0+100`, `writeSlice 0:${5 * BLOCK}+200`])
    await v.close()
  })

  it('a file grows in order: the first slice of a later chunk waits for the end of the earlier one', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    const gate = holdPuts(v, '_0_100')
    await write(v, f, CHUNK - 100, pattern(100))
    await write(v, f, CHUNK, pattern(200))
    const done = flush(v, f)
    await sleep(20)
    assert.deepEqual(v.trace, ['stored 200'])
    gate.release()
    await done
    assert.deepEqual(commits(v), [`writeSlice 0:${CHUNK - 100}+100`, 'writeSlice 1:0+200'])
    await v.close()
  })

  it('fsync stores the blocks, names them, makes them durable, then their names', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await write(v, f, 0, pattern(10))
    assert.equal(await fsync(v, f), undefined)
    assert.deepEqual(v.trace, ['stored 10', 'writeSlice 0:0+10', 'chunks.sync 1', 'meta.sync'])
    await v.close()
  })

  it('fsync makes durable what another handle wrote and closed, and only once', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await write(v, f, 0, pattern(10))
    await close(v, f)
    const r = await open(v, f.ino, O_RDONLY)
    v.trace.length = 0
    await fsync(v, r)
    await fsync(v, r)
    assert.deepEqual(v.trace, ['chunks.sync 1', 'meta.sync', 'meta.sync'])
    await v.close()
  })

  it('a write with O_DSYNC answers when the data is durable', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await write(v, f, 0, pattern(10), 0o10000)
    assert.equal(v.trace.at(-1), 'meta.sync')
    await v.close()
  })

  it('a sequential file becomes one slice a chunk', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    const piece = pattern(BLOCK / 2)
    for (let at = 0; at < 10 * BLOCK; at += piece.length) await write(v, f, at, piece)
    await close(v, f)
    assert.deepEqual(commits(v), [`writeSlice 0:0+${10 * BLOCK}`])
    await v.close()
  })
})

describe('when data is sent without being asked', () => {
  it('a second after the last write, and not before', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await write(v, f, 0, pattern(10))
    await sleep(150)
    assert.deepEqual(v.trace, [])
    v.clock.aheadMs += 1100
    await sleep(150)
    assert.deepEqual(commits(v), ['writeSlice 0:0+10'])
    await v.close()
  })

  it('five seconds after the first write although writing goes on', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    for (let i = 0; i < 6; i++) {
      await write(v, f, i, Buffer.from('x'))
      v.clock.aheadMs += 900
    }
    await write(v, f, 6, Buffer.from('x'))
    await sleep(150)
    assert.deepEqual(commits(v), ['writeSlice 0:0+7'])
    await v.close()
  })

  it('a slice that five newer writes passed by', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    for (let i = 0; i < 7; i++) await write(v, f, i * 10 * BLOCK, Buffer.from('x'))
    await sleep(20)
    assert.deepEqual(commits(v), ['writeSlice 0:0+1', `writeSlice 0:${10 * BLOCK}+1`])
    await v.close()
  })
})

describe('when the data cannot be stored', () => {
  it('the failure is told by the flush and by everything after it, as long as the file is open', async () => {
    const v = await openVolume({ chunkOptions: { ioRetries: 1 } })
    const f = await create(v, 'f')
    v.store.mischief = method => (method === 'put' ? broken() : undefined)
    await write(v, f, 0, pattern(10))
    assert.equal(await flush(v, f), EIO)
    assert.equal(await tryWrite(v, f), EIO)
    assert.equal(await fsync(v, f), EIO)
    v.store.mischief = () => undefined
    assert.equal(await flush(v, f), EIO)
    await v.vfs.release(ROOT, f.ino, f.fh, null)
    const again = await open(v, f.ino)
    await write(v, again, 0, pattern(10))
    assert.equal(await flush(v, again), undefined)
    await v.close()
  })

  it('a failure in the background is told by the next write', async () => {
    const v = await openVolume({ chunkOptions: { ioRetries: 1 } })
    const f = await create(v, 'f')
    v.store.mischief = method => (method === 'put' ? broken() : undefined)
    await write(v, f, 0, pattern(10))
    v.clock.aheadMs += 1100
    await sleep(200)
    assert.equal(await tryWrite(v, f), EIO)
    await v.close()
  })

  it('bytes that were accepted and could not be kept are told by the flush', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    let answered = false
    v.chunks.newWriter = () => {
      assert.ok(answered, 'nothing is kept before it is accepted')
      throw new Fault('no memory')
    }
    const accepted = () => {
      answered = true
    }
    assert.throws(() => v.vfs.write(ROOT, f.ino, f.fh, 0, Buffer.from('x'), 0, accepted), /no memory/)
    assert.equal(await flush(v, f), EIO)
  })

  it('a write with O_DSYNC is not accepted before it is durable', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    const accepted = () => assert.fail('answered too early')
    await v.vfs.write(ROOT, f.ino, f.fh, 0, Buffer.from('x'), 0o10000, accepted)
    await close(v, f)
  })

  it('a full disk below the store is ENOSPC', async () => {
    const v = await openVolume({ chunkOptions: { ioRetries: 1 } })
    const f = await create(v, 'f')
    const full = new Fault('put', { cause: Object.assign(new Error('no space'), { code: 'ENOSPC' }) })
    v.store.mischief = method => (method === 'put' ? Promise.reject(full) : undefined)
    await write(v, f, 0, pattern(10))
    assert.equal(await flush(v, f), ENOSPC)
    await v.close()
  })

  for (const [errno, name] of [
    [ENOSPC, 'ENOSPC'],
    [EDQUOT, 'EDQUOT'],
  ] as const) {
    it(`${name} of the metadata reaches the writer, and the blocks are removed`, async () => {
      const v = await openVolume()
      const f = await create(v, 'f')
      v.override.writeSlice = () => errno as Errno
      await write(v, f, 0, pattern(10))
      assert.equal(await flush(v, f), errno)
      assert.equal(await tryWrite(v, f), errno)
      await sleep(5)
      assert.deepEqual(await v.store.keys(), [])
      await v.close()
    })
  }

  it('a volume that is full says so at the close', async () => {
    const v = await openVolume({ capacity: 1 << 20 })
    const f = await create(v, 'f')
    await write(v, f, 0, pattern(2 << 20))
    assert.equal(await flush(v, f), ENOSPC)
    await v.close()
  })

  for (const [what, fault, errno] of [
    ['EIO', new Fault('connection lost'), EIO],
    ['ENOSPC where its disk or memory is full', new Fault('commit', { errno: ENOSPC }), ENOSPC],
  ] as const) {
    it(`a fault of the metadata is ${what}, and the blocks stay: they may have been named`, async () => {
      const v = await openVolume()
      const f = await create(v, 'f')
      v.override.writeSlice = () => Promise.reject(fault)
      await write(v, f, 0, pattern(10))
      assert.equal(await flush(v, f), errno)
      await sleep(5)
      assert.equal((await v.store.keys()).length, 1)
      await v.close()
    })
  }

  it('a file that another client removed is a bad descriptor for the writer', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    const other = await openVolume({ engine: v.engine, store: v.store })
    await ok(other.vfs.unlink(ROOT, ROOT_INO, 'f'))
    await write(v, f, 0, pattern(10))
    await flush(v, f)
    assert.equal(await tryWrite(v, f), EBADF)
    await Promise.all([v.close(), other.close()])
  })

  it('an id that cannot be had at once is asked for again', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    let attempts = 0
    v.override.newSliceId = () => {
      if (++attempts < 3) return Promise.reject(new Fault('engine away'))
      delete v.override.newSliceId
      return v.meta.newSliceId()
    }
    await write(v, f, 0, Buffer.from('data'))
    assert.equal(await flush(v, f), undefined)
    assert.equal((await read(v, f, 0, 10)).toString(), 'data')
    await v.close()
  })
})

describe('back pressure', () => {
  it('a writer waits while the buffers are full, and goes on when blocks are stored', async () => {
    const v = await openVolume({ chunkOptions: { bufferBytes: 4 * BLOCK } })
    const f = await create(v, 'f')
    const gate = holdPuts(v, String(BLOCK))
    for (let i = 0; i < 4; i++) await write(v, f, i * BLOCK, pattern(BLOCK, i))
    const fifth = v.vfs.write(ROOT, f.ino, f.fh, 4 * BLOCK, pattern(BLOCK, 4), 0)
    assert.ok(fifth instanceof Promise)
    assert.equal(await Promise.race([fifth, sleep(20).then(() => 'waiting')]), 'waiting')
    gate.release()
    assert.equal(await fifth, undefined)
    assert.deepEqual(await read(v, f, 3 * BLOCK, 2 * BLOCK), Buffer.concat([pattern(BLOCK, 3), pattern(BLOCK, 4)]))
    await v.close()
  })

  it('many small unfinished files make room for each other', async () => {
    const v = await openVolume({ chunkOptions: { bufferBytes: 32 * BLOCK }, config: { bufferBytes: 32 * BLOCK } })
    const files: TestFile[] = []
    for (let i = 0; i < 100; i++) {
      const f = await create(v, `f${i}`)
      files.push(f)
      await write(v, f, 0, pattern(100, i))
    }
    for (const [i, f] of files.entries()) assert.deepEqual(await read(v, f, 0, 100), pattern(100, i))
    await v.close()
  })
})

describe('times and length while data waits', () => {
  it('the time of the last write is told before and kept after the data is named', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    v.clock.aheadMs += 5000
    await write(v, f, 0, pattern(10))
    const before = await ok(v.vfs.getattr(ROOT, f.ino, null))
    assert.equal(before.length, 10)
    v.clock.aheadMs += 5000
    assert.equal(await flush(v, f), undefined)
    const after = await ok(v.vfs.getattr(ROOT, f.ino, null))
    assert.deepEqual(after.mtime, before.mtime)
    await v.close()
  })

  it('a time set while data waits is not undone when the data is named', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await write(v, f, 0, pattern(10))
    const mtime = { sec: 1_000_000_000, nsec: 5 }
    await ok(v.vfs.setattr(ROOT, f.ino, { mtime }, null))
    assert.deepEqual((await ok(v.vfs.getattr(ROOT, f.ino, null))).mtime, mtime)
    await close(v, f)
    assert.deepEqual((await ok(v.vfs.getattr(ROOT, f.ino, null))).mtime, mtime)
    await v.close()
  })

  it('a write after a set time counts again', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await write(v, f, 0, pattern(10))
    await ok(v.vfs.setattr(ROOT, f.ino, { mtime: { sec: 4_000_000_000, nsec: 0 } }, null))
    await write(v, f, 10, pattern(10))
    await close(v, f)
    assert.ok((await ok(v.vfs.getattr(ROOT, f.ino, null))).mtime.sec < 4_000_000_000)
    await v.close()
  })

  it('chunks named out of the order of their writes never bring an equal or earlier time', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await write(v, f, CHUNK, pattern(10))
    await flush(v, f)
    const gate = holdPuts(v, '_0_20')
    await write(v, f, 0, pattern(20))
    v.clock.aheadMs += 3000
    await write(v, f, CHUNK, pattern(30))
    const told = await ok(v.vfs.getattr(ROOT, f.ino, null))
    const done = flush(v, f)
    await sleep(20)
    const between = await ok(v.meta.getattr(f.ino))
    assert.deepEqual(between.mtime, told.mtime)
    gate.release()
    await done
    const after = await ok(v.meta.getattr(f.ino))
    assert.deepEqual(after.mtime, { sec: told.mtime.sec, nsec: told.mtime.nsec + 1 })
    await v.close()
  })

  it('flushAll names everything that waits', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await write(v, f, 0, pattern(10))
    await v.vfs.flushAll()
    assert.equal((await ok(v.meta.getattr(f.ino))).length, 10)
    await v.close()
  })

  it('another client sees the data once the file is closed', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    const other = await openVolume({ engine: v.engine, store: v.store })
    await write(v, f, 0, Buffer.from('hello'))
    assert.equal(await lengthOf(other, f.ino), 0)
    await close(v, f)
    const g = await open(other, f.ino, O_RDONLY)
    assert.equal((await read(other, g, 0, 100)).toString(), 'hello')
    await Promise.all([v.close(), other.close()])
  })
})
