/** The commands: what is built, and what the reference has beyond it. A command's code is loaded only when it is run. */

import {
  BENCH_FLAGS,
  COMPACT_FLAGS,
  CONFIG_FLAGS,
  FORMAT_FLAGS,
  INFO_FLAGS,
  MOUNT_FLAGS,
  STATUS_FLAGS,
  SUMMARY_FLAGS,
  UMOUNT_FLAGS,
  WARMUP_FLAGS,
} from './flag-tables.ts'
import type { Command } from './flags.ts'

export const COMMANDS: readonly Command[] = [
  {
    name: 'format',
    category: 'ADMIN',
    summary: 'Format a volume',
    argsUsage: 'META-URL NAME',
    minArgs: 2,
    maxArgs: 2,
    flags: FORMAT_FLAGS,
    run: () => import('./format.ts'),
  },
  {
    name: 'config',
    category: 'ADMIN',
    summary: 'Change the setting of a volume',
    argsUsage: 'META-URL',
    minArgs: 1,
    maxArgs: 1,
    flags: CONFIG_FLAGS,
    run: () => import('./config.ts'),
  },
  {
    name: 'version',
    category: 'ADMIN',
    summary: 'Show the version',
    argsUsage: '',
    minArgs: 0,
    maxArgs: 0,
    flags: [],
    run: async () => {
      const { versionLine } = await import('./version.ts')
      return {
        async run() {
          process.stdout.write(`${versionLine()}\n`)
          return 0
        },
      }
    },
  },
  {
    name: 'status',
    category: 'INSPECTOR',
    summary: 'Show the status of a volume',
    argsUsage: 'META-URL',
    minArgs: 1,
    maxArgs: 1,
    flags: STATUS_FLAGS,
    run: () => import('./status.ts'),
  },
  {
    name: 'info',
    category: 'INSPECTOR',
    summary: 'Show internal information of a path or inode',
    argsUsage: 'PATH or INODE',
    minArgs: 1,
    maxArgs: Number.MAX_SAFE_INTEGER,
    flags: INFO_FLAGS,
    run: () => import('./info.ts'),
  },
  {
    name: 'mount',
    category: 'SERVICE',
    summary: 'Mount a volume',
    argsUsage: 'META-URL MOUNTPOINT',
    minArgs: 2,
    maxArgs: 2,
    flags: MOUNT_FLAGS,
    run: () => import('./mount.ts'),
  },
  {
    name: 'umount',
    category: 'SERVICE',
    summary: 'Unmount a volume',
    argsUsage: 'MOUNTPOINT',
    minArgs: 1,
    maxArgs: 1,
    flags: UMOUNT_FLAGS,
    run: () => import('./umount.ts'),
  },
  {
    name: 'bench',
    category: 'TOOL',
    summary: 'Run benchmarks on a path',
    argsUsage: 'PATH',
    minArgs: 1,
    maxArgs: 1,
    flags: BENCH_FLAGS,
    run: () => import('./bench.ts'),
  },
  {
    name: 'warmup',
    category: 'TOOL',
    summary: 'Fetch files into the cache of a mount',
    argsUsage: '[PATH ...]',
    minArgs: 0,
    maxArgs: Number.MAX_SAFE_INTEGER,
    flags: WARMUP_FLAGS,
    run: () => import('./warmup.ts'),
  },
  {
    name: 'summary',
    category: 'INSPECTOR',
    summary: 'Show what is below a directory, the biggest first',
    argsUsage: 'PATH',
    minArgs: 1,
    maxArgs: 1,
    flags: SUMMARY_FLAGS,
    run: () => import('./summary.ts'),
  },
  {
    name: 'compact',
    category: 'TOOL',
    summary: 'Merge the slices of files',
    argsUsage: 'PATH ...',
    minArgs: 1,
    maxArgs: Number.MAX_SAFE_INTEGER,
    flags: COMPACT_FLAGS,
    run: () => import('./compact.ts'),
  },
]

/** Commands of the reference that are not built: refused as such, where a misspelled one is unknown (exit code 3). */
export const NOT_BUILT_COMMANDS: ReadonlySet<string> = new Set(
  `quota destroy gc fsck restore dump load tier changelog stats profile debug gateway webdav objbench rmr
   sync clone mdtest`.split(/\s+/),
)
