/** What a mount may be told about its files; cmd fills it from the command line, everything else reads it. */

import { type Ino, ROOT_INO } from '../base/ino.ts'
import type { Timeouts } from './file-system.ts'

export interface Identity {
  readonly uid: number
  readonly gid: number
}

export interface VfsConfig {
  /** bounds all write and read buffers (`--buffer-size`) */
  readonly bufferBytes: number
  readonly blockBytes: number
  /** of one handle; 0 = no read-ahead (`--max-readahead`, by default eight blocks) */
  readonly maxReadaheadBytes: number
  /** Nobody has set that: a handle that waits for the store may look further ahead. */
  readonly readaheadGrows?: boolean
  /** largest request of the kernel */
  readonly maxFuseIo: number
  /** attempts of a read before it is EIO */
  readonly ioRetries: number
  readonly timeouts: Timeouts
  readonly enableXattr: boolean
  readonly enableIoctl: boolean
  readonly enableCap: boolean
  readonly enableSelinux: boolean
  /** the volume keeps POSIX ACLs: implies extended attributes */
  readonly acl: boolean
  readonly readdirCache: boolean
  readonly hideInternal: boolean
  readonly prefixInternal: boolean
  /** every file is opened with FOPEN_DIRECT_IO */
  readonly directIo: boolean
  /** replaces the umask of every request */
  readonly umask: number | null
  readonly rootSquash: Identity | null
  readonly allSquash: Identity | null
  /** the kernel does not check permissions (`--non-default-permission`): we do */
  readonly checkPermissions: boolean
  /** what the kernel calls inode 1 */
  readonly subdirRoot: Ino
  readonly atimeMode: 'noatime' | 'relatime' | 'strictatime'
  readonly readOnly: boolean
}

const MIB = 2 ** 20

/** What `mount` does without options. */
export const DEFAULT_VFS_CONFIG: VfsConfig = {
  bufferBytes: 300 * MIB,
  blockBytes: 4 * MIB,
  maxReadaheadBytes: 32 * MIB,
  maxFuseIo: MIB,
  ioRetries: 10,
  timeouts: { attr: 1, entry: 1, dirEntry: 1, negativeEntry: 0 },
  enableXattr: false,
  enableIoctl: false,
  enableCap: false,
  enableSelinux: false,
  acl: false,
  readdirCache: false,
  hideInternal: false,
  prefixInternal: false,
  directIo: false,
  umask: null,
  rootSquash: null,
  allSquash: null,
  checkPermissions: false,
  subdirRoot: ROOT_INO,
  atimeMode: 'noatime',
  readOnly: false,
}
