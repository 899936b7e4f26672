/** What this mount reads while another one merges the slices of the file and deletes the old ones. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { silentLog } from '../../src/base/log.ts'
import { Compaction } from '../../src/jobs/compaction.ts'
import { Deletion } from '../../src/jobs/deletion.ts'
import { close, create, O_RDONLY, ok, open, openVolume, pattern, ROOT, read, write } from './harness.ts'

describe('a file that another mount compacts', () => {
  it('is read by however few attempts: those do not count that met a list which was replaced meanwhile', async () => {
    const other = await openVolume()
    const w = await create(other, 'f')
    await write(other, w, 0, pattern(100))
    await ok(other.vfs.fsync(ROOT, w.ino, w.fh, false))
    const v = await openVolume({ config: { ioRetries: 1 }, engine: other.engine, store: other.store })
    const f = await open(v, w.ino, O_RDONLY)
    const { meta, chunks, clock, metrics } = other
    const deletion = new Deletion({ meta, chunks, log: silentLog, maxDeletes: 1 })
    const compaction = new Compaction({ meta, chunks, deletion, clock, log: silentLog, metrics })
    const replaceAll = async (): Promise<void> => {
      await write(other, w, 50, pattern(20))
      await ok(other.vfs.fsync(ROOT, w.ino, w.fh, false))
      assert.equal(await compaction.compact(f.ino, 0), true)
      await deletion.drained()
    }
    await v.meta.readChunk(f.ino, 0)
    await replaceAll()
    let races = 3
    v.override.readChunk = async (ino, index) => {
      const list = await v.meta.readChunk(ino, index)
      if (races-- > 0) await replaceAll() // between the list and the block
      return list
    }
    const expected = pattern(100)
    pattern(20).copy(expected, 50)
    assert.deepEqual(await read(v, f, 0, 100), expected)
    assert.ok(races < 0)
    await close(v, f)
    await close(other, w)
    await Promise.all([v.close(), other.close()])
  })
})
