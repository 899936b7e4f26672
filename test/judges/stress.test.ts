/** dbench, and the file-system stressors of stress-ng that apply to a file system like this one, each with --verify. */

import assert from 'node:assert/strict'
import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { mountedVolume, run, type TestVolume } from '../mount/harness.ts'
import { missing, program, size } from './judges.ts'

/** stress-ng's class "filesystem" without bind-mount, binderfs, ioprio, procfs (not about this file system) and verity (no FUSE has it), and
 *  with those of other classes that work on files. */
const STRESSORS = [
  'access', 'aiol', 'chattr', 'chdir', 'chmod', 'chown', 'copy-file', 'dentry', 'dir', 'dirdeep', 'dirmany', 'dnotify', 'dup', 'eventfd',
  'fallocate', 'fanotify', 'fcntl', 'fiemap', 'file-ioctl', 'filename', 'flock', 'fpunch', 'fstat', 'getdent', 'handle', 'hdd', 'inode-flags',
  'inotify', 'io', 'iomix', 'lease', 'link', 'locka', 'lockf', 'lockofd', 'mknod', 'mmapmany', 'open', 'fsize', 'rename',
  'seek', 'seal', 'sendfile', 'symlink', 'sync-file', 'touch', 'utime', 'xattr',
] // biome-ignore format: one word a stressor
const LIMITS = [
  '--hdd-bytes',
  '32m',
  '--iomix-bytes',
  '32m',
  '--fallocate-bytes',
  '32m',
  '--copy-file-bytes',
  '128m',
  '--sync-file-bytes',
  '16m',
  '--seek-size',
  '16m',
  '--readahead-bytes',
  '16m',
]

/** stress-ng's exit status for "not implemented or no resources here" */
const NOT_HERE = new Set([3, 4])

describe('stress-ng with --verify', { skip: missing('stress-ng') }, () => {
  let volume: TestVolume
  before(() => {
    volume = mountedVolume({ mount: ['--enable-xattr', '--enable-ioctl'] })
    mkdirSync(join(volume.mountPoint, 'stress'))
    chmodSync(join(volume.mountPoint, 'stress'), 0o777)
  })
  after(() => volume.remove())

  for (const stressor of STRESSORS) {
    it(`${stressor} finds nothing wrong`, async t => {
      const seconds = size(1, 10)
      const args = [
        '--temp-path',
        join(volume.mountPoint, 'stress'),
        `--${stressor}`,
        '1',
        '-t',
        `${seconds}s`,
        '--verify',
        ...LIMITS,
      ]
      const ran = await run(program('stress-ng')!, args, { cwd: volume.dir, timeoutMs: seconds * 6000 + 60_000 })
      if (NOT_HERE.has(ran.status ?? -1))
        return t.skip(
          `stress-ng says it cannot run here: ${(ran.stdout + ran.stderr).split('\n').find(line => line.includes(stressor)) ?? ''}`,
        )
      assert.equal(
        ran.status,
        0,
        (ran.stdout + ran.stderr)
          .split('\n')
          .filter(line => /fail|error/i.test(line))
          .slice(0, 10)
          .join('\n'),
      )
    })
  }
})

describe('dbench', { skip: missing('dbench') }, () => {
  let volume: TestVolume
  before(() => {
    volume = mountedVolume({ mount: ['--enable-xattr'] })
  })
  after(() => volume.remove())

  it('runs its load of a file server with four clients without an error', async () => {
    const ran = await run(program('dbench')!, ['-t', String(size(5, 60)), '-D', volume.mountPoint, '4'], {
      cwd: volume.dir,
      timeoutMs: 300_000,
    })
    assert.equal(ran.status, 0, ran.stdout.slice(-1500) + ran.stderr.slice(-1500))
    assert.match(ran.stdout, /Throughput [\d.]+ MB\/sec/)
    // ("failed to create barrier semaphore" is about its own start, on machines without System V semaphores)
    assert.doesNotMatch(ran.stdout, /failed(?! to create barrier)/i)
  })
})
