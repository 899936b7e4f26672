/** Compaction while the file is overwritten, cut, extended and read: what is read is always what was written, and afterwards
 *  the bucket holds exactly what the records name. */

import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { size } from '../judges/judges.ts'
import { mountSkip, newVolume } from '../mount/harness.ts'
import { bytesOf, checkStored, MIB } from './harness.ts'

const seconds = size(8, 120)
const CHUNK = 64 * MIB

describe('compaction under load', { skip: mountSkip, timeout: (seconds + 60) * 1000 }, () => {
  for (const trash of ['0', '1']) {
    it(`changes no byte, and leaves no object astray (--trash-days ${trash})`, async t => {
      const seed = size(7, Date.now() % 1_000_000)
      t.diagnostic(`seed ${seed}`)
      const volume = newVolume({ format: ['--trash-days', trash] })
      try {
        volume.mount(['-o', 'direct_io']) // every read is answered by us, none from the kernel's pages
        const end = Date.now() + (seconds * 1000) / 2
        const work = [0, 1, 2].map(n => overwrite(join(volume.mountPoint, `file${n}`), seed + n, end))
        const models = await Promise.all(work)
        volume.unmount()
        volume.mount()
        for (const [n, model] of models.entries()) {
          assert.ok((await fs.readFile(join(volume.mountPoint, `file${n}`))).subarray(model.base).equals(model.bytes))
        }
        volume.unmount()
        const stored = { blockBytes: 4 * MIB, garbage: false }
        assert.deepEqual(await checkStored(volume.metaUrl, join(volume.bucket, 'test-volume'), stored), [])
      } finally {
        volume.remove()
      }
    })
  }
})

/** Works on the bytes around the border of two chunks (`base` is the first of them). */
async function overwrite(path: string, seed: number, end: number): Promise<{ base: number; bytes: Buffer }> {
  let state = seed
  const below = (limit: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return (state >>> 8) % limit
  }
  const base = CHUNK - 200_000
  let bytes = Buffer.alloc(0)
  const file = await fs.open(path, 'w+')
  try {
    await file.truncate(base)
    for (let n = 0; Date.now() < end; n++) {
      const dice = below(20)
      if (dice === 0) {
        const length = below(400_000)
        await file.truncate(base + length)
        const cut = Buffer.alloc(length)
        bytes.copy(cut, 0, 0, Math.min(length, bytes.length))
        bytes = cut
      } else if (dice < 14) {
        const piece = bytesOf(n, 1 + below(20_000))
        const at = below(400_000)
        await file.write(piece, 0, piece.length, base + at)
        if (at + piece.length > bytes.length) bytes = Buffer.concat([bytes], at + piece.length)
        piece.copy(bytes, at)
        if (below(3) > 0) await file.datasync()
      } else {
        const from = below(bytes.length + 1)
        const found = Buffer.alloc(below(100_000))
        const { bytesRead } = await file.read(found, 0, found.length, base + from)
        const wanted = bytes.subarray(from, from + found.length)
        assert.ok(found.subarray(0, bytesRead).equals(wanted), `step ${n}: bytes at ${from}`)
      }
    }
    await file.sync()
  } finally {
    await file.close()
  }
  return { base, bytes }
}
