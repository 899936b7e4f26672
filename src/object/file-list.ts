/** A local directory tree listed in the order of keys. Symbolic links are followed; what is neither file nor directory, vanished
 *  meanwhile or may not be read is left out. */

import fs from 'node:fs/promises'
import { join } from 'node:path'
import type { ObjectInfo } from './store.ts'
import { type TreeEntry, walkTree } from './tree-walk.ts'

export function listFiles(root: string, prefix: string, marker: string, limit: number): Promise<ObjectInfo[]> {
  const entry = (key: string): TreeEntry => ({ key, describe: () => describe(root, key) })
  return walkTree(async directory => (await readKeys(root, directory)).map(entry), prefix, marker, limit)
}

async function readKeys(root: string, directory: string): Promise<string[]> {
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
  return keys
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
