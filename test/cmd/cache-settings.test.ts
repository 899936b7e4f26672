import assert from 'node:assert/strict'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { DEFAULT_HEALTH } from '../../src/chunk/disk-health.ts'
import { cacheSettings, writebackSettings } from '../../src/cmd/cache-settings.ts'
import { MOUNT_FLAGS } from '../../src/cmd/flag-tables.ts'
import { Options } from '../../src/cmd/flags.ts'

function settings(flags: Record<string, string> = {}, readOnly = false) {
  const warnings: string[] = []
  const warn = (message: string): void => void warnings.push(message)
  const options = new Options(MOUNT_FLAGS, new Map(Object.entries(flags)))
  const cache = cacheSettings(options, warn)
  return { cache, writeback: writebackSettings(options, cache, readOnly, warn), warnings }
}

describe('settings of the cache', () => {
  it('have the documented defaults', () => {
    const { cache, warnings } = settings()
    assert.equal(cache.sizeBytes, 100 * 2 ** 30)
    assert.equal(cache.freeSpaceRatio, 0.1)
    assert.equal(cache.verifyChecksum, 'extend')
    assert.equal(cache.eviction, '2-random')
    assert.equal(cache.scanIntervalMs, 3_600_000)
    assert.deepEqual(cache.health, DEFAULT_HEALTH)
    assert.deepEqual(warnings, [])
  })

  it('name directories absolutely, as many as were typed', () => {
    assert.equal(settings({ 'cache-dir': 'a:~/b:/c d' }).cache.dir, `${join(process.cwd(), 'a')}:${homedir()}/b:/c d`)
    assert.equal(settings({ 'cache-dir': '/a,~,b*' }).cache.dir, `/a,${homedir()},${join(process.cwd(), 'b*')}`)
    assert.equal(settings({ 'cache-dir': 'memory' }).cache.dir, 'memory')
    assert.throws(() => settings({ 'cache-dir': ':' }), /Invalid value ":" for "cache-dir": no directory/)
  })

  it('let blocks be read in the bucket, unless a directory was named or the kernel shall keep nothing', t => {
    t.after(() => delete process.env.JFS_DROP_OSCACHE)
    assert.equal(settings().cache.inPlace, true)
    assert.equal(settings({ 'cache-dir': '' }).cache.inPlace, true)
    assert.equal(settings({ 'cache-dir': '/var/jfsCache' }).cache.inPlace, false)
    process.env.JFS_DROP_OSCACHE = '1'
    assert.equal(settings().cache.inPlace, false)
  })

  it('are corrected as the reference corrects them', () => {
    const { cache, warnings } = settings({
      'free-space-ratio': '0',
      'cache-expire': '10ms',
      'verify-cache-checksum': 'sometimes',
    })
    assert.equal(cache.freeSpaceRatio, 0.1)
    assert.equal(cache.expireMs, 1000)
    assert.equal(cache.verifyChecksum, 'extend')
    assert.deepEqual(warnings, ['unknown verify-cache-checksum "sometimes", use extend'])
  })

  it('take what a sick disk is from the environment', t => {
    const names = ['JFS_MAX_IO_DURATION', 'JFS_MAX_IO_ERR_PERCENTAGE', 'JFS_MAX_CONCURRENCY_FOR_UNSTABLE']
    t.after(() => {
      for (const name of names) delete process.env[name]
    })
    Object.assign(process.env, Object.fromEntries(names.map((name, i) => [name, ['1m30s', '5', 'many'][i]])))
    assert.deepEqual(settings().cache.health, { ...DEFAULT_HEALTH, maxIoMs: 90_000, maxErrorPercent: 5 })
  })
})

describe('settings of write-back', () => {
  it('are off, and then nothing waits', () => {
    const { writeback, warnings } = settings({ 'upload-delay': '1h', 'upload-hours': '1-2' })
    assert.deepEqual([writeback.isOn, writeback.uploadDelayMs, writeback.uploadHours], [false, 0, null])
    assert.deepEqual(warnings, [
      '--upload-delay has no effect without --writeback',
      '--upload-hours has no effect without --writeback',
    ])
  })

  it('say what is staged and when it is uploaded', () => {
    const { writeback, warnings } = settings({
      writeback: 'true',
      'upload-delay': '1m',
      'upload-hours': '22-6',
      'writeback-threshold-size': '64K',
      'max-stage-write': '7',
    })
    assert.deepEqual(writeback, {
      isOn: true,
      thresholdBytes: 65536,
      uploadDelayMs: 60_000,
      uploadHours: { from: 22, to: 6 },
      maxStageWrites: 7,
      readOnly: false,
    })
    assert.deepEqual(warnings, [])
  })

  it('are left out where there is no disk to stage on, and for a read-only mount', () => {
    for (const flags of [{ 'cache-dir': 'memory' }, { 'cache-size': '0' }] as Record<string, string>[]) {
      const { writeback, warnings } = settings({ writeback: 'true', ...flags })
      assert.equal(writeback.isOn, false)
      assert.match(warnings[0]!, /needs a cache directory on a disk: blocks are uploaded at once/)
    }
    const { writeback } = settings({ writeback: 'true' }, true)
    assert.deepEqual([writeback.isOn, writeback.readOnly], [false, true])
  })

  it('ignore hours that cannot be read', () => {
    const { writeback, warnings } = settings({ writeback: 'true', 'upload-hours': '9 to 5' })
    assert.equal(writeback.uploadHours, null)
    assert.match(warnings[0]!, /--upload-hours 9 to 5 is no span/)
  })
})
