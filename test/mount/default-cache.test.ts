/** Mounts without a flag for the cache. Where the bucket lies on the disk of the default cache directory its blocks are read there and
 *  copied nowhere. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { dropCached } from '../../src/base/whole-file.ts'
import { cli, mountSkip, newVolume, type TestVolume } from './harness.ts'

const MIB = 1 << 20
const SMALL = 30

const blocksBelow = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter(path => /\d+_\d+_\d+$/.test(path))
    .map(path => join(directory, path))

function rawOf(volume: TestVolume): string {
  const config = JSON.parse(readFileSync(join(volume.mountPoint, '.config'), 'utf8')) as { Format: { UUID: string } }
  return join(volume.cacheDir, config.Format.UUID, 'raw')
}

const statOf = (volume: TestVolume, name: string): number =>
  Number(new RegExp(`^juicefs_${name} (\\d+)`, 'm').exec(readFileSync(join(volume.mountPoint, '.stats'), 'utf8'))?.[1])

/** The kernel has the bytes of these files no longer. */
async function forget(paths: readonly string[]): Promise<void> {
  const synced = spawnSync('sync', [...paths])
  assert.equal(synced.status, 0, String(synced.stderr))
  for (const path of paths) await dropCached(path)
}

function readAt(path: string, off: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  const fd = openSync(path, 'r')
  try {
    return bytes.subarray(0, readSync(fd, bytes, 0, length, off))
  } finally {
    closeSync(fd)
  }
}

describe('the default cache directory', { skip: mountSkip, timeout: 120_000 }, () => {
  let volume: TestVolume
  let isNear = false
  const contents = new Map([['big', randomBytes(9 * MIB)]])
  for (let i = 0; i < SMALL; i++) contents.set(`small${i}`, randomBytes(1000 + 7000 * i))
  before(() => {
    volume = newVolume({ defaultCache: true })
    mkdirSync(volume.cacheDir, { recursive: true })
    isNear = statSync(volume.cacheDir).dev === statSync(volume.bucket).dev
  })
  after(() => volume?.remove())

  const at = (name: string): string => join(volume.mountPoint, name)
  const write = (): void => {
    for (const [name, bytes] of contents) writeFileSync(at(name), bytes, { flush: true })
  }
  const check = (): void => {
    for (const [name, bytes] of contents) assert.ok(readFileSync(at(name)).equals(bytes), name)
  }
  const objects = (): string[] => blocksBelow(join(volume.bucket, 'test-volume', 'chunks'))
  const copies = (): string[] => blocksBelow(rawOf(volume))

  it('stays empty beside a bucket on its disk, whatever is written and read', async t => {
    if (!isNear) return t.skip('test volumes are not on the disk of /var/jfsCache')
    volume.mount()
    const line = `Disk cache: blocks are read in the bucket ${volume.bucket}/test-volume/, which lies on the disk of ${volume.cacheDir}/`
    assert.ok(readFileSync(volume.logFile, 'utf8').includes(line))
    write()
    check()
    volume.unmount()
    await forget(objects())
    volume.mount()
    // First parts by the thread pool, then what the kernel has at hand by then, then whole files.
    const { length } = contents.get('big')!
    for (const off of [5_000_000, 12_288, length - 4096, 5_000_000, 8 * MIB - 2048]) {
      assert.ok(readAt(at('big'), off, 4096).equals(contents.get('big')!.subarray(off, off + 4096)), `4 KiB at ${off}`)
    }
    assert.ok(statOf(volume, 'blockcache_hits') > 0)
    check()
    volume.unmount()
    volume.mount()
    check() // all at hand
    assert.ok(statOf(volume, 'blockcache_hit_bytes') >= 9 * MIB)
    assert.equal(statOf(volume, 'blockcache_writes'), 0)
    assert.deepEqual(copies(), [])
  })

  it('is not needed for files to be cached, nor for them to be taken out of the cache', t => {
    if (!isNear) return t.skip('test volumes are not on the disk of /var/jfsCache')
    const before = objects()
    assert.equal(before.length, SMALL + 3)
    const place = `${volume.bucket}/test-volume/`
    for (const action of ['--check', '--evict', '--check']) {
      const ran = cli(['warmup', action, volume.mountPoint])
      assert.equal(ran.status, 0, ran.stderr)
      if (action === '--evict') continue
      assert.match(ran.stderr, new RegExp(`${SMALL + 1} files checked, .*\\(100\\.0%\\) cached`))
      assert.equal(ran.stdout.split('\n')[3]?.split(' ')[1], place)
    }
    assert.equal(cli(['warmup', volume.mountPoint]).status, 0)
    assert.deepEqual(objects(), before)
    check()
    assert.deepEqual(copies(), [])
    volume.unmount()
  })

  it('is used from when the volume gets a download limit, or goes to another disk, until that has an end', async t => {
    if (!isNear) return t.skip('test volumes are not on the disk of /var/jfsCache')
    const far = mkdtempSync('/dev/shm/juicefs-ts-')
    t.after(() => rmSync(far, { recursive: true }))
    cpSync(volume.bucket, far, { recursive: true })
    volume.mount(['--heartbeat', '1s'])
    const log = (): string => readFileSync(volume.logFile, 'utf8')
    const changes = (): number => log().split('found new configuration').length
    const change = async (...flags: readonly string[]): Promise<void> => {
      const before = changes()
      assert.equal(cli(['config', '--force', ...flags, volume.metaUrl]).status, 0)
      for (let waitedMs = 0; changes() === before && waitedMs < 10_000; waitedMs += 50) await sleep(50)
      assert.ok(changes() > before, 'it is followed')
      await sleep(300) // the store is opened
    }
    const isCopied = async (): Promise<boolean> => {
      const before = copies().length
      writeFileSync(at(`new${Math.random()}`), randomBytes(4000), { flush: true })
      for (let waitedMs = 0; copies().length === before && waitedMs < 500; waitedMs += 50) await sleep(50)
      return copies().length > before
    }
    assert.equal(await isCopied(), false)
    await change('--download-limit', '1000')
    assert.equal(await isCopied(), true)
    await change('--download-limit', '0')
    assert.equal(await isCopied(), false)
    const place = (): string | undefined =>
      cli(['warmup', '--check', at('big')])
        .stdout.split('\n')[3]
        ?.split(' ')[1]
    assert.equal(place(), `${volume.bucket}/test-volume/`)
    await change('--bucket', far)
    assert.equal(await isCopied(), true)
    assert.equal(place(), undefined, 'nothing of the file is cached')
    check()
    await change('--bucket', volume.bucket)
    await isCopied() // by the first that comes the place is looked at
    assert.equal(await isCopied(), false)
    check()
    volume.unmount()
  })

  it('has the blocks where it was asked for by name', async () => {
    volume.mount(['--cache-dir', volume.cacheDir])
    assert.doesNotMatch(readFileSync(volume.logFile, 'utf8').split('JuiceFS version').at(-1)!, /are read in the bucket/)
    const before = copies().length
    write()
    check()
    for (let waitedMs = 0; copies().length < before + SMALL && waitedMs < 5000; waitedMs += 50) await sleep(50)
    assert.ok(copies().length >= before + SMALL, `${copies().length} blocks`)
    volume.unmount()
  })
})
