/** fsx: random reads, writes, truncates, mapped access, hole punching, copies on one file, against its own model of it. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { mountedVolume, projectRoot, run, type TestVolume } from '../mount/harness.ts'
import { missing, program, size } from './judges.ts'

const seeds = size([1, 2], [1, 2, 3, 4, 5])
const operations = size(3_000, 14_000)

for (const [how, options] of [
  ['buffered', []],
  ['with direct I/O forced by a mount option', ['-o', 'direct_io']],
  ['with the kernel write-back cache', ['-o', 'writeback_cache']],
] as const) {
  describe(`fsx ${how}`, { skip: missing('fsx') }, () => {
    let volume: TestVolume
    before(() => {
      // With the trash on, what compaction replaces would be kept for a day: the run would fill the disk.
      volume = mountedVolume({ format: ['--trash-days', '0'], mount: options })
    })
    after(() => volume.remove())

    for (const seed of seeds) {
      it(`finds no difference in ${operations} operations of seed ${seed}`, async () => {
        const artifacts = mkdtempSync(join(tmpdir(), 'juicefs-ts-fsx-'))
        const ran = await run(
          program('fsx')!,
          [
            '-q',
            '-S',
            String(seed),
            '-N',
            String(operations),
            '-f',
            join(projectRoot, 'test/judges/conf/fsx.toml'),
            '-P',
            artifacts,
            join(volume.mountPoint, `fsx.${seed}`),
          ],
          { timeoutMs: size(240_000, 1_800_000) },
        )
        assert.equal(ran.status, 0, `${ran.stdout.slice(-3000)}\n${ran.stderr.slice(-3000)}\nartifacts in ${artifacts}`)
        rmSync(artifacts, { recursive: true, force: true })
      })
    }
  })
}
