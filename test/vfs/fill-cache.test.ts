/** What `warmup` asks of a mount: paths found, blocks fetched, dropped and counted. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { EACCES, EINVAL, ELOOP, ENOENT, isErrno } from '../../src/base/errno.ts'
import { inoToString, ROOT_INO } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import { Compaction } from '../../src/jobs/compaction.ts'
import { Deletion } from '../../src/jobs/deletion.ts'
import { systemCaller } from '../../src/meta/model/caller.ts'
import type { Progress } from '../../src/vfs/internal/control.ts'
import {
  type FillAnswer,
  type FillParts,
  type FillRequest,
  fillCache,
  parseFillRequest,
} from '../../src/vfs/internal/fill-cache.ts'
import { findPath } from '../../src/vfs/internal/paths.ts'
import { eventually, keepingLog, noCache } from '../chunk/harness.ts'
import { BLOCK, close, create, O_RDWR, ok, open, openVolume, pattern, ROOT, type Volume, write } from './harness.ts'

let dir: string
let trials = 0
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'fill-cache-'))
})
after(() => rmSync(dir, { recursive: true, force: true }))

interface Filled {
  readonly v: Volume
  readonly place: string
  readonly lines: string[]
  readonly progress: Progress
  readonly parts: FillParts
  fill(action: FillRequest['action'], ...paths: string[]): Promise<FillAnswer>
}

/** A volume with a disk cache, and in it d/a (three blocks and a bit), d/sub/b (small), c (small), with nothing cached. */
async function filled(): Promise<Filled> {
  const where = join(dir, `cache${trials++}`)
  const cache = { ...noCache, dir: where, uuid: 'u', sizeBytes: 1 << 30, freeSpaceRatio: 0.0001 }
  const v = await openVolume({ chunkOptions: { cache } })
  const d = await ok(v.vfs.mkdir(ROOT, ROOT_INO, 'd', 0o755, 0))
  const sub = await ok(v.vfs.mkdir(ROOT, d.ino, 'sub', 0o755, 0))
  for (const [parent, name, bytes] of [
    [d.ino, 'a', 3 * BLOCK + 10],
    [sub.ino, 'b', 200],
    [ROOT_INO, 'c', 100],
  ] as const) {
    const file = await create(v, name, O_RDWR, parent)
    await write(v, file, 0, pattern(bytes, bytes))
    await close(v, file)
  }
  const { log, lines } = keepingLog()
  const caller = () => systemCaller(v.clock.now())
  const progress = { a: 0, b: 0 }
  const parts = { meta: v.meta, chunks: v.chunks, log, caller, root: ROOT_INO }
  const fill = (action: FillRequest['action'], ...paths: string[]): Promise<FillAnswer> =>
    fillCache(parts, { paths, threads: 3, background: false, action }, progress, () => false)
  await fill('evict', '')
  return { v, place: `${where}/u/`, lines, progress, parts, fill }
}

describe('filling the cache', () => {
  it('fetches the blocks of files and trees that are not cached, and counts everything', async () => {
    const { v, fill, place, progress } = await filled()
    Object.assign(progress, { a: 0, b: 0 })
    const before = v.store.requests.length
    const warmed = await fill('warm', 'd', 'c')
    const bytes = 3 * BLOCK + 310
    assert.deepEqual(warmed, { FileCount: 3, SliceCount: 3, TotalBytes: bytes, MissBytes: 0, Locations: {} })
    assert.deepEqual(progress, { a: 3, b: bytes })
    assert.equal(v.store.requests.length - before, 6)
    await fill('warm', 'd', 'c')
    assert.equal(v.store.requests.length - before, 6, 'nothing is fetched twice')
    const checked = await fill('check', '/')
    assert.deepEqual(checked, { ...warmed, Locations: { [place]: bytes } })
    await v.close()
  })

  it('tells what is not cached, and evicts', async () => {
    const { v, fill, place } = await filled()
    await fill('warm', 'd/sub/b')
    assert.deepEqual(await fill('check', 'd'), {
      FileCount: 2,
      SliceCount: 2,
      TotalBytes: 3 * BLOCK + 210,
      MissBytes: 3 * BLOCK + 10,
      Locations: { [place]: 200 },
    })
    assert.equal((await fill('evict', 'd/sub')).FileCount, 1)
    assert.deepEqual((await fill('check', 'd/sub')).MissBytes, 200)
    await v.close()
  })

  it('goes on where something cannot be found or fetched, and says so', async () => {
    const { v, fill, lines } = await filled()
    v.store.mischief = (method, key) =>
      method === 'get' && key.includes('_3_10') ? Promise.reject(new Error('away')) : undefined
    const warmed = await fill('warm', 'nowhere', 'd', 'c')
    assert.equal(warmed.FileCount, 3)
    assert.equal(warmed.MissBytes, 3 * BLOCK + 10)
    assert.ok(lines.some(line => /fill cache: nowhere: no such file or directory/.test(line)))
    assert.ok(lines.some(line => /warm up slice \d+: .*away/.test(line)))
    assert.equal((await fill('check', 'c')).MissBytes, 0)
    await v.close()
  })

  it('fetches what took the place of slices that were replaced and deleted since they were listed', async () => {
    const { v, fill, lines } = await filled()
    const other = await openVolume({ engine: v.engine, store: v.store })
    const parts = { ...other, log: silentLog }
    const deletion = new Deletion({ ...parts, maxDeletes: 1 })
    const compaction = new Compaction({ ...parts, deletion })
    const { ino } = await ok(v.vfs.lookup(ROOT, ROOT_INO, 'c'))
    const file = await open(v, ino)
    await write(v, file, 50, pattern(100))
    await close(v, file)
    await fill('evict', 'c')
    let isFirst = true
    v.store.mischief = method => {
      if (method !== 'get' || !isFirst) return undefined
      isFirst = false
      return compaction
        .compact(ino, 0)
        .then(() => deletion.drained())
        .then(() => undefined)
    }
    assert.equal((await fill('warm', 'c')).MissBytes, 0)
    assert.equal(isFirst, false)
    assert.deepEqual(lines, [])
    const checked = await fill('check', 'c')
    assert.deepEqual([checked.SliceCount, checked.MissBytes], [1, 0])
    isFirst = true
    v.store.mischief = method => {
      if (method !== 'get' || !isFirst) return undefined
      isFirst = false
      return Promise.resolve(other.vfs.unlink(ROOT, ROOT_INO, 'c')).then(async () => {
        deletion.file(ino)
        await deletion.drained()
        return undefined
      })
    }
    await fill('evict', 'c')
    assert.equal((await fill('warm', 'c')).MissBytes, 0, 'what is removed is not missing')
    await Promise.all([v.close(), other.close()])
  })

  it('ends between two blocks when nobody waits any more', async () => {
    const { v, parts } = await filled()
    const before = v.store.requests.length
    let isCancelled = false
    v.store.mischief = method => {
      if (method === 'get') isCancelled = true
      return undefined
    }
    const many = await create(v, 'many')
    for (let i = 0; i < 300; i++) await write(v, many, i * BLOCK, pattern(BLOCK))
    await close(v, many)
    await fillCache(
      parts,
      { paths: ['many'], threads: 1, background: false, action: 'evict' },
      { a: 0, b: 0 },
      () => false,
    )
    const puts = v.store.requests.length - before
    await fillCache(
      parts,
      { paths: ['many'], threads: 1, background: false, action: 'warm' },
      { a: 0, b: 0 },
      () => isCancelled,
    )
    const fetched = v.store.requests.length - before - puts
    assert.ok(fetched > 0 && fetched < 300, `${fetched} of 300 blocks`)
    await v.close()
  })

  it('counts blocks that wait for the cache disk, too', async () => {
    const { v, fill } = await filled()
    const file = await create(v, 'fresh')
    await write(v, file, 0, pattern(500))
    await close(v, file)
    await eventually(async () => (await fill('check', 'fresh')).MissBytes === 0, 'it is there as soon as it is written')
    await v.close()
  })
})

describe('a request to fill the cache', () => {
  const bodyOf = (paths: string, ...rest: number[]): Buffer => {
    const head = Buffer.alloc(4)
    head.writeUInt32BE(Buffer.byteLength(paths), 0)
    return Buffer.concat([head, Buffer.from(paths), Buffer.from(rest)])
  }

  it('is read as JuiceFS writes it, with and without an action', () => {
    assert.deepEqual(parseFillRequest(bodyOf('a/b\ninode:7', 0, 50, 1)), {
      paths: ['a/b', 'inode:7'],
      threads: 50,
      background: true,
      action: 'warm',
    })
    const checked = parseFillRequest(bodyOf('x', 0, 0, 0, 2))
    assert.ok(!isErrno(checked))
    assert.deepEqual([checked.action, checked.threads], ['check', 1])
  })

  it('that is too short or asks for something else is refused', () => {
    assert.equal(parseFillRequest(bodyOf('x', 0, 1, 0, 9)), EINVAL)
    assert.throws(() => parseFillRequest(bodyOf('x', 0)), RangeError)
    assert.throws(() => parseFillRequest(Buffer.from([0, 0])), RangeError)
  })
})

describe('a path inside the mount', () => {
  it('is followed through directories, links and inode numbers, as this caller may', async () => {
    const { v } = await filled()
    const find = (path: string, uid = 0) =>
      findPath(
        v.meta,
        () => ({ ...systemCaller(v.clock.now()), uid, gid: uid, gids: [uid], check: true }),
        ROOT_INO,
        path,
      )
    const link = (name: string, target: string) => v.vfs.symlink(ROOT, ROOT_INO, name, target)
    const c = await ok(v.vfs.lookup(ROOT, ROOT_INO, 'c'))
    await ok(link('relative', 'd/../c'))
    await ok(link('absolute', '/nowhere/c'))
    await ok(link('outside', '/etc/passwd'))
    await ok(link('loop', 'loop'))
    for (const path of ['c', '/c', './d/..//c', '../c', 'relative', 'absolute', `inode:${inoToString(c.ino)}`]) {
      const found = await find(path)
      assert.ok(!isErrno(found), path)
      assert.equal(found.ino, c.ino, path)
    }
    assert.equal(await find('outside'), ENOENT)
    assert.equal(await find('loop'), ELOOP)
    assert.equal(await find('inode:424242'), ENOENT)
    assert.equal(await find('inode:x'), ENOENT)
    await ok(v.vfs.mkdir(ROOT, ROOT_INO, 'closed', 0o700, 0))
    assert.equal(await find('closed/x', 1000), EACCES)
    await v.close()
  })
})
