import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { addon } from '../../src/base/addon.ts'
import type { ChunkOptions } from '../../src/chunk/store.ts'
import {
  BLOCK,
  broken,
  eventually,
  FaultyStore,
  noCache,
  openTrial,
  pattern,
  readAll,
  type Trial,
  writeSlice,
} from './harness.ts'

const UUID = '11111111-2222-4333-8444-555555555555'

let dir: string
let nextId = 100
before(async () => {
  dir = await fs.mkdtemp(join(tmpdir(), 'disk-cache-'))
})
after(() => fs.rm(dir, { recursive: true }))

async function openCached(
  cache: Partial<ChunkOptions['cache']> = {},
  options: Partial<ChunkOptions> = {},
  store = new FaultyStore(),
): Promise<Trial & { readonly root: string }> {
  const where = { ...noCache, dir, uuid: UUID, sizeBytes: 1 << 30, freeSpaceRatio: 0.0001, ...cache }
  const trial = await openTrial({ cache: where, ...options }, store)
  return { ...trial, root: `${where.dir}/${UUID}` }
}

const exists = (path: string): Promise<boolean> =>
  fs.stat(path).then(
    () => true,
    () => false,
  )
const gets = (trial: Trial): number => trial.store.requests.filter(request => request.startsWith('get')).length

describe('disk cache', () => {
  it('a small block lies in its file, byte for byte as JuiceFS writes it', async () => {
    const trial = await openCached()
    await writeSlice(trial.chunks, 42, Buffer.from('hello\n'))
    await trial.chunks.close()
    const path = `${trial.root}/raw/chunks/0/0/42_0_6`
    assert.equal((await fs.readFile(path)).toString('hex'), '68656c6c6f0a353dd8be')
    assert.equal((await fs.stat(path)).mode & 0o777, 0o600)
    assert.equal((await fs.stat(`${trial.root}/raw/chunks/0`)).mode & 0o777, 0o700)
    assert.match(
      await fs.readFile(`${trial.root}/.lock`, 'latin1'),
      /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/,
    )
    assert.equal(await exists(`${path}.tmp`), false)
  })

  it('checksums are one for each 32 KiB; without verification there are none', async () => {
    for (const [verifyChecksum, trailer] of [
      ['shrink', 8],
      ['none', 0],
    ] as const) {
      const id = nextId++
      const trial = await openCached({ verifyChecksum })
      await writeSlice(trial.chunks, id, pattern(40_000))
      await trial.chunks.close()
      assert.equal((await fs.stat(`${trial.root}/raw/chunks/0/0/${id}_0_40000`)).size, 40_000 + trailer)
    }
  })

  it('directories let those enter who may read files, whatever the umask', async () => {
    const old = process.umask(0o077)
    try {
      for (const [mode, dirMode] of [
        [0o644, 0o777],
        [0o640, 0o770],
      ] as const) {
        const trial = await openCached({ mode, dir: join(dir, `mode${mode}`) })
        await trial.chunks.close()
        assert.equal((await fs.stat(`${trial.root}/raw`)).mode & 0o777, dirMode)
      }
    } finally {
      process.umask(old)
    }
  })

  it('a block read as a whole is served from disk after a restart, found by the scan or by its name', async () => {
    const id = nextId++
    const first = await openCached()
    const bytes = pattern(2 * BLOCK)
    const slice = await writeSlice(first.chunks, id, bytes)
    assert.equal(
      await exists(`${first.root}/raw/chunks/0/0/${id}_0_${BLOCK}`),
      false,
      'whole blocks are not kept on upload',
    )
    await readAll(first.chunks, slice)
    await first.chunks.close()
    const second = await openCached({}, {}, first.store)
    const before = gets(second)
    assert.ok((await readAll(second.chunks, slice)).equals(bytes))
    assert.equal(gets(second), before)
    await eventually(() => second.stat('blockcache_blocks') >= 2, 'the scan has found the blocks')
    assert.equal(second.stat('blockcache_hits'), 2)
    await second.chunks.close()
  })

  it('small reads of a cached block read only their part and check it', async () => {
    const id = nextId++
    const first = await openCached({ largeWrite: true })
    const bytes = pattern(BLOCK)
    const slice = await writeSlice(first.chunks, id, bytes)
    await first.chunks.close()
    const { chunks, ...trial } = await openCached({}, {}, first.store)
    for (const [off, len] of [
      [0, 10],
      [32767, 2],
      [BLOCK - 100, 100],
      [40_000, 16_000],
    ] as const) {
      const [view] = await chunks.read(slice, off, len)
      assert.ok(view!.equals(bytes.subarray(off, off + len)))
    }
    assert.equal(gets({ ...trial, chunks }), 0)
    assert.equal(trial.stat('used_read_buffer_size_bytes'), 0, 'the block is not loaded for that')
    await chunks.close()
  })

  describe('a cached block that the kernel has at hand', { skip: addon() === null && 'needs the addon' }, () => {
    const ranges = [
      [0, 10],
      [32_767, 2],
      [32_768, 32_768],
      [40_000, 16_000],
      [BLOCK - 100, 100],
      [0, BLOCK],
    ] as const

    async function openWarm(cache: Partial<ChunkOptions['cache']>, bytes: Buffer): Promise<Trial & { path: string }> {
      const id = nextId++
      const first = await openCached({ largeWrite: true })
      await writeSlice(first.chunks, id, bytes)
      await first.chunks.close()
      const trial = await openCached(cache, { prefetch: 0 }, first.store)
      await eventually(() => trial.stat('blockcache_blocks') > 0, 'the scan has found the block')
      await sleep(50) // until it is known that nothing is staged here
      return { ...trial, path: `${trial.root}/raw/chunks/0/0/${id}_0_${bytes.length}` }
    }
    const sliceOf = ({ path }: { path: string }, size: number) => ({ id: Number(/(\d+)_0_\d+$/.exec(path)![1]), size })

    for (const verifyChecksum of ['none', 'full', 'shrink', 'extend'] as const) {
      it(`is read at once, and kept nowhere else: ${verifyChecksum}`, async () => {
        const bytes = pattern(BLOCK)
        const trial = await openWarm({ verifyChecksum }, bytes)
        const slice = sliceOf(trial, BLOCK)
        await trial.chunks.read(slice, 5, 5)
        const before = trial.stat('blockcache_hits')
        let atOnce = 0
        const held: { views: Buffer[]; expected: Buffer }[] = []
        for (const [off, len] of ranges) {
          const read = trial.chunks.read(slice, off, len)
          if (Array.isArray(read)) atOnce++
          held.push({ views: await read, expected: bytes.subarray(off, off + len) })
        }
        // none was overwritten by a later one
        for (const { views, expected } of held) assert.ok(Buffer.concat(views).equals(expected))
        // with shrink, a range that does not begin with a checksummed piece takes the thread pool
        assert.equal(atOnce, verifyChecksum === 'shrink' ? 3 : ranges.length)
        assert.equal(trial.stat('blockcache_hits') - before, ranges.length)
        assert.equal(trial.chunks.prefetch(slice, 0, BLOCK), false, 'it need not be fetched ahead')
        assert.equal(trial.stat('used_read_buffer_size_bytes'), 0)
        assert.equal(gets(trial), 0)
        await trial.chunks.close()
      })
    }

    it('is verified at each read: a bit that flips in between is found', async () => {
      const bytes = pattern(BLOCK)
      const trial = await openWarm({}, bytes)
      const slice = sliceOf(trial, BLOCK)
      assert.ok(Array.isArray(trial.chunks.read(slice, 40_000, 10)))
      const file = await fs.open(trial.path, 'r+')
      await file.write(Buffer.from([bytes[40_005]! ^ 0x10]), 0, 1, 40_005)
      await file.close()
      assert.ok(Array.isArray(trial.chunks.read(slice, 100, 10)), 'another piece is as good as before')
      assert.ok(Buffer.concat(await trial.chunks.read(slice, 40_000, 10)).equals(bytes.subarray(40_000, 40_010)))
      await eventually(async () => !(await exists(trial.path)), 'the file is removed')
      await trial.chunks.close()
    })

    it('is fetched anew where its file has become shorter', async () => {
      const bytes = pattern(BLOCK)
      for (const verifyChecksum of ['none', 'extend'] as const) {
        const trial = await openWarm({ verifyChecksum }, bytes)
        const slice = sliceOf(trial, BLOCK)
        assert.ok(Array.isArray(trial.chunks.read(slice, 0, 10)))
        await fs.truncate(trial.path, 50_000)
        assert.ok(Buffer.concat(await trial.chunks.read(slice, 49_000, 10_000)).equals(bytes.subarray(49_000, 59_000)))
        assert.ok(gets(trial) > 0)
        await trial.chunks.close()
      }
    })
  })

  for (const [verifyChecksum, off, len, found] of [
    ['extend', 40_000, 10, true],
    ['full', 0, BLOCK, true],
    ['shrink', 32_768, 15_000, false],
    ['shrink', 32_768, 32_768, true],
    ['full', 40_000, 10, false],
    ['none', 0, BLOCK, false],
  ] as const) {
    const claim = found ? 'is found, the file removed and the block fetched anew' : 'is not looked for'
    it(`a flipped bit ${claim}: ${verifyChecksum}, ${len} bytes from ${off}`, async () => {
      const id = nextId++
      const first = await openCached({ largeWrite: true })
      const bytes = pattern(BLOCK)
      const slice = await writeSlice(first.chunks, id, bytes)
      await first.chunks.close()
      const path = `${first.root}/raw/chunks/0/0/${id}_0_${BLOCK}`
      const file = await fs.readFile(path)
      file[40_005]! ^= 0x10
      await fs.writeFile(path, file)
      const { chunks } = await openCached({ verifyChecksum, partialOnly: true }, { prefetch: 0 }, first.store)
      await sleep(50) // until it is known that nothing is staged here, everything is verified
      const read = Buffer.concat(await chunks.read(slice, off, len))
      assert.equal(read.equals(bytes.subarray(off, off + len)), found)
      if (found) await eventually(async () => !(await exists(path)), 'the file is removed')
      await chunks.close()
    })
  }

  it('files of a wrong size are removed, a footer or missing checksums are not minded', async () => {
    const bytes = pattern(1000)
    const sums = Buffer.from('00000000', 'hex')
    for (const [content, served] of [
      [bytes.subarray(0, 999), false],
      [Buffer.concat([bytes, sums]), false],
      [bytes, true],
      [Buffer.concat([bytes, Buffer.from('4653000e82a474696572cc01a3706164c400', 'hex')]), true],
    ] as const) {
      const id = nextId++
      const { chunks, store, root } = await openCached({ scanIntervalMs: -1 }, {})
      await fs.mkdir(`${root}/raw/chunks/0/0`, { recursive: true })
      await fs.writeFile(`${root}/raw/chunks/0/0/${id}_0_1000`, content)
      store.mischief = () => broken()
      const read = await Promise.resolve(chunks.read({ id, size: 1000 }, 0, 1000)).catch(() => null)
      assert.equal(read !== null && Buffer.concat(read).equals(bytes), served)
      await chunks.close()
    }
  })

  it('above its size the cache evicts, whichever way, and counts it', async () => {
    for (const eviction of ['2-random', 'lru'] as const) {
      const trial = await openCached({
        dir: join(dir, eviction),
        eviction,
        sizeBytes: 10 * (BLOCK + 4096),
        largeWrite: true,
      })
      const slice = await writeSlice(trial.chunks, 1, pattern(30 * BLOCK))
      await eventually(() => trial.stat('blockcache_evicts') >= 20, 'enough was evicted')
      await eventually(() => trial.stat('blockcache_bytes') <= 10 * (BLOCK + 4096), 'the cache keeps its size')
      await trial.chunks.close()
      const files = await fs.readdir(`${trial.root}/raw/chunks/0/0`)
      assert.equal(files.length, trial.stat('blockcache_blocks'))
      if (eviction === 'lru') assert.ok(files.includes(`1_29_${BLOCK}`) && !files.includes(`1_0_${BLOCK}`))
      assert.equal((await readAll((await openTrial({}, trial.store)).chunks, slice)).length, 30 * BLOCK)
    }
  })

  it('with eviction none, what does not fit is dropped', async () => {
    const trial = await openCached({
      dir: join(dir, 'none'),
      eviction: 'none',
      sizeBytes: 2 * (BLOCK + 4096),
      largeWrite: true,
    })
    for (let id = 1; id <= 5; id++) {
      await writeSlice(trial.chunks, id, pattern(BLOCK))
      await sleep(20)
    }
    assert.equal(trial.stat('blockcache_blocks'), 3, 'the one that went above the limit is the last')
    assert.equal(trial.stat('blockcache_drops'), 2)
    await trial.chunks.close()
  })

  it('partial-only keeps short blocks and those of small reads', async () => {
    const trial = await openCached({ dir: join(dir, 'partial'), partialOnly: true })
    const whole = await writeSlice(trial.chunks, 1, pattern(BLOCK))
    const short = await writeSlice(trial.chunks, 2, pattern(BLOCK - 1))
    await readAll(trial.chunks, whole)
    await readAll(trial.chunks, short)
    const random = await writeSlice(trial.chunks, 3, pattern(BLOCK))
    await trial.chunks.read(random, 4096, 10)
    await eventually(() => trial.stat('blockcache_writes') === 2, 'two blocks are kept')
    await trial.chunks.close()
    assert.deepEqual((await fs.readdir(`${trial.root}/raw/chunks/0/0`)).sort(), [`2_0_${BLOCK - 1}`, `3_0_${BLOCK}`])
  })

  it('the blocks of a removed slice leave the cache, also while they wait to be written', async () => {
    const trial = await openCached({ dir: join(dir, 'removed') })
    const old = await writeSlice(trial.chunks, 1, pattern(100))
    await eventually(() => trial.stat('blockcache_blocks') === 1, 'it is cached')
    const fresh = await writeSlice(trial.chunks, 2, pattern(200))
    await trial.chunks.remove(old)
    await trial.chunks.remove(fresh)
    await trial.chunks.close()
    await eventually(async () => (await fs.readdir(`${trial.root}/raw/chunks/0/0`)).length === 0, 'no file is left')
    assert.equal(trial.stat('blockcache_blocks'), 0)
  })

  it('pooled bytes that wait for the cache return to the pool, and are read as copies meanwhile', async () => {
    const trial = await openCached({ dir: join(dir, 'lent') })
    const bytes = pattern(500)
    const slice = await writeSlice(trial.chunks, 1, bytes)
    const early = trial.chunks.read(slice, 0, 500)
    const views = await early
    await eventually(
      () => trial.stat('used_buffer_size_bytes') === trial.stat('used_read_buffer_size_bytes'),
      'the pool has it back',
    )
    const other = await writeSlice(trial.chunks, 2, pattern(500, 77)) // reuses the write buffer
    assert.ok(Buffer.concat(views).equals(bytes))
    assert.ok((await readAll(trial.chunks, other)).equals(pattern(500, 77)))
    await trial.chunks.close()
  })

  it('blocks are written and read as well where the kernel shall forget them', async () => {
    const trial = await openCached({ dir: join(dir, 'dropped'), largeWrite: true, dropPages: true })
    const slice = await writeSlice(trial.chunks, 1, pattern(BLOCK))
    await eventually(() => trial.stat('blockcache_blocks') === 1, 'it is cached')
    assert.ok((await readAll(trial.chunks, slice)).equals(pattern(BLOCK)))
    assert.equal(gets(trial), 0)
    await trial.chunks.close()
  })

  it('blocks not read for the time of expiry go', async () => {
    const trial = await openCached({ dir: join(dir, 'expiry'), expireMs: 1000 })
    await writeSlice(trial.chunks, 1, pattern(100))
    await eventually(() => trial.stat('blockcache_blocks') === 1, 'it is cached')
    await eventually(() => trial.stat('blockcache_blocks') === 0, 'it has expired', 5000)
    await trial.chunks.close()
  })

  it('staged blocks of another client (two links) are served and never evicted', async () => {
    const where = join(dir, 'staged')
    const path = `${where}/${UUID}/raw/chunks/0/0/5_0_${BLOCK}`
    await fs.mkdir(join(path, '..'), { recursive: true })
    await fs.writeFile(path, pattern(BLOCK, 5))
    await fs.link(path, `${where}/staging`)
    const trial = await openCached({ dir: where, sizeBytes: BLOCK, largeWrite: true })
    assert.ok((await readAll(trial.chunks, { id: 5, size: BLOCK })).equals(pattern(BLOCK, 5)))
    await writeSlice(trial.chunks, 6, pattern(4 * BLOCK))
    await eventually(() => trial.stat('blockcache_evicts') > 0, 'something was evicted')
    await trial.chunks.close()
    assert.ok(await exists(path))
  })

  it('a directory that cannot be used is refused with its name', async () => {
    await fs.writeFile(join(dir, 'file'), '')
    await assert.rejects(openCached({ dir: join(dir, 'file') }), /cache directory .*file.* cannot be used/)
  })

  it('a small disk keeps its free share, however fast blocks come', {
    skip: process.geteuid?.() !== 0 && 'mounting a tmpfs needs root',
  }, async () => {
    const where = await fs.mkdtemp(join(tmpdir(), 'small-cache-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'small-cache', where], { stdio: 'pipe' })
    const used = (): number =>
      Number(execFileSync('df', ['--output=used', '-B1', where], { encoding: 'latin1' }).split('\n')[1])
    try {
      const trial = await openCached({ dir: where, largeWrite: true, freeSpaceRatio: 0.5, sizeBytes: 1 << 30 })
      for (let id = 1; id <= 20; id++) {
        await writeSlice(trial.chunks, id, pattern(20 * BLOCK))
        await eventually(() => trial.stat('store_cache_size_bytes') === 0, 'nothing waits for the disk')
        assert.ok(used() < 5.5 * 2 ** 20, `${used()} of 8 MiB are used`)
      }
      assert.ok(trial.stat('blockcache_evicts') > 50)
      // Somebody else takes the rest: the cache gives way.
      await fs.writeFile(join(where, 'other'), Buffer.alloc(3 << 20))
      await eventually(() => used() < 4.1 * 2 ** 20, 'half of the disk is free again', 4000)
      await fs.appendFile(join(where, 'other'), Buffer.alloc(2 << 20))
      await eventually(() => trial.stat('blockcache_blocks') === 0, 'nothing is left of it', 4000)
      await trial.chunks.close()
    } finally {
      execFileSync('umount', ['-l', where])
      await fs.rm(where, { recursive: true })
    }
  })

  it('a full cache disk drops blocks and fails no read or write', {
    skip: process.geteuid?.() !== 0 && 'mounting a tmpfs needs root',
  }, async t => {
    const where = await fs.mkdtemp(join(tmpdir(), 'full-cache-'))
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'full-cache', where], { stdio: 'pipe' })
    } catch (error) {
      await fs.rm(where, { recursive: true })
      return t.skip(`no tmpfs can be mounted here: ${error}`)
    }
    try {
      const trial = await openCached({ dir: where, largeWrite: true })
      await fs.writeFile(join(where, 'filler'), Buffer.alloc(900 << 10))
      const bytes = pattern(20 * BLOCK)
      const slice = await writeSlice(trial.chunks, 1, bytes)
      assert.ok((await readAll(trial.chunks, slice)).equals(bytes))
      await eventually(() => trial.stat('blockcache_drops') > 0, 'blocks were dropped')
      await trial.chunks.close()
      assert.equal(trial.stat('used_buffer_size_bytes'), 0)
      const left = await fs.readdir(`${trial.root}/raw/chunks/0/0`).catch(() => [])
      assert.deepEqual(
        left.filter(name => name.endsWith('.tmp')),
        [],
      )
    } finally {
      execFileSync('umount', ['-l', where])
      await fs.rm(where, { recursive: true })
    }
  })
})
