/** A mount at work: wires engine, metadata client, chunks, jobs, vfs and the kernel together, in the order in which a failure
 *  leaves nothing behind, and takes them down in the opposite one.
 *
 *      engine ─► store ─► chunks ─► session ─► jobs ─► vfs ─► kernel          (start)
 *      kernel ─► flush ─► jobs ─► session ─► chunks ─► engine                 (stop) */

import { hostname } from 'node:os'
import { nameFromText } from '../base/bytes.ts'
import { SystemClock } from '../base/clock.ts'
import { ENOENT, EROFS, errnoText, isErrno } from '../base/errno.ts'
import { causeText, Fault } from '../base/fault.ts'
import { IdleMemory } from '../base/idle-memory.ts'
import { type Ino, ROOT_INO } from '../base/ino.ts'
import type { Log } from '../base/log.ts'
import { Metrics } from '../base/metrics.ts'
import type { Compression } from '../chunk/codec.ts'
import { openChunks } from '../chunk/store.ts'
import { mountFuse } from '../fuse/mount.ts'
import { trimMemory } from '../fuse/native-addon.ts'
import { FuseServer } from '../fuse/serve.ts'
import { unmountFuse } from '../fuse/unmount.ts'
import { BackgroundJobs } from '../jobs/jobs.ts'
import type { MetaClient } from '../meta/client.ts'
import { TYPE_DIRECTORY } from '../meta/model/attr.ts'
import { systemCaller } from '../meta/model/caller.ts'
import { type Format, unsupportedFeatures } from '../meta/model/format.ts'
import { testStorage } from '../object/storage-test.ts'
import { Callers } from '../vfs/callers.ts'
import type { VfsConfig } from '../vfs/config.ts'
import { VirtualFiles } from '../vfs/internal/files.ts'
import { Vfs } from '../vfs/vfs.ts'
import { checkBucketOwner } from './bucket-owner.ts'
import { CommandError } from './exit.ts'
import { durationText } from './humanize.ts'
import { serveMetrics } from './metrics-endpoint.ts'
import { mountConfig } from './mount-config.ts'
import { countRequests, watchMeta, watchMount } from './mount-metrics.ts'
import type { MountSettings } from './mount-settings.ts'
import { MountStorage } from './mount-storage.ts'
import { SHOWN_VERSION } from './version.ts'
import { openMeta, refuseUnsupported } from './volume.ts'

export interface RunningMount {
  readonly volumeName: string
  /** Resolves when the kernel has let go: unmounted from outside, or by `unmount`. */
  readonly ended: Promise<void>
  /** Set when this client must not serve the volume any longer: exit code 11. */
  readonly isVolumeGone: boolean
  /** Detaches at once; files that are open live on until they are closed. */
  unmount(): Promise<void>
  /** Everything written so far is stored. */
  flush(): Promise<void>
  /** Flushes everything and closes the volume. */
  close(): Promise<void>
}

export interface MountProgress {
  /** the volume is known, its store is open */
  readonly onOpened?: (store: string) => void
}

export async function startMount(
  settings: MountSettings,
  log: Log,
  progress: MountProgress = {},
): Promise<RunningMount> {
  const clock = new SystemClock()
  const random = Math.random
  const startedAt = clock.now()
  const undo: (() => unknown)[] = []
  const undoAll = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step()
  }
  try {
    const { readOnly } = settings.meta
    const meta = await openMeta(settings.metaUrl, { config: settings.meta, clock, log, random })
    undo.push(() => meta.engine.close())
    refuseUnsupported(meta.format, readOnly)
    const { format } = meta
    const storage = await MountStorage.open(format, settings, { clock, log })
    const { store } = storage
    undo.push(() => storage.close())
    log.info(`Data use ${store.description}`)
    progress.onOpened?.(store.description)
    await checkBucketOwner(store, storage.format, log)
    if (settings.checkStorage) {
      const start = clock.monotonicMs()
      await testStorage(store, random, { warn: message => log.warn(message) })
      log.info(`Object storage test passed in ${durationText(clock.monotonicMs() - start)}`)
    }
    log.info(`JuiceFS version ${SHOWN_VERSION}`)

    const metrics = new Metrics()
    const blockBytes = format.BlockSize * 1024
    const chunks = await openChunks({
      store,
      uploadLimit: storage.uploadLimit,
      downloadLimit: storage.downloadLimit,
      storageClass: storage.storageClass,
      blockBytes,
      compression: compressionOf(format),
      hashPrefix: format.HashPrefix === true,
      bufferBytes: settings.vfs.bufferBytes,
      ioRetries: settings.vfs.ioRetries,
      ...settings.chunk,
      cache: { ...settings.cache, uuid: format.UUID },
      writeback: settings.writeback,
      clock,
      random,
      log,
      metrics,
    })
    undo.push(() => chunks.close())
    watchMeta(meta, metrics)
    const subdirRoot = await rootOf(meta, settings.subdir)
    await meta.newSession()
    undo.push(async () => {
      const { sid } = meta
      await meta.closeSession()
      if (sid !== 0) log.info(`close session ${sid}: <nil>`)
    })
    const { maxDeletes } = settings
    const sweeps = !settings.meta.noBackgroundJobs && !readOnly
    const jobs = new BackgroundJobs({ meta, chunks, clock, log, random, metrics, maxDeletes, sweeps })
    jobs.start()
    undo.push(() => jobs.stop())

    const config: VfsConfig = {
      ...settings.vfs,
      blockBytes,
      acl: format.EnableACL,
      maxReadaheadBytes: settings.vfs.maxReadaheadBytes ?? 8 * blockBytes,
      readaheadGrows: settings.vfs.maxReadaheadBytes === null,
      subdirRoot,
    }
    const callers = new Callers(clock, config)
    const virtual = new VirtualFiles({
      meta,
      chunks,
      jobs,
      log,
      prefixInternal: config.prefixInternal,
      subdirRoot,
      startedAt,
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
      stats: () => metrics.renderStats(),
      config: () => mountConfig(settings, meta, endpoint.address),
      callerOf: ctx => callers.ofControl(ctx),
      forgetEntry: (parent, name) => server.invalidator.entry(parent, name),
    })
    undo.push(() => virtual.close())
    const vfs = new Vfs({ meta, chunks, clock, config, log, internal: virtual })
    watchMount({ meta, vfs, subdir: settings.subdir, clock }, metrics)
    const labels = {
      mp: settings.mountPoint,
      vol_name: format.Name,
      juicefs_version: SHOWN_VERSION,
      instance: hostname(),
      ...settings.metrics.labels,
    }
    const endpoint = await serveMetrics(settings.metrics, () => metrics.renderPrometheus(labels), log)
    undo.push(() => endpoint.close())
    if (settings.consul !== null) {
      const { registerAtConsul } = await import('./consul.ts')
      const place = { metricsAddress: endpoint.address, mountPoint: settings.mountPoint }
      undo.push(await registerAtConsul(settings.consul, place, log))
    }

    log.info(`Mounting volume ${format.Name} at "${settings.mountPoint}" ...`)
    const { fuse } = settings
    const defaultPermissions = !config.checkPermissions && config.allSquash === null
    const transport = await mountFuse({
      mountPoint: settings.mountPoint,
      source: fuse.source ?? `${fuse.sourcePrefix}${format.Name}`,
      options: fuse.options,
      allowOther: fuse.allowOther,
      defaultPermissions,
      maxWrite: config.maxFuseIo,
      log,
    })
    const unmount = (): Promise<void> => unmountFuse(settings.mountPoint, { lazy: true })
    const idle = new IdleMemory(trimMemory)
    undo.push(() => idle.close())
    const count = countRequests(metrics)
    const server = new FuseServer(transport, vfs, {
      maxWrite: config.maxFuseIo,
      acl: config.acl,
      writebackCache: fuse.writebackCache,
      kernelKeepsTimes: defaultPermissions && config.rootSquash === null,
      asyncDio: fuse.asyncDio,
      log,
      onRequest: (name, micros, errno, bytes) => {
        idle.touch()
        count(name, micros, errno, bytes)
      },
      accessLog: virtual.accessLog,
    })
    vfs.setInvalidator(server.invalidator)
    let isVolumeGone = false
    meta.hooks.onFatal = reason => {
      log.error(reason)
      isVolumeGone = true
      unmount().catch(error => log.error(`umount ${settings.mountPoint}: ${error}`))
    }
    meta.hooks.onFormatChanged = fresh => {
      log.info(`found new configuration: ${fresh.Name}`)
      const missing = unsupportedFeatures(fresh, readOnly)
      if (missing.length > 0) {
        const advice = 'what this mount changes goes without it, unmount it'
        log.error(`volume ${fresh.Name} now uses what is not supported yet: ${missing.join(', ')}: ${advice}`)
      }
      void storage.follow(fresh)
    }
    try {
      await server.start()
    } catch (error) {
      await unmount().catch(() => undefined)
      throw error
    }
    // Not only at the next heartbeat: what a client that was killed on this machine left open is let go now.
    if (sweeps) meta.cleanStaleSessions().catch(error => log.warn(`clean up stale sessions: ${causeText(error)}`))
    return {
      volumeName: format.Name,
      ended: server.closed,
      get isVolumeGone() {
        return isVolumeGone
      },
      unmount,
      flush: () => vfs.flushAll(),
      close: async () => {
        await server.drain()
        const start = clock.monotonicMs()
        await vfs.flushAll()
        log.info(`flush buffered data in ${durationText(clock.monotonicMs() - start)}`)
        await undoAll()
      },
    }
  } catch (error) {
    await undoAll().catch(() => undefined) // the first error is the one to be told
    throw error
  }
}

function compressionOf(format: Format): Compression {
  const name = format.Compression || 'none'
  if (name !== 'none' && name !== 'lz4' && name !== 'zstd') throw new Fault(`compression ${name} is not supported`)
  return name
}

/** The inode that the kernel will call 1: the root, or the directory of `--subdir`, made if it is missing. */
async function rootOf(meta: MetaClient, subdir: string): Promise<Ino> {
  let ino: Ino = ROOT_INO
  for (const part of subdir.split('/').filter(each => each !== '')) {
    const caller = systemCaller(new SystemClock().now())
    const name = nameFromText(part)
    let entry = await meta.lookup(caller, ino, name)
    if (entry === ENOENT && !meta.config.readOnly) {
      entry = await meta.make(caller, ino, name, { type: TYPE_DIRECTORY, mode: 0o777, umask: 0, rdev: 0, target: '' })
    }
    if (isErrno(entry)) {
      const errno = entry === ENOENT ? EROFS : entry
      throw new Fault(`--subdir ${subdir}: ${part}: ${errnoText(errno)}`, { errno })
    }
    if (entry.attr.type !== TYPE_DIRECTORY) throw new CommandError(`--subdir ${subdir}: ${part} is not a directory`)
    ino = entry.ino
  }
  return ino
}
