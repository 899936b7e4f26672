/** pjdfstest (the Rust rewrite): POSIX semantics of the name space, by people who never saw this code. */

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { stripVTControlCharacters } from 'node:util'

import { mountedVolume, projectRoot, run, type TestVolume } from '../mount/harness.ts'
import { missing, program } from './judges.ts'

/** Cases that the suite itself skips here, each with its reason. */
const SKIPPED = new Map([
  ['erofs', 'needs a remount to read-only, which no FUSE mount of ours offers to mount(2)'],
  ['link_count_max', 'the volume format has no link limit'],
])

describe('pjdfstest on a mount', { skip: missing('pjdfstest') }, () => {
  let volume: TestVolume
  before(() => {
    // With the trash on, a name that is removed lives on there, and the link count with it: 11 cases look at that.
    volume = mountedVolume({ format: ['--trash-days', '0'] })
  })
  after(() => volume.remove())

  it('passes the whole suite without a failure', async () => {
    const work = join(volume.mountPoint, 'pjd')
    mkdirSync(work, { mode: 0o755 })
    const second = mkdtempSync('/dev/shm/juicefs-ts-pjd-')
    try {
      const ran = await run(
        program('pjdfstest')!,
        ['-c', join(projectRoot, 'test/judges/conf/pjdfstest.toml'), '-p', work, '-s', second],
        {
          cwd: work,
          timeoutMs: 600_000,
        },
      )
      const output = stripVTControlCharacters(ran.stdout)
      const summary = /Summary: (\d+) failed, (\d+) skipped, (\d+) passed/.exec(output)
      assert.ok(summary, `no summary in the output:\n${output.slice(-2000)}${ran.stderr.slice(-500)}`)
      const failures = output.split('\n').filter(line => line.includes('FAILED'))
      assert.equal(summary[1], '0', `failed cases:\n${failures.join('\n')}`)
      assert.ok(Number(summary[3]) >= 380, `only ${summary[3]} cases ran`)
      console.log(
        `pjdfstest: ${summary[0]}; skipped by the suite: ${[...SKIPPED].map(([name, why]) => `${name} (${why})`).join('; ')}`,
      )
    } finally {
      rmSync(second, { recursive: true, force: true })
    }
  })
})
