import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { exponentialBuckets, linearBuckets, Metrics } from '../../src/base/metrics.ts'

function sample(): Metrics {
  const metrics = new Metrics()
  metrics.gauge('uptime', 'Total running time in seconds.', () => 12.5)
  metrics.counter('blockcache_hits', 'hits').add(3)
  const ops = metrics.counter('fuse_ops_total', 'Total number of operations.', ['method'])
  ops.add(1, 'create')
  ops.add(1122, 'write')
  const seconds = metrics.histogram(
    'object_request_durations_histogram_seconds',
    'Latency.',
    [0.01, 0.1],
    ['method', 'storage_class'],
  )
  for (const value of [0.001, 0.01, 0.05, 7]) seconds.observe(value, 'PUT,STANDARD')
  return metrics
}

describe('metrics', () => {
  it('.stats: families by name, method as a suffix, histograms as total and sum', () => {
    assert.equal(
      sample().renderStats(),
      `juicefs_blockcache_hits 3
juicefs_fuse_ops_total_create 1
juicefs_fuse_ops_total_write 1122
juicefs_object_request_durations_histogram_seconds_PUT_total 4
juicefs_object_request_durations_histogram_seconds_PUT_sum 7.061
juicefs_uptime 12.5
`,
    )
  })

  it('.stats numbers are plain decimals, however small or large', () => {
    const metrics = new Metrics()
    const values = { a: 1e-7, b: 1e21, c: 146800647, d: 0, e: -0.5 }
    for (const [name, value] of Object.entries(values)) metrics.gauge(name, '', () => value)
    const lines = metrics
      .renderStats()
      .trim()
      .split('\n')
      .map(line => line.split(' ')[1])
    assert.deepEqual(lines, ['0.0000001', '1000000000000000000000', '146800647', '0', '-0.5'])
  })

  it('Prometheus: help, type, sorted labels with le at the end, cumulative buckets', () => {
    const text = sample().renderPrometheus({ mp: '/mnt', vol_name: 'v', instance: 'h"1"' })
    const common = 'instance="h\\"1\\""'
    assert.ok(text.includes('# HELP juicefs_blockcache_hits hits\n# TYPE juicefs_blockcache_hits counter\n'))
    assert.ok(text.includes(`juicefs_fuse_ops_total{${common},method="write",mp="/mnt",vol_name="v"} 1122\n`))
    const put = `{${common},method="PUT",mp="/mnt",storage_class="STANDARD",vol_name="v"`
    const name = 'juicefs_object_request_durations_histogram_seconds'
    assert.ok(
      text.includes(
        `# TYPE ${name} histogram
${name}_bucket${put},le="0.01"} 2
${name}_bucket${put},le="0.1"} 3
${name}_bucket${put},le="+Inf"} 4
${name}_sum${put}} 7.061
${name}_count${put}} 4
`,
      ),
    )
  })

  it('gauges and counters that are read have a line for each of their labels, commas in them included', () => {
    const metrics = new Metrics()
    metrics.gauges('subdir_info', 'x', ['subdir'], () => [[['a,b'], 1]])
    metrics.counters('meta_ops_total', 'y', ['method'], () => [
      [['Lookup'], 7],
      [['Read'], 8],
    ])
    metrics.gauges('dir_quota_max_inodes', 'z', ['inode'], () => [])
    const text = metrics.renderPrometheus({})
    assert.ok(text.includes('# TYPE juicefs_subdir_info gauge\njuicefs_subdir_info{subdir="a,b"} 1\n'))
    assert.ok(text.includes('# TYPE juicefs_meta_ops_total counter\njuicefs_meta_ops_total{method="Lookup"} 7\n'))
    assert.equal(
      metrics.renderStats(),
      'juicefs_meta_ops_total_Lookup 7\njuicefs_meta_ops_total_Read 8\njuicefs_subdir_info 1\n',
    )
  })

  it('without labels there are no braces', () => {
    const metrics = new Metrics()
    metrics.counter('n', 'x').add(2)
    assert.ok(metrics.renderPrometheus({}).endsWith('juicefs_n 2\n'))
  })

  it('the same name is the same counter, and of one kind', () => {
    const metrics = new Metrics()
    metrics.counter('n', '').add(1)
    metrics.counter('n', '').add(1)
    assert.equal(metrics.renderStats(), 'juicefs_n 2\n')
    assert.throws(() => metrics.histogram('n', '', [1]), /of one kind/)
  })

  it('buckets are those of the format', () => {
    assert.deepEqual(exponentialBuckets(1024, 2, 3), [1024, 2048, 4096])
    assert.deepEqual(linearBuckets(4096, 4096, 3), [4096, 8192, 12288])
  })
})
