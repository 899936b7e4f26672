/** A tree of directories listed as an object store lists keys: flat, ascending by bytes, in pages.
 *
 *  Depth first, each directory sorted with `/` behind the names of directories, gives exactly the flat order (`a-b` comes
 *  before `a/b`, since `-` < `/`). Directories themselves are no objects and are not listed. */

import type { ObjectInfo } from './store.ts'

export interface TreeEntry {
  /** of a directory with a slash at its end */
  readonly key: string
  /** of a file; null where it vanished meanwhile */
  describe(): ObjectInfo | null | Promise<ObjectInfo | null>
}

/** calls of `describe` in flight */
const DESCRIBED_AT_ONCE = 16

/** `read`: what lies in a directory (`''`: the root; else with a slash at its end), in any order; nothing where there is none. */
export async function walkTree(
  read: (directory: string) => Promise<readonly TreeEntry[]>,
  prefix: string,
  marker: string,
  limit: number,
): Promise<ObjectInfo[]> {
  const found: ObjectInfo[] = []
  await walk(prefix.slice(0, prefix.lastIndexOf('/') + 1))
  return found

  async function walk(directory: string): Promise<void> {
    const entries = (await read(directory)).filter(({ key }) => mayHold(key)).sort((a, b) => (a.key < b.key ? -1 : 1))
    for (let at = 0; at < entries.length && found.length < limit; at += DESCRIBED_AT_ONCE) {
      const batch = entries.slice(at, at + DESCRIBED_AT_ONCE)
      const infos = await Promise.all(batch.map(entry => (isDirectory(entry) ? null : entry.describe())))
      for (const [i, entry] of batch.entries()) {
        if (found.length >= limit) return
        const info = infos[i]
        if (isDirectory(entry)) await walk(entry.key)
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

const isDirectory = ({ key }: TreeEntry): boolean => key.endsWith('/')
