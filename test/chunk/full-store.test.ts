import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ENOENT, ENOSPC } from '../../src/base/errno.ts'
import { Fault } from '../../src/base/fault.ts'
import { FaultyStore, openTrial, pattern, writeSlice } from './harness.ts'

describe('a store that is full, or away', () => {
  it('full: a put is given up after 1 and 4 seconds', async () => {
    const { chunks, store, pauses } = await openTrial()
    store.mischief = method => (method === 'put' ? Promise.reject(new Fault('put', { errno: ENOSPC })) : undefined)
    await assert.rejects(writeSlice(chunks, 1, pattern(100)), /store block 0 of slice 1/)
    assert.deepEqual(pauses, [1000, 4000])
    await chunks.close()
  })

  it('away: a sync waits for it, but never repeats a sync that failed in the disk', async () => {
    const failures = [ENOENT, ENOENT]
    let syncs = 0
    class Away extends FaultyStore {
      async sync(): Promise<void> {
        syncs++
        const errno = failures.shift()
        if (errno !== undefined) throw new Fault('sync', { errno })
      }
    }
    const { chunks, pauses } = await openTrial({}, new Away())
    const slice = await writeSlice(chunks, 1, pattern(100))
    await chunks.sync([slice])
    assert.deepEqual([syncs, pauses], [3, [1000, 4000]])
    failures.push(ENOSPC)
    await assert.rejects(chunks.sync([slice]), /sync/)
    assert.equal(syncs, 4)
    await chunks.close()
  })
})
