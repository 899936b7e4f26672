import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { MOUNT_FLAGS } from '../../src/cmd/flag-tables.ts'
import { Options } from '../../src/cmd/flags.ts'
import { type MountSettings, mountSettings, splitFuseOptions } from '../../src/cmd/mount-settings.ts'
import { parseMountInfo } from '../../src/cmd/mount-table.ts'
import { isInside } from '../../src/cmd/paths.ts'

function settings(flags: Record<string, string> = {}): { made: MountSettings; warnings: string[] } {
  const warnings: string[] = []
  const options = new Options(MOUNT_FLAGS, new Map(Object.entries(flags)))
  return { made: mountSettings(options, 'sqlite3:///v/m.db', '/mnt', message => warnings.push(message)), warnings }
}

describe('settings of a mount', () => {
  it('are plain data: they cross to the background process as JSON', () => {
    const { made } = settings({ 'root-squash': '1000:1000', metrics: '127.0.0.1:0', umask: '022' })
    assert.deepEqual(JSON.parse(JSON.stringify(made)), made)
  })
  it('have the documented defaults', () => {
    const { made } = settings()
    assert.deepEqual(made.vfs.timeouts, { attr: 1, entry: 1, dirEntry: 1, negativeEntry: 0 })
    assert.equal(made.vfs.maxFuseIo, 1 << 20)
    assert.equal(made.vfs.umask, null)
    assert.equal(made.meta.heartbeatMs, 12_000)
    assert.equal(made.meta.skipDirMtimeNs, 100e6)
    assert.deepEqual(made.metrics, { host: '127.0.0.1', port: 9567, isGiven: false, labels: {} })
  })
  it('carry what overrides the storage of the volume for this client, and nothing that was not typed', () => {
    const { made } = settings()
    assert.deepEqual([made.storage, made.bucket, made.storageClass, made.tag], [null, null, null, null])
    assert.deepEqual(made.limits, { uploadMbps: 0, downloadMbps: 0 })
    const typed = settings({ 'upload-limit': '1.5G', 'download-limit': '80', 'storage-class': 'IA', tag: 'a=b' }).made
    assert.deepEqual(typed.limits, { uploadMbps: 1500, downloadMbps: 80 })
    assert.deepEqual([typed.storageClass, typed.tag], ['IA', 'a=b'])
    assert.throws(() => settings({ tag: 'nonsense' }), /Invalid tag: "nonsense" is not key=value/)
  })
  it('warn of what is changed or missing, once each', () => {
    assert.equal(settings().warnings.length, 1)
    assert.match(settings().warnings[0]!, /backups of the metadata are not supported yet/)
    assert.deepEqual(settings({ 'backup-meta': '0' }).warnings, [])
    assert.deepEqual(settings({ 'no-bgjob': 'true' }).warnings, [])
    const { made, warnings } = settings({
      'backup-meta': '0',
      heartbeat: '100ms',
      'atime-mode': 'sometimes',
      'root-squash': '0:5',
    })
    assert.equal(made.meta.heartbeatMs, 1000)
    assert.equal(made.vfs.atimeMode, 'noatime')
    assert.deepEqual(made.vfs.rootSquash, { uid: 65534, gid: 5 })
    assert.equal(warnings.length, 3)
  })
  it('let all-squash win over root-squash', () => {
    const { made } = settings({ 'all-squash': '7:8', 'root-squash': '1:1' })
    assert.deepEqual([made.vfs.allSquash, made.vfs.rootSquash], [{ uid: 7, gid: 8 }, null])
  })
  it('take nobody for what is missing of a squash', () => {
    assert.deepEqual(settings({ 'root-squash': '7' }).made.vfs.rootSquash, { uid: 7, gid: 65534 })
    assert.deepEqual(settings({ 'all-squash': ':8' }).made.vfs.allSquash, { uid: 65534, gid: 8 })
  })
  it('refuse what cannot be meant', () => {
    assert.throws(() => settings({ 'backup-meta': '60' }), /backup-meta should not be less than 5 minutes/)
    assert.throws(() => settings({ 'cache-eviction': 'fifo' }), /must be one of none, 2-random, lru/)
    assert.throws(() => settings({ metrics: 'nowhere' }), /metrics format error/)
    assert.throws(() => settings({ 'custom-labels': 'a' }), /invalid custom label: a/)
    assert.throws(() => settings({ 'root-squash': 'nobody' }), /must be uid:gid/)
    assert.throws(() => settings({ 'free-space-ratio': '1' }), /must be below 1/)
    assert.throws(() => settings({ 'max-uploads': '0' }), /at least 1/)
    assert.throws(() => settings({ 'get-timeout': '0' }), /Invalid value "0" for "get-timeout": must be more than 0/)
    assert.throws(() => settings({ 'attr-cache': '-1' }), /Invalid duration value: -1 for "attr-cache"/)
  })
  it('take from -o what concerns us and leave the rest to the kernel', () => {
    const split = splitFuseOptions('ro,allow_other,writeback_cache,fsname=x,noexec,max_read=65536')
    assert.deepEqual(split.forKernel, ['noexec', 'max_read=65536'])
    assert.deepEqual([split.readOnly, split.allowOther, split.writebackCache, split.fsname], [true, true, true, 'x'])
    assert.equal(settings({ o: 'ro' }).made.meta.readOnly, true)
  })
})

describe('the mount table', () => {
  it('is read with optional fields, and names with blanks and UTF-8', () => {
    const line = '36 35 0:48 / /mnt/a\\040b\xc3\xa4 rw,nosuid shared:1 master:2 - fuse.juicefs JuiceFS:vol rw,user_id=0'
    assert.deepEqual(parseMountInfo(`${line}\n`), [
      { mountPoint: '/mnt/a bä', type: 'fuse.juicefs', source: 'JuiceFS:vol', device: '0:48' },
    ])
  })
})

describe('inside a directory', () => {
  it('is the directory itself and what is below it, also through links and where it does not exist yet', () => {
    const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-paths-'))
    try {
      mkdirSync(join(dir, 'mnt'))
      symlinkSync(join(dir, 'mnt'), join(dir, 'link'))
      const mnt = join(dir, 'mnt')
      assert.ok(isInside(mnt, mnt))
      assert.ok(isInside(join(mnt, 'no', 'such'), mnt))
      assert.ok(isInside(join(dir, 'link', 'cache'), mnt))
      assert.ok(!isInside(join(dir, 'mnt2'), mnt))
      assert.ok(!isInside(dir, mnt))
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  })
})
