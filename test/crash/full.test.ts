/** The disk below the bucket, or below the database, is full: applications hear of it, nothing acknowledged is lost, no byte
 *  is wrong, and the mount works again when there is room. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, rmSync, writeFileSync } from 'node:fs'
import fs from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { cli, mountSkip, newVolume } from '../mount/harness.ts'
import { assertFiles, bytesOf, checkStored, MIB, sleep, smallFileSystem, writeDurable } from './harness.ts'

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error)

describe('a full disk', { skip: mountSkip, timeout: 60_000 }, () => {
  it('below the bucket is ENOSPC to the writer, harms nothing else, and is over when files are removed', async () => {
    const volume = newVolume({ format: ['--trash-days', '0'] })
    const kept = join(volume.dir, 'bucket-before')
    cpSync(volume.bucket, kept, { recursive: true })
    const small = smallFileSystem(volume.bucket, '20m')
    cpSync(kept, volume.bucket, { recursive: true })
    try {
      volume.mount(['--cache-size', '0'])
      const durable = new Map<string, Buffer>()
      let failure = ''
      for (let n = 0; failure === ''; n++) {
        const bytes = bytesOf(n, 3 * MIB + n)
        await writeDurable(join(volume.mountPoint, `f${n}`), bytes).then(
          () => durable.set(`f${n}`, bytes),
          error => {
            failure = codeOf(error)
          },
        )
      }
      assert.equal(failure, 'ENOSPC')
      assert.ok(durable.size >= 5)
      await assertFiles(volume.mountPoint, durable)

      await fs.unlink(join(volume.mountPoint, 'f0'))
      durable.delete('f0')
      const again = bytesOf(99, 2 * MIB)
      for (let n = 0; ; n++) {
        const failed = await writeDurable(join(volume.mountPoint, 'again'), again).catch(codeOf)
        if (failed === undefined) break
        assert.ok(failed === 'ENOSPC' && n < 5, `${failed} after room was made`)
        await sleep(500)
      }
      durable.set('again', again)
      volume.unmount()
      volume.mount(['--cache-size', '0'])
      await assertFiles(volume.mountPoint, durable)
      volume.unmount()
      const stored = { blockBytes: 4 * MIB, garbage: false }
      assert.deepEqual(await checkStored(volume.metaUrl, join(volume.bucket, 'test-volume'), stored), [])
    } finally {
      spawnSync('umount', ['-l', volume.mountPoint], { stdio: 'ignore' })
      small.remove()
      volume.remove()
    }
  })

  it('below the database is ENOSPC or EIO to changes; reads go on, and changes too when there is room', async () => {
    const volume = newVolume({ format: ['--trash-days', '0'] })
    const dir = join(volume.dir, 'db')
    const small = smallFileSystem(dir, '3m')
    const metaUrl = `sqlite3://${join(dir, 'meta.db')}`
    copyFileSync(join(volume.dir, 'meta.db'), join(dir, 'meta.db'))
    const mount = (): void => {
      const args = ['--no-syslog', '--log', volume.logFile, '--cache-size', '0', '--metrics', '127.0.0.1:0']
      assert.equal(cli(['mount', '-d', ...args, metaUrl, volume.mountPoint]).status, 0)
    }
    try {
      mount()
      const ballast = join(dir, 'ballast')
      const durable = new Map<string, Buffer>()
      const write = async (n: number): Promise<string | undefined> => {
        const bytes = bytesOf(n, 5000 + n)
        try {
          await writeDurable(join(volume.mountPoint, `f${n}`), bytes)
          durable.set(`f${n}`, bytes)
          return undefined
        } catch (error) {
          return codeOf(error)
        }
      }
      for (let n = 0; n < 20; n++) assert.equal(await write(n), undefined)
      assert.throws(() => writeFileSync(ballast, Buffer.alloc(4 * MIB)), { code: 'ENOSPC' })
      const failures: string[] = []
      for (let n = 20; n < 60; n++) {
        const failed = await write(n)
        if (failed !== undefined) failures.push(failed)
      }
      assert.ok(failures.length > 0)
      for (const failed of failures) assert.match(failed, /^(ENOSPC|EIO)$/)
      await assertFiles(volume.mountPoint, durable)
      rmSync(ballast)
      for (let n = 60; n < 80; n++) assert.equal(await write(n), undefined)
      await assertFiles(volume.mountPoint, durable)
      volume.unmount()
      mount()
      await assertFiles(volume.mountPoint, durable)
      volume.unmount()
      const stored = { blockBytes: 4 * MIB, garbage: true }
      assert.deepEqual(await checkStored(metaUrl, join(volume.bucket, 'test-volume'), stored), [])
    } finally {
      spawnSync('umount', ['-l', volume.mountPoint], { stdio: 'ignore' })
      small.remove()
      volume.remove()
    }
  })
})
