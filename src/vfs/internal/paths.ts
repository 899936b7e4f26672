/** Finds what a path names, from inside the mount: for requests that name files by their paths below its root. */

import type { Name } from '../../base/bytes.ts'
import { ELOOP, ENOENT, type Errno, isErrno } from '../../base/errno.ts'
import { type Ino, inoFromString, ROOT_INO } from '../../base/ino.ts'
import type { MetaClient } from '../../meta/client.ts'
import { TYPE_DIRECTORY, TYPE_SYMLINK } from '../../meta/model/attr.ts'
import type { Caller } from '../../meta/model/caller.ts'

/** as many as Linux follows */
const MOST_LINKS = 40
const BY_INODE = 'inode:'

export interface Found {
  readonly ino: Ino
  readonly type: number
}

/** `path` is relative to `root`, or `inode:` and a number. Symbolic links are followed as long as they stay inside the mount. */
export async function findPath(meta: MetaClient, caller: () => Caller, root: Ino, path: Name): Promise<Found | Errno> {
  if (path.startsWith(BY_INODE)) {
    const shown = inoFromString(path.slice(BY_INODE.length))
    const ino = shown === ROOT_INO ? root : shown
    const attr = ino === null ? ENOENT : await meta.getattr(ino)
    return isErrno(attr) ? attr : { ino: ino!, type: attr.type }
  }
  const { mountPoint } = meta.config
  const above: Ino[] = []
  let at: Found = { ino: root, type: TYPE_DIRECTORY }
  let links = 0
  const left = partsOf(path)
  for (let part = left.shift(); part !== undefined; part = left.shift()) {
    if (part === '..') {
      at = { ino: above.pop() ?? root, type: TYPE_DIRECTORY }
      continue
    }
    const entry = await meta.lookup(caller(), at.ino, part)
    if (isErrno(entry)) return entry
    if (entry.attr.type !== TYPE_SYMLINK) {
      above.push(at.ino)
      at = { ino: entry.ino, type: entry.attr.type }
      continue
    }
    if (++links > MOST_LINKS) return ELOOP
    const target = await meta.readlink(caller(), entry.ino)
    if (isErrno(target)) return target
    if (!target.startsWith('/')) left.unshift(...partsOf(target))
    else if (`${target}/`.startsWith(`${mountPoint}/`)) {
      above.length = 0
      at = { ino: root, type: TYPE_DIRECTORY }
      left.unshift(...partsOf(target.slice(mountPoint.length)))
    } else return ENOENT
  }
  return at
}

const partsOf = (path: Name): Name[] => path.split('/').filter(part => part !== '' && part !== '.')
