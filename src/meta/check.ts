/** Do a volume's records agree with each other? Everything stored is listed once and counted again: link counts, parents,
 *  usage, references, reachability. Tests, the race simulation and `fsck` ask the same questions.
 *
 *      nodes ◄── entries          every entry names a node, every node has as many names as it says, in the directories
 *        ▲                        it says, and can be reached from the root, the trash or a session
 *        ├── chunks ──► slice refs ◄── trashed slices
 *        └── usage: of the volume, of every directory (its children), of every quota (all that lies below)
 *
 *  What others change meanwhile may look like a violation: ask again, or on a volume at rest. Memory: some 500 bytes a node. */

import { nameToText, readU64 } from '../base/bytes.ts'
import { type Ino, inoToString, isTrash, NO_INO, ROOT_INO, TRASH_INO } from '../base/ino.ts'
import type { DirEntry, Engine } from './engine.ts'
import { type CounterName, type DirUsage, QUOTA_DIR, type Quota } from './facts.ts'
import { type Attr, spaceOf, TYPE_DIRECTORY, TYPE_FILE, TYPE_SYMLINK } from './model/attr.ts'
import { namedSlices } from './model/slice.ts'
import { rowsOf } from './scan.ts'

/** What is wrong, one line each; empty for a sound volume. */
export async function checkVolume(engine: Engine): Promise<string[]> {
  const volume = await Volume.read(engine)
  const wrong = [
    ...checkEntries(volume),
    ...checkNames(volume),
    ...checkReachable(volume),
    ...checkUsage(volume),
    ...checkDirectoryUsage(volume),
    ...checkQuotas(volume),
  ]
  for await (const line of checkChunks(engine, volume)) wrong.push(line)
  for await (const line of checkTargets(engine, volume)) wrong.push(line)
  return wrong
}

interface Name {
  readonly parent: Ino
  readonly entry: DirEntry
}

class Volume {
  readonly nodes = new Map<Ino, Attr>()
  readonly entries = new Map<Ino, readonly DirEntry[]>()
  /** the names of every node */
  readonly names = new Map<Ino, Name[]>()
  /** parents as the layout has them, of nodes with several names */
  readonly parents = new Map<Ino, ReadonlyMap<Ino, number>>()
  /** nodes that a session keeps open without a name */
  readonly sustained = new Map<Ino, number>()
  readonly deadFiles = new Set<Ino>()
  readonly dirUsages = new Map<Ino, DirUsage>()
  readonly quotas = new Map<Ino, Quota>()
  readonly counters = new Map<CounterName, number>()
  dirStats = true

  static async read(engine: Engine): Promise<Volume> {
    const volume = new Volume()
    await volume.#readNodes(engine)
    for await (const { sid } of rowsOf(engine, 'sessions', {})) {
      for await (const { ino } of rowsOf(engine, 'sustained', { sid })) volume.sustained.set(ino, sid)
    }
    for await (const { ino } of rowsOf(engine, 'deadFiles', { before: Number.MAX_SAFE_INTEGER }))
      volume.deadFiles.add(ino)
    for await (const { ino, usage } of rowsOf(engine, 'dirUsages', {})) volume.dirUsages.set(ino, usage)
    for await (const { key, quota } of rowsOf(engine, 'quotas', { type: QUOTA_DIR }))
      volume.quotas.set(key as Ino, quota)
    const names = ['usedSpace', 'totalInodes', 'nextInode', 'nextChunk', 'nextTrash'] as const
    const values = await engine.gather(
      names.map(name => ({ kind: 'counter', name })),
      'look',
    )
    for (const [i, name] of names.entries()) volume.counters.set(name, values[i] as number)
    const [format] = await engine.gather([{ kind: 'format' }], 'look')
    volume.dirStats = format === null || (JSON.parse(format as string) as { DirStats?: boolean }).DirStats !== false
    return volume
  }

  async #readNodes(engine: Engine): Promise<void> {
    for await (const { ino, attr } of rowsOf(engine, 'nodes', {})) this.nodes.set(ino, attr)
    for (const [ino, attr] of this.nodes) {
      if (attr.type === TYPE_DIRECTORY) {
        const entries: DirEntry[] = []
        for await (const entry of rowsOf(engine, 'entries', { parent: ino, attrs: false })) entries.push(entry)
        this.entries.set(ino, entries)
        for (const entry of entries) {
          const names = this.names.get(entry.ino)
          if (names) names.push({ parent: ino, entry })
          else this.names.set(entry.ino, [{ parent: ino, entry }])
        }
      } else if (attr.parent === NO_INO) {
        const [counts] = await engine.gather([{ kind: 'parents', ino }], 'look')
        this.parents.set(ino, new Map((counts as { parent: Ino; count: number }[]).map(c => [c.parent, c.count])))
      }
    }
  }
}

const text = inoToString
const isTop = (ino: Ino): boolean => ino === ROOT_INO || ino === TRASH_INO

/** Every entry names a node of its type. */
function* checkEntries({ nodes, entries }: Volume): Generator<string> {
  for (const [parent, list] of entries) {
    for (const { name, ino, type } of list) {
      const attr = nodes.get(ino)
      const where = `entry '${nameToText(name)}' of directory ${text(parent)}`
      if (attr === undefined) yield `${where} names inode ${text(ino)}, which is gone`
      else if (attr.type !== type) yield `${where} says type ${type}, inode ${text(ino)} says ${attr.type}`
    }
  }
}

/** Link counts, and where a node says its names are. */
function* checkNames(volume: Volume): Generator<string> {
  for (const [ino, attr] of volume.nodes) {
    const names = volume.names.get(ino) ?? []
    if (attr.type === TYPE_DIRECTORY) yield* checkDirectory(volume, ino, attr, names)
    else yield* checkNode(volume, ino, attr, names)
  }
}

function* checkDirectory({ entries }: Volume, ino: Ino, attr: Attr, names: readonly Name[]): Generator<string> {
  const directory = `directory ${text(ino)}`
  if (isTop(ino)) {
    if (attr.parent !== ROOT_INO) yield `${directory} has parent ${text(attr.parent)}`
    if (names.length > 0) yield `${directory} is an entry of directory ${text(names[0]!.parent)}`
  } else {
    if (names.length > 1) yield `${directory} has ${names.length} names`
    const found = names[0]?.parent
    if (found !== undefined && found !== attr.parent) {
      yield `${directory} says its parent is ${text(attr.parent)}, its name is in ${text(found)}`
    }
  }
  // What comes and goes in the trash leaves the attributes of its directories as they are.
  const children = isTrash(ino) ? 0 : entries.get(ino)!.filter(entry => entry.type === TYPE_DIRECTORY).length
  if (attr.nlink !== 2 + children) yield `${directory} has nlink ${attr.nlink} and ${children} directories in it`
}

function* checkNode(volume: Volume, ino: Ino, attr: Attr, names: readonly Name[]): Generator<string> {
  const node = `inode ${text(ino)}`
  if (attr.nlink !== names.length) yield `${node} has nlink ${attr.nlink} and ${names.length} names`
  const sid = volume.sustained.get(ino)
  if (sid !== undefined && attr.nlink > 0) yield `${node} has names, and session ${sid} keeps it as unlinked`
  if (attr.parent === NO_INO) {
    const found = new Map<Ino, number>()
    for (const { parent } of names) found.set(parent, (found.get(parent) ?? 0) + 1)
    const counted = volume.parents.get(ino)!
    for (const parent of new Set([...found.keys(), ...counted.keys()])) {
      const [count = 0, said = 0] = [found.get(parent), counted.get(parent)]
      if (count !== said) yield `${node} has ${count} names in directory ${text(parent)}, it counts ${said}`
    }
  } else {
    for (const { parent } of names) {
      if (parent !== attr.parent) yield `${node} says its parent is ${text(attr.parent)}, a name is in ${text(parent)}`
    }
  }
}

/** From the root and the trash, by entries, every node can be reached, or a session keeps it. */
function* checkReachable({ nodes, entries, sustained }: Volume): Generator<string> {
  const reached = new Set<Ino>()
  const open: Ino[] = [ROOT_INO, TRASH_INO]
  for (let ino = open.pop(); ino !== undefined; ino = open.pop()) {
    if (reached.has(ino)) continue
    reached.add(ino)
    for (const entry of entries.get(ino) ?? []) open.push(entry.ino)
  }
  for (const ino of nodes.keys()) {
    if (!reached.has(ino) && !sustained.has(ino)) yield `inode ${text(ino)} cannot be reached, and no session keeps it`
  }
  if (!nodes.has(ROOT_INO)) yield 'there is no root directory'
  for (const [ino, sid] of sustained) {
    if (!nodes.has(ino)) yield `session ${sid} keeps inode ${text(ino)}, which is gone`
  }
}

/** The volume's counters. */
function* checkUsage({ nodes, counters }: Volume): Generator<string> {
  let [space, inodes, last, hours] = [0, 0, 0, 0]
  for (const [ino, attr] of nodes) {
    if (isTop(ino)) continue
    space += spaceOf(attr)
    inodes++
    if (isTrash(ino)) hours = Math.max(hours, ino - TRASH_INO)
    else last = Math.max(last, ino)
  }
  const [usedSpace, totalInodes] = [counters.get('usedSpace')!, counters.get('totalInodes')!]
  if (usedSpace !== space) yield `usedSpace is ${usedSpace}, the nodes take ${space}`
  if (totalInodes !== inodes) yield `totalInodes is ${totalInodes}, there are ${inodes}`
  if (last > counters.get('nextInode')!) yield `inode ${last} is beyond nextInode ${counters.get('nextInode')}`
  if (hours > counters.get('nextTrash')!)
    yield `trash directory ${hours} is beyond nextTrash ${counters.get('nextTrash')}`
}

/** A directory's record counts its children; one without a record is counted when somebody asks. */
function* checkDirectoryUsage(volume: Volume): Generator<string> {
  if (!volume.dirStats) return
  for (const [ino, usage] of volume.dirUsages) {
    const entries = volume.entries.get(ino)
    if (entries === undefined) {
      yield `directory usage is kept for inode ${text(ino)}, which is no directory`
      continue
    }
    const counted = sumOf(volume, entries)
    for (const what of ['length', 'space', 'inodes'] as const) {
      if (usage[what] !== counted[what]) {
        yield `directory ${text(ino)} says its children's ${what} is ${usage[what]}, it is ${counted[what]}`
      }
    }
  }
}

function sumOf({ nodes }: Volume, entries: readonly DirEntry[]): DirUsage {
  let [length, space] = [0, 0]
  for (const { ino } of entries) {
    const attr = nodes.get(ino)
    length += attr?.type === TYPE_FILE ? attr.length : 0
    space += attr === undefined ? 4096 : spaceOf(attr)
  }
  return { length, space, inodes: entries.length }
}

/** A quota counts every entry below its directory, hard links each time. */
function* checkQuotas(volume: Volume): Generator<string> {
  for (const [ino, { usedSpace, usedInodes }] of volume.quotas) {
    if (!volume.entries.has(ino)) {
      yield `a quota is kept for inode ${text(ino)}, which is no directory`
      continue
    }
    let [space, inodes] = [0, 0]
    const seen = new Set<Ino>()
    const open: Ino[] = [ino]
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      if (seen.has(at)) continue
      seen.add(at)
      const entries = volume.entries.get(at) ?? []
      const sum = sumOf(volume, entries)
      space += sum.space
      inodes += sum.inodes
      for (const entry of entries) if (entry.type === TYPE_DIRECTORY) open.push(entry.ino)
    }
    if (usedSpace !== space || usedInodes !== inodes) {
      yield `the quota of directory ${text(ino)} counts ${usedSpace} bytes, ${usedInodes} inodes; below it are ${space}, ${inodes}`
    }
  }
}

const TRASHED_ITEM_BYTES = 12

/** Chunk lists belong to files, or to removed ones; slices are referred to as often as they count. */
async function* checkChunks(engine: Engine, { nodes, deadFiles, counters }: Volume): AsyncGenerator<string> {
  const found = new Map<string, { id: number; size: number; count: number }>()
  let last = 0
  const refer = (id: number, size: number): void => {
    last = Math.max(last, id)
    const slice = found.get(`${id} ${size}`)
    if (slice) slice.count++
    else found.set(`${id} ${size}`, { id, size, count: 1 })
  }
  for (const ino of deadFiles) if (nodes.has(ino)) yield `inode ${text(ino)} is there, and recorded as removed`
  for await (const { ino, index, records } of rowsOf(engine, 'chunks', { ino: null })) {
    const isFile = nodes.get(ino)?.type === TYPE_FILE
    if (!isFile && !deadFiles.has(ino)) yield `chunk ${index} of inode ${text(ino)}, which is no file`
    for (const { id, size } of namedSlices(records)) if (id > 0) refer(id, size)
  }
  for await (const { items } of rowsOf(engine, 'trashedSlices', { before: Number.MAX_SAFE_INTEGER })) {
    for (let at = 0; at < items.length; at += TRASHED_ITEM_BYTES) refer(readU64(items, at), items.readUInt32BE(at + 8))
  }
  if (last > counters.get('nextChunk')!) yield `slice ${last} is beyond nextChunk ${counters.get('nextChunk')}`
  for await (const { id, size, refs } of rowsOf(engine, 'sliceRefs', {})) {
    const count = found.get(`${id} ${size}`)?.count ?? 0
    found.delete(`${id} ${size}`)
    if (count !== Math.max(refs, 0))
      yield `slice ${id} of ${size} bytes is referred to ${count} times, it counts ${refs}`
  }
  for (const { id, size, count } of found.values()) {
    // Not listed: a layout may leave out what is referred to once.
    const [refs] = await engine.gather([{ kind: 'sliceRefs', id, size }], 'look')
    if (refs !== count)
      yield `slice ${id} of ${size} bytes is referred to ${count} times, it counts ${refs ?? 'nothing'}`
  }
}

/** What nodes refer to besides: the targets of symlinks, ACL rules. */
async function* checkTargets(engine: Engine, { nodes }: Volume): AsyncGenerator<string> {
  const rules = new Set<number>()
  for (const [ino, attr] of nodes) {
    if (attr.accessAcl !== 0) rules.add(attr.accessAcl)
    if (attr.defaultAcl !== 0) rules.add(attr.defaultAcl)
    if (attr.type !== TYPE_SYMLINK) continue
    const [target] = await engine.gather([{ kind: 'symlink', ino }], 'look')
    if (target === null) yield `symlink ${text(ino)} has no target`
    else if ((target as string).length !== attr.length)
      yield `symlink ${text(ino)} has length ${attr.length}, its target has ${(target as string).length}`
  }
  for (const id of rules) {
    const [rule] = await engine.gather([{ kind: 'aclRule', id }], 'look')
    if (rule === null) yield `ACL rule ${id} is not stored`
  }
}
