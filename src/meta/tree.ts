/** Walks over a directory tree, in bounded pages: totals and paths. Nothing here is a transaction; a tree that changes
 *  meanwhile is counted as it was met. */

import type { Name } from '../base/bytes.ts'
import { type Ino, isTrash, ROOT_INO } from '../base/ino.ts'
import type { ClientCore } from './client/core.ts'
import { node, parents as parentsOf } from './facts.ts'
import { type Attr, spaceOf, TYPE_DIRECTORY, TYPE_FILE } from './model/attr.ts'

export interface TreeTotals {
  /** bytes of regular files */
  length: number
  /** in whole 4 KiB units, directories one each */
  size: number
  files: number
  dirs: number
}

/** Totals of the node and everything below it. */
export async function summarizeTree(meta: ClientCore, ino: Ino): Promise<TreeTotals> {
  const totals: TreeTotals = { length: 0, size: 0, files: 0, dirs: 0 }
  const [top] = (await meta.engine.gather([node(ino)], 'look')) as [Attr | null]
  if (top === null) return totals
  addNode(totals, top)
  const pending: Ino[] = top.type === TYPE_DIRECTORY ? [ino] : []
  for (let dir = pending.pop(); dir !== undefined; dir = pending.pop()) {
    for await (const entry of meta.scan('entries', { parent: dir, attrs: true })) {
      if (entry.attr === null) continue
      addNode(totals, entry.attr)
      if (entry.type === TYPE_DIRECTORY) pending.push(entry.ino)
    }
  }
  return totals
}

/** One node more. */
export function addNode(totals: TreeTotals, attr: Attr): void {
  if (attr.type === TYPE_DIRECTORY) totals.dirs++
  else totals.files++
  if (attr.type === TYPE_FILE) totals.length += attr.length
  totals.size += spaceOf(attr)
}

const MAX_DEPTH = 4096

/** Every path of a node below `top`, which is `/`; names elsewhere in the volume are left out, and those whose chain is broken. */
export async function pathsOf(meta: ClientCore, ino: Ino, top: Ino = ROOT_INO, depth = 0): Promise<Name[]> {
  if (ino === top) return ['/']
  if (ino === ROOT_INO || isTrash(ino) || depth > MAX_DEPTH) return []
  const [attr, counted] = (await meta.engine.gather([node(ino), parentsOf(ino)], 'look')) as [
    Attr | null,
    readonly { parent: Ino }[],
  ]
  if (attr === null) return []
  const dirs = attr.parent !== 0 ? [attr.parent] : counted.map(each => each.parent)
  const paths: Name[] = []
  for (const dir of dirs) {
    const above = await pathsOf(meta, dir, top, depth + 1)
    if (above.length === 0) continue
    for await (const entry of meta.scan('entries', { parent: dir, attrs: false })) {
      if (entry.ino !== ino) continue
      for (const path of above) paths.push(path === '/' ? `/${entry.name}` : `${path}/${entry.name}`)
      if (attr.parent !== 0) break
    }
  }
  return paths
}
