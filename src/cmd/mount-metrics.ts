/** The metrics that belong to a mount as a whole (spec vfs section 10); the rooms register their own. */

import type { Clock } from '../base/clock.ts'
import { errnoName } from '../base/errno.ts'
import { exponentialBuckets, linearBuckets, type Metrics } from '../base/metrics.ts'
import type { MetaClient } from '../meta/client.ts'
import type { Vfs } from '../vfs/vfs.ts'

export function watchTransactions(meta: MetaClient, metrics: Metrics): void {
  const buckets = exponentialBuckets(0.0001, 1.5, 30)
  const name = 'transaction_durations_histogram_seconds'
  const durations = metrics.histogram(name, 'Transactions latency distributions.', buckets)
  const restarts = metrics.counter('transaction_restart', 'The number of times a transaction is restarted.', ['method'])
  meta.hooks.onTransaction = micros => durations.observe(micros / 1e6)
  meta.hooks.onConflict = operation => restarts.add(1, operation)
}

export function watchMount(meta: MetaClient, vfs: Vfs, metrics: Metrics, clock: Clock): void {
  const startMs = clock.monotonicMs()
  metrics.gauge('uptime', 'Total running time in seconds.', () => (clock.monotonicMs() - startMs) / 1000)
  metrics.gauge('memory', 'Used memory in bytes.', () => process.memoryUsage.rss())
  metrics.gauge('cpu_usage', 'Accumulated CPU usage in seconds.', cpuSeconds)
  metrics.gauge('process_cpu_seconds_total', 'Total user and system CPU time spent in seconds.', cpuSeconds)
  metrics.gauge('process_resident_memory_bytes', 'Resident memory size in bytes.', () => process.memoryUsage.rss())
  metrics.gauge(
    'process_start_time_seconds',
    'Start time of the process since unix epoch in seconds.',
    () => performance.timeOrigin / 1000,
  )
  metrics.gauge('fuse_open_handlers', 'Number of inodes with open handles.', () => vfs.openFileCount)
  metrics.gauge('used_space', 'Total used space in bytes.', () => meta.limits.usedSpace)
  metrics.gauge('used_inodes', 'Total used number of inodes.', () => meta.limits.usedInodes)
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** Counts a request of the kernel; microseconds, errno 0 is success, bytes of a read or a write. */
export function countRequests(metrics: Metrics): (name: string, micros: number, errno: number, bytes: number) => void {
  const buckets = exponentialBuckets(0.00001, 1.8, 29)
  const durations = metrics.histogram(
    'fuse_ops_durations_histogram_seconds',
    'Operations latency distributions.',
    buckets,
  )
  const total = metrics.counter('fuse_ops_total', 'Total number of operations.', ['method'])
  const seconds = metrics.counter('fuse_ops_durations_seconds', 'Accumulated duration of operations.', ['method'])
  const errors = metrics.counter('fuse_ops_io_errors', 'Number of failed operations.', ['errno'])
  const sizes = linearBuckets(4096, 4096, 32)
  const reads = metrics.histogram('fuse_read_size_bytes', 'Size of reads.', sizes)
  const writes = metrics.histogram('fuse_written_size_bytes', 'Size of writes.', sizes)
  return (name, micros, errno, bytes) => {
    if (name === 'read') reads.observe(bytes)
    else if (name === 'write') writes.observe(bytes)
    durations.observe(micros / 1e6)
    total.add(1, name)
    seconds.add(micros / 1e6, name)
    if (errno !== 0) errors.add(1, errnoName(errno))
  }
}
