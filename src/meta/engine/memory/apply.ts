/** Changes into maps. What a change builds on is asked of all of them first, so that a refusal leaves nothing behind. */

import type { Guard } from '../../engine.ts'
import { type Change, type Dentry, QUOTA_DIR } from '../../facts.ts'
import { SLICE_RECORD_BYTES } from '../../model/slice.ts'
import { deleteFrom, entryOf, lockKey, type Tables } from './tables.ts'

/** Is what the change builds on not there, or its key taken by something that the operation has not seen? */
export function isRefused(tables: Tables, change: Change, guards: readonly Guard[]): boolean {
  switch (change.kind) {
    case 'putNode':
      return tables.nodes.has(change.ino) && !guards.some(guard => hasSeenNode(guard, change.ino))
    case 'setDentry':
      return tables.edge(change.parent, change.name) !== undefined && !guards.some(guard => hasSeenEntry(guard, change))
    case 'adjustDir':
    case 'extendNode':
      return !tables.nodes.has(change.ino)
    case 'replaceSlices': {
      const stored = tables.chunks.get(change.ino)?.get(change.index)
      return stored === undefined || !stored.subarray(0, change.prefix.length).equals(change.prefix)
    }
    case 'newSlice':
      return tables.sliceRefs.has(change.id)
    default:
      return false
  }
}

const hasSeenNode = ({ read, fact }: Guard, ino: number): boolean => {
  if (fact === null) return false
  if (read.kind === 'node') return read.ino === ino
  if (read.kind !== 'dentry') return false
  const found = fact as Dentry
  return found.ino === ino && found.attr !== null
}
const hasSeenEntry = ({ read, fact }: Guard, { parent, name }: Change & { kind: 'setDentry' }): boolean =>
  fact !== null && read.kind === 'dentry' && read.parent === parent && read.name === name

/** Makes it so; returns the result that facts.ts names for this kind of change. Buffers are copied: they are borrowed. */
export function applyChange(tables: Tables, change: Change): number | undefined {
  switch (change.kind) {
    case 'putNode':
      tables.nodes.set(change.ino, change.attr)
      return undefined
    case 'adjustDir': {
      const attr = tables.nodes.get(change.ino)!
      const times = change.at === null ? {} : { mtime: change.at, ctime: change.at }
      tables.nodes.set(change.ino, { ...attr, ...times, nlink: attr.nlink + change.nlink })
      return undefined
    }
    case 'extendNode': {
      const attr = tables.nodes.get(change.ino)!
      const { mtime, ctime } = change
      tables.nodes.set(change.ino, { ...attr, length: Math.max(attr.length, change.length), mtime, ctime })
      return undefined
    }
    case 'delNode':
      tables.nodes.delete(change.ino)
      return undefined
    case 'setDentry':
      tables.setEdge(change.parent, change.name, { ino: change.ino, type: change.type })
      return undefined
    case 'delDentry':
      tables.deleteEdge(change.parent, change.name)
      return undefined
    case 'linkParent':
    case 'delParents':
      return undefined // parents are derived from the entries
    case 'putSymlink':
      tables.symlinks.set(change.ino, change.target)
      return undefined
    case 'delSymlink':
      tables.symlinks.delete(change.ino)
      return undefined
    case 'appendSlices': {
      const lists = entryOf(tables.chunks, change.ino, () => new Map<number, Buffer>())
      const list = Buffer.concat([lists.get(change.index) ?? Buffer.alloc(0), change.records])
      lists.set(change.index, list)
      return list.length / SLICE_RECORD_BYTES
    }
    case 'replaceSlices': {
      const lists = tables.chunks.get(change.ino)!
      const rest = lists.get(change.index)!.subarray(change.prefix.length)
      lists.set(change.index, Buffer.concat([change.records, rest]))
      return undefined
    }
    case 'delChunk':
      deleteFrom(tables.chunks, change.ino, change.index)
      return undefined
    case 'newSlice':
      tables.sliceRefs.set(change.id, { size: change.size, refs: change.refs })
      return undefined
    case 'refSlice': {
      const slice = tables.sliceRefs.get(change.id)
      if (slice?.size !== change.size) return undefined
      const refs = slice.refs + change.delta
      tables.sliceRefs.set(change.id, { size: slice.size, refs })
      return refs
    }
    case 'delSliceRefs':
      if (tables.sliceRefs.get(change.id)?.size === change.size) tables.sliceRefs.delete(change.id)
      return undefined
    case 'putXattr':
      entryOf(tables.xattrs, change.ino, () => new Map<string, Buffer>()).set(change.name, Buffer.from(change.value))
      return undefined
    case 'delXattr':
      deleteFrom(tables.xattrs, change.ino, change.name)
      return undefined
    case 'delXattrs':
      tables.xattrs.delete(change.ino)
      return undefined
    case 'sustain':
      entryOf(tables.sustained, change.sid, () => new Set()).add(change.ino)
      return undefined
    case 'unsustain':
      deleteFrom(tables.sustained, change.sid, change.ino)
      return undefined
    case 'deadFile':
      tables.deadFiles.set(change.ino, { length: change.length, at: change.at })
      return undefined
    case 'delDeadFile':
      tables.deadFiles.delete(change.ino)
      return undefined
    case 'trashSlices':
      tables.trashedSlices.set(change.id, { at: change.at, items: Buffer.from(change.items) })
      return undefined
    case 'delTrashedSlices':
      if (tables.trashedSlices.get(change.id)?.at === change.at) tables.trashedSlices.delete(change.id)
      return undefined
    case 'putFlock': {
      const { ino, sid, owner, type } = change
      if (type === null) deleteFrom(tables.flocks, ino, lockKey(sid, owner))
      else entryOf(tables.flocks, ino, () => new Map()).set(lockKey(sid, owner), { ino, sid, owner, type })
      return undefined
    }
    case 'putPlock': {
      const { ino, sid, owner } = change
      const records = Buffer.from(change.records)
      if (records.length === 0) deleteFrom(tables.plocks, ino, lockKey(sid, owner))
      else entryOf(tables.plocks, ino, () => new Map()).set(lockKey(sid, owner), { ino, sid, owner, records })
      return undefined
    }
    case 'newDirUsage':
      tables.dirUsages.set(change.ino, { length: 0, space: 0, inodes: 0 })
      return undefined
    case 'putDirUsage':
      tables.dirUsages.set(change.ino, { ...change.usage })
      return undefined
    case 'delDirUsage':
      tables.dirUsages.delete(change.ino)
      return undefined
    case 'dirUsage': {
      const usage = tables.dirUsages.get(change.ino)
      if (usage === undefined) return undefined
      const { length, space, inodes } = usage
      tables.dirUsages.set(change.ino, {
        length: length + change.length,
        space: space + change.space,
        inodes: inodes + change.inodes,
      })
      return undefined
    }
    case 'usage':
      tables.counters.set('usedSpace', (tables.counters.get('usedSpace') ?? 0) + change.space)
      tables.counters.set('totalInodes', (tables.counters.get('totalInodes') ?? 0) + change.inodes)
      return undefined
    case 'quotaUsage':
      addQuotaUsage(tables, change)
      return undefined
    case 'putQuota':
      tables.quotas[change.type].set(change.key, { ...change.quota })
      return undefined
    case 'delQuota':
      tables.quotas[change.type].delete(change.key)
      return undefined
    case 'putCounter':
      tables.counters.set(change.name, change.value)
      return undefined
    case 'putSession': {
      const info = change.info ?? tables.sessions.get(change.sid)?.info ?? null
      tables.sessions.set(change.sid, { expire: change.expire, info })
      return undefined
    }
    case 'delSession':
      tables.sessions.delete(change.sid)
      dropLocks(tables.flocks, change.sid)
      dropLocks(tables.plocks, change.sid)
      return undefined
    case 'putFormat':
      tables.format = change.json
      return undefined
  }
}

/** A directory without a quota has none; users and groups get a record without limits. */
function addQuotaUsage(tables: Tables, { type, key, space, inodes }: Change & { kind: 'quotaUsage' }): void {
  const quotas = tables.quotas[type]
  const quota = quotas.get(key)
  if (quota === undefined) {
    if (type !== QUOTA_DIR) quotas.set(key, { maxSpace: -1, maxInodes: -1, usedSpace: space, usedInodes: inodes })
    return
  }
  quotas.set(key, { ...quota, usedSpace: quota.usedSpace + space, usedInodes: quota.usedInodes + inodes })
}

function dropLocks(table: Map<number, Map<string, { readonly sid: number }>>, sid: number): void {
  for (const [ino, rows] of table) {
    for (const [key, row] of rows) if (row.sid === sid) rows.delete(key)
    if (rows.size === 0) table.delete(ino)
  }
}
