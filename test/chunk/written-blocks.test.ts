import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { BlockCache } from '../../src/chunk/block-cache.ts'
import type { SliceName } from '../../src/chunk/chunk-store.ts'
import { blockKey } from '../../src/chunk/keys.ts'
import { WrittenBlocks } from '../../src/chunk/written-blocks.ts'
import { BLOCK, eventually, KIB, noCache, openTrial, pattern, readAll, writeSlice } from './harness.ts'

describe('small blocks that were written just now', () => {
  it('count as 4 KiB where they are shorter, or the names of millions would be kept', () => {
    const memory = new BlockCache({ budgetBytes: () => 1 << 30, idleMs: () => Number.POSITIVE_INFINITY })
    const written = new WrittenBlocks(memory, 40 * KIB)
    for (let id = 1; id <= 1000; id++) written.keep(blockKey(id, 0), Buffer.from('tiny'))
    assert.equal(memory.count, 10)
    assert.equal(memory.get(blockKey(1000, 0), 4)?.toString(), 'tiny')
  })

  it('are in memory once they are in the cache, the last of a tenth of the buffers; whole blocks are not', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'written-blocks-'))
    try {
      // a tenth is room for ten
      const { chunks, store, stat } = await openTrial({
        cache: { ...noCache, dir, sizeBytes: 1 << 30, freeSpaceRatio: 0 },
        bufferBytes: 100 * 40 * KIB,
      })
      const slices: SliceName[] = []
      for (let id = 1; id <= 12; id++) slices.push(await writeSlice(chunks, id, pattern(40 * KIB, id)))
      await writeSlice(chunks, 99, pattern(BLOCK))
      const inMemory = (): number => stat('used_read_buffer_size_bytes')
      await eventually(() => inMemory() === 10 * 40 * KIB, 'ten are in memory')
      for (const [i, slice] of slices.entries())
        assert.ok((await readAll(chunks, slice)).equals(pattern(40 * KIB, i + 1)), `slice ${slice.id}`)
      assert.deepEqual(
        store.requests.filter(request => request.startsWith('get')),
        [],
      )
      await chunks.remove(slices.at(-1)!)
      assert.ok(inMemory() < 10 * 40 * KIB)
      await chunks.close()
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })
})
