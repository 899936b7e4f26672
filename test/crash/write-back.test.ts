/** Mounts that stage blocks locally and upload them later: nothing that was fsynced is lost by a killed process, and what a failing
 *  staging disk takes with it is told, never guessed at. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import fs from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { size } from '../judges/judges.ts'
import { cli, launcher, mountSkip, newVolume, projectRoot, run, type TestVolume } from '../mount/harness.ts'
import { seeded } from '../vfs/harness.ts'
import { assertFiles, bytesOf, checkStored, MIB, sleep, smallFileSystem, writeDurable } from './harness.ts'

const KIB = 1024
const rounds = size(4, 20)

const filesBelow = (dir: string): string[] =>
  existsSync(dir)
    ? (readdirSync(dir, { recursive: true }) as string[])
        .map(path => join(dir, path))
        .filter(path => statSync(path, { throwIfNoEntry: false })?.isFile())
    : []
/** Without `.tmp` files, which a killed process leaves of blocks it was about to stage: a walk removes them a minute later. */
const staged = (volume: TestVolume): string[] =>
  filesBelow(volume.cacheDir).filter(path => path.includes('/rawstaging/') && !path.endsWith('.tmp'))
const objects = (volume: TestVolume): string[] => filesBelow(join(volume.bucket, 'test-volume/chunks'))
const logOf = (volume: TestVolume): string => readFileSync(volume.logFile, 'utf8')

async function until(claim: () => boolean, what: string): Promise<void> {
  for (let waited = 0; !claim(); waited += 50) {
    assert.ok(waited < 20_000, what)
    await sleep(50)
  }
}

describe('kill -9 with write-back', { skip: mountSkip, timeout: 300_000 }, () => {
  it(`loses no fsynced byte in ${rounds} rounds, and the flushed volume is whole`, async t => {
    const seed = Date.now() % 1_000_000
    t.diagnostic(`seed ${seed}`)
    const random = seeded(seed)
    const load = join(projectRoot, 'test/crash/load.py')
    const volume = newVolume()
    const options = (): string[] => ['--writeback', '--upload-delay', ['0', '300ms', '1h'][Math.floor(random() * 3)]!]
    try {
      volume.mount(options())
      for (let round = 1; round <= rounds; round++) {
        const pid = volume.pid()
        const [dir, log] = [join(volume.mountPoint, `round${round}`), join(volume.dir, `log${round}`)]
        const writer = run('python3', [load, 'write', dir, log, '60', String(seed + round)])
        // A busy machine may take seconds to start it.
        await until(() => existsSync(log) && statSync(log).size > 0, 'the load has begun')
        await sleep(500 + random() * size(1500, 10_000))
        process.kill(pid, 'SIGKILL')
        assert.match((await writer).stdout, /operations \d/)
        volume.mount(options())
        for (let earlier = 1; earlier <= round; earlier++) {
          const where = [join(volume.mountPoint, `round${earlier}`), join(volume.dir, `log${earlier}`)]
          const verified = await run('python3', [load, 'verify', ...where])
          assert.equal(verified.status, 0, verified.stdout)
        }
      }
      volume.unmount()
      volume.mount(['--writeback'])
      const flushed = cli(['umount', '--flush', volume.mountPoint])
      assert.equal(flushed.status, 0, flushed.stderr)
      assert.match(flushed.stdout, /All staging chunks are flushed/)
      assert.deepEqual(staged(volume), [])
      // What was staged and not yet named when the process was killed is garbage.
      const stored = { blockBytes: 4 * MIB, garbage: true }
      assert.deepEqual(await checkStored(volume.metaUrl, join(volume.bucket, 'test-volume'), stored), [])
    } finally {
      volume.remove()
    }
  })
})

describe('the staging directory of a mount', { skip: mountSkip, timeout: 300_000 }, () => {
  async function withVolume(work: (volume: TestVolume) => Promise<void>): Promise<void> {
    const volume = newVolume({ format: ['--trash-days', '0'] })
    try {
      await work(volume)
    } finally {
      spawnSync('umount', ['-l', volume.mountPoint], { stdio: 'ignore' })
      volume.remove()
    }
  }

  it('holds what is not uploaded yet; the next mount uploads it, also without --writeback', () =>
    withVolume(async volume => {
      volume.mount(['--writeback', '--upload-delay', '1h'])
      const bytes = bytesOf(1, 300 * KIB)
      await writeDurable(join(volume.mountPoint, 'file'), bytes)
      const stats = readFileSync(join(volume.mountPoint, '.stats'), 'utf8')
      assert.match(stats, /^juicefs_staging_blocks 1$/m)
      assert.match(stats, /^juicefs_staging_block_bytes 307200$/m)
      assert.deepEqual(objects(volume), [])
      const config = JSON.parse(readFileSync(join(volume.mountPoint, '.config'), 'utf8')) as {
        Chunk: { CacheDir: string }
      }
      assert.equal(staged(volume)[0]!.startsWith(`${config.Chunk.CacheDir}/rawstaging/chunks/`), true)
      volume.unmount()
      assert.match(logOf(volume), /1 staging blocks \(307200 bytes\) are not uploaded yet/)
      volume.mount(['--cache-partial-only'])
      await assertFiles(volume.mountPoint, new Map([['file', bytes]]))
      await until(() => objects(volume).length === 1 && staged(volume).length === 0, 'it is uploaded')
      volume.unmount()
    }))

  it('that an earlier mount has left is waited for by umount --flush, whether this one stages or not', () =>
    withVolume(async volume => {
      volume.mount(['--writeback', '--upload-delay', '1h'])
      await writeDurable(join(volume.mountPoint, 'left'), bytesOf(1, 5 * MIB))
      volume.unmount()
      assert.equal(staged(volume).length, 2)
      volume.mount(['--upload-limit', '12'])
      const flushed = cli(['umount', '--flush', volume.mountPoint])
      assert.equal(flushed.status, 0, flushed.stderr)
      assert.match(flushed.stdout, /All staging chunks are flushed/)
      assert.deepEqual(staged(volume), [])
      // Where nothing was staged, there is nothing to tell.
      volume.mount()
      assert.equal(cli(['umount', '--flush', volume.mountPoint]).stdout, '')
    }))

  it('is waited for by umount --flush also where the mount does not answer for a while', () =>
    withVolume(async volume => {
      volume.mount(['--writeback', '--upload-limit', '20'])
      await writeDurable(join(volume.mountPoint, 'file'), bytesOf(1, 9 * MIB))
      const pid = volume.pid()
      const flushing = run(launcher, ['umount', '--flush', volume.mountPoint])
      await sleep(1000)
      process.kill(pid, 'SIGSTOP')
      await sleep(4500)
      process.kill(pid, 'SIGCONT')
      const { status, stdout } = await flushing
      assert.match(stdout, /All staging chunks are flushed/)
      assert.equal(status, 0)
      assert.deepEqual(staged(volume), [])
    }))

  it('is told by umount --flush, and by its exit code, where it cannot be uploaded any more', () =>
    withVolume(async volume => {
      volume.mount(['--writeback', '--upload-limit', '1'])
      await writeDurable(join(volume.mountPoint, 'file'), bytesOf(1, 9 * MIB))
      const pid = volume.pid()
      const flushing = run(launcher, ['umount', '--flush', volume.mountPoint])
      await sleep(1000)
      process.kill(pid, 'SIGKILL')
      const { status, stdout } = await flushing
      assert.match(stdout, /staging chunks are not flushed/)
      assert.equal(status, 1)
      assert.notEqual(staged(volume).length, 0)
    }))

  it('loses the blocks of a removed file, which are never uploaded', () =>
    withVolume(async volume => {
      volume.mount(['--writeback', '--upload-delay', '1h'])
      await writeDurable(join(volume.mountPoint, 'file'), bytesOf(1, 300 * KIB))
      assert.equal(staged(volume).length, 1)
      await fs.unlink(join(volume.mountPoint, 'file'))
      await until(() => staged(volume).length === 0, 'the staged block is gone')
      volume.unmount()
      assert.deepEqual(objects(volume), [])
    }))

  it('that is full is written around: no write fails, and nothing is lost', () =>
    withVolume(async volume => {
      const small = smallFileSystem(volume.cacheDir, '3m')
      try {
        volume.mount(['--writeback', '--upload-delay', '1h', '--free-space-ratio', '0.01'])
        const files = new Map<string, Buffer>()
        for (let n = 0; n < 30; n++) {
          const bytes = bytesOf(n, 300 * KIB + n)
          await writeDurable(join(volume.mountPoint, `f${n}`), bytes)
          files.set(`f${n}`, bytes)
        }
        assert.ok(objects(volume).length >= 10, 'most of them found no room')
        await assertFiles(volume.mountPoint, files)
        volume.unmount()
        volume.mount(['--free-space-ratio', '0.01'])
        await assertFiles(volume.mountPoint, files)
        await until(() => staged(volume).length === 0, 'everything is uploaded')
        volume.unmount()
        const stored = { blockBytes: 4 * MIB, garbage: false }
        assert.deepEqual(await checkStored(volume.metaUrl, join(volume.bucket, 'test-volume'), stored), [])
      } finally {
        spawnSync('umount', ['-l', volume.mountPoint], { stdio: 'ignore' })
        small.remove()
      }
    }))

  it('that becomes read-only is written around, and what it holds is still read and uploaded', () =>
    withVolume(async volume => {
      const small = smallFileSystem(volume.cacheDir, '8m')
      try {
        volume.mount(['--writeback', '--upload-delay', '2s'])
        const files = new Map([['before', bytesOf(1, 300 * KIB)]])
        await writeDurable(join(volume.mountPoint, 'before'), files.get('before')!)
        assert.equal(spawnSync('mount', ['-o', 'remount,ro', volume.cacheDir]).status, 0)
        files.set('after', bytesOf(2, 300 * KIB))
        await writeDurable(join(volume.mountPoint, 'after'), files.get('after')!)
        assert.match(logOf(volume), /write chunks.* to disk: EROFS.*, upload it directly/)
        await assertFiles(volume.mountPoint, files)
        await until(() => objects(volume).length === 2, 'both are stored')
        volume.unmount()
      } finally {
        spawnSync('umount', ['-l', volume.mountPoint], { stdio: 'ignore' })
        small.remove()
      }
    }))

  it('whose disk is lost takes its blocks with it: reading them is EIO, the log names them, all else goes on', () =>
    withVolume(async volume => {
      const small = smallFileSystem(volume.cacheDir, '8m')
      try {
        volume.mount(['--writeback', '--upload-delay', '8s', '--io-retries', '2'])
        await writeDurable(join(volume.mountPoint, 'lost'), bytesOf(1, 300 * KIB))
        const [block] = staged(volume)
        spawnSync('sh', ['-c', 'echo 1 > /proc/sys/vm/drop_caches'])
        small.remove() // the directory below the mount point is empty
        const files = new Map([['new', bytesOf(2, 300 * KIB)]])
        await writeDurable(join(volume.mountPoint, 'new'), files.get('new')!)
        assert.ok(!existsSync(join(volume.cacheDir, block!.split('/').at(-1)!)))
        assert.deepEqual(staged(volume), [], 'nothing is hidden under the mount point')
        await assert.rejects(fs.readFile(join(volume.mountPoint, 'lost')), { code: 'EIO' })
        await assertFiles(volume.mountPoint, files)
        await until(
          () => /read staging block chunks\/0\/0\/1_0_307200 in .*: ENOENT.* try again/.test(logOf(volume)),
          'said',
        )
        volume.unmount()
      } finally {
        spawnSync('umount', ['-l', volume.mountPoint], { stdio: 'ignore' })
        small.remove()
      }
    }))

  it('with flipped bits in it never gives a wrong byte, nor uploads one', () =>
    withVolume(async volume => {
      volume.mount(['--writeback', '--upload-delay', '1h'])
      await writeDurable(join(volume.mountPoint, 'bad'), bytesOf(1, 300 * KIB))
      await writeDurable(join(volume.mountPoint, 'good'), bytesOf(2, 300 * KIB))
      volume.unmount()
      const path = staged(volume).find(each => each.includes('/1_0_'))!
      const bytes = readFileSync(path)
      bytes[200_000]! ^= 1
      rmSync(path)
      writeFileSync(path, bytes)
      const raw = path.replace('rawstaging', 'raw')
      rmSync(raw)
      volume.mount(['--io-retries', '2', '--verify-cache-checksum', 'none'])
      await until(() => /ERROR.*1_0_307200 in .* is damaged/.test(logOf(volume)), 'it is said')
      // Not by fs.promises, which takes a short read for the end of the file.
      assert.throws(() => readFileSync(join(volume.mountPoint, 'bad')), { code: 'EIO' })
      await assertFiles(volume.mountPoint, new Map([['good', bytesOf(2, 300 * KIB)]]))
      assert.deepEqual(
        objects(volume).map(each => each.split('/').at(-1)),
        ['2_0_307200'],
      )
      volume.unmount()
    }))
})
