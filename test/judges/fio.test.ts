/** fio writes patterns and verifies their checksums: sequential, random, mapped, asynchronous direct, mixed block sizes. */

import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { mountedVolume, run, type TestVolume } from '../mount/harness.ts'
import { missing, program, size } from './judges.ts'

const bytes = size('24m', '256m')
const jobs: [name: string, ...options: string[]][] = [
  ['sequential writes', '--rw=write', '--bs=1m', '--ioengine=psync'],
  ['random writes with an fsync every 64', '--rw=randwrite', '--bs=4k-128k', '--ioengine=psync', '--fsync=64'],
  [
    'two mixed unaligned readers and writers',
    '--rw=randrw',
    '--rwmixread=40',
    '--bsrange=512-300k',
    '--bs_unaligned=1',
    '--ioengine=psync',
    '--numjobs=2',
  ],
  ['random writes to a mapping', '--rw=randwrite', '--bs=4k', '--ioengine=mmap', '--size=16m'],
  ['asynchronous direct writes', '--rw=randwrite', '--bs=64k', '--ioengine=libaio', '--iodepth=8', '--direct=1'],
  ['preallocated writes', '--rw=write', '--bs=256k', '--ioengine=sync', '--fallocate=keep', '--end_fsync=1'],
]

describe('fio --verify', { skip: missing('fio') }, () => {
  let volume: TestVolume
  before(() => {
    volume = mountedVolume()
  })
  after(() => volume.remove())

  for (const [name, ...options] of jobs) {
    it(`reads back what it wrote: ${name}`, async () => {
      const dir = join(volume.mountPoint, name.replaceAll(' ', '-'))
      mkdirSync(dir)
      const common = [
        `--directory=${dir}`,
        `--size=${bytes}`,
        '--verify=crc32c',
        '--verify_fatal=1',
        '--do_verify=1',
        '--group_reporting',
        '--randseed=42',
        '--minimal',
      ]
      const ran = await run(program('fio')!, ['--name=verify', ...common, ...options], {
        cwd: volume.dir,
        timeoutMs: size(240_000, 1_800_000),
      })
      assert.equal(ran.status, 0, ran.stdout.slice(-1000) + ran.stderr.slice(-1000))
    })
  }
})
