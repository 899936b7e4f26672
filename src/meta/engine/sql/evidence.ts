/** What became of a commit whose reply was lost? It must not be applied twice, nor be called failed when it stands. Once nothing
 *  can change any more by the connection that broke (its engine sees to that), what the commit would have made is looked for:
 *  ids that are nobody else's.
 *
 *  Found: it is done. The old still there: it is not. Neither: nobody knows, and the caller hears a fault. A name can come
 *  back to what it was (another client undid a rename), a node cannot, since its ctime goes on: a node that is neither says
 *  that nobody knows, whatever the names say. */

import type { Time } from '../../../base/clock.ts'
import type { Ino } from '../../../base/ino.ts'
import type { Guard } from '../../engine.ts'
import { type Change, type Dentry, dentry, type Fact, node, type Read } from '../../facts.ts'
import { holds } from '../../guard.ts'
import type { Attr } from '../../model/attr.ts'
import { SLICE_RECORD_BYTES } from '../../model/slice.ts'
import { hasNode, seenDentry } from './seen.ts'

export type Fate = 'done' | 'undone' | 'unknown'

/** What shows by itself whether a change was made, and how to tell. */
interface Evidence {
  readonly read: Read
  tell(now: Fact): Fate
  /** What it was it will never be again: that it is neither that nor what was wished outweighs what names say. */
  readonly isUnique?: boolean
}

/** What to read to know the fate of these changes; empty where nothing would show it. */
export function evidenceOf(guards: readonly Guard[], changes: readonly Change[]): readonly Evidence[] {
  return changes.map(change => evidence(guards, change)).filter(each => each !== null)
}

/** The changes were made all together or not at all, so one that can be told tells of all. */
export function fateOf(found: readonly Evidence[], facts: readonly Fact[]): Fate {
  const fates = found.map((each, i) => each.tell(facts[i] as Fact))
  if (fates.includes('done')) return 'done'
  if (found.some((each, i) => each.isUnique === true && fates[i] === 'unknown')) return 'unknown'
  return fates.includes('undone') ? 'undone' : 'unknown'
}

function evidence(guards: readonly Guard[], change: Change): Evidence | null {
  switch (change.kind) {
    case 'putNode':
      return nodeEvidence(guards, change.ino, change.attr)
    case 'delNode':
      return nodeEvidence(guards, change.ino, null)
    case 'extendNode':
      return extensionEvidence(guards, change)
    case 'setDentry': {
      const { parent, name, ino } = change
      const before = seenDentry(guards, parent, name) ?? null
      if (before?.ino === ino) return null
      return {
        read: dentry(parent, name),
        tell: now => {
          const found = (now as Dentry | null)?.ino
          return found === ino ? 'done' : found === before?.ino ? 'undone' : 'unknown'
        },
      }
    }
    case 'delDentry': {
      const before = seenDentry(guards, change.parent, change.name)
      if (before === undefined) return null
      // Where it is gone, somebody else may have taken it.
      return {
        read: dentry(change.parent, change.name),
        tell: now => ((now as Dentry | null)?.ino === before.ino ? 'undone' : 'unknown'),
      }
    }
    case 'newSlice':
      return {
        read: { kind: 'sliceRefs', id: change.id, size: change.size },
        // No id is given out twice. Where it is not there, it may also have been named, merged into another slice and deleted, by
        // another client: that is for the node to say.
        tell: now => (now === null ? 'undone' : 'done'),
      }
    case 'deadFile':
      return {
        read: { kind: 'deadFile', ino: change.ino },
        tell: now => {
          const found = now as { length: number; at: number } | null
          return found?.length === change.length && found.at === change.at ? 'done' : 'unknown'
        },
      }
    case 'delSliceRefs':
      return {
        read: { kind: 'sliceRefs', id: change.id, size: change.size },
        tell: now => (now === null ? 'done' : 'undone'), // that it is gone is all that counts
      }
    case 'delChunk':
      return {
        read: { kind: 'chunk', ino: change.ino, index: change.index },
        tell: now => (now === null ? 'unknown' : 'undone'),
      }
    // Rows that are this client's alone, or where being as wished is all that counts.
    case 'putFlock':
    case 'putPlock':
    case 'putSession':
    case 'putXattr':
    case 'sustain':
    case 'unsustain':
      return ownEvidence(guards, change)
    default:
      return null
  }
}

function nodeEvidence(guards: readonly Guard[], ino: Ino, after: Attr | null): Evidence {
  const read = node(ino)
  // The number of a new one is ours alone, whatever has become of the node since.
  if (!hasNode(guards, ino)) return { read, tell: now => (now === null ? 'undone' : 'done') }
  return {
    read,
    isUnique: true,
    tell: now => {
      if (after !== null && holds({ read, fact: after, strength: 'exact' }, now)) return 'done' // our ctime is in it
      return guards.some(guard => isOfNode(guard, ino) && holds({ read, fact: attrOf(guard), strength: 'exact' }, now))
        ? 'undone'
        : 'unknown'
    },
  }
}

/** Times to the nanosecond that this commit alone carries, unless the file was changed again since. Null where it had them before. */
function extensionEvidence(guards: readonly Guard[], change: Change & { kind: 'extendNode' }): Evidence | null {
  const { ino, mtime, ctime } = change
  const seen = guards.find(guard => isOfNode(guard, ino))
  const before = seen === undefined ? null : attrOf(seen)
  const hasThem = (attr: Attr | null): boolean =>
    attr !== null && timeIsEqual(attr.mtime, mtime) && timeIsEqual(attr.ctime, ctime)
  if (before === null || hasThem(before)) return null
  const read = node(ino)
  return {
    read,
    isUnique: true,
    tell: now => {
      if (hasThem(now as Attr | null)) return 'done'
      return holds({ read, fact: before, strength: 'exact' }, now) ? 'undone' : 'unknown'
    },
  }
}

const timeIsEqual = (a: Time, b: Time): boolean => a.sec === b.sec && a.nsec === b.nsec

const isOfNode = ({ read, fact }: Guard, ino: Ino): boolean =>
  read.kind === 'node' ? read.ino === ino : read.kind === 'dentry' && (fact as Dentry | null)?.ino === ino
const attrOf = ({ read, fact }: Guard): Attr | null =>
  read.kind === 'node' ? (fact as Attr | null) : (fact as Dentry).attr

type Own = Change & { kind: 'putFlock' | 'putPlock' | 'putSession' | 'putXattr' | 'sustain' | 'unsustain' }

function ownEvidence(guards: readonly Guard[], change: Own): Evidence {
  switch (change.kind) {
    case 'putXattr': {
      const { ino, name, value } = change
      return told({ kind: 'xattr', ino, name }, now => (now as Buffer | null)?.equals(value) === true, guards)
    }
    case 'putSession':
      return told(
        { kind: 'session', sid: change.sid },
        now => (now as { expire: number } | null)?.expire === change.expire,
        guards,
      )
    case 'sustain':
    case 'unsustain': {
      const { sid, ino } = change
      return told({ kind: 'sustained', sid, ino }, now => now === (change.kind === 'sustain'), guards)
    }
    case 'putFlock':
    case 'putPlock': {
      const { ino, sid, owner } = change
      const isOurs = (row: { sid: number; owner: string }): boolean => row.sid === sid && row.owner === owner
      if (change.kind === 'putFlock') {
        const read: Read = { kind: 'flocks', ino }
        const isSo = (now: Fact): boolean =>
          ((now as readonly { sid: number; owner: string; type: 'R' | 'W' }[]).find(isOurs)?.type ?? null) ===
          change.type
        return told(read, isSo, guards)
      }
      const isSo = (now: Fact): boolean =>
        (
          (now as readonly { sid: number; owner: string; records: Buffer }[]).find(isOurs)?.records ?? Buffer.alloc(0)
        ).equals(change.records)
      return told({ kind: 'plocks', ino }, isSo, guards)
    }
  }
}

/** It is as wished, or not; where it was so before, that says nothing. */
function told(read: Read, isSo: (now: Fact) => boolean, guards: readonly Guard[]): Evidence {
  const before = guards.find(guard => JSON.stringify(guard.read) === JSON.stringify(read))
  const saysNothing = before !== undefined && isSo(before.fact)
  return { read, tell: now => (saysNothing ? 'unknown' : isSo(now) ? 'done' : 'undone') }
}

/** What must be read for the results of changes that were done. */
export const resultReads = (changes: readonly Change[]): (Read | null)[] =>
  changes.map(change => {
    if (change.kind === 'appendSlices') return { kind: 'chunk', ino: change.ino, index: change.index }
    if (change.kind === 'refSlice') return { kind: 'sliceRefs', id: change.id, size: change.size }
    return null
  })

export const resultOf = (read: Read, fact: Fact): number | undefined =>
  read.kind === 'chunk'
    ? ((fact as Buffer | null)?.length ?? 0) / SLICE_RECORD_BYTES
    : ((fact as number | null) ?? undefined)
