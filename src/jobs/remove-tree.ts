/** Removes a whole tree through ordinary operations, bottom up, in bounded batches: for `rmr` and for the trash. */

import type { Name } from '../base/bytes.ts'
import { ENOENT, ENOTEMPTY, type Errno, isErrno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import type { MetaClient } from '../meta/client.ts'
import type { Cursor, DirEntry, Page } from '../meta/engine.ts'
import { TYPE_DIRECTORY } from '../meta/model/attr.ts'
import type { Caller } from '../meta/model/caller.ts'

const BATCH = 1000
/** a directory that others fill while we empty it is tried again this often */
const PASSES = 10

export interface RemoveOptions {
  readonly skipTrash: boolean
  /** called after each removed entry */
  readonly onRemoved: () => void
  readonly isCancelled: () => boolean
}

/** Removes the entry and, if it is a directory, everything below it. An entry that is gone already is no error; the first
 *  other errno ends the walk and is returned. */
export async function removeTree(
  meta: MetaClient,
  caller: () => Caller,
  parent: Ino,
  name: Name,
  options: RemoveOptions,
): Promise<Errno | undefined> {
  const entry = await meta.lookup(caller(), parent, name)
  if (isErrno(entry)) return entry
  const result =
    entry.attr.type === TYPE_DIRECTORY
      ? await removeDirectory(meta, caller, parent, name, entry.ino, options)
      : await removeEntry(meta, caller, parent, name, false, options)
  return result === ENOENT ? undefined : result
}

async function removeDirectory(
  meta: MetaClient,
  caller: () => Caller,
  parent: Ino,
  name: Name,
  ino: Ino,
  options: RemoveOptions,
): Promise<Errno | undefined> {
  for (let pass = 0; ; pass++) {
    const failed = await emptyDirectory(meta, caller, ino, options)
    if (failed !== undefined) return failed
    const removed = await removeEntry(meta, caller, parent, name, true, options)
    if (removed !== ENOTEMPTY || pass + 1 >= PASSES || options.isCancelled()) return removed
  }
}

/** Removes everything in a directory, not the directory itself. */
export async function emptyDirectory(
  meta: MetaClient,
  caller: () => Caller,
  ino: Ino,
  options: RemoveOptions,
): Promise<Errno | undefined> {
  let cursor: Cursor | null = null
  do {
    const page: Page<DirEntry> | Errno = await meta.readdir(caller(), ino, cursor, BATCH, false)
    if (isErrno(page)) return page === ENOENT ? undefined : page
    for (const entry of page.rows) {
      if (options.isCancelled()) return undefined
      const result =
        entry.type === TYPE_DIRECTORY
          ? await removeDirectory(meta, caller, ino, entry.name, entry.ino, options)
          : await removeEntry(meta, caller, ino, entry.name, false, options)
      if (result !== undefined && result !== ENOENT) return result
    }
    cursor = page.next
  } while (cursor !== null)
  return undefined
}

async function removeEntry(
  meta: MetaClient,
  caller: () => Caller,
  parent: Ino,
  name: Name,
  isDirectory: boolean,
  options: RemoveOptions,
): Promise<Errno | undefined> {
  const how = { skipTrash: options.skipTrash }
  const result = isDirectory
    ? await meta.rmdir(caller(), parent, name, how)
    : await meta.unlink(caller(), parent, name, how)
  if (isErrno(result)) return result
  options.onRemoved()
  return undefined
}
