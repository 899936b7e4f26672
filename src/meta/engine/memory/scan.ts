/** Paged reads of maps: the keys beyond the cursor, in order. A page costs a sort of its table (of a directory, only where
 *  it changed); what is listed may change between pages, as anywhere. */

import type { Name } from '../../../base/bytes.ts'
import type { Ino } from '../../../base/ino.ts'
import type { Cursor, DirEntry, Page, ScanKind, Scans } from '../../engine.ts'
import type { Tables } from './tables.ts'

type Row<K extends ScanKind> = Scans[K]['row']

export function scanPage<K extends ScanKind>(
  tables: Tables,
  kind: K,
  args: Scans[K]['args'],
  cursor: Cursor | null,
  limit: number,
): Page<Row<K>> {
  if (kind === 'entries') {
    return entriesPage(tables, args as Scans['entries']['args'], cursor as Name | null, limit) as Page<Row<K>>
  }
  const keyed = (rowsOf[kind as Exclude<ScanKind, 'entries'>] as unknown as Rows<K>)(tables, args)
  const rest = keyed.filter(([key]) => cursor === null || key > cursor).sort(([a], [b]) => (a < b ? -1 : 1))
  const page = rest.slice(0, limit)
  return { rows: page.map(([, row]) => row), next: rest.length > limit ? page[limit - 1]![0] : null }
}

function entriesPage(
  tables: Tables,
  { parent, attrs }: Scans['entries']['args'],
  after: Name | null,
  limit: number,
): Page<DirEntry> {
  const directory = tables.directories.get(parent)
  if (directory === undefined) return { rows: [], next: null }
  directory.sorted ??= [...directory.edges.keys()].sort()
  const names = directory.sorted
  const from = after === null ? 0 : firstBeyond(names, after)
  const rows = names.slice(from, from + limit).map((name): DirEntry => {
    const { ino, type } = directory.edges.get(name)!
    return { name, ino, type, attr: attrs ? (tables.nodes.get(ino) ?? null) : null }
  })
  return { rows, next: from + limit < names.length ? rows[rows.length - 1]!.name : null }
}

function firstBeyond(names: readonly Name[], name: Name): number {
  let low = 0
  let high = names.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (names[middle]! <= name) low = middle + 1
    else high = middle
  }
  return low
}

type Rows<K extends ScanKind> = (tables: Tables, args: Scans[K]['args']) => [key: Cursor, row: Row<K>][]

const rowsOf: { readonly [K in Exclude<ScanKind, 'entries'>]: Rows<K> } = {
  sessions: t => [...t.sessions].map(([sid, session]) => [sid, { sid, ...session }]),
  sustained: (t, { sid }) => [...(t.sustained.get(sid) ?? [])].map(ino => [ino, { ino }]),
  flocksOf: (t, { sid }) => locksOf(t.flocks, sid, ({ ino, owner, type }) => ({ ino, owner, type })),
  plocksOf: (t, { sid }) => locksOf(t.plocks, sid, ({ ino, owner, records }) => ({ ino, owner, records })),
  deadFiles: (t, { before }) =>
    [...t.deadFiles].filter(([, { at }]) => at < before).map(([ino, file]) => [ino, { ino, ...file }]),
  trashedSlices: (t, { before }) =>
    [...t.trashedSlices].filter(([, { at }]) => at < before).map(([id, slices]) => [id, { id, ...slices }]),
  unusedSlices: t => [...t.sliceRefs].filter(([, { refs }]) => refs <= 0).map(([id, { size }]) => [id, { id, size }]),
  chunks: (t, { ino }) =>
    ino === null
      ? [...t.chunks].flatMap(([each, lists]) => chunksOf(each, lists).map(([index, row]) => [pair(each, index), row]))
      : chunksOf(ino, t.chunks.get(ino) ?? new Map()),
  quotas: (t, { type }) => [...t.quotas[type]].map(([key, quota]) => [key, { key, quota }]),
  dirUsages: t => [...t.dirUsages].map(([ino, usage]) => [ino, { ino, usage }]),
  nodes: t => [...t.nodes].map(([ino, attr]) => [ino, { ino, attr }]),
  sliceRefs: t => [...t.sliceRefs].map(([id, slice]) => [id, { id, ...slice }]),
}

const chunksOf = (ino: Ino, lists: ReadonlyMap<number, Buffer>): [number, Row<'chunks'>][] =>
  [...lists].map(([index, records]) => [index, { ino, index, records }])

function locksOf<L extends { ino: Ino; sid: number; owner: string }, R>(
  table: ReadonlyMap<Ino, ReadonlyMap<string, L>>,
  sid: number,
  rowOf: (lock: L) => R,
): [string, R][] {
  const locks = [...table.values()].flatMap(rows => [...rows.values()].filter(lock => lock.sid === sid))
  return locks.map(lock => [`${digits(lock.ino)} ${lock.owner}`, rowOf(lock)])
}

/** Two numbers as a key whose order is theirs. */
const pair = (a: number, b: number): string => `${digits(a)} ${digits(b)}`
const digits = (n: number): string => String(n).padStart(16, '0')
