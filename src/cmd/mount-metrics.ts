/** The metrics that belong to a mount as a whole (spec vfs section 10); the rooms register their own. */

import { readdirSync, readFileSync } from 'node:fs'
import type { Clock } from '../base/clock.ts'
import { errnoName } from '../base/errno.ts'
import { exponentialBuckets, linearBuckets, type Metrics, type Reading } from '../base/metrics.ts'
import type { MetaClient } from '../meta/client.ts'
import type { Engine } from '../meta/engine.ts'
import { QUOTA_DIR, QUOTA_GROUP, QUOTA_USER, type Quota } from '../meta/facts.ts'
import { measureOperations } from '../meta/measure.ts'
import type { Usage } from '../meta/meta.ts'
import type { Vfs } from '../vfs/vfs.ts'

/** Everything that the metadata client counts. */
export function watchMeta(meta: MetaClient, metrics: Metrics): void {
  const buckets = exponentialBuckets(0.0001, 1.5, 30)
  const name = 'transaction_durations_histogram_seconds'
  const durations = metrics.histogram(name, 'Transactions latency distributions.', buckets)
  const restarts = metrics.counter('transaction_restart', 'The number of times a transaction is restarted.', ['method'])
  meta.hooks.onTransaction = micros => durations.observe(micros / 1e6)
  meta.hooks.onConflict = operation => restarts.add(1, operation)
  measureOperations(meta, metrics)
  watchEngine(meta.engine, metrics)
}

/** The connection to a database on a server. (What starts again because another client was faster: `transaction_restart`.) */
function watchEngine({ counts }: Engine, metrics: Metrics): void {
  if (counts === undefined) return
  const counter = (name: string, help: string, read: () => number): void =>
    metrics.counters(`meta_engine_${name}`, help, [], () => [[[], read()]])
  counter('requests', 'Requests to the database.', () => counts.requests)
  counter('connects', 'Connections made to the database.', () => counts.connects)
  counter('lost_replies', 'Requests whose answer was lost with the connection.', () => counts.lost)
  metrics.counters(
    'meta_engine_retries',
    'What the database undid or turned away and was tried again.',
    ['reason'],
    () => Array.from(counts.retries, ([reason, count]): Reading => [[reason], count]),
  )
}

export interface WatchedMount {
  readonly meta: MetaClient
  readonly vfs: Vfs
  /** of `--subdir`, '' = the whole volume */
  readonly subdir: string
  readonly clock: Clock
}

export function watchMount({ meta, vfs, subdir, clock }: WatchedMount, metrics: Metrics): void {
  const startMs = clock.monotonicMs()
  metrics.gauge('uptime', 'Total running time in seconds.', () => (clock.monotonicMs() - startMs) / 1000)
  metrics.gauge('memory', 'Used memory in bytes.', () => process.memoryUsage.rss())
  metrics.gauge('cpu_usage', 'Accumulated CPU usage in seconds.', cpuSeconds)
  metrics.gauge('fuse_open_handlers', 'Number of inodes with open handles.', () => vfs.openFileCount)
  watchProcess(metrics)
  if (!meta.config.noBackgroundJobs) watchVolume(meta, subdir, metrics)
}

/** What is the same on every mount of the volume. Left to those that also do its background work. */
function watchVolume(meta: MetaClient, subdir: string, metrics: Metrics): void {
  const gauge = (name: string, help: string, read: (usage: Usage) => number): void =>
    metrics.gauge(name, help, () => read(meta.knownUsage()))
  gauge('used_space', 'Total used space in bytes.', usage => usage.total - usage.available)
  gauge('used_inodes', 'Total used number of inodes.', usage => usage.usedInodes)
  gauge('total_space', 'Total space in bytes.', usage => usage.total)
  gauge('total_inodes', 'Total number of inodes.', usage => usage.usedInodes + usage.availableInodes)
  metrics.gauges('subdir_info', 'Directory of the volume that is the root of the mount.', ['subdir'], () => [
    [[subdir], 1],
  ])
  for (const [what, label, type] of [
    ['dir', 'inode', QUOTA_DIR],
    ['user', 'uid', QUOTA_USER],
    ['group', 'gid', QUOTA_GROUP],
  ] as const) {
    const quota = (name: string, help: string, read: (quota: Quota) => number): void =>
      metrics.gauges(`${what}_quota_${name}`, help, [label], () =>
        Array.from(meta.limits.quotas(type), ([key, each]): Reading => [[String(key)], read(each)]),
      )
    quota('max_space_bytes', `Space limit of the ${what} quota.`, each => each.maxSpace)
    quota('max_inodes', `Inode limit of the ${what} quota.`, each => each.maxInodes)
    quota('used_space_bytes', `Used space of the ${what} quota.`, each => each.usedSpace)
    quota('used_inodes', `Used inodes of the ${what} quota.`, each => each.usedInodes)
  }
}

/** The usual metrics of a process, by the usual names. */
function watchProcess(metrics: Metrics): void {
  metrics.counters('process_cpu_seconds_total', 'Total user and system CPU time spent in seconds.', [], () => [
    [[], cpuSeconds()],
  ])
  metrics.gauge('process_resident_memory_bytes', 'Resident memory size in bytes.', () => process.memoryUsage.rss())
  metrics.gauge('nodejs_heap_size_used_bytes', 'Used part of the heap of V8.', () => process.memoryUsage().heapUsed)
  metrics.gauge('nodejs_heap_size_total_bytes', 'Size of the heap of V8.', () => process.memoryUsage().heapTotal)
  metrics.gauge(
    'nodejs_external_memory_bytes',
    'Memory of buffers, outside the heap of V8.',
    () => process.memoryUsage().external,
  )
  metrics.gauge(
    'process_start_time_seconds',
    'Start time of the process since unix epoch in seconds.',
    () => performance.timeOrigin / 1000,
  )
  metrics.gauge('process_open_fds', 'Number of open file descriptors.', () => readdirSync('/proc/self/fd').length)
  metrics.gauge('process_max_fds', 'Maximum number of open file descriptors.', () =>
    Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1] ?? 0),
  )
  metrics.gauge(
    'process_virtual_memory_bytes',
    'Virtual memory size in bytes.',
    () => Number(/^VmSize:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? 0) * 1024,
  )
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
