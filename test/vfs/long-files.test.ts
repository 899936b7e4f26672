/** Files of more chunks than one commit of the metadata may touch: truncate and holes go in steps, and nobody outside sees more
 *  than a file that is on its way. */

import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { chunk } from '../../src/meta/facts.ts'
import { decodeRecords } from '../../src/meta/model/slice.ts'
import { CHUNKS_AT_ONCE } from '../../src/meta/rules/chunks.ts'
import { CHUNK, create, lengthOf, O_RDWR, ok, openVolume, ROOT, type TestFile, type Volume } from './harness.ts'

const CHUNKS = 2 * CHUNKS_AT_ONCE + 300

for (const deferred of [false, true]) {
  describe(`a file of ${CHUNKS} chunks, metadata answering ${deferred ? 'later' : 'at once'}`, () => {
    let v: Volume
    let f: TestFile
    beforeEach(async () => {
      v = await openVolume({ deferred })
      f = await create(v, 'long', O_RDWR)
      const now = v.clock.now()
      for (let index = 0; index < CHUNKS; index++) {
        const id = await v.meta.newSliceId()
        await ok(v.meta.writeSlice(f.ino, index, 0, { id, size: CHUNK, off: 0, len: CHUNK }, now))
      }
    })
    afterEach(() => v.close())

    const isZero = async (index: number): Promise<boolean> => {
      const records = await ok(v.meta.readChunk(f.ino, index))
      return records.every(record => record.id === 0)
    }
    const setSize = (size: number) => ok(v.vfs.setattr(ROOT, f.ino, { size }, f.fh))

    it('is truncated whole, and grows again over zeros only', async () => {
      const attr = await setSize(10)
      assert.equal(attr.length, 10)
      assert.equal(await lengthOf(v, f.ino), 10)
      await setSize(CHUNKS * CHUNK)
      assert.equal(await lengthOf(v, f.ino), CHUNKS * CHUNK)
      for (const index of [1, 2, 299, 300, 301, 1299, 1300, 1301, CHUNKS - 1])
        assert.ok(await isZero(index), `${index}`)
      const [stored] = (await v.engine.gather([chunk(f.ino, 1300)], 'look')) as [Buffer]
      assert.equal(decodeRecords(stored).length, 3, 'one zero record for each of the two truncations')
    })

    it('gets another time with each step, so that others who looked in between see that it changed again', async () => {
      const times: string[] = []
      const commit = v.engine.commit.bind(v.engine)
      v.engine.commit = (guards, changes) => {
        for (const change of changes) if (change.kind === 'putNode') times.push(JSON.stringify(change.attr.mtime))
        return commit(guards, changes)
      }
      const punchKeepingSize = 3
      await ok(v.vfs.fallocate(ROOT, f.ino, f.fh, punchKeepingSize, 0, CHUNKS * CHUNK))
      await setSize(10)
      assert.ok(times.length >= 6, `${times.length} steps`)
      assert.equal(new Set(times).size, times.length)
    })

    it('loses a whole range by fallocate and keeps what lies around it', async () => {
      const [punchKeepingSize, first] = [3, 1]
      await ok(v.vfs.fallocate(ROOT, f.ino, f.fh, punchKeepingSize, first * CHUNK, (CHUNKS - 2) * CHUNK))
      assert.equal(await lengthOf(v, f.ino), CHUNKS * CHUNK)
      for (const index of [1, 299, 300, 1300, CHUNKS - 2]) assert.ok(await isZero(index), `${index}`)
      for (const index of [0, CHUNKS - 1]) assert.ok(!(await isZero(index)), `${index}`)
    })
  })
}
