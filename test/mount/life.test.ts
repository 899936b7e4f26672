/** The internal files of a mount, used as shells and scripts use them. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { mountedVolume, mountSkip, type TestVolume } from './harness.ts'

describe('the internal files of a mount', { skip: mountSkip }, () => {
  let volume: TestVolume
  before(() => {
    volume = mountedVolume({ mount: ['--backup-meta', '0'] })
  })
  after(() => {
    volume.unmount()
    volume.remove()
  })
  const shell = (script: string): string =>
    spawnSync('sh', ['-c', script], { cwd: volume.mountPoint, encoding: 'utf8', timeout: 20_000 }).stdout

  it('tell each operation in .accesslog while somebody reads it', () => {
    const lines = shell(`timeout 2 cat .accesslog & sleep 0.7
      echo hi > note; mkdir 'we"ird'; mv note note2; truncate -s 5 note2; ln -s there link; readlink link > /dev/null; rm note2
      wait`)
    const head = String.raw`^\d{4}\.\d\d\.\d\d \d\d:\d\d:\d\d\.\d{6} \[uid:0,gid:0,pid:\d+\] `
    const entry = (mode: string): string => String.raw`: \(\d+,\[${mode},\d+,0,0,\d+,\d+,\d+,\d+\]\)`
    const said = [
      String.raw`lookup \(1,note\): - no such file or directory <\d\.\d{6}>$`,
      String.raw`create \(1,note,-rw-r--r--:0100644\)${entry('-rw-r--r--:0100644')} \[fh:\d+\] - OK <\d\.\d{6}>$`,
      String.raw`write \(\d+,3,0,\d+\) - OK`,
      String.raw`mkdir \(1,we\\"ird,\?rwxr-xr-x:00755\)${entry('drwxr-xr-x:0040755')} - OK`,
      String.raw`rename \(1,note,1,note2,\d+\)`,
      String.raw`setattr \(\d+\[\d+\],0x[0-9a-f]+,\[.*size=5.*\]\)`,
      String.raw`symlink \(1,link,there\)`,
      String.raw`readlink \(\d+\): \(there\) - OK`,
      String.raw`unlink \(1,note2\) - OK`,
    ]
    for (const line of said) assert.match(lines, new RegExp(head + line, 'm'))
  })

  it('show in .stats the names that tools sum up', () => {
    const stats = readFileSync(join(volume.mountPoint, '.stats'), 'latin1')
    for (const name of [
      'cpu_usage',
      'memory',
      'uptime',
      'used_buffer_size_bytes',
      'fuse_ops_total_lookup',
      'fuse_ops_durations_histogram_seconds_total',
      'fuse_ops_durations_histogram_seconds_sum',
      'fuse_read_size_bytes_total',
      'fuse_read_size_bytes_sum',
      'fuse_written_size_bytes_total',
      'process_cpu_seconds_total',
      'transaction_durations_histogram_seconds_total',
      'blockcache_hit_bytes',
      'object_request_data_bytes_PUT',
    ])
      assert.match(stats, new RegExp(`^juicefs_${name} [0-9.]+$`, 'm'))
  })

  it('hold in .config what tools look for', () => {
    const config = JSON.parse(readFileSync(join(volume.mountPoint, '.config'), 'utf8'))
    assert.equal(config.Meta.MountPoint, volume.mountPoint)
    assert.ok(config.Meta.Sid > 0)
    assert.equal(config.Format.Name, 'test-volume')
    assert.ok(config.Chunk.CacheDir.startsWith(volume.cacheDir))
    assert.equal(config.Chunk.Writeback, false)
    assert.match(config.Port.PrometheusAgent, /^127\.0\.0\.1:\d+$/)
    assert.match(config.Version, /^1\.4\./)
    assert.ok(config.Pid > 1)
    const fields = `Meta Format Chunk Security Port Version AttrTimeout DirEntryTimeout NegEntryTimeout EntryTimeout ReaddirCache
      BackupMeta BackupSkipTrash PrefixInternal HideInternal UMask Pid PPid CommPath StatePath FuseOpts Mountpoint`
    for (const field of fields.split(/\s+/)) assert.ok(field in config, field)
    const meta = `Retries MaxDeletes SkipDirNlink CaseInsensi ReadOnly NoBGJob OpenCache OpenCacheLimit Heartbeat MountPoint Subdir
      AtimeMode DirStatFlushPeriod SkipDirMtime Sid SortDir FastStatfs NetworkInterfaces`
    for (const field of meta.split(/\s+/)) assert.ok(field in config.Meta, field)
    assert.deepEqual(Object.keys(config.Port), ['PrometheusAgent', 'DebugAgent'])
  })

  it('answer requests through .control in every directory, and EINVAL to one that is unknown', () => {
    const ask = (path: string, hex: string): string =>
      spawnSync('python3', [
        '-c',
        `import os, sys, time
f = os.open(sys.argv[1], os.O_RDWR); os.write(f, bytes.fromhex(sys.argv[2])); said = b''
for i in range(100):
    said += os.read(f, 65536)
    if said: break
    time.sleep(0.02)
time.sleep(0.2); said += os.read(f, 65536); print(said.decode('latin1'))`,
        join(volume.mountPoint, path),
        hex,
      ])
        .stdout.toString()
        .trimEnd()
    assert.equal(ask('.control', '0000270f00000000'), '\x16')
    assert.match(ask('we"ird/.control', '000003ed0000000b0000000000000001000100'), /"Ino":1,"Failed":false/)
  })
})
