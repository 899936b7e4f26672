/** A mount at work: wires engine, metadata client, chunks, jobs, vfs and the kernel together, in the order in which a failure
 *  leaves nothing behind, and takes them down in the opposite one.
 *
 *      engine ─► store ─► chunks ─► session ─► jobs ─► vfs ─► kernel          (start)
 *      kernel ─► flush ─► jobs ─► chunks ─► session ─► engine                 (stop) */

import { nameFromText } from '../base/bytes.ts'
import { SystemClock } from '../base/clock.ts'
import { isErrno } from '../base/errno.ts'
import { causeText, Fault } from '../base/fault.ts'
import { type Ino, ROOT_INO } from '../base/ino.ts'
import type { Log } from '../base/log.ts'
import { exponentialBuckets, Metrics } from '../base/metrics.ts'
import { type CacheOptions, openChunks } from '../chunk/store.ts'
import { mountFuse, unmountFuse } from '../fuse/mount.ts'
import { FuseServer } from '../fuse/serve.ts'
import { BackgroundJobs } from '../jobs/jobs.ts'
import type { MetaClient, MetaConfig } from '../meta/client.ts'
import { TYPE_DIRECTORY } from '../meta/model/attr.ts'
import { systemCaller } from '../meta/model/caller.ts'
import type { VfsConfig } from '../vfs/config.ts'
import { VirtualFiles } from '../vfs/internal/files.ts'
import { Vfs } from '../vfs/vfs.ts'
import { openMeta, openStorage } from './volume.ts'

export interface MountSettings {
  readonly metaUrl: string
  readonly mountPoint: string
  readonly version: string
  readonly meta: Omit<MetaConfig, 'mountPoint' | 'version'>
  /** without what the volume decides (blockBytes, acl, subdirRoot) */
  readonly vfs: Omit<VfsConfig, 'blockBytes' | 'acl' | 'subdirRoot' | 'maxReadaheadBytes'> & {
    readonly maxReadaheadBytes: number | null
  }
  readonly cache: Omit<CacheOptions, 'uuid'>
  readonly chunk: {
    readonly maxUploads: number
    readonly maxDownloads: number
    readonly getTimeoutMs: number
    readonly putTimeoutMs: number
    readonly prefetch: number
    readonly maxDeletes: number
  }
  /** override the setting for this client */
  readonly storage: string | null
  readonly bucket: string | null
  readonly subdir: string
  /** `-o` options, split */
  readonly fuseOptions: readonly string[]
  readonly allowOther: boolean
  readonly sourcePrefix: string
  /** what `.config` shows beyond the rooms' own settings */
  readonly describe: (meta: MetaClient) => object
}

export interface RunningMount {
  readonly volumeName: string
  readonly metrics: Metrics
  /** resolves when the kernel has let go: unmounted from outside, or by `unmount` */
  readonly ended: Promise<void>
  unmount(): void
  /** Flushes everything and closes the volume. After `ended`. */
  close(): Promise<void>
}

export async function startMount(settings: MountSettings, log: Log): Promise<RunningMount> {
  const clock = new SystemClock()
  const random = Math.random
  const startedAt = clock.now()
  const undo: (() => unknown)[] = []
  try {
    const meta = await openMeta(settings.metaUrl, {
      config: { ...settings.meta, mountPoint: settings.mountPoint, version: settings.version },
      clock,
      log,
      random,
      readOnly: settings.meta.readOnly,
    })
    undo.push(() => meta.engine.close())
    const format = {
      ...meta.format,
      ...(settings.storage ? { Storage: settings.storage } : {}),
      ...(settings.bucket ? { Bucket: settings.bucket } : {}),
    }
    const store = openStorage(format)
    log.info(`Data use ${store.description}`)
    const metrics = new Metrics()
    const blockBytes = format.BlockSize * 1024
    const compression = format.Compression === 'lz4' || format.Compression === 'zstd' ? format.Compression : 'none'
    const chunks = await openChunks({
      store,
      blockBytes,
      compression,
      hashPrefix: format.HashPrefix === true,
      bufferBytes: settings.vfs.bufferBytes,
      ioRetries: settings.vfs.ioRetries,
      ...settings.chunk,
      cache: { ...settings.cache, uuid: format.UUID },
      clock,
      random,
      log,
      metrics,
    })
    undo.push(
      () => chunks.close(),
      () => store.close(),
    )
    watchTransactions(meta, metrics)
    await meta.newSession()
    undo.push(() => meta.closeSession())
    const jobs = new BackgroundJobs({
      meta,
      chunks,
      clock,
      log,
      random,
      maxDeletes: settings.chunk.maxDeletes,
      sweeps: !settings.meta.noBackgroundJobs && !settings.meta.readOnly,
    })
    jobs.start()
    undo.push(() => jobs.stop())

    const config: VfsConfig = {
      ...settings.vfs,
      blockBytes,
      acl: format.EnableACL,
      maxReadaheadBytes: settings.vfs.maxReadaheadBytes ?? 8 * blockBytes,
      subdirRoot: await rootOf(meta, settings.subdir),
    }
    const virtual = new VirtualFiles({
      meta,
      chunks,
      jobs,
      log,
      prefixInternal: config.prefixInternal,
      subdirRoot: config.subdirRoot,
      startedAt,
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
      stats: () => metrics.renderStats(),
      config: () => settings.describe(meta),
      callerOf: ctx => vfs.callerOf(ctx),
      forgetEntry: (parent, name) => server.invalidator.entry(parent, name),
    })
    const vfs: Vfs = new Vfs({ meta, chunks, clock, config, log, internal: virtual })
    watchMount(meta, vfs, metrics, clock.monotonicMs())

    const transport = await mountFuse({
      mountPoint: settings.mountPoint,
      source: `${settings.sourcePrefix}${format.Name}`,
      options: settings.fuseOptions,
      allowOther: settings.allowOther,
      defaultPermissions: !config.checkPermissions && config.allSquash === null,
      maxWrite: config.maxFuseIo,
      log,
    })
    const server = new FuseServer(transport, vfs, {
      maxWrite: config.maxFuseIo,
      acl: config.acl,
      writebackCache: settings.fuseOptions.includes('writeback_cache'),
      asyncDio: settings.fuseOptions.includes('async_dio'),
      log,
      ...requestHooks(metrics, virtual),
    })
    vfs.setInvalidator(server.invalidator)
    meta.hooks.onFatal = reason => {
      log.error(reason)
      process.exitCode = 11
      unmountFuse(settings.mountPoint, { lazy: true })
    }
    await server.start()
    return {
      volumeName: format.Name,
      metrics,
      ended: server.closed,
      unmount: () => unmountFuse(settings.mountPoint, { lazy: true }),
      close: async () => {
        await server.drain()
        await vfs.flushAll()
        for (const step of undo.splice(0).reverse()) await step()
      },
    }
  } catch (error) {
    for (const step of undo.splice(0).reverse()) await Promise.resolve(step()).catch(() => undefined)
    throw error
  }
}

/** The inode that the kernel will call 1: the root, or the directory of `--subdir`, made if it is missing. */
async function rootOf(meta: MetaClient, subdir: string): Promise<Ino> {
  let ino: Ino = ROOT_INO
  for (const part of subdir.split('/').filter(part => part !== '')) {
    const caller = systemCaller(new SystemClock().now())
    const name = nameFromText(part)
    let entry = await meta.lookup(caller, ino, name)
    if (isErrno(entry))
      entry = await meta.make(caller, ino, name, { type: TYPE_DIRECTORY, mode: 0o777, umask: 0, rdev: 0, target: '' })
    if (isErrno(entry)) throw new Fault(`--subdir ${subdir}: cannot open or make ${part}`, { errno: entry })
    if (entry.attr.type !== TYPE_DIRECTORY) throw new Fault(`--subdir ${subdir}: ${part} is not a directory`)
    ino = entry.ino
  }
  return ino
}

function watchTransactions(meta: MetaClient, metrics: Metrics): void {
  const durations = metrics.histogram(
    'transaction_durations_histogram_seconds',
    'Transactions latency distributions.',
    exponentialBuckets(0.0001, 1.5, 30),
  )
  const restarts = metrics.counter('transaction_restart', 'The number of times a transaction is restarted.', ['method'])
  meta.hooks.onTransaction = micros => durations.observe(micros / 1e6)
  meta.hooks.onConflict = operation => restarts.add(1, operation)
}

function watchMount(meta: MetaClient, vfs: Vfs, metrics: Metrics, startMs: number): void {
  metrics.gauge('uptime', 'Total running time in seconds.', () => (performance.now() - startMs) / 1000)
  metrics.gauge('memory', 'Used memory in bytes.', () => process.memoryUsage.rss())
  metrics.gauge('cpu_usage', 'Accumulated CPU usage in seconds.', () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1e6
  })
  metrics.gauge('fuse_open_handlers', 'Number of inodes with open handles.', () => meta.openFileCount)
  metrics.gauge('used_space', 'Total used space in bytes.', () => meta.limits.usedSpace)
  metrics.gauge('used_inodes', 'Total used number of inodes.', () => meta.limits.usedInodes)
  metrics.gauge('open_handles', 'Open file and directory handles.', () => vfs.openHandleCount)
}

/** Counts every request, and writes its line while somebody reads the access log. */
function requestHooks(metrics: Metrics, virtual: VirtualFiles) {
  const durations = metrics.histogram(
    'fuse_ops_durations_histogram_seconds',
    'Operations latency distributions.',
    exponentialBuckets(0.00001, 1.8, 29),
  )
  const total = metrics.counter('fuse_ops_total', 'Total number of operations.', ['method'])
  const seconds = metrics.counter('fuse_ops_durations_seconds', 'Accumulated duration of operations.', ['method'])
  const errors = metrics.counter('fuse_ops_io_errors', 'Number of failed operations.', ['errno'])
  return { durations, total, seconds, errors, accessLog: virtual.accessLog }
}

export { causeText }
