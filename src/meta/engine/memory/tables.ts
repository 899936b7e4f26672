/** What a volume's metadata is when it lives in maps: one map a kind of record. Attributes, buffers and records are never
 *  changed in place, so they are handed out as they lie here. */

import type { Name } from '../../../base/bytes.ts'
import type { Ino } from '../../../base/ino.ts'
import type { CounterName, DirUsage, Quota } from '../../facts.ts'
import type { AclRule } from '../../model/acl.ts'
import type { Attr } from '../../model/attr.ts'

export interface Edge {
  readonly ino: Ino
  readonly type: number
}
/** A directory's entries, and their names in order as long as nothing was added or removed since they were sorted. */
export interface Directory {
  readonly edges: Map<Name, Edge>
  sorted: readonly Name[] | null
}
export interface FlockRow {
  readonly ino: Ino
  readonly sid: number
  readonly owner: string
  readonly type: 'R' | 'W'
}
export interface PlockRow {
  readonly ino: Ino
  readonly sid: number
  readonly owner: string
  readonly records: Buffer
}

export class Tables {
  readonly nodes = new Map<Ino, Attr>()
  readonly directories = new Map<Ino, Directory>()
  /** how many names a node has in which directory: derived from the entries, as in SQL */
  readonly parents = new Map<Ino, Map<Ino, number>>()
  readonly symlinks = new Map<Ino, Name>()
  readonly chunks = new Map<Ino, Map<number, Buffer>>()
  readonly sliceRefs = new Map<number, { readonly size: number; readonly refs: number }>()
  readonly xattrs = new Map<Ino, Map<Name, Buffer>>()
  readonly flocks = new Map<Ino, Map<string, FlockRow>>()
  readonly plocks = new Map<Ino, Map<string, PlockRow>>()
  readonly sustained = new Map<number, Set<Ino>>()
  readonly deadFiles = new Map<Ino, { readonly length: number; readonly at: number }>()
  readonly trashedSlices = new Map<number, { readonly at: number; readonly items: Buffer }>()
  readonly dirUsages = new Map<Ino, DirUsage>()
  /** one map a QuotaType */
  readonly quotas: readonly [Map<number, Quota>, Map<number, Quota>, Map<number, Quota>] = [
    new Map(),
    new Map(),
    new Map(),
  ]
  readonly counters = new Map<CounterName, number>()
  readonly sessions = new Map<number, { readonly expire: number; readonly info: Buffer | null }>()
  /** rule n has id n + 1 */
  readonly aclRules: AclRule[] = []
  format: string | null = null

  edge(parent: Ino, name: Name): Edge | undefined {
    return this.directories.get(parent)?.edges.get(name)
  }

  setEdge(parent: Ino, name: Name, edge: Edge): void {
    const directory = entryOf(this.directories, parent, () => ({ edges: new Map<Name, Edge>(), sorted: null }))
    const before = directory.edges.get(name)
    if (before === undefined) directory.sorted = null
    else this.#countName(before.ino, parent, -1)
    directory.edges.set(name, edge)
    this.#countName(edge.ino, parent, 1)
  }

  deleteEdge(parent: Ino, name: Name): void {
    const directory = this.directories.get(parent)
    const before = directory?.edges.get(name)
    if (directory === undefined || before === undefined) return
    directory.edges.delete(name)
    directory.sorted = null
    if (directory.edges.size === 0) this.directories.delete(parent)
    this.#countName(before.ino, parent, -1)
  }

  #countName(ino: Ino, parent: Ino, delta: number): void {
    const counts = entryOf(this.parents, ino, () => new Map<Ino, number>())
    const count = (counts.get(parent) ?? 0) + delta
    if (count !== 0) counts.set(parent, count)
    else if (counts.delete(parent) && counts.size === 0) this.parents.delete(ino)
  }
}

export const lockKey = (sid: number, owner: string): string => `${sid} ${owner}`

export function entryOf<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) map.set(key, (value = make()))
  return value
}

/** Removes from a map of maps, and the inner map when it was the last. */
export function deleteFrom<K, L>(
  map: Map<K, { delete(key: L): boolean; readonly size: number }>,
  key: K,
  inner: L,
): void {
  const found = map.get(key)
  if (found?.delete(inner) && found.size === 0) map.delete(key)
}
