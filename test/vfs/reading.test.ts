import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { EBADF, EINTR, EINVAL, EIO, ENOENT, ENXIO } from '../../src/base/errno.ts'
import { Fault } from '../../src/base/fault.ts'
import { ROOT_INO } from '../../src/base/ino.ts'
import { ReadAhead, ReadAheadBudget } from '../../src/vfs/read-ahead.ts'
import {
  BLOCK,
  broken,
  CHUNK,
  close,
  create,
  KIB,
  lengthOf,
  O_EXCL,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  ok,
  open,
  openVolume,
  pattern,
  ROOT,
  read,
  type TestFile,
  type Volume,
  write,
} from './harness.ts'

const SEEK_DATA = 3
const SEEK_HOLE = 4

/** A closed file of these bytes, opened for reading by a client that has nothing of it in memory. */
async function strangersFile(
  bytes: Buffer,
  options: Parameters<typeof openVolume>[0] = {},
): Promise<{ v: Volume; f: TestFile; close(): Promise<void> }> {
  const w = await openVolume()
  const made = await create(w, 'f')
  await write(w, made, 0, bytes)
  await close(w, made)
  const v = await openVolume({ ...options, engine: w.engine, store: w.store })
  const f = await open(v, made.ino, O_RDONLY)
  v.store.requests.length = 0
  return { v, f, close: async () => void (await Promise.all([v.close(), w.close()])) }
}

describe('reading what the store has', () => {
  it('a failed read is tried again with the slices listed anew', async () => {
    const { v, f, close } = await strangersFile(pattern(100))
    let failures = 2
    v.store.mischief = method => (method === 'get' && failures-- > 0 ? broken() : undefined)
    let listed = 0
    v.override.readChunk = (ino, index) => {
      listed++
      return v.meta.readChunk(ino, index)
    }
    assert.deepEqual(await read(v, f, 0, 100), pattern(100))
    assert.ok(listed >= 2)
    await close()
  })

  it('after the last attempt it is a fault of EIO', async () => {
    const { v, f, close } = await strangersFile(pattern(100), { config: { ioRetries: 2 } })
    v.store.mischief = method => (method === 'get' ? broken() : undefined)
    await assert.rejects(
      async () => v.vfs.read(ROOT, f.ino, f.fh, 0, 100),
      (error: unknown) => error instanceof Fault && error.errno === EIO,
    )
    await close()
  })

  it('a reader that gives up meanwhile gets EINTR', async () => {
    const { v, f, close } = await strangersFile(pattern(100))
    v.store.mischief = method => (method === 'get' ? broken() : undefined)
    const ctx = { ...ROOT, cancelled: true }
    assert.equal(await v.vfs.read(ctx, f.ino, f.fh, 0, 100), EINTR)
    await close()
  })

  it('a file that is gone with its data is EBADF', async () => {
    const { v, f, close } = await strangersFile(pattern(100))
    v.override.readChunk = () => ENOENT
    assert.equal(await v.vfs.read(ROOT, f.ino, f.fh, 0, 100), EBADF)
    await close()
  })

  it('what another client appends is read once the old end is passed', async () => {
    const { v, f, close } = await strangersFile(pattern(100))
    const other = await openVolume({ engine: v.engine, store: v.store })
    const w = await open(other, f.ino)
    await write(other, w, 100, pattern(50))
    await ok(other.vfs.fsync(ROOT, w.ino, w.fh, false))
    assert.deepEqual(await read(v, f, 100, 100), pattern(50))
    await Promise.all([close(), other.close()])
  })

  it('a read that touches nothing unsent sends nothing', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await write(v, f, 0, pattern(BLOCK))
    await ok(v.vfs.fsync(ROOT, f.ino, f.fh, false))
    v.trace.length = 0
    await write(v, f, 10 * BLOCK, pattern(10))
    assert.deepEqual(await read(v, f, 0, 2 * BLOCK), Buffer.concat([pattern(BLOCK), Buffer.alloc(BLOCK)]))
    assert.ok(!v.trace.some(line => line.startsWith('stored')))
    await v.close()
  })

  it('a read of very many pieces comes as few buffers', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await ok(v.vfs.setattr(ROOT, f.ino, { size: 4000 }, f.fh))
    for (let i = 0; i < 400; i++) await write(v, f, i * 10, Buffer.from([i & 0xff]))
    await ok(v.vfs.fsync(ROOT, f.ino, f.fh, false))
    const pieces = await ok(v.vfs.read(ROOT, f.ino, f.fh, 0, 4000))
    assert.ok(pieces.length <= 256)
    const bytes = Buffer.concat(pieces)
    for (let i = 0; i < 400; i++) assert.deepEqual(bytes.subarray(i * 10, i * 10 + 2), Buffer.from([i & 0xff, 0]))
    await v.close()
  })

  it('an open keeps the kernel cache when nothing changed, and clears old attributes when something did', async () => {
    const { v, f, close } = await strangersFile(pattern(100))
    await lengthOf(v, f.ino)
    v.invalidated.length = 0
    const KEEP_CACHE = 2
    assert.equal((await ok(v.vfs.open(ROOT, f.ino, O_RDONLY))).openFlags, KEEP_CACHE)
    assert.deepEqual(v.invalidated, [])
    const other = await openVolume({ engine: v.engine, store: v.store })
    const w = await open(other, f.ino)
    await write(other, w, 0, pattern(150))
    await ok(other.vfs.flush(ROOT, w.ino, w.fh, '0000000000000000'))
    assert.equal((await ok(v.vfs.open(ROOT, f.ino, O_RDONLY))).openFlags, 0)
    assert.deepEqual(v.invalidated, [`${f.ino} -1+0`])
    assert.deepEqual(await read(v, f, 0, 200), pattern(150))
    await Promise.all([close(), other.close()])
  })

  it('our own writes do not clear the kernel cache at the next open', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await write(v, f, 0, pattern(10))
    await close(v, f)
    assert.equal((await ok(v.vfs.open(ROOT, f.ino, O_RDONLY))).openFlags, 2)
    await v.close()
  })

  it('a create that finds the file there already keeps no pages', async () => {
    const v = await openVolume()
    assert.equal((await ok(v.vfs.create(ROOT, ROOT_INO, 'f', 0o644, 0, 2))).openFlags, 2)
    assert.equal((await ok(v.vfs.create(ROOT, ROOT_INO, 'f', 0o644, 0, 2))).openFlags, 0)
    await v.close()
  })

  it('direct_io opens every file so', async () => {
    const v = await openVolume({ config: { directIo: true } })
    const made = await ok(v.vfs.create(ROOT, ROOT_INO, 'f', 0o644, 0, 2))
    assert.equal(made.openFlags, 1)
    assert.equal((await ok(v.vfs.open(ROOT, made.ino, 0))).openFlags, 1)
    await v.close()
  })

  it('a handle for writing alone writes past the pages of a kernel that drops what is overwritten', async () => {
    const v = await openVolume()
    const flagsOf = async (flags: number): Promise<number> => {
      const made = await ok(v.vfs.create(ROOT, ROOT_INO, `f${flags}`, 0o644, 0, flags))
      const again = await ok(v.vfs.open(ROOT, made.ino, flags))
      assert.equal(again.openFlags, made.openFlags)
      return made.openFlags
    }
    assert.equal(await flagsOf(O_WRONLY), 2)
    v.vfs.agreed({ dropsOverwrittenPages: true })
    assert.equal(await flagsOf(O_WRONLY | O_EXCL), 1 | 2)
    assert.equal(await flagsOf(O_RDWR | O_EXCL), 2)
    await v.close()
  })

  it('a write past the pages makes the kernel drop what was read since the one before, and only that', async () => {
    const v = await openVolume()
    v.vfs.agreed({ dropsOverwrittenPages: true })
    const reader = await create(v, 'f')
    const writer = await open(v, reader.ino, O_WRONLY)
    await write(v, writer, 0, pattern(100))
    assert.deepEqual(v.invalidated, [])
    await read(v, reader, 0, 100)
    await write(v, writer, 10, pattern(20))
    assert.deepEqual(v.invalidated, [`${reader.ino} 10+20`])
    await write(v, writer, 20, pattern(20))
    assert.equal(v.invalidated.length, 1)
    await read(v, reader, 0, 100)
    await write(v, reader, 0, pattern(20))
    assert.equal(v.invalidated.length, 1, 'the kernel has the bytes of this one in its pages')
    await v.close()
  })

  it('such a write is answered when the pages are dropped, not before', async () => {
    const v = await openVolume()
    v.vfs.agreed({ dropsOverwrittenPages: true })
    const reader = await create(v, 'f')
    const writer = await open(v, reader.ino, O_WRONLY)
    await read(v, reader, 0, 100)
    let drop = (): void => {}
    const dropped = new Promise<void>(resolve => (drop = resolve))
    v.vfs.setInvalidator({ inode: () => dropped, entry: () => {} })
    let answered = 0
    const written = v.vfs.write(ROOT, writer.ino, writer.fh, 0, pattern(10), 0, () => answered++)
    const settled = Promise.resolve(written).then(() => answered++)
    await sleep(20)
    assert.equal(answered, 0)
    assert.deepEqual(await read(v, reader, 0, 100), pattern(10))
    drop()
    await settled
    assert.equal(answered, 1)
    await v.close()
  })
})

describe('read-ahead', () => {
  it('fetches the coming blocks of a stream once each, and nothing beyond the end', async () => {
    const blocks = 12
    const { v, f, close } = await strangersFile(pattern(blocks * BLOCK))
    for (let at = 0; at < blocks * BLOCK; at += 16 * KIB) await read(v, f, at, 16 * KIB)
    const whole = v.store.requests.filter(line => /^get \S+$/.test(line))
    assert.equal(new Set(whole).size, whole.length)
    assert.ok(whole.length >= blocks - 1)
    await close()
  })

  it('asks for nothing on random reads in the middle of a file', async () => {
    const { v, f, close } = await strangersFile(pattern(40 * BLOCK), { config: { maxReadaheadBytes: 8 * BLOCK } })
    for (const block of [30, 10, 20, 5, 35]) await read(v, f, block * BLOCK + 100, 100)
    assert.deepEqual(v.trace, [])
    await close()
  })

  it('a read near the end fetches the end', async () => {
    const { v, f, close } = await strangersFile(pattern(4 * BLOCK))
    await read(v, f, 4 * BLOCK - 8, 4)
    assert.deepEqual(v.trace, [`prefetch 1 ${4 * BLOCK - 32 * KIB}+${32 * KIB}`])
    await close()
  })

  it('grows the window of a stream to its limit and no further', () => {
    const budget = new ReadAheadBudget({ blockBytes: 4, maxBytes: 32, totalBytes: 1000 })
    const stream = new ReadAhead(budget)
    let furthest = 0
    for (let at = 0; at < 400; at += 4) {
      const next = stream.plan(at, at + 4, 10_000)
      if (next) {
        assert.ok(next.from >= furthest)
        furthest = next.to
      }
      assert.ok(furthest <= at + 4 + 32 + 4)
    }
    assert.equal(budget.usedBytes, 32)
    stream.close()
    assert.equal(budget.usedBytes, 0)
  })

  /** window after a stream of reads, of which those from `from` on wait */
  const windowAfter = (budget: ReadAheadBudget, waitsFrom: number): number => {
    const stream = new ReadAhead(budget)
    for (let at = 0; at < 800; at += 4) stream.plan(at, at + 4, 10_000, at >= waitsFrom)
    const { usedBytes } = budget
    stream.close()
    assert.equal(budget.usedBytes, 0)
    return usedBytes
  }

  it('a stream that waits for what was asked for long ago looks further ahead, up to a second limit', () => {
    const limits = { blockBytes: 4, maxBytes: 32, totalBytes: 1000 }
    assert.equal(windowAfter(new ReadAheadBudget({ ...limits, mostBytes: 80 }), 0), 80)
    assert.equal(windowAfter(new ReadAheadBudget({ ...limits, mostBytes: 80 }), 780), 32 + 5 * 4)
    assert.equal(windowAfter(new ReadAheadBudget({ ...limits, mostBytes: 80 }), 800), 32)
    assert.equal(windowAfter(new ReadAheadBudget(limits), 0), 32)
  })

  it('streams that wait leave half of the budget to others', () => {
    const budget = new ReadAheadBudget({ blockBytes: 4, maxBytes: 32, mostBytes: 500, totalBytes: 400 })
    assert.equal(windowAfter(budget, 0), 200)
  })

  it('a reader of a slow store has more and more blocks on their way, unless the limit was set', async () => {
    for (const readaheadGrows of [true, false]) {
      const blocks = 150
      const config = { readaheadGrows, bufferBytes: 100 * BLOCK, maxReadaheadBytes: 2 * BLOCK }
      const { v, f, close } = await strangersFile(pattern(blocks * BLOCK), { config })
      let [busy, most] = [0, 0]
      v.store.mischief = async method => {
        if (method !== 'get') return undefined
        most = Math.max(most, ++busy)
        await sleep(2)
        busy--
        return undefined
      }
      for (let i = 0; i < blocks; i++) await read(v, f, i * BLOCK, BLOCK)
      assert.ok(readaheadGrows ? most >= 8 : most <= 4, `${most} at once`)
      await close()
    }
  })

  it('all streams together stay within the budget', () => {
    const budget = new ReadAheadBudget({ blockBytes: 4, maxBytes: 32, totalBytes: 100 })
    const streams = Array.from({ length: 50 }, () => new ReadAhead(budget))
    for (let at = 0; at < 400; at += 4) for (const stream of streams) stream.plan(at, at + 4, 10_000)
    assert.ok(budget.usedBytes <= 100)
    for (const stream of streams) stream.close()
    assert.equal(budget.usedBytes, 0)
  })

  it('follows two streams of one handle', () => {
    const budget = new ReadAheadBudget({ blockBytes: 4, maxBytes: 32, totalBytes: 1000 })
    const both = new ReadAhead(budget)
    let ahead = 0
    for (let i = 1; i < 20; i++) {
      if (both.plan(i * 4, i * 4 + 4, 10_000)) ahead++
      if (both.plan(5000 + i * 4, 5000 + i * 4 + 4, 10_000)) ahead++
    }
    assert.ok(ahead >= 30)
  })

  it('a first read in the middle is no stream yet', () => {
    const budget = new ReadAheadBudget({ blockBytes: 4, maxBytes: 32, totalBytes: 1000 })
    const stream = new ReadAhead(budget)
    assert.equal(stream.plan(100, 104, 10_000), null)
    assert.deepEqual(stream.plan(104, 108, 10_000), { from: 108, to: 112 })
  })
})

describe('holes and copies', () => {
  it('SEEK_DATA and SEEK_HOLE follow what was written', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await write(v, f, BLOCK, pattern(100))
    await write(v, f, CHUNK + 50, pattern(100))
    const seek = async (offset: number, whence: number): Promise<number> =>
      (await ok(v.vfs.lseek(ROOT, f.ino, f.fh, offset, whence))).offset
    assert.equal(await seek(0, SEEK_HOLE), 0)
    assert.equal(await seek(0, SEEK_DATA), BLOCK)
    assert.equal(await seek(BLOCK + 5, SEEK_DATA), BLOCK + 5)
    assert.equal(await seek(BLOCK + 5, SEEK_HOLE), BLOCK + 100)
    assert.equal(await seek(BLOCK + 100, SEEK_DATA), CHUNK + 50)
    assert.equal(await seek(CHUNK + 60, SEEK_HOLE), CHUNK + 150)
    assert.equal(await v.vfs.lseek(ROOT, f.ino, f.fh, CHUNK + 150, SEEK_DATA), ENXIO)
    assert.equal(await v.vfs.lseek(ROOT, f.ino, f.fh, CHUNK + 150, SEEK_HOLE), ENXIO)
    assert.equal(await v.vfs.lseek(ROOT, f.ino, f.fh, 0, 0), EINVAL)
    await v.close()
  })

  it('a hole to the end has no data; a vast one is not searched for ever', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await write(v, f, 0, pattern(10))
    await ok(v.vfs.setattr(ROOT, f.ino, { size: 3 * CHUNK }, f.fh))
    assert.equal(await v.vfs.lseek(ROOT, f.ino, f.fh, 10, SEEK_DATA), ENXIO)
    await ok(v.vfs.setattr(ROOT, f.ino, { size: 2 ** 50 }, f.fh))
    const found = await ok(v.vfs.lseek(ROOT, f.ino, f.fh, 10, SEEK_DATA))
    assert.equal(found.offset, 1024 * CHUNK)
    await v.close()
  })

  it('a punched hole reads zeros and keeps the length', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    const bytes = pattern(1000)
    await write(v, f, 0, bytes)
    await ok(v.vfs.fallocate(ROOT, f.ino, f.fh, 3, 100, 200))
    bytes.fill(0, 100, 300)
    assert.deepEqual(await read(v, f, 0, 2000), bytes)
    const r = await open(v, f.ino, O_RDONLY)
    assert.equal(await v.vfs.fallocate(ROOT, f.ino, r.fh, 0, 0, 10), EBADF)
    await v.close()
  })

  it('a copied range holds what was written before it on either file, without a byte moved', async () => {
    const v = await openVolume()
    const a = await create(v, 'a')
    const b = await create(v, 'b')
    await write(v, a, 0, pattern(3 * BLOCK))
    await write(v, b, 0, pattern(BLOCK, 9))
    const copy = await ok(v.vfs.copyFileRange(ROOT, { ...a, offset: 100 }, { ...b, offset: 50 }, 2 * BLOCK, 0))
    assert.equal(copy.copied, 2 * BLOCK)
    const expected = Buffer.concat([
      pattern(BLOCK, 9).subarray(0, 50),
      pattern(3 * BLOCK).subarray(100, 100 + 2 * BLOCK),
    ])
    assert.deepEqual(await read(v, b, 0, 4 * BLOCK), expected)
    assert.equal(v.trace.filter(line => line.startsWith('stored')).length, 2)
    await v.close()
  })

  it('each step of a copy of very many pieces has a time of its own', async () => {
    const v = await openVolume()
    const [from, to] = [await create(v, 'from'), await create(v, 'to')]
    for (let i = 0; i < 1200; i++) {
      const slice = { id: 1000 + i, size: 10, off: 0, len: 10 }
      await ok(v.meta.writeSlice(from.ino, 0, i * 10, slice, v.clock.now()))
    }
    const times: string[] = []
    const commit = v.engine.commit.bind(v.engine)
    v.engine.commit = (guards, changes) => {
      for (const change of changes) if (change.kind === 'extendNode') times.push(JSON.stringify(change.ctime))
      return commit(guards, changes)
    }
    const copied = await ok(v.vfs.copyFileRange(ROOT, { ...from, offset: 0 }, { ...to, offset: 0 }, 12_000, 0))
    assert.deepEqual([copied, times.length, new Set(times).size], [{ copied: 12_000 }, 2, 2])
    await v.close()
  })

  it('a copy beyond the source ends with it, of nothing is 0, over itself EINVAL', async () => {
    const v = await openVolume()
    const a = await create(v, 'a')
    const b = await create(v, 'b')
    await write(v, a, 0, pattern(100))
    const at = (f: TestFile, offset: number) => ({ ...f, offset })
    assert.equal((await ok(v.vfs.copyFileRange(ROOT, at(a, 40), at(b, 0), 1000, 0))).copied, 60)
    assert.equal((await ok(v.vfs.copyFileRange(ROOT, at(a, 100), at(b, 0), 1000, 0))).copied, 0)
    assert.equal(await v.vfs.copyFileRange(ROOT, at(a, 0), at(a, 10), 50, 0), EINVAL)
    assert.equal(await v.vfs.copyFileRange(ROOT, at(a, 0), at(b, 10), 50, 1), EINVAL)
    await v.close()
  })

  it('copies in both directions at once do not lock each other', async () => {
    const v = await openVolume({ deferred: true })
    const a = await create(v, 'a')
    const b = await create(v, 'b')
    await write(v, a, 0, pattern(100))
    await write(v, b, 0, pattern(100, 2))
    const there = v.vfs.copyFileRange(ROOT, { ...a, offset: 0 }, { ...b, offset: 200 }, 100, 0)
    const back = v.vfs.copyFileRange(ROOT, { ...b, offset: 0 }, { ...a, offset: 200 }, 100, 0)
    assert.deepEqual([(await ok(there)).copied, (await ok(back)).copied], [100, 100])
    await v.close()
  })

  it('a truncate waits for the writes before it and holds up those after it', async () => {
    const v = await openVolume({ deferred: true })
    const f = await create(v, 'f')
    const first = v.vfs.write(ROOT, f.ino, f.fh, 0, pattern(100), 0)
    const cut = v.vfs.setattr(ROOT, f.ino, { size: 10 }, f.fh)
    const second = v.vfs.write(ROOT, f.ino, f.fh, 20, Buffer.from('x'), 0)
    await Promise.all([first, cut, second])
    assert.deepEqual(
      await read(v, f, 0, 100),
      Buffer.concat([pattern(100).subarray(0, 10), Buffer.alloc(10), Buffer.from('x')]),
    )
    await v.close()
  })
})
