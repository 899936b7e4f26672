/** One file through handles that the kernel caches and handles that it does not (docs/design/004), in random order. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { mountedVolume, mountSkip, projectRoot, run, type TestVolume } from './harness.ts'

const script = join(projectRoot, 'test/mount/mixed_handles.py')
const seeds = process.env.SEED ? [Number(process.env.SEED)] : [1, 2, Date.now() % 1_000_000]
const OPERATIONS = 700

for (const [how, options] of [
  ['with default options', []],
  ['that keeps attributes for long', ['--attr-cache', '30', '--entry-cache', '30', '--open-cache', '10']],
  ['with the kernel write-back cache', ['-o', 'writeback_cache']],
] as const) {
  describe(`a mount ${how}`, { skip: mountSkip }, () => {
    let volume: TestVolume
    before(() => {
      volume = mountedVolume({ format: ['--trash-days', '0'], mount: [...options] })
    })
    after(() => volume.remove())

    for (const seed of seeds) {
      it(`shows every handle of a file the same bytes in ${OPERATIONS} operations of seed ${seed}`, async () => {
        const args = [script, volume.mountPoint, String(seed), String(OPERATIONS)]
        const ran = await run('python3', args, { cwd: '/', timeoutMs: 120_000 })
        assert.equal(ran.status, 0, ran.stdout + ran.stderr)
      })
    }
  })
}
