/** A directory tree listed as an object store lists keys: flat, ascending by bytes, in pages.
 *
 *  Depth first, each directory sorted with `/` behind the names of directories, gives exactly the flat order (`a-b` comes
 *  before `a/b`, since `-` < `/`). Directories themselves are no objects and are not listed. Symbolic links are followed;
 *  what is neither file nor directory, vanished meanwhile or may not be read is left out. */

import fs from 'node:fs/promises'
import { join } from 'node:path'
import type { ObjectInfo } from './store.ts'

/** stat calls in flight */
const STATS_AT_ONCE = 16

export async function listFiles(root: string, prefix: string, marker: string, limit: number): Promise<ObjectInfo[]> {
  const found: ObjectInfo[] = []
  const start = prefix.slice(0, prefix.lastIndexOf('/') + 1)
  await walk(start)
  return found

  /** `directory` is a key: empty, or ending with a slash. */
  async function walk(directory: string): Promise<void> {
    const keys = (await readSorted(root, directory)).filter(mayHold)
    for (let at = 0; at < keys.length && found.length < limit; at += STATS_AT_ONCE) {
      const batch = keys.slice(at, at + STATS_AT_ONCE)
      const infos = await Promise.all(batch.map(key => (key.endsWith('/') ? null : describe(root, key))))
      for (const [i, key] of batch.entries()) {
        if (found.length >= limit) return
        const info = infos[i]
        if (key.endsWith('/')) await walk(key)
        else if (info) found.push(info)
      }
    }
  }

  function mayHold(key: string): boolean {
    if (key.endsWith('/')) {
      // everything below is before the marker, unless the marker itself lies below
      if (key < marker && !marker.startsWith(key)) return false
      return key.startsWith(prefix) || prefix.startsWith(key)
    }
    return key > marker && key.startsWith(prefix)
  }
}

async function readSorted(root: string, directory: string): Promise<string[]> {
  let entries: import('node:fs').Dirent[]
  try {
    entries = await fs.readdir(root + directory, { withFileTypes: true })
  } catch (error) {
    if (isSkippable(error)) return []
    throw error
  }
  const keys: string[] = []
  for (const entry of entries) {
    if (entry.isDirectory()) keys.push(`${directory}${entry.name}/`)
    else if (entry.isFile()) keys.push(directory + entry.name)
    else if (entry.isSymbolicLink()) {
      const target = await fs.stat(join(root + directory, entry.name)).catch(() => null)
      if (target?.isDirectory()) keys.push(`${directory}${entry.name}/`)
      else if (target?.isFile()) keys.push(directory + entry.name)
    }
  }
  return keys.sort((a, b) => (a < b ? -1 : 1))
}

async function describe(root: string, key: string): Promise<ObjectInfo | null> {
  try {
    const stat = await fs.stat(root + key)
    return { key, size: stat.size, mtimeMs: stat.mtimeMs, isDirectory: false }
  } catch (error) {
    if (isSkippable(error)) return null
    throw error
  }
}

const SKIPPABLE = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'ELOOP'])
const isSkippable = (error: unknown): boolean => SKIPPABLE.has((error as NodeJS.ErrnoException).code ?? '')
