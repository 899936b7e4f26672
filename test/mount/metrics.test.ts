/** What a mount tells of itself, by the names that dashboards and `stats` tools know. */

import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { mountedVolume, mountSkip, type TestVolume } from './harness.ts'

/** family → type, without the prefix `juicefs_`; a label besides those that every line has. */
const FAMILIES: readonly (readonly [name: string, type: string, label?: string])[] = [
  ['cpu_usage', 'gauge'],
  ['memory', 'gauge'],
  ['uptime', 'gauge'],
  ['used_space', 'gauge'],
  ['used_inodes', 'gauge'],
  ['total_space', 'gauge'],
  ['total_inodes', 'gauge'],
  ['dir_quota_max_space_bytes', 'gauge'],
  ['dir_quota_max_inodes', 'gauge'],
  ['dir_quota_used_space_bytes', 'gauge'],
  ['dir_quota_used_inodes', 'gauge'],
  ['user_quota_used_space_bytes', 'gauge'],
  ['group_quota_used_inodes', 'gauge'],
  ['subdir_info', 'gauge', 'subdir'],
  ['juicefs_bgjob_duration_seconds', 'histogram'],
  ['juicefs_bgjob_deletions_total', 'counter'],
  ['transaction_durations_histogram_seconds', 'histogram'],
  ['transaction_restart', 'counter'],
  ['meta_ops_durations_histogram_seconds', 'histogram'],
  ['meta_ops_total', 'counter', 'method'],
  ['meta_ops_duration_seconds', 'counter', 'method'],
  ['fuse_ops_durations_histogram_seconds', 'histogram'],
  ['fuse_ops_total', 'counter', 'method'],
  ['fuse_ops_durations_seconds', 'counter', 'method'],
  ['fuse_ops_io_errors', 'counter', 'errno'],
  ['fuse_read_size_bytes', 'histogram'],
  ['fuse_written_size_bytes', 'histogram'],
  ['fuse_open_handlers', 'gauge'],
  ['used_buffer_size_bytes', 'gauge'],
  ['used_read_buffer_size_bytes', 'gauge'],
  ['store_cache_size_bytes', 'gauge'],
  ['compact_size_histogram_bytes', 'histogram'],
  ['object_request_durations_histogram_seconds', 'histogram', 'storage_class'],
  ['object_request_data_bytes', 'counter', 'storage_class'],
  ['object_request_errors', 'counter'],
  ['object_request_uploading', 'gauge'],
  ['blockcache_blocks', 'gauge'],
  ['blockcache_bytes', 'gauge'],
  ['blockcache_hits', 'counter'],
  ['blockcache_miss', 'counter'],
  ['blockcache_hit_bytes', 'counter'],
  ['blockcache_miss_bytes', 'counter'],
  ['blockcache_writes', 'counter'],
  ['blockcache_write_bytes', 'counter'],
  ['blockcache_drops', 'counter'],
  ['blockcache_evicts', 'counter'],
  ['blockcache_read_hist_seconds', 'histogram'],
  ['blockcache_write_hist_seconds', 'histogram'],
  ['process_cpu_seconds_total', 'counter'],
  ['process_resident_memory_bytes', 'gauge'],
  ['process_virtual_memory_bytes', 'gauge'],
  ['process_open_fds', 'gauge'],
  ['process_max_fds', 'gauge'],
  ['process_start_time_seconds', 'gauge'],
]
const OF_THE_VOLUME = /^(used|total)_(space|inodes)$|^(dir|user|group)_quota_|^subdir_info$/

describe('metrics of a mount', { skip: mountSkip }, () => {
  let volume: TestVolume
  before(() => {
    volume = mountedVolume({ mount: ['--subdir', 'some/where'], format: ['--capacity', '1', '--inodes', '1000'] })
    const at = (name: string): string => join(volume.mountPoint, name)
    writeFileSync(at('file'), 'x'.repeat(10_000))
    readFileSync(at('file'))
    mkdirSync(at('dir'))
    renameSync(at('file'), at('dir/file'))
    assert.throws(() => rmSync(at('missing')))
  })
  after(() => volume.remove())

  const config = (): { Port: { PrometheusAgent: string } } =>
    JSON.parse(readFileSync(join(volume.mountPoint, '.config'), 'utf8')) as { Port: { PrometheusAgent: string } }
  const scrape = async (): Promise<string> => (await fetch(`http://${config().Port.PrometheusAgent}/metrics`)).text()
  const stats = (): string => readFileSync(join(volume.mountPoint, '.stats'), 'utf8')

  it('are all there, each of its type and with the labels that every line has', async () => {
    const text = await scrape()
    for (const [name, type, label] of FAMILIES) {
      assert.ok(text.includes(`# TYPE juicefs_${name} ${type}\n`), `${name} is a ${type}`)
      if (label === undefined) continue
      const line = text.split('\n').find(each => each.startsWith(`juicefs_${name}`) && each.includes(`${label}="`))
      assert.ok(line, `${name} has the label ${label}`)
      for (const common of ['mp', 'vol_name', 'juicefs_version', 'instance']) assert.ok(line.includes(`${common}="`))
    }
  })

  it('count what the programs did, in .stats by method', () => {
    const text = stats()
    for (const name of ['Create', 'Mknod', 'Lookup', 'Write', 'Rename', 'GetAttr', 'Open', 'Read'])
      assert.match(text, new RegExp(`^juicefs_meta_ops_total_${name} [1-9]`, 'm'))
    assert.match(text, /^juicefs_meta_ops_duration_seconds_Rename 0\.0/m)
    assert.match(text, /^juicefs_meta_ops_durations_histogram_seconds_total [1-9]/m)
    assert.match(text, /^juicefs_total_space 1073741824$/m)
    assert.match(text, /^juicefs_total_inodes 1000$/m)
    assert.match(text, /^juicefs_used_space \d+$/m)
  })

  it('of the volume are left to mounts that do its background work', async () => {
    volume.unmount()
    volume.mount(['--no-bgjob'])
    const text = await scrape()
    for (const [name] of FAMILIES)
      assert.equal(text.includes(`# TYPE juicefs_${name} `), !OF_THE_VOLUME.test(name), name)
  })

  it('of a cache in memory do not take the cached blocks for buffers', () => {
    volume.unmount()
    volume.mount(['--cache-dir', 'memory', '--cache-size', '100M'])
    const path = join(volume.mountPoint, 'kept')
    writeFileSync(path, 'y'.repeat(100_000))
    const text = stats()
    assert.match(text, /^juicefs_used_read_buffer_size_bytes 0$/m)
    assert.match(text, /^juicefs_store_cache_size_bytes 100000$/m)
    assert.match(text, /^juicefs_blockcache_bytes 100000$/m)
  })
})
