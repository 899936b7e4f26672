import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { expandCacheDirs, splitCacheDirs } from '../../src/chunk/cache-paths.ts'

describe('cache directories as they are typed', () => {
  let dir: string
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'cache-paths-'))
    for (const name of ['disk1', 'disk2', 'disk10', 'other', 'a*b'])
      mkdirSync(join(dir, name, 'cache'), { recursive: true })
  })
  after(() => rmSync(dir, { recursive: true, force: true }))

  const expanded = async (text: string): Promise<string[]> =>
    (await expandCacheDirs(text.replaceAll('@', dir))).map(path => path.replace(dir, '@'))

  it('are separated by colons, or by commas where there is no colon', () => {
    assert.deepEqual(splitCacheDirs('/a:/b,c:/d'), ['/a', '/b,c', '/d'])
    assert.deepEqual(splitCacheDirs('/a,/b'), ['/a', '/b'])
    assert.deepEqual(splitCacheDirs('/a:'), ['/a'])
  })

  it('are sorted and taken once; those without wildcards need not exist', async () => {
    assert.deepEqual(await expanded('@/z:@/new:@/z/'), ['@/new', '@/z'])
  })

  it('with wildcards are those that exist; what stands behind the last one is made', async () => {
    assert.deepEqual(await expanded('@/disk*'), ['@/disk1', '@/disk10', '@/disk2'])
    assert.deepEqual(await expanded('@/disk?/cache/new'), ['@/disk1/cache/new', '@/disk2/cache/new'])
    assert.deepEqual(await expanded('@/disk[2-9]'), ['@/disk2'])
    assert.deepEqual(await expanded('@/[^d]*'), ['@/a*b', '@/other'])
    assert.deepEqual(await expanded('@/a\\*b'), ['@/a*b'])
    assert.deepEqual(
      await expanded('@/*/ca*'),
      ['@/a*b', '@/disk1', '@/disk10', '@/disk2', '@/other'].map(each => `${each}/cache`),
    )
    assert.deepEqual(await expanded('@/none*/x'), [])
  })
})
