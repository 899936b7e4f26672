/** The kernel at work on a mount: each check of kernel_checks.py by its name. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { mountedVolume, mountSkip, projectRoot, run, type TestVolume } from './harness.ts'

const script = join(projectRoot, 'test/mount/kernel_checks.py')
const helpers = new Set(['fails', 'fallocate', 'renameat2', 'write', 'read', 'main'])
const checks = [...readFileSync(script, 'utf8').matchAll(/^def (\w+)\(/gm)]
  .map(match => match[1]!)
  .filter(name => !helpers.has(name))

for (const [how, options] of [
  ['with default options', []],
  ['with the kernel write-back cache', ['-o', 'writeback_cache']],
] as const) {
  describe(`a mount ${how}`, { skip: mountSkip }, () => {
    let volume: TestVolume
    before(() => {
      volume = mountedVolume({ mount: ['--enable-xattr', '--enable-ioctl', ...options] })
    })
    after(() => volume.remove())

    for (const check of checks) {
      it(check.replaceAll('_', ' '), async () => {
        const ran = await run('python3', [script, volume.mountPoint, check], { cwd: '/', timeoutMs: 90_000 })
        assert.equal(ran.status, 0, ran.stdout + ran.stderr)
      })
    }
  })
}
