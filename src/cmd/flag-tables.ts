/** Every flag of the built commands (spec cli sections 1, 5 and 6). docs/commands.md lists them for readers. */

import type { Flag } from './flags.ts'

/** Nothing but the default is accepted. */
const NOT_BUILT: readonly string[] = []

export const GLOBAL_FLAGS: readonly Flag[] = [
  { name: 'verbose', aliases: ['debug', 'v'], kind: 'bool', help: 'enable debug log' },
  { name: 'quiet', aliases: ['q'], kind: 'bool', help: 'show warnings and errors only' },
  { name: 'trace', kind: 'bool', help: 'enable trace log' },
  { name: 'log-level', kind: 'string', help: 'trace, debug, info, warn, error, fatal or panic', hidden: true },
  { name: 'log-id', kind: 'string', help: 'prefix of each log line; "random" for a UUID' },
  { name: 'no-agent', kind: 'bool', help: 'accepted; there is no profiling agent' },
  { name: 'pyroscope', kind: 'string', help: 'address of a pyroscope server', refused: NOT_BUILT },
  { name: 'no-color', kind: 'bool', help: 'no colours in logs' },
  { name: 'help', aliases: ['h'], kind: 'bool', help: 'show help' },
  { name: 'version', aliases: ['V'], kind: 'bool', help: 'print the version' },
]

const inCategory = (category: string, flags: readonly Flag[]): Flag[] => flags.map(flag => ({ ...flag, category }))

const dataStorage = inCategory('DATA STORAGE', [
  { name: 'storage', kind: 'string', fallback: 'file', help: 'kind of object storage (file, s3, webdav …)' },
  { name: 'bucket', kind: 'string', help: 'directory or URL that holds the objects' },
  { name: 'access-key', kind: 'string', help: 'access key or user of the object storage (env ACCESS_KEY)' },
  { name: 'secret-key', kind: 'string', help: 'secret key or password of the object storage (env SECRET_KEY)' },
  { name: 'session-token', kind: 'string', help: 'session token for the object storage (env SESSION_TOKEN)' },
  { name: 'storage-class', kind: 'string', help: 'storage class of new objects' },
  { name: 'tag', kind: 'string', help: 'key=value, tag of new objects' },
])

const management = inCategory('MANAGEMENT', [
  { name: 'capacity', kind: 'bytes', unit: 'G', fallback: '0', help: 'hard limit of space, 0 = unlimited' },
  { name: 'inodes', kind: 'uint', fallback: '0', help: 'hard limit of inodes, 0 = unlimited' },
  { name: 'trash-days', kind: 'int', fallback: '1', help: 'days that removed files stay in the trash, 0 = no trash' },
  { name: 'enable-acl', kind: 'bool', help: 'POSIX ACLs (irreversible; needs clients of 1.2)' },
  { name: 'ranger-rest-url', kind: 'string', help: 'URL of Ranger', refused: NOT_BUILT },
  { name: 'ranger-service', kind: 'string', help: 'service of Ranger', refused: NOT_BUILT },
  { name: 'kerberos-config-file', kind: 'string', help: 'configuration of Kerberos', refused: NOT_BUILT },
])

export const FORMAT_FLAGS: readonly Flag[] = [
  ...dataStorage,
  ...inCategory('DATA FORMAT', [
    {
      name: 'block-size',
      kind: 'bytes',
      unit: 'K',
      fallback: '4M',
      help: 'size of a block, a power of two from 64K to 16M',
    },
    { name: 'compress', kind: 'string', fallback: 'none', help: 'lz4, zstd or none' },
    { name: 'encrypt-rsa-key', kind: 'string', help: 'file of the RSA private key (PEM) that encrypts data' },
    { name: 'encrypt-algo', kind: 'string', fallback: 'aes256gcm-rsa', help: 'aes256gcm-rsa or chacha20-rsa' },
    { name: 'hash-prefix', kind: 'bool', help: 'object names begin with a hash' },
    { name: 'shards', kind: 'int', fallback: '0', help: 'spread blocks over so many buckets, %d in --bucket' },
  ]),
  ...management,
  { name: 'force', kind: 'bool', help: 'overwrite an existing setting' },
  { name: 'no-update', kind: 'bool', help: 'do nothing when the volume is formatted already' },
]

export const CONFIG_FLAGS: readonly Flag[] = [
  ...dataStorage,
  ...inCategory('DATA STORAGE', [
    { name: 'upload-limit', kind: 'mbps', fallback: '0', help: 'default upload limit of clients, Mbps' },
    { name: 'download-limit', kind: 'mbps', fallback: '0', help: 'default download limit of clients, Mbps' },
  ]),
  ...management,
  ...inCategory('MANAGEMENT', [
    { name: 'encrypt-secret', kind: 'bool', help: 'encrypt secrets that are stored in plain' },
    { name: 'min-client-version', kind: 'string', help: 'oldest client that may connect; can only be raised' },
    { name: 'max-client-version', kind: 'string', help: 'newest client that may connect' },
    { name: 'dir-stats', kind: 'bool', help: 'usage statistics of each directory' },
    { name: 'user-group-quota', kind: 'bool', help: 'quotas of users and groups' },
    { name: 'changelog', kind: 'bool', help: 'log of metadata changes', refused: NOT_BUILT },
    {
      name: 'changelog-max-age',
      kind: 'string',
      fallback: '2h',
      help: 'how long the change log is kept',
      refused: NOT_BUILT,
    },
    {
      name: 'changelog-max-lines',
      kind: 'int',
      fallback: '0',
      help: 'how long the change log grows',
      refused: NOT_BUILT,
    },
    { name: 'tier', kind: 'uint', fallback: '0', help: 'storage tier to define', refused: NOT_BUILT },
  ]),
  { name: 'yes', aliases: ['y'], kind: 'bool', help: 'answer yes to every question' },
  { name: 'force', kind: 'bool', help: 'skip all checks and questions' },
]

const clientMeta = inCategory('META', [
  { name: 'subdir', kind: 'string', help: 'directory of the volume that is the root of the mount' },
  {
    name: 'backup-meta',
    kind: 'duration',
    fallback: '1h',
    help: 'interval of metadata backups (not built yet; 0 silences the warning)',
  },
  { name: 'backup-skip-trash', kind: 'bool', help: 'leave the trash out of backups', refused: NOT_BUILT },
  { name: 'heartbeat', kind: 'duration', fallback: '12s', help: 'interval of heartbeats' },
  { name: 'read-only', kind: 'bool', help: 'allow reading only' },
  { name: 'no-bgjob', kind: 'bool', help: 'no background clean-up by this client' },
  { name: 'atime-mode', kind: 'string', fallback: 'noatime', help: 'noatime, relatime or strictatime' },
  { name: 'skip-dir-nlink', kind: 'int', fallback: '20', help: 'for key-value engines; no effect here' },
  {
    name: 'skip-dir-mtime',
    kind: 'duration',
    fallback: '100ms',
    help: "leave out smaller updates of a directory's mtime",
  },
  { name: 'sort-dir', kind: 'bool', help: 'list entries by name (SQLite always does)' },
  { name: 'fast-statfs', kind: 'bool', help: 'answer statfs from local counters (SQLite always does)' },
  { name: 'network-interfaces', kind: 'string', help: 'interfaces whose addresses the session names, comma separated' },
])

const metaCache = inCategory('META CACHE', [
  { name: 'attr-cache', kind: 'duration', fallback: '1s', help: 'how long the kernel keeps attributes' },
  { name: 'entry-cache', kind: 'duration', fallback: '1s', help: 'how long the kernel keeps names of files' },
  { name: 'dir-entry-cache', kind: 'duration', fallback: '1s', help: 'how long the kernel keeps names of directories' },
  {
    name: 'negative-entry-cache',
    kind: 'duration',
    fallback: '0',
    help: 'how long the kernel remembers that a name is not there',
  },
  { name: 'readdir-cache', kind: 'bool', help: 'let the kernel keep listings' },
  {
    name: 'open-cache',
    kind: 'duration',
    fallback: '0',
    help: 'how long attributes of opened files are believed without asking',
  },
  {
    name: 'open-cache-limit',
    kind: 'uint',
    fallback: '10000',
    help: 'closed files that are remembered, 0 = unlimited',
  },
])

const clientStorage = inCategory('DATA STORAGE', [
  { name: 'storage', kind: 'string', help: 'kind of object storage, for this client only' },
  { name: 'bucket', kind: 'string', help: 'bucket, for this client only' },
  { name: 'storage-class', kind: 'string', help: 'class of objects written by this client' },
  { name: 'tag', kind: 'string', help: 'key=value, tag of objects written by this client' },
  { name: 'get-timeout', kind: 'duration', fallback: '60s', help: 'time-out of a download' },
  { name: 'put-timeout', kind: 'duration', fallback: '60s', help: 'time-out of an upload' },
  { name: 'io-retries', kind: 'uint', fallback: '10', help: 'attempts after a failure' },
  { name: 'max-uploads', kind: 'uint', fallback: '20', help: 'uploads at a time' },
  { name: 'max-downloads', kind: 'uint', fallback: '200', help: 'downloads at a time' },
  { name: 'max-stage-write', kind: 'uint', fallback: '1000', help: 'staged writes at a time' },
  { name: 'max-deletes', kind: 'uint', fallback: '10', help: 'deletions at a time, 0 = delete no objects' },
  { name: 'upload-limit', kind: 'mbps', fallback: '0', help: "limit of uploads, Mbps; 0 = the volume's" },
  { name: 'download-limit', kind: 'mbps', fallback: '0', help: "limit of downloads, Mbps; 0 = the volume's" },
  { name: 'check-storage', kind: 'bool', help: 'test the object storage before mounting' },
])

const dataCache = inCategory('DATA CACHE', [
  { name: 'buffer-size', kind: 'bytes', unit: 'M', fallback: '300M', help: 'all read and write buffers' },
  {
    name: 'max-readahead',
    kind: 'bytes',
    unit: 'M',
    help: 'read-ahead of one file; by default eight blocks, more where a reader waits',
  },
  { name: 'prefetch', kind: 'uint', fallback: '1', help: 'whole blocks prefetched at a time on random reads' },
  { name: 'writeback', kind: 'bool', help: 'stage blocks locally, upload later' },
  {
    name: 'writeback-threshold-size',
    kind: 'bytes',
    unit: 'B',
    fallback: '0',
    help: 'stage only smaller blocks, 0 = all',
  },
  { name: 'upload-delay', kind: 'duration', fallback: '0', help: 'delay of staged uploads' },
  { name: 'upload-hours', kind: 'string', help: 'hours of staged uploads, such as 22-6' },
  { name: 'cache-dir', kind: 'string', help: 'directories of the block cache (a:b, wildcards), or memory' },
  { name: 'cache-mode', kind: 'octal', fallback: '0600', help: 'mode of cache files' },
  { name: 'cache-size', kind: 'bytes', unit: 'M', fallback: '100G', help: 'size of the block cache, 0 = none' },
  { name: 'cache-items', kind: 'uint', fallback: '0', help: 'most cached blocks, 0 = by free inodes' },
  { name: 'free-space-ratio', kind: 'float', fallback: '0.1', help: 'share of space and inodes that stays free' },
  { name: 'cache-partial-only', kind: 'bool', help: 'cache small and random reads only' },
  { name: 'cache-large-write', kind: 'bool', help: 'keep whole blocks after their upload' },
  { name: 'verify-cache-checksum', kind: 'string', fallback: 'extend', help: 'none, full, shrink or extend' },
  { name: 'cache-eviction', kind: 'string', fallback: '2-random', help: 'none, 2-random or lru' },
  { name: 'cache-scan-interval', kind: 'duration', fallback: '1h', help: 'interval of scans of the cache directory' },
  { name: 'cache-expire', kind: 'duration', fallback: '0', help: 'drop blocks that were not used for so long' },
])

const metrics = inCategory('METRICS', [
  { name: 'metrics', kind: 'string', fallback: '127.0.0.1:9567', help: 'address of the Prometheus endpoint' },
  { name: 'custom-labels', kind: 'string', help: 'k:v;k2:v2, on every metric' },
  {
    name: 'consul',
    kind: 'string',
    fallback: '127.0.0.1:8500',
    help: 'register the metrics at this agent of Consul, if given',
  },
  { name: 'no-usage-report', kind: 'bool', help: 'accepted; nothing is ever reported' },
])

export const MOUNT_FLAGS: readonly Flag[] = [
  { name: 'background', aliases: ['d'], kind: 'bool', help: 'run in background' },
  { name: 'foreground', aliases: ['f'], kind: 'bool', help: 'run in foreground (default)', hidden: true },
  { name: 'no-syslog', kind: 'bool', help: 'no copy of the log to syslog' },
  { name: 'log', kind: 'string', help: 'log file in background mode' },
  { name: 'force', kind: 'bool', help: 'mount on top of an existing mount' },
  { name: 'update-fstab', kind: 'bool', help: 'add this mount to /etc/fstab (root)' },
  { name: 'skip-mounted', kind: 'bool', help: 'done if the volume is mounted there already (mount -a)', hidden: true },
  ...inCategory('FUSE', [
    { name: 'hide-internal', kind: 'bool', help: 'do not list the internal files' },
    { name: 'disable-transparent-hugepage', kind: 'bool', help: 'no transparent huge pages' },
    { name: 'enable-xattr', kind: 'bool', help: 'extended attributes' },
    { name: 'enable-cap', kind: 'bool', help: 'security.capability attributes' },
    { name: 'enable-selinux', kind: 'bool', help: 'security.selinux attributes' },
    { name: 'enable-ioctl', kind: 'bool', help: 'append-only and immutable flags by ioctl' },
    { name: 'root-squash', kind: 'string', help: 'uid:gid that root becomes' },
    { name: 'all-squash', kind: 'string', help: 'uid:gid that everybody becomes' },
    { name: 'prefix-internal', kind: 'bool', help: 'internal files are called .jfs.*' },
    { name: 'max-fuse-io', kind: 'bytes', unit: 'B', fallback: '1M', help: 'largest request of the kernel' },
    { name: 'umask', kind: 'octal', help: "umask instead of the caller's" },
    { name: 'o', kind: 'string', help: 'more FUSE options, comma separated' },
    { name: 'non-default-permission', kind: 'bool', help: 'check permissions here, not in the kernel', hidden: true },
  ]),
  ...clientMeta,
  ...metaCache,
  ...clientStorage,
  ...dataCache,
  ...metrics,
]

export const UMOUNT_FLAGS: readonly Flag[] = [
  { name: 'force', aliases: ['f'], kind: 'bool', help: 'unmount also when busy (lazily)' },
  { name: 'flush', kind: 'bool', help: 'wait until staged blocks are uploaded' },
]

export const BENCH_FLAGS: readonly Flag[] = [
  { name: 'block-size', kind: 'bytes', unit: 'M', fallback: '1M', help: 'size of each read and write' },
  { name: 'big-file-size', kind: 'bytes', unit: 'M', fallback: '1G', help: 'size of each big file, 0 = skip' },
  { name: 'small-file-size', kind: 'bytes', unit: 'K', fallback: '128K', help: 'size of each small file, 0 = skip' },
  { name: 'small-file-count', kind: 'uint', fallback: '100', help: 'small files of each thread, 0 = skip' },
  { name: 'threads', aliases: ['p'], kind: 'uint', fallback: '1', help: 'threads at a time' },
]

export const WARMUP_FLAGS: readonly Flag[] = [
  { name: 'file', aliases: ['f'], kind: 'string', help: 'file with one path a line' },
  { name: 'threads', aliases: ['p'], kind: 'uint', fallback: '50', help: 'slices at a time' },
  { name: 'background', aliases: ['b'], kind: 'bool', help: 'do not wait for the end' },
  { name: 'evict', kind: 'bool', help: 'take the blocks out of the cache instead' },
  { name: 'check', kind: 'bool', help: 'tell how much is cached instead, and where' },
]

export const COMPACT_FLAGS: readonly Flag[] = [
  { name: 'threads', aliases: ['p'], kind: 'uint', fallback: '10', help: 'chunks at a time' },
]

export const STATUS_FLAGS: readonly Flag[] = [
  { name: 'session', aliases: ['s'], kind: 'uint', fallback: '0', help: 'details of one session' },
  { name: 'more', aliases: ['m'], kind: 'bool', help: 'trash and pending deletions too (slow)' },
]

export const INFO_FLAGS: readonly Flag[] = [
  {
    name: 'inode',
    aliases: ['i'],
    kind: 'bool',
    help: 'arguments are inode numbers of the volume of the current directory',
  },
  { name: 'recursive', aliases: ['r'], kind: 'bool', help: 'sum up the whole tree' },
  { name: 'strict', kind: 'bool', help: 'exact sums (they always are)' },
  { name: 'raw', kind: 'bool', help: 'slices instead of objects' },
]

export const SUMMARY_FLAGS: readonly Flag[] = [
  { name: 'depth', aliases: ['d'], kind: 'uint', fallback: '2', help: 'levels of directories to show, 10 at most' },
  { name: 'entries', aliases: ['e'], kind: 'uint', fallback: '10', help: 'entries of each level to show, 100 at most' },
  { name: 'strict', kind: 'bool', help: 'exact sums (they always are)' },
  { name: 'csv', kind: 'bool', help: 'comma separated, sizes in bytes' },
]
