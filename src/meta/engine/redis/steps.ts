/** Changes as steps of the commit script, and what must be so before any of them: an insert meets nobody's record, what is
 *  adjusted is there. */

import { nameToBytes } from '../../../base/bytes.ts'
import { type Ino, inoToString } from '../../../base/ino.ts'
import type { Guard } from '../../engine.ts'
import { type Change, type Dentry, QUOTA_DIR } from '../../facts.ts'
import type { Attr } from '../../model/attr.ts'
import { encodeAttr, encodeTime } from '../../model/attr-record.ts'
import { SLICE_RECORD_BYTES } from '../../model/slice.ts'
import { absentCheck, existsCheck, fieldCheck, prefixCheck } from './checks.ts'
import { type Arg, command, type Instruction } from './instruction.ts'
import { deadMember, type Keys, lockField, quotaField, sliceField, trashedField } from './keys.ts'
import { recordOf } from './raw-facts.ts'
import { counterOffset, type Hints } from './reads.ts'
import { MAX_ARGS } from './scripts.ts'
import { encodeEntry, encodeLimits, NO_LIMITS } from './values.ts'

export interface ChangePlan {
  readonly checks: readonly Instruction[]
  readonly steps: readonly Instruction[]
  /** what the reply of the step with a result (at most one a change) means */
  readonly result?: (reply: number) => number
}

export function planChange(change: Change, guards: readonly Guard[], keys: Keys, hints: Hints): ChangePlan {
  switch (change.kind) {
    case 'putNode': {
      const key = keys.node(change.ino)
      const seen = seenNode(guards, change.ino)
      const put = command('c', 'SET', key, encodeAttr(change.attr, seen === null ? null : recordOf(seen)))
      return seen === null ? { checks: [absentCheck(key)], steps: [put] } : { checks: [], steps: [put] }
    }
    case 'adjustDir': {
      const key = keys.node(change.ino)
      const times = change.at === null ? '' : encodeTime(change.at)
      const isNothing = change.at === null && change.nlink === 0
      const steps = isNothing ? [] : [{ op: 'A', keys: [key], args: [String(change.nlink), times] }]
      return { checks: existing(guards, change.ino, key), steps }
    }
    case 'extendNode': {
      const key = keys.node(change.ino)
      const length = Buffer.alloc(8)
      length.writeBigUInt64BE(BigInt(change.length))
      const args = [encodeTime(change.mtime), encodeTime(change.ctime), length]
      return { checks: existing(guards, change.ino, key), steps: [{ op: 'x', keys: [key], args }] }
    }
    case 'delNode':
      return step('DEL', keys.node(change.ino))
    case 'setDentry': {
      const key = keys.entries(change.parent)
      const name = nameToBytes(change.name)
      const put = command('c', 'HSET', key, name, encodeEntry(change.ino, change.type))
      return { checks: hasSeenEntry(guards, change) ? [] : [fieldCheck(key, name, null)], steps: [put] }
    }
    case 'delDentry':
      return step('HDEL', keys.entries(change.parent), nameToBytes(change.name))
    case 'linkParent':
      return step('HINCRBY', keys.parents(change.ino), inoToString(change.parent), String(change.delta))
    case 'delParents':
      return step('DEL', keys.parents(change.ino))
    case 'putSymlink':
      return step('SET', keys.symlink(change.ino), nameToBytes(change.target))
    case 'delSymlink':
      return step('DEL', keys.symlink(change.ino))
    case 'appendSlices':
      return {
        checks: [],
        steps: pushes('RPUSH', keys.chunk(change.ino, change.index), elementsOf(change.records)),
        result: reply => reply,
      }
    case 'replaceSlices':
      return replaceSlices(change, keys)
    case 'delChunk':
      return step('DEL', keys.chunk(change.ino, change.index))
    case 'newSlice': {
      // One reference is what a slice without a record has.
      const field = sliceField(change.id, change.size)
      const put = change.refs === 1 ? [] : [command('c', 'HSET', keys.sliceRefs, field, String(change.refs - 1))]
      return { checks: [fieldCheck(keys.sliceRefs, field, null)], steps: put }
    }
    case 'refSlice': {
      const add = command('r', 'HINCRBY', keys.sliceRefs, sliceField(change.id, change.size), String(change.delta))
      return { checks: [], steps: [add], result: reply => reply + 1 }
    }
    case 'delSliceRefs':
      return step('HDEL', keys.sliceRefs, sliceField(change.id, change.size))
    case 'putXattr':
      return step('HSET', keys.xattrs(change.ino), nameToBytes(change.name), change.value)
    case 'delXattr':
      return step('HDEL', keys.xattrs(change.ino), nameToBytes(change.name))
    case 'delXattrs':
      return step('DEL', keys.xattrs(change.ino))
    case 'sustain':
      return step('SADD', keys.sustained(change.sid), inoToString(change.ino))
    case 'unsustain':
      return step('SREM', keys.sustained(change.sid), inoToString(change.ino))
    case 'deadFile':
      return step('ZADD', keys.deadFiles, String(change.at), deadMember(change.ino, change.length))
    case 'delDeadFile': {
      const length = deadLengthOf(guards, change.ino) ?? hints.deadLengths.get(change.ino)
      return length === undefined ? NOTHING : step('ZREM', keys.deadFiles, deadMember(change.ino, length))
    }
    case 'trashSlices':
      return step('HSET', keys.trashedSlices, trashedField(change.id, change.at), change.items)
    case 'delTrashedSlices':
      return step('HDEL', keys.trashedSlices, trashedField(change.id, change.at))
    case 'putFlock':
      return putLock(keys.flocks(change.ino), change, change.type, keys)
    case 'putPlock':
      return putLock(keys.plocks(change.ino), change, change.records.length === 0 ? null : change.records, keys)
    case 'newDirUsage':
      return putDirUsage(change.ino, [0, 0, 0], keys)
    case 'putDirUsage': {
      const { space, length, inodes } = change.usage
      return putDirUsage(change.ino, [space, length, inodes], keys)
    }
    case 'delDirUsage':
      return { checks: [], steps: dirHashes(keys).map(key => command('c', 'HDEL', key, inoToString(change.ino))) }
    case 'dirUsage': {
      const { space, length, inodes } = change
      return addWhereThere(keys.dirSpace, inoToString(change.ino), dirHashes(keys), [space, length, inodes])
    }
    case 'usage':
      return {
        checks: [],
        steps: [
          ...increment(keys.counter('usedSpace'), change.space),
          ...increment(keys.counter('totalInodes'), change.inodes),
        ],
      }
    case 'quotaUsage': {
      const field = quotaField(change.type, change.key)
      const [limits, space, inodes] = keys.quota(change.type)
      // A directory without a quota has none; users and groups get a record without limits.
      if (change.type === QUOTA_DIR) return addWhereThere(limits, field, [space, inodes], [change.space, change.inodes])
      return {
        checks: [],
        steps: [
          command('c', 'HSETNX', limits, field, NO_LIMITS),
          command('c', 'HINCRBY', space, field, String(change.space)),
          command('c', 'HINCRBY', inodes, field, String(change.inodes)),
        ],
      }
    }
    case 'putQuota': {
      const field = quotaField(change.type, change.key)
      const { usedSpace, usedInodes } = change.quota
      const values = [encodeLimits(change.quota), String(usedSpace), String(usedInodes)]
      return {
        checks: [],
        steps: keys.quota(change.type).map((key, i) => command('c', 'HSET', key, field, values[i]!)),
      }
    }
    case 'delQuota': {
      const field = quotaField(change.type, change.key)
      return { checks: [], steps: keys.quota(change.type).map(key => command('c', 'HDEL', key, field)) }
    }
    case 'putCounter':
      return step('SET', keys.counter(change.name), String(change.value - counterOffset(change.name)))
    case 'putSession': {
      const member = String(change.sid)
      const steps = [command('c', 'ZADD', keys.allSessions, String(change.expire), member)]
      if (change.info !== null) steps.push(command('c', 'HSET', keys.sessionInfos, member, change.info))
      return { checks: [], steps }
    }
    case 'delSession': {
      const member = String(change.sid)
      const steps = [
        { op: 'D', keys: [keys.locked(change.sid)], args: [`${member}_`] },
        command('c', 'ZREM', keys.allSessions, member),
        command('c', 'HDEL', keys.sessionInfos, member),
      ]
      if (keys.legacySessions !== null) steps.push(command('c', 'ZREM', keys.legacySessions, member))
      return { checks: [], steps }
    }
    case 'putFormat':
      return step('SET', keys.setting, Buffer.from(change.json, 'utf8'))
  }
}

const NOTHING: ChangePlan = { checks: [], steps: [] }
const step = (name: string, key: string, ...operands: readonly Arg[]): ChangePlan => ({
  checks: [],
  steps: [command('c', name, key, ...operands)],
})
const increment = (key: string, delta: number): Instruction[] =>
  delta === 0 ? [] : [command('c', 'INCRBY', key, String(delta))]

/** The attributes that the operation saw of this node; null where it saw none. */
export function seenNode(guards: readonly Guard[], ino: Ino): Attr | null {
  for (const { read, fact } of guards) {
    if (fact === null) continue
    if (read.kind === 'node' && read.ino === ino) return fact as Attr
    if (read.kind === 'dentry' && (fact as Dentry).ino === ino && (fact as Dentry).attr !== null) {
      return (fact as Dentry).attr
    }
  }
  return null
}
export const hasSeenEntry = (guards: readonly Guard[], { parent, name }: Change & { kind: 'setDentry' }): boolean =>
  guards.some(
    ({ read, fact }) => fact !== null && read.kind === 'dentry' && read.parent === parent && read.name === name,
  )

/** A guard that saw the node proves that it is there. */
const existing = (guards: readonly Guard[], ino: Ino, key: string): Instruction[] =>
  seenNode(guards, ino) === null ? [existsCheck(key)] : []

const deadLengthOf = (guards: readonly Guard[], ino: Ino): number | undefined => {
  const guard = guards.find(({ read, fact }) => read.kind === 'deadFile' && read.ino === ino && fact !== null)
  return (guard?.fact as { length: number } | undefined)?.length
}

function elementsOf(records: Buffer): Buffer[] {
  const elements: Buffer[] = []
  for (let at = 0; at < records.length; at += SLICE_RECORD_BYTES) {
    elements.push(records.subarray(at, at + SLICE_RECORD_BYTES))
  }
  return elements
}

/** In portions that Lua can unpack; the last one's reply, the length of the list, is the result. */
function pushes(name: 'RPUSH' | 'LPUSH', key: string, elements: readonly Buffer[]): Instruction[] {
  const steps: Instruction[] = []
  for (let at = 0; at < elements.length; at += MAX_ARGS) {
    const isLast = at + MAX_ARGS >= elements.length && name === 'RPUSH'
    steps.push(command(isLast ? 'r' : 'c', name, key, ...elements.slice(at, at + MAX_ARGS)))
  }
  return steps
}

/** LTRIM and LPUSH, as the reference does it: what others appended meanwhile stays where it is. */
function replaceSlices(
  { ino, index, prefix, records }: Change & { readonly kind: 'replaceSlices' },
  keys: Keys,
): ChangePlan {
  const key = keys.chunk(ino, index)
  const count = prefix.length / SLICE_RECORD_BYTES
  const steps = [
    command('c', 'LTRIM', key, String(count), '-1'),
    ...pushes('LPUSH', key, elementsOf(records).reverse()),
  ]
  return { checks: [existsCheck(key), prefixCheck(key, count, prefix)], steps }
}

interface LockChange {
  readonly sid: number
  readonly owner: string
}

/** The session's set names every hash in which it has a lock, read locks too (the reference leaves those out and so cannot
 *  find them when it cleans up a dead session). */
function putLock(key: string, { sid, owner }: LockChange, value: Arg | null, keys: Keys): ChangePlan {
  const field = lockField(sid, owner)
  const locked = keys.locked(sid)
  if (value === null) return { checks: [], steps: [{ op: 'u', keys: [key, locked], args: [field, key, `${sid}_`] }] }
  return { checks: [], steps: [command('c', 'HSET', key, field, value), command('c', 'SADD', locked, key)] }
}

const dirHashes = (keys: Keys): readonly string[] => [keys.dirSpace, keys.dirLength, keys.dirInodes]

const putDirUsage = (ino: Ino, values: readonly number[], keys: Keys): ChangePlan => ({
  checks: [],
  steps: dirHashes(keys).map((key, i) => command('c', 'HSET', key, inoToString(ino), String(values[i]))),
})

/** Adds to the field in `hashes`, if `owner` has the field. */
function addWhereThere(owner: string, field: string, hashes: readonly string[], deltas: readonly number[]): ChangePlan {
  const changed = hashes.filter((_, i) => deltas[i] !== 0)
  const by = deltas.filter(delta => delta !== 0).map(String)
  if (changed.length === 0) return NOTHING
  return { checks: [], steps: [{ op: 'i', keys: [owner, ...changed], args: [field, String(changed.length), ...by] }] }
}
