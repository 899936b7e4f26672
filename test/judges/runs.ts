/** One run of a judge on a mounted volume, for those who look at several kinds of volumes. */

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { projectRoot, run, type TestVolume } from '../mount/harness.ts'
import { program, size } from './judges.ts'

/** Cases that the suite itself skips here, each with its reason. */
const SKIPPED = new Map([
  ['erofs', 'needs a remount to read-only, which no FUSE mount of ours offers to mount(2)'],
  ['link_count_max', 'the volume format has no link limit'],
])

/** The whole suite; fails with the cases that failed. */
export async function runPjdfstest(volume: TestVolume): Promise<void> {
  const work = join(volume.mountPoint, 'pjd')
  mkdirSync(work, { mode: 0o755 })
  const second = mkdtempSync('/dev/shm/juicefs-ts-pjd-')
  try {
    const ran = await run(
      program('pjdfstest')!,
      ['-c', join(projectRoot, 'test/judges/conf/pjdfstest.toml'), '-p', work, '-s', second],
      { cwd: work, timeoutMs: 600_000 },
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
}

/** So many operations on one file; fails with what fsx says of the first difference. */
export async function runFsx(volume: TestVolume, seed: number, operations: number): Promise<void> {
  const artifacts = mkdtempSync(join(tmpdir(), 'juicefs-ts-fsx-'))
  const config = join(projectRoot, 'test/judges/conf/fsx.toml')
  const file = join(volume.mountPoint, `fsx.${seed}`)
  const ran = await run(
    program('fsx')!,
    ['-q', '-S', String(seed), '-N', String(operations), '-f', config, '-P', artifacts, file],
    { timeoutMs: size(240_000, 1_800_000) },
  )
  assert.equal(ran.status, 0, `${ran.stdout.slice(-3000)}\n${ran.stderr.slice(-3000)}\nartifacts in ${artifacts}`)
  assert.ok(volume.pid() > 0, 'the mount still serves: else fsx has judged the directory below it')
  rmSync(artifacts, { recursive: true, force: true })
}
