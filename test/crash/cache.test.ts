/** Nothing that happens to the cache directory is an error or a wrong byte for an application. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { mountSkip, newVolume, type TestVolume } from '../mount/harness.ts'
import { assertFiles, bytesOf, sleep, smallFileSystem, writeDurable } from './harness.ts'

const KIB = 1024

describe('a damaged cache directory', { skip: mountSkip, timeout: 60_000 }, () => {
  let volume: TestVolume
  let small: { remove(): void }
  const files = new Map<string, Buffer>()
  before(async () => {
    volume = newVolume()
    small = smallFileSystem(volume.cacheDir, '3m')
    volume.mount(['--free-space-ratio', '0.01'])
    await writeSome(0)
  })
  after(() => {
    if (!volume) return
    if (existsSync(join(volume.mountPoint, '.config'))) volume.unmount() // it waits for the serving process
    small?.remove()
    volume.remove()
  })

  /** Six files of one small block each, which the cache keeps. */
  async function writeSome(first: number): Promise<void> {
    for (let n = first; n < first + 6; n++) {
      const bytes = bytesOf(n, 200 * KIB + n * 31)
      await writeDurable(join(volume.mountPoint, `f${n}`), bytes)
      files.set(`f${n}`, bytes)
    }
    await sleep(100) // the cache is written behind
  }
  /** By a new process, so that neither its memory nor the kernel's pages answer. */
  async function readAll(): Promise<void> {
    volume.unmount()
    volume.mount(['--free-space-ratio', '0.01'])
    await assertFiles(volume.mountPoint, files)
  }
  const cached = (): string[] =>
    (readdirSync(volume.cacheDir, { recursive: true }) as string[])
      .map(path => join(volume.cacheDir, path))
      .filter(path => /_\d+_\d+$/.test(path) && statSync(path).isFile())

  it('with flipped bits is not believed', async () => {
    const paths = cached()
    assert.ok(paths.length >= 6)
    for (const path of paths) {
      const bytes = readFileSync(path)
      bytes[bytes.length >> 1]! ^= 4
      writeFileSync(path, bytes)
    }
    await readAll()
  })

  it('with files cut short is not believed', async () => {
    for (const path of cached()) writeFileSync(path, readFileSync(path).subarray(0, 1000))
    await readAll()
  })

  it('that was removed is made again', async () => {
    for (const name of readdirSync(volume.cacheDir)) rmSync(join(volume.cacheDir, name), { recursive: true })
    await writeSome(6)
    await readAll()
  })

  it('that is full is done without', async () => {
    assert.throws(() => writeFileSync(join(volume.cacheDir, 'ballast'), Buffer.alloc(8 << 20)), { code: 'ENOSPC' })
    await writeSome(12)
    await assertFiles(volume.mountPoint, files)
    rmSync(join(volume.cacheDir, 'ballast'))
  })

  it('that has become read-only is done without', async () => {
    assert.equal(spawnSync('mount', ['-o', 'remount,ro', volume.cacheDir]).status, 0)
    await writeSome(18)
    await assertFiles(volume.mountPoint, files)
    spawnSync('mount', ['-o', 'remount,rw', volume.cacheDir])
    await readAll()
  })
})
