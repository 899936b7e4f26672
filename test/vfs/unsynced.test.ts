import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Ino } from '../../src/base/ino.ts'
import type { ChunkStore, SliceName } from '../../src/chunk/chunk-store.ts'
import { UnsyncedSlices } from '../../src/vfs/unsynced.ts'
import { close, create, ok, openVolume, pattern, ROOT, write } from './harness.ts'

const ino = (n: number): Ino => n as Ino
const slice = (id: number): SliceName => ({ id, size: 1 })

/** A store whose syncs the test ends by hand. */
function store() {
  const syncs: { ids: number[]; end: (error?: Error) => void }[] = []
  const chunks = {
    sync: (slices: readonly SliceName[]) =>
      new Promise<void>((resolve, reject) => {
        syncs.push({ ids: slices.map(({ id }) => id), end: error => (error ? reject(error) : resolve()) })
      }),
  }
  return { syncs, unsynced: new UnsyncedSlices(chunks as unknown as ChunkStore) }
}
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

describe('slices that are not durable yet', () => {
  it('a failed sync is told to everybody who waits for it, and the slices are tried again', async () => {
    const { syncs, unsynced } = store()
    unsynced.add(ino(2), slice(1))
    const waiting = [unsynced.sync(ino(2)), unsynced.sync(ino(2))]
    await turn()
    syncs[0]!.end(new Error('lost'))
    for (const { status } of await Promise.allSettled(waiting)) assert.equal(status, 'rejected')
    const again = unsynced.sync(ino(2))
    await turn()
    assert.deepEqual(syncs[1]!.ids, [1])
    syncs[1]!.end()
    await again
    assert.equal(unsynced.count, 0)
  })

  it('a sync that failed in the background is told to the next fsync, once', async () => {
    const { syncs, unsynced } = store()
    for (let id = 1; id <= 8193; id++) unsynced.add(ino(2), slice(id))
    syncs[0]!.end(new Error('lost'))
    await turn()
    await assert.rejects(unsynced.sync(ino(2)), /lost/)
    const again = unsynced.sync(ino(2))
    await turn()
    syncs.at(-1)!.end()
    await again
  })

  it('a copy waits for the slices of its source, also for those whose sync runs and fails', async () => {
    const { syncs, unsynced } = store()
    unsynced.add(ino(2), slice(1))
    const running = unsynced.sync(ino(2))
    unsynced.add(ino(2), slice(2))
    unsynced.share(ino(2), ino(3))
    unsynced.forget(ino(2))
    await turn()
    syncs[0]!.end(new Error('lost'))
    await assert.rejects(running)
    const copy = unsynced.sync(ino(3))
    await turn()
    assert.deepEqual(syncs[1]!.ids.sort(), [1, 2])
    syncs[1]!.end()
    await copy
  })
})

describe('durability of whole files', () => {
  it('fsync of a copy makes the blocks of its source durable', async () => {
    const v = await openVolume()
    const from = await create(v, 'from')
    const to = await create(v, 'to')
    await write(v, from, 0, pattern(100_000))
    await ok(v.vfs.copyFileRange(ROOT, { ...from, offset: 0 }, { ...to, offset: 0 }, 100_000, 0))
    await close(v, from)
    v.trace.length = 0
    await ok(v.vfs.fsync(ROOT, to.ino, to.fh, false))
    assert.deepEqual(v.trace, ['chunks.sync 1', 'meta.sync'])
    await close(v, to)
    await v.close()
  })

  it('the end of a mount makes everything durable', async () => {
    const v = await openVolume()
    const file = await create(v, 'file')
    await write(v, file, 0, pattern(10))
    v.trace.length = 0
    await v.vfs.flushAll()
    assert.deepEqual(v.trace.slice(-2), ['chunks.sync 1', 'meta.sync'])
    await close(v, file)
    await v.close()
  })
})
