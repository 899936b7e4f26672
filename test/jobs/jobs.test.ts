/** Background work over the real rooms: removed data goes, the trash expires, long chunks become short. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { EIO } from '../../src/base/errno.ts'
import { type Ino, NO_INO, ROOT_INO, TRASH_INO } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import { BackgroundJobs } from '../../src/jobs/jobs.ts'
import { checkVolume } from '../../src/meta/check.ts'
import { chunk } from '../../src/meta/facts.ts'
import { systemCaller } from '../../src/meta/model/caller.ts'
import { SLICE_RECORD_BYTES } from '../../src/meta/model/slice.ts'
import { zeroRecord } from '../../src/meta/rules/chunks.ts'
import {
  BLOCK,
  close,
  create,
  lengthOf,
  ok,
  open,
  openVolume,
  pattern,
  ROOT,
  read,
  type Volume,
  type VolumeOptions,
  write,
} from '../vfs/harness.ts'

async function withJobs(
  options: VolumeOptions,
  maxDeletes = 2,
): Promise<{ v: Volume; jobs: BackgroundJobs; end: () => Promise<void> }> {
  const v = await openVolume(options)
  const jobs = new BackgroundJobs({
    meta: v.meta,
    chunks: v.chunks,
    clock: v.clock,
    log: silentLog,
    random: Math.random,
    metrics: v.metrics,
    maxDeletes,
    sweeps: false,
  })
  jobs.start()
  return {
    v,
    jobs,
    async end() {
      await jobs.stop()
      assert.deepEqual(await checkVolume(v.engine), [])
      await v.close()
    },
  }
}

async function rows(v: Volume, kind: 'deadFiles' | 'unusedSlices' | 'trashedSlices' | 'sliceRefs'): Promise<number> {
  let count = 0
  for await (const _ of v.meta.scan(kind, { before: Number.MAX_SAFE_INTEGER } as never)) count++
  return count
}

describe('background jobs', () => {
  it('delete the objects of a removed file, then every record of it', async () => {
    const { v, jobs, end } = await withJobs({})
    const file = await create(v, 'f')
    await write(v, file, 0, pattern(3 * BLOCK + 5))
    await close(v, file)
    assert.equal((await v.store.keys()).length, 4)
    await ok(v.vfs.unlink(ROOT, ROOT_INO, 'f'))
    await jobs.deletion.drained()
    assert.deepEqual(await v.store.keys(), [])
    assert.equal(await rows(v, 'deadFiles'), 0)
    assert.equal(await rows(v, 'sliceRefs'), 0)
    await end()
  })

  it('make the removal durable before the first object goes', async () => {
    const { v, jobs, end } = await withJobs({})
    const file = await create(v, 'f')
    await write(v, file, 0, pattern(BLOCK))
    await close(v, file)
    const order: string[] = []
    const sync = v.engine.sync.bind(v.engine)
    v.engine.sync = () => {
      order.push('sync')
      return sync()
    }
    v.store.mischief = method => {
      if (method === 'delete') order.push('delete')
      return undefined
    }
    await ok(v.vfs.unlink(ROOT, ROOT_INO, 'f'))
    await jobs.deletion.drained()
    assert.deepEqual(order, ['sync', 'delete'])
    await end()
  })

  it('keep the data of an unlinked file until its last close', async () => {
    const { v, jobs, end } = await withJobs({})
    const file = await create(v, 'f')
    await write(v, file, 0, pattern(100))
    await ok(v.vfs.fsync(ROOT, file.ino, file.fh, false))
    await ok(v.vfs.unlink(ROOT, ROOT_INO, 'f'))
    await jobs.deletion.drained()
    assert.deepEqual(await read(v, file, 0, 100), pattern(100))
    await close(v, file)
    await jobs.deletion.drained()
    assert.deepEqual(await v.store.keys(), [])
    await end()
  })

  it('find again what a failed deletion left behind', async () => {
    const { v, jobs, end } = await withJobs({})
    const file = await create(v, 'f')
    await write(v, file, 0, pattern(100))
    await close(v, file)
    v.store.mischief = method => (method === 'delete' ? Promise.reject(new Error('store is down')) : undefined)
    await ok(v.vfs.unlink(ROOT, ROOT_INO, 'f'))
    await jobs.deletion.drained()
    assert.equal((await v.store.keys()).length, 1)
    v.store.mischief = () => undefined
    v.clock.aheadMs = 2 * 3600_000
    await jobs.sweep()
    assert.match(v.metrics.renderStats(), /^juicefs_juicefs_bgjob_deletions_total 1$/m)
    const ended = '{job="files",status="succeeded"} 1'
    assert.ok(v.metrics.renderPrometheus({}).includes(`juicefs_juicefs_bgjob_duration_seconds_count${ended}`))
    await jobs.deletion.drained()
    assert.deepEqual(await v.store.keys(), [])
    assert.equal(await rows(v, 'deadFiles'), 0)
    await end()
  })

  it('empty the hours of the trash that are older than it keeps them, and no others', async () => {
    const { v, jobs, end } = await withJobs({ trashDays: 1 })
    const caller = () => systemCaller(v.clock.now())
    for (const name of ['old', 'young']) {
      if (name === 'young') v.clock.aheadMs = 40 * 3600_000
      const file = await create(v, name)
      await write(v, file, 0, pattern(100))
      await close(v, file)
      await ok(v.vfs.unlink(ROOT, ROOT_INO, name))
    }
    assert.equal((await ok(v.meta.readdir(caller(), TRASH_INO, null, 10, false))).rows.length, 2)
    await jobs.sweep()
    await jobs.deletion.drained()
    const { rows: left } = await ok(v.meta.readdir(caller(), TRASH_INO, null, 10, false))
    assert.equal(left.length, 1)
    const { rows: kept } = await ok(v.meta.readdir(caller(), left[0]!.ino, null, 10, false))
    assert.match(kept[0]!.name, /-young$/)
    assert.equal((await v.store.keys()).length, 1)
    await end()
  })

  it('merge the slices of a chunk into one without changing a byte, and delete the old ones', async () => {
    const { v, jobs, end } = await withJobs({})
    const file = await create(v, 'f')
    const expected = Buffer.alloc(BLOCK * 3)
    for (let i = 0; i < 20; i++) {
      const piece = pattern(5000, i)
      const at = (i * 7919) % (expected.length - piece.length)
      piece.copy(expected, at)
      await write(v, file, at, piece)
      await ok(v.vfs.fsync(ROOT, file.ino, file.fh, false))
    }
    const length = await lengthOf(v, file.ino)
    assert.equal(await jobs.compaction.compact(file.ino, 0), true)
    await jobs.deletion.drained()
    assert.equal(await rows(v, 'sliceRefs'), 1)
    assert.deepEqual(await read(v, file, 0, length), expected.subarray(0, length))
    assert.equal(await lengthOf(v, file.ino), length)
    await close(v, file)
    assert.match(v.metrics.renderStats(), /^juicefs_compact_size_histogram_bytes_total 1$/m)
    await end()
  })

  it('shorten a list that is about to be too long for its database before more is written', async () => {
    const { v, jobs, end } = await withJobs({})
    const file = await create(v, 'f')
    await write(v, file, 0, pattern(100))
    await ok(v.vfs.fsync(ROOT, file.ino, file.fh, false))
    const zero = zeroRecord(50, 1)
    const records = Buffer.concat(Array.from({ length: 1600 }, () => zero))
    await v.engine.commit([], [{ kind: 'appendSlices', ino: file.ino, index: 0, records }])
    await write(v, file, 200, pattern(100))
    await ok(v.vfs.fsync(ROOT, file.ino, file.fh, false))
    const [list] = (await v.engine.gather([chunk(file.ino, 0)], 'look')) as [Buffer]
    assert.ok(list.length / SLICE_RECORD_BYTES < 1000, `${list.length / SLICE_RECORD_BYTES} records`)
    await close(v, file)
    await jobs.deletion.drained()
    await end()
  })

  it('keep replaced slices while the trash lasts', async () => {
    const { v, jobs, end } = await withJobs({ trashDays: 1 })
    const file = await create(v, 'f')
    for (let i = 0; i < 6; i++) {
      await write(v, file, i * 50, pattern(100, i))
      await ok(v.vfs.fsync(ROOT, file.ino, file.fh, false))
    }
    await jobs.compaction.compact(file.ino, 0)
    assert.equal(await rows(v, 'trashedSlices'), 1)
    assert.equal((await v.store.keys()).length, 7)
    v.clock.aheadMs = 30 * 3600_000
    await jobs.sweep()
    await jobs.deletion.drained()
    assert.equal(await rows(v, 'trashedSlices'), 0)
    assert.equal((await v.store.keys()).length, 1)
    await close(v, file)
    await end()
  })

  it('store the merged slice durably before it is named, and give it up when the list changed meanwhile', async () => {
    const { v, jobs, end } = await withJobs({})
    const file = await create(v, 'f')
    for (let i = 0; i < 6; i++) {
      await write(v, file, i * 50, pattern(100, i))
      await ok(v.vfs.fsync(ROOT, file.ino, file.fh, false))
    }
    const before = (await v.store.keys()).length
    const other = await open(v, file.ino)
    v.store.mischief = method => {
      if (method !== 'put') return undefined
      v.store.mischief = () => undefined
      // While the merged slice is on its way, the file is truncated: the list's beginning stays, so the merge is still right.
      return Promise.resolve(v.vfs.setattr(ROOT, file.ino, { size: 0 }, null)).then(() => undefined)
    }
    await jobs.compaction.compact(file.ino, 0)
    assert.equal(await lengthOf(v, file.ino), 0)
    await jobs.deletion.drained()
    assert.ok((await v.store.keys()).length <= before)
    await close(v, other)
    await close(v, file)
    await end()
  })

  it('leave nothing astray when the merged slice cannot be made durable', async () => {
    const { v, jobs, end } = await withJobs({})
    const file = await create(v, 'f')
    for (let i = 0; i < 6; i++) await write(v, file, i * 50, pattern(100, i))
    await ok(v.vfs.fsync(ROOT, file.ino, file.fh, false))
    for (let i = 0; i < 3; i++) {
      await write(v, file, i * 50, pattern(10, i))
      await ok(v.vfs.fsync(ROOT, file.ino, file.fh, false))
    }
    const before = await v.store.keys()
    const { sync } = v.chunks
    v.chunks.sync = () => Promise.reject(new Error('the disk is sick'))
    await assert.rejects(jobs.compaction.compact(file.ino, 0), /sick/)
    assert.deepEqual(await v.store.keys(), before)
    v.chunks.sync = sync
    await close(v, file)
    await end()
  })

  it('go on with the other chunks where one cannot be compacted, and say so', async () => {
    const { v, jobs, end } = await withJobs({})
    const inos: Ino[] = []
    for (const name of ['a', 'b', 'c']) {
      const file = await create(v, name)
      inos.push(file.ino)
      for (let i = 0; i < 3; i++) {
        await write(v, file, i * 50, pattern(100, i))
        await ok(v.vfs.fsync(ROOT, file.ino, file.fh, false))
      }
      await close(v, file)
    }
    // Another client has staged it, and not uploaded yet.
    const lost = (await v.store.keys()).find(key => key.includes('/4_'))!
    const bytes = await v.store.get(lost)
    await v.store.delete(lost)
    const progress = { a: 0, b: 0 }
    assert.equal(await jobs.compactTree(ROOT_INO, 1, progress, () => false), EIO)
    assert.deepEqual(progress, { a: 3, b: 2 })
    await v.store.put(lost, bytes)
    assert.equal(await jobs.compactTree(ROOT_INO, 1, progress, () => false), undefined)
    await jobs.deletion.drained()
    assert.equal((await v.store.keys()).length, 3)
    await end()
  })

  it('of a client that deletes nothing leave the sweeps to one that does', async () => {
    const { v, jobs, end } = await withJobs({ trashDays: 1 }, 0)
    const file = await create(v, 'f')
    for (let i = 0; i < 6; i++) {
      await write(v, file, i * 50, pattern(100, i))
      await ok(v.vfs.fsync(ROOT, file.ino, file.fh, false))
    }
    await jobs.compaction.compact(file.ino, 0)
    await close(v, file)
    const gone = await create(v, 'gone')
    await write(v, gone, 0, pattern(100))
    await close(v, gone)
    await ok(v.vfs.unlink(ROOT, ROOT_INO, 'gone'))
    v.clock.aheadMs = 30 * 3600_000
    await jobs.sweep()
    v.clock.aheadMs += 2 * 3600_000
    await jobs.sweep() // first in each hour
    const { meta, chunks, clock, metrics } = await openVolume({ engine: v.engine, store: v.store })
    clock.aheadMs = v.clock.aheadMs + 10_000
    const parts = { meta, chunks, clock, metrics, log: silentLog, random: Math.random }
    const other = new BackgroundJobs({ ...parts, maxDeletes: 2, sweeps: false })
    await other.sweep()
    await other.deletion.drained()
    await other.stop()
    assert.equal((await v.store.keys()).length, 1)
    await end()
  })

  it('remove a tree bottom up, into the trash or past it', async () => {
    const { v, jobs, end } = await withJobs({ trashDays: 1 })
    const top = await ok(v.vfs.mkdir(ROOT, ROOT_INO, 'top', 0o755, 0))
    const below = await ok(v.vfs.mkdir(ROOT, top.ino, 'below', 0o755, 0))
    for (const name of ['a', 'b']) await close(v, await create(v, name, undefined, below.ino))
    let removed = 0
    const options = { skipTrash: true, onRemoved: () => void removed++, isCancelled: () => false }
    assert.equal(await jobs.removeTree(() => systemCaller(v.clock.now()), ROOT_INO, 'top', options), undefined)
    assert.equal(removed, 4)
    assert.equal((await ok(v.meta.readdir(systemCaller(v.clock.now()), ROOT_INO, null, 10, false))).rows.length, 0)
    assert.equal((await ok(v.meta.readdir(systemCaller(v.clock.now()), TRASH_INO, null, 10, false))).rows.length, 0)
    assert.notEqual(top.ino, NO_INO)
    await end()
  })
})
