/** What a mount needs must not be reached through the mount, however its place is written: it would wait for itself. */

import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { cli, mountSkip, newVolume, type TestVolume } from './harness.ts'

describe('a mount', { skip: mountSkip }, () => {
  let volume: TestVolume
  before(() => {
    volume = newVolume()
  })
  after(() => volume.remove())

  const refused = (...options: string[]): void => {
    const { mountPoint, metaUrl, logFile } = volume
    const ran = cli(['mount', '-d', '--no-syslog', '--log', logFile, ...options, metaUrl, mountPoint])
    assert.equal(ran.status, 1, ran.stderr)
    assert.match(ran.stderr, /<FATAL>: the (cache directory|bucket) .* lies inside the mount point/)
    assert.ok(!existsSync(join(mountPoint, '.config')))
  }

  it('is refused a cache directory in itself, also by a link or a wildcard', () => {
    const { dir, mountPoint } = volume
    symlinkSync(mountPoint, join(dir, 'link'))
    mkdirSync(join(mountPoint, 'below'))
    refused('--cache-dir', join(mountPoint, 'cache'))
    refused('--cache-dir', join(dir, 'link'))
    refused('--cache-dir', join(dir, 'link', 'cache'))
    refused('--cache-dir', `${join(dir, 'fine')}:${join(dir, '*', 'below')}`)
    assert.deepEqual(readdirSync(join(mountPoint, 'below')), [])
  })

  it('is refused a bucket in itself', () => {
    const { dir, mountPoint } = volume
    refused('--bucket', join(mountPoint, 'bucket'))
    refused('--bucket', join(dir, 'link'))
  })
})
