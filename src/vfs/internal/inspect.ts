/** What `info` and `summary` tell of a node: as JSON for `.control` (spec vfs section 8). */

import { nameToText } from '../../base/bytes.ts'
import { ENOENT, type Errno } from '../../base/errno.ts'
import { type Ino, inoToString } from '../../base/ino.ts'
import type { ChunkStore } from '../../chunk/chunk-store.ts'
import type { MetaClient } from '../../meta/client.ts'
import { type FlockHolder, node, type PlockHolder } from '../../meta/facts.ts'
import { type Attr, spaceOf, TYPE_DIRECTORY, TYPE_FILE } from '../../meta/model/attr.ts'
import { buildView, CHUNK_BYTES, decodeRecords, type SliceRecord } from '../../meta/model/slice.ts'
import { decodePlocks, TO_EOF } from '../../meta/rules/plock.ts'
import { addNode, type TreeTotals } from '../../meta/tree.ts'
import type { Progress } from './control.ts'

/** JSON whose inode numbers keep all their digits (they may exceed 2^53). */
export function jsonWithInodes(value: unknown): string {
  return JSON.stringify(value).replace(/"@ino:(\d+)"/g, '$1')
}
const inoJson = (ino: Ino): string => `@ino:${inoToString(ino)}`

interface ObjectRow {
  readonly ChunkIndex: number
  readonly Key: string
  readonly Size: number
  readonly Off: number
  readonly Len: number
}

export async function inspect(
  meta: MetaClient,
  chunks: ChunkStore,
  ino: Ino,
  options: { recursive: boolean; raw: boolean /** of the mount */; top: Ino },
  progress: Progress,
  isCancelled: () => boolean,
): Promise<{ json: Record<string, unknown>; totals: TreeTotals; paths: string[]; objects: ObjectRow[] }> {
  const [attr, flocks, plocks] = (await meta.engine.gather(
    [node(ino), { kind: 'flocks', ino }, { kind: 'plocks', ino }],
    'look',
  )) as [Attr | null, readonly FlockHolder[], readonly PlockHolder[]]
  const totals: TreeTotals = { length: 0, size: 0, files: 0, dirs: 0 }
  const failed = attr === null ? 'no such file or directory' : ''
  if (attr !== null) await addUp(meta, ino, attr, options.recursive, totals, progress, isCancelled)
  const isFile = attr?.type === TYPE_FILE
  const slices = isFile ? await visibleSlices(meta, ino, attr.length) : []
  const objects =
    isFile && !options.raw ? slices.flatMap(each => objectsOf(meta.format.Name, chunks, each.index, each.view)) : []
  const paths = (await meta.paths(ino, options.top)).map(nameToText)
  const tierId = attr?.tier ?? 0
  const tier = meta.format.Tiers?.[String(tierId)]
  const json = {
    Ino: inoJson(ino),
    Failed: attr === null,
    Reason: failed,
    Summary: { Length: totals.length, Size: totals.size, Files: totals.files, Dirs: totals.dirs },
    Paths: paths,
    Chunks:
      isFile && options.raw
        ? slices.flatMap(({ index, view }) =>
            view.map(s => ({ ChunkIndex: index, Id: s.id, Size: s.size, Off: s.off, Len: s.len })),
          )
        : null,
    Objects: isFile && !options.raw ? objects : null,
    PLocks: plocks.flatMap(holder => plockRows(holder)),
    FLocks: flocks.map(holder => ({ Sid: holder.sid, Owner: ownerJson(holder.owner), Type: holder.type })),
    Tier: { ID: tierId, StorageClass: tier?.StorageClass ?? '', Tag: tier?.Tag ?? '' },
    RestoreStatus: '',
  }
  return { json, totals, paths, objects }
}

function plockRows(holder: PlockHolder): object[] {
  const owner = ownerJson(holder.owner)
  return decodePlocks(holder.records).map(({ type, pid, start, end }) => ({
    Sid: holder.sid,
    Owner: owner,
    Type: type === 'W' ? 1 : 0,
    Pid: pid,
    Start: start,
    End: end === TO_EOF ? '@ino:9223372036854775807' : end,
  }))
}

/** Owners are 64-bit: their digits, all of them. */
const ownerJson = (hex: string): string => `@ino:${BigInt(`0x${hex}`)}`

async function addUp(
  meta: MetaClient,
  ino: Ino,
  attr: Attr,
  recursive: boolean,
  totals: TreeTotals,
  progress: Progress,
  isCancelled: () => boolean,
): Promise<void> {
  const add = (each: Attr): void => {
    addNode(totals, each)
    progress.a = totals.files
    progress.b = totals.size
  }
  add(attr)
  if (attr.type !== TYPE_DIRECTORY) return
  const pending: Ino[] = [ino]
  for (let dir = pending.pop(); dir !== undefined && !isCancelled(); dir = pending.pop()) {
    for await (const entry of meta.scan('entries', { parent: dir, attrs: true })) {
      if (entry.attr === null) continue
      add(entry.attr)
      if (recursive && entry.type === TYPE_DIRECTORY) pending.push(entry.ino)
    }
  }
}

/** Per stored chunk what is visible of it, cut at the end of the file. */
async function visibleSlices(
  meta: MetaClient,
  ino: Ino,
  length: number,
): Promise<{ index: number; view: SliceRecord[] }[]> {
  const found: { index: number; view: SliceRecord[] }[] = []
  for await (const row of meta.scan('chunks', { ino })) {
    const room = length - row.index * CHUNK_BYTES
    if (room > 0) found.push({ index: row.index, view: buildView(decodeRecords(row.records)) })
  }
  return found
}

/** One row a block that the view touches; holes have an empty key. */
function objectsOf(volume: string, chunks: ChunkStore, index: number, view: readonly SliceRecord[]): ObjectRow[] {
  const rows: ObjectRow[] = []
  for (const slice of view) {
    if (slice.id === 0) {
      rows.push({ ChunkIndex: index, Key: '', Size: 0, Off: 0, Len: slice.len })
      continue
    }
    let blockStart = 0
    for (const { key, size } of chunks.keys(slice)) {
      const from = Math.max(slice.off, blockStart)
      const to = Math.min(slice.off + slice.len, blockStart + size)
      if (from < to)
        rows.push({ ChunkIndex: index, Key: `${volume}/${key}`, Size: size, Off: from - blockStart, Len: to - from })
      blockStart += size
    }
  }
  return rows
}

export interface TreeNode {
  Inode: string
  Path: string
  Type: number
  Size: number
  Files: number
  Dirs: number
  Children?: TreeNode[]
}

/** The tree below a directory, `depth` levels of it, at each level the `topN` biggest and the rest as `...`. */
export async function summaryTree(
  meta: MetaClient,
  ino: Ino,
  options: { depth: number; topN: number },
  progress: Progress,
  isCancelled: () => boolean,
): Promise<TreeNode | Errno> {
  const [attr] = (await meta.engine.gather([node(ino)], 'look')) as [Attr | null]
  if (attr === null) return ENOENT
  const visit = async (at: Ino, own: Attr, path: string, level: number): Promise<TreeNode> => {
    const isDirectory = own.type === TYPE_DIRECTORY
    const tree: TreeNode = {
      Inode: inoJson(at),
      Path: path,
      Type: own.type,
      Size: spaceOf(own),
      Files: isDirectory ? 0 : 1,
      Dirs: isDirectory ? 1 : 0,
    }
    progress.a += tree.Files
    progress.b += tree.Size
    if (!isDirectory) return tree
    const children: TreeNode[] = []
    for await (const entry of meta.scan('entries', { parent: at, attrs: true })) {
      if (entry.attr === null || isCancelled()) continue
      const name = nameToText(entry.name)
      const child = await visit(entry.ino, entry.attr, path === '' ? name : `${path}/${name}`, level + 1)
      tree.Size += child.Size
      tree.Files += child.Files
      tree.Dirs += child.Dirs
      if (level < options.depth) children.push(child)
      if (children.length > 2 * options.topN + 2) fold(children, options.topN, path)
    }
    if (level < options.depth) {
      fold(children, options.topN, path)
      tree.Children = children
    }
    return tree
  }
  return visit(ino, attr, '', 0)
}

/** Keeps the `topN` biggest (biggest first) and sums the rest into one entry named `...`. */
function fold(children: TreeNode[], topN: number, path: string): void {
  const isRest = (each: TreeNode): boolean => each.Path === restPath
  const restPath = path === '' ? '...' : `${path}/...`
  const rest = children.find(isRest) ?? { Inode: '@ino:0', Path: restPath, Type: TYPE_FILE, Size: 0, Files: 0, Dirs: 0 }
  const named = children.filter(each => !isRest(each)).sort((a, b) => b.Size - a.Size)
  for (const each of named.splice(topN)) {
    rest.Size += each.Size
    rest.Files += each.Files
    rest.Dirs += each.Dirs
  }
  children.splice(0, children.length, ...named)
  if (rest.Files + rest.Dirs > 0) children.push(rest)
}

/** The text of the older info request. */
export function legacyInfoText(
  ino: Ino,
  totals: TreeTotals,
  paths: readonly string[],
  objects: readonly ObjectRow[],
): string {
  const lines = [
    `  inode: ${inoToString(ino)}`,
    `  files: ${totals.files}`,
    `   dirs: ${totals.dirs}`,
    ` length: ${bytesText(totals.length)}`,
    `   size: ${bytesText(totals.size)}`,
    paths.length === 1
      ? `   path: ${paths[0]}`
      : paths.length === 0
        ? '   path: unknown'
        : `  paths:\n${paths.map(path => `\t${path}`).join('\n')}`,
  ]
  if (objects.length > 0) {
    lines.push('objects:')
    for (const each of objects) lines.push(`\t${each.ChunkIndex}:\t${each.Key}\t${each.Size}\t${each.Off}\t${each.Len}`)
  }
  return `${lines.join('\n')}\n`
}

/** `200 Bytes`, `4.00 KiB (4096 Bytes)` */
export function bytesText(bytes: number): string {
  if (bytes < 1024) return `${bytes} Bytes`
  const units = ['KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB']
  let value = bytes / 1024
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${value.toFixed(2)} ${units[unit]} (${bytes} Bytes)`
}
