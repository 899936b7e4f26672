/** Blocks whose memory is used again for the next blocks: no reader may ever see the bytes of another block in his. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { returnBuffers } from '../../src/base/buffer-pool.ts'
import { ownBytes } from '../../src/base/own-memory.ts'
import type { SliceName } from '../../src/chunk/chunk-store.ts'
import type { CacheOptions } from '../../src/chunk/store.ts'
import { FaultyStore, KIB, noCache, openTrial, pattern, writeSlice } from './harness.ts'

/** Its answers have memory of their own, as those of real stores. */
class OwningStore extends FaultyStore {
  readonly memories = new Set<ArrayBufferLike>()
  gets = 0

  override async get(key: string, range?: { readonly offset: number; readonly length: number }): Promise<Buffer> {
    const stored = await super.get(key, range)
    const bytes = ownBytes(stored.length)
    // as long as a thread takes to fill it
    await (this.gets++ % 3 === 0 ? sleep(1) : turn())
    stored.copy(bytes)
    this.memories.add(bytes.buffer)
    return bytes
  }
}

/** so that there are long parts of a block, which are read alone */
const BLOCK = 256 * KIB
const SLICES = 4
const BLOCKS = 9
const READERS = 24
const READS = 60
const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)

function below(state: { seed: number }, count: number): number {
  state.seed = (Math.imul(state.seed, 1664525) + 1013904223) >>> 0
  return Math.floor((state.seed / 2 ** 32) * count)
}

async function readAtRandom(cache: CacheOptions, bufferBytes: number): Promise<OwningStore> {
  const store = new OwningStore()
  const { chunks } = await openTrial({ cache, bufferBytes, blockBytes: BLOCK }, store)
  const slices: { readonly name: SliceName; readonly bytes: Buffer }[] = []
  for (let i = 1; i <= SLICES; i++) {
    const bytes = pattern(BLOCKS * BLOCK - 5 * i, i)
    slices.push({ name: await writeSlice(chunks, i, bytes), bytes })
  }
  const state = { seed }
  const reader = async (): Promise<void> => {
    for (let n = 0; n < READS; n++) {
      const { name, bytes } = slices[below(state, SLICES)]!
      const off = below(state, 2) === 0 ? below(state, BLOCKS) * BLOCK : below(state, bytes.length)
      const len = Math.min(bytes.length - off, [1, 64 * KIB, 64 * KIB, BLOCK, BLOCK + 7, 3 * BLOCK][below(state, 6)]!)
      if (below(state, 4) === 0) chunks.prefetch(name, off, 4 * BLOCK)
      const views = await chunks.read(name, off, len)
      for (let turns = below(state, 4); turns > 0; turns--) await (below(state, 9) === 0 ? sleep(2) : turn())
      assert.ok(Buffer.concat(views).equals(bytes.subarray(off, off + len)), `slice ${name.id}, ${off} + ${len}`)
      if (below(state, 50) > 0) returnBuffers(views)
    }
  }
  await Promise.all(Array.from({ length: READERS }, reader))
  await chunks.close()
  return store
}

describe(`blocks in shared memory, seed ${seed}`, () => {
  for (const [how, bufferBytes] of [
    ['room for a few', 6 * BLOCK],
    ['room for most', 40 * BLOCK],
  ] as const) {
    it(`keep their bytes until their readers have looked, with ${how} in memory and no cache`, async () => {
      const { gets, memories } = await readAtRandom(noCache, bufferBytes)
      const isUsedAgain = how === 'room for most' || memories.size < gets / 2
      assert.ok(isUsedAgain, `${memories.size} memories for ${gets} blocks: none is used again`)
    })

    it(`and until they are written to the disk cache, with ${how}`, async () => {
      const dir = mkdtempSync(join(tmpdir(), 'shared-blocks-'))
      try {
        await readAtRandom({ ...noCache, dir, sizeBytes: 15 * BLOCK, freeSpaceRatio: 0 }, bufferBytes)
      } finally {
        rmSync(dir, { recursive: true })
      }
    })

    it(`and in a cache in memory, with ${how}`, async () => {
      await readAtRandom({ ...noCache, dir: 'memory', sizeBytes: 10 * BLOCK }, bufferBytes)
    })
  }
})
