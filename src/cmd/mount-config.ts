/** The document `.config` of a mount (spec cli section 14): other tools read it, and so does our own `umount`. Durations are
 *  nanoseconds, secrets are removed. */

import { splitCacheDirs } from '../chunk/cache-paths.ts'
import { MAX_BACKGROUND } from '../fuse/serve.ts'
import type { MetaClient } from '../meta/client.ts'
import { secretsRemoved, tidyFormat } from '../meta/model/format.ts'
import type { MountSettings } from './mount-settings.ts'
import { SHOWN_VERSION } from './version.ts'

const NS_PER_MS = 1e6
/** what the reference shows for "no umask given" */
const NO_UMASK = 65535

export function mountConfig(settings: MountSettings, meta: MetaClient, metricsAddress: string): object {
  const { cache, writeback, chunk, vfs, fuse } = settings
  const seconds = (s: number): number => s * 1e9
  return {
    Meta: {
      Retries: vfs.ioRetries,
      MaxDeletes: settings.maxDeletes,
      SkipDirNlink: 20,
      CaseInsensi: false,
      ReadOnly: settings.meta.readOnly,
      NoBGJob: settings.meta.noBackgroundJobs,
      OpenCache: (settings.meta.openCacheMs ?? 0) * NS_PER_MS,
      OpenCacheLimit: settings.meta.openCacheLimit,
      Heartbeat: settings.meta.heartbeatMs * NS_PER_MS,
      MountPoint: settings.mountPoint,
      Subdir: settings.subdir,
      AtimeMode: vfs.atimeMode,
      DirStatFlushPeriod: 0,
      SkipDirMtime: settings.meta.skipDirMtimeNs,
      Sid: meta.sid,
      SortDir: true,
      FastStatfs: true,
      NetworkInterfaces: settings.meta.networkInterfaces ?? null,
    },
    Format: tidyFormat(secretsRemoved(meta.format)),
    Chunk: {
      CacheDir: cacheDirs(cache.dir, meta.format.UUID),
      CacheMode: cache.mode,
      CacheSize: cache.sizeBytes,
      CacheItems: cache.items,
      CacheChecksum: cache.verifyChecksum,
      CacheEviction: cache.eviction,
      CacheScanInterval: cache.scanIntervalMs * NS_PER_MS,
      CacheExpire: cache.expireMs * NS_PER_MS,
      FreeSpace: cache.freeSpaceRatio,
      AutoCreate: true,
      Compress: meta.format.Compression ?? 'none',
      MaxUpload: chunk.maxUploads,
      MaxDownload: chunk.maxDownloads,
      MaxRetries: vfs.ioRetries,
      UploadLimit: bytesPerSecond(settings.limits.uploadMbps || meta.format.UploadLimit),
      DownloadLimit: bytesPerSecond(settings.limits.downloadMbps || meta.format.DownloadLimit),
      Writeback: writeback.isOn,
      WritebackThresholdSize: writeback.thresholdBytes,
      UploadDelay: writeback.uploadDelayMs * NS_PER_MS,
      UploadHours: writeback.uploadHours ? `${writeback.uploadHours.from}-${writeback.uploadHours.to}` : '',
      MaxStageWrite: writeback.maxStageWrites,
      HashPrefix: meta.format.HashPrefix === true,
      BlockSize: meta.format.BlockSize * 1024,
      GetTimeout: chunk.getTimeoutMs * NS_PER_MS,
      PutTimeout: chunk.putTimeoutMs * NS_PER_MS,
      CacheFullBlock: !cache.partialOnly,
      CacheLargeWrite: cache.largeWrite,
      BufferSize: vfs.bufferBytes,
      Readahead: vfs.maxReadaheadBytes ?? 8 * meta.format.BlockSize * 1024,
      Prefetch: chunk.prefetch,
    },
    Security: { EnableCap: vfs.enableCap, EnableSELinux: vfs.enableSelinux },
    // No profiling agent; where it would be, tools look for its address.
    Port: {
      PrometheusAgent: metricsAddress,
      DebugAgent: '',
      ...(settings.consul ? { ConsulAddr: settings.consul } : {}),
    },
    Version: SHOWN_VERSION,
    AttrTimeout: seconds(vfs.timeouts.attr),
    DirEntryTimeout: seconds(vfs.timeouts.dirEntry),
    NegEntryTimeout: seconds(vfs.timeouts.negativeEntry),
    EntryTimeout: seconds(vfs.timeouts.entry),
    ReaddirCache: vfs.readdirCache,
    BackupMeta: 0,
    BackupSkipTrash: false,
    PrefixInternal: vfs.prefixInternal,
    HideInternal: vfs.hideInternal,
    RootSquash: squash(vfs.rootSquash),
    AllSquash: squash(vfs.allSquash),
    NonDefaultPermission: vfs.checkPermissions,
    UMask: vfs.umask ?? NO_UMASK,
    Pid: process.pid,
    PPid: process.ppid,
    // No hand-over of the FUSE descriptor: a reference client that mounts here must not wait for one.
    CommPath: '',
    StatePath: '',
    FuseOpts: {
      AllowOther: fuse.allowOther,
      Options: fuse.options,
      MaxBackground: MAX_BACKGROUND,
      MaxWrite: vfs.maxFuseIo,
      FsName: fuse.source ?? `${fuse.sourcePrefix}${meta.format.Name}`,
      Name: 'juicefs',
      EnableAcl: meta.format.EnableACL,
      EnableWriteback: fuse.writebackCache,
    },
    Mountpoint: settings.mountPoint,
  }
}

/** Below each directory those of the volume, as they were typed. */
function cacheDirs(text: string, uuid: string): string {
  if (text === 'memory') return text
  const separator = text.includes(':') ? ':' : ','
  return splitCacheDirs(text)
    .map(dir => `${dir}/${uuid}`)
    .join(separator)
}

const bytesPerSecond = (mbps: number | undefined): number => ((mbps ?? 0) * 1e6) / 8
const squash = (who: { uid: number; gid: number } | null): object | undefined =>
  who ? { Uid: who.uid, Gid: who.gid } : undefined
