/** Compaction while the file is overwritten, cut, extended and read: what is read is always what was written, and afterwards
 *  the bucket holds exactly what the records name. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import fs from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { size } from '../judges/judges.ts'
import { cli, launcher, mountSkip, newVolume, run } from '../mount/harness.ts'
import { manyClients } from '../mount/many-clients-harness.ts'
import { allEngines } from '../servers/engines.ts'
import { bytesOf, checkStored, MIB, sleep } from './harness.ts'

const seconds = size(8, 120)
const CHUNK = 64 * MIB
const sqlite = allEngines.find(({ kind }) => kind === 'sqlite3')!

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

describe('a mount that is killed while it compacts', { skip: mountSkip, timeout: 60_000 }, () => {
  it('takes nothing away from those who use the files on another', async t => {
    const rounds = size(4, 40)
    const clients = await manyClients(sqlite, 2)
    const [user, victim] = clients.mounts as [string, string]
    const chunks = join(clients.volume.bucket, 'test-volume', 'chunks')
    const objects = (): string[] => readdirSync(chunks, { recursive: true }) as string[]
    let interrupted = 0
    try {
      const files = Array.from({ length: 12 }, (_, i) => join(user, `f${i}`))
      const expected = files.map(() => Buffer.alloc(600_000))
      for (let round = 0; round < rounds; round++) {
        for (const [i, path] of files.entries()) {
          const file = await fs.open(path, round === 0 ? 'w' : 'r+')
          for (let n = 0; n < 6; n++) {
            const at = n * 70_000 + 1000 * round
            const piece = bytesOf(100 * round + 10 * i + n, 100_000)
            piece.copy(expected[i]!, at)
            await file.write(piece, 0, piece.length, at)
            await file.datasync()
          }
          await file.close()
        }
        const pid = clients.pid(victim)
        const compacting = run(launcher, ['compact', '--threads', '4', victim])
        const before = objects().length
        for (let n = 0; n < 500 && objects().length <= before; n++) await sleep(2) // a merged slice is stored
        await sleep(3 * (round % 8))
        process.kill(pid, 'SIGKILL')
        if ((await compacting).status !== 0) interrupted++
        spawnSync('umount', ['-l', victim])
        clients.mountAgain(victim)
        for (const [i, path] of files.entries()) {
          const found = await fs.readFile(path)
          assert.ok(
            found.equals(expected[i]!.subarray(0, found.length)) && found.length > 400_000,
            `${path}, round ${round}`,
          )
        }
      }
      t.diagnostic(`${interrupted} interrupted`)
      assert.ok(interrupted > 0)
      for (const mount of clients.mounts) assert.equal(cli(['umount', mount]).status, 0)
      // A merged slice that was stored and not named is garbage; nothing else may be wrong.
      const stored = { blockBytes: 4 * MIB, garbage: true }
      const { metaUrl, bucket } = clients.volume
      assert.deepEqual(await checkStored(metaUrl, join(bucket, 'test-volume'), stored), [])
    } finally {
      await clients.remove()
    }
  })
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
