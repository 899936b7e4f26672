import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { CacheDirectory, type FoundBlock } from '../../src/chunk/cache-directory.ts'
import { eventually } from './harness.ts'

const options = { uuid: 'u', mode: 0o600, staging: true }

describe('a cache directory', () => {
  let dir: string
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'cache-directory-'))
  })
  after(() => rmSync(dir, { recursive: true, force: true }))

  it('keeps its identity, also where an earlier client crashed before it was written', async () => {
    const first = await CacheDirectory.open({ ...options, dir })
    assert.match(first.id, /^[0-9a-f-]{36}$/)
    assert.equal((await CacheDirectory.open({ ...options, dir })).id, first.id)
    writeFileSync(`${first.root}.lock`, '')
    const again = await CacheDirectory.open({ ...options, dir })
    assert.match(again.id, /^[0-9a-f-]{36}$/)
    assert.equal(readFileSync(`${first.root}.lock`, 'latin1'), again.id)
  })

  it('where nothing can be made is refused, not tried for ever', { timeout: 20_000 }, async () => {
    await assert.rejects(CacheDirectory.open({ ...options, dir: '/proc/cache' }), /\/proc\/cache.* cannot be used/)
  })

  it('can be probed, and the probes are no cached blocks', async () => {
    const directory = await CacheDirectory.open({ ...options, dir })
    await directory.probe(5_000_300)
    assert.deepEqual(readdirSync(directory.rawPath('probe/6C/5')), [], 'written, read, removed')
    writeFileSync(directory.rawPath('probe/6C/5/7_0_3'), 'abc')
    mkdirSync(directory.rawPath('chunks/0/0'), { recursive: true })
    writeFileSync(directory.rawPath('chunks/0/0/8_0_3'), 'abc')
    const found: FoundBlock[] = []
    await directory.scan(
      Date.now(),
      each => void found.push(each),
      () => false,
    )
    assert.deepEqual(
      found.map(({ block, staged }) => ({ ...block, staged })),
      [{ id: 8, index: 0, length: 3, staged: false }],
    )
    directory.removeProbes()
    await eventually(() => !existsSync(directory.rawPath('probe')), 'they are gone')
  })

  it('makes what is above a staged block, but never the staging directory itself', async () => {
    const directory = await CacheDirectory.open({ ...options, dir })
    await directory.makeStagingParents('chunks/0/0/1_0_3')
    assert.ok(existsSync(directory.stagingPath('chunks/0/0')))
    rmSync(directory.stagingPath(''), { recursive: true })
    await assert.rejects(directory.makeStagingParents('chunks/0/0/1_0_3'), { code: 'ENOENT' })
    assert.ok(!existsSync(directory.stagingPath('')))
    await directory.makeRawParents('chunks/7/7/1_0_3')
    assert.ok(existsSync(directory.rawPath('chunks/7/7')))
  })
})
