/** The bucket is gone for some seconds under load, as a file system that is unmounted and mounted again: writers wait and
 *  go on, nothing that was fsynced is lost, and no new bucket is begun in the place of the old one. */

import assert from 'node:assert/strict'
import { existsSync, renameSync } from 'node:fs'
import fs from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { mountSkip, newVolume } from '../mount/harness.ts'
import { assertFiles, bytesOf, checkStored, MIB, sleep, writeDurable } from './harness.ts'

describe('a bucket that is away', { skip: mountSkip, timeout: 60_000 }, () => {
  it('for some seconds makes writers and readers wait, and loses nothing', async () => {
    const volume = newVolume({ format: ['--trash-days', '0'] })
    const away = `${volume.bucket}.away`
    try {
      volume.mount(['--cache-size', '0'])
      const durable = new Map<string, Buffer>()
      let isOver = false
      const writer = async (from: number): Promise<void> => {
        for (let n = from; !isOver; n += 3) {
          const bytes = bytesOf(n, 100_000 + n)
          await writeDurable(join(volume.mountPoint, `f${n}`), bytes)
          durable.set(`f${n}`, bytes)
        }
      }
      const cold = bytesOf(1000, 9 * MIB)
      await writeDurable(join(volume.mountPoint, 'cold'), cold)
      volume.unmount()
      volume.mount(['--cache-size', '0'])
      const writers = [0, 1, 2].map(writer)
      await sleep(500)
      renameSync(volume.bucket, away)
      const read = fs.readFile(join(volume.mountPoint, 'cold'))
      await sleep(3000)
      assert.ok(!existsSync(volume.bucket))
      renameSync(away, volume.bucket)
      assert.ok((await read).equals(cold))
      const { size } = durable
      while (durable.size < size + 6) await sleep(50)
      isOver = true
      await Promise.all(writers)
      volume.unmount()
      volume.mount(['--cache-size', '0'])
      await assertFiles(volume.mountPoint, durable)
      volume.unmount()
      const stored = { blockBytes: 4 * MIB, garbage: false }
      // A put that had made its temporary file when the bucket went could neither rename it nor take it away.
      const wrong = await checkStored(volume.metaUrl, join(volume.bucket, 'test-volume'), stored)
      assert.deepEqual(
        wrong.filter(each => !/\/\.jfs\.[^/]*\.tmp\.\d+ is named by no record$/.test(each)),
        [],
      )
    } finally {
      if (existsSync(away) && !existsSync(volume.bucket)) renameSync(away, volume.bucket)
      volume.remove()
    }
  })
})
