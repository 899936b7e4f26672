/** The first half of a commit on a server with row locks: every record that it builds on is locked, and compared with what was
 *  read. Lock first, check second:
 *
 *      nodes, by ascending inode           locked and compared, by one statement each
 *      lists that shrink, single rows      locked
 *      entries, rows, absent nodes         compared: what comes after a lock sees what was committed before it
 *
 *  Everybody locks in this order, and kind by kind: no deadlocks among ourselves. */

import type { Name } from '../../../base/bytes.ts'
import type { Ino } from '../../../base/ino.ts'
import type { Guard, Strength } from '../../engine.ts'
import { type Change, type Dentry, type Fact, QUOTA_DIR, type Read } from '../../facts.ts'
import type { Attr } from '../../model/attr.ts'
import { type Lock, nodeHoldsOf } from './node-holds.ts'

/** Facts that stand in rows of their own, beside nodes and entries. */
export type RowRead = Exclude<Read, { kind: 'node' | 'dentry' | 'aclId' }>

/** How a server is asked for each. What does not hold must raise an error. */
export interface HoldWords<S> {
  /** Locks the node and compares these columns. */
  compareNode(ino: Ino, attr: Attr, strength: Strength, lock: Lock): S
  requireNode(ino: Ino, lock: Lock): S
  /** Whether it is there or not. */
  lockNode(ino: Ino, lock: Lock): S
  absentNode(ino: Ino): S
  /** Locks the list, and compares its beginning. */
  comparePrefix(change: Change & { kind: 'replaceSlices' }): S
  /** Locks the entry where it is there, and compares it. */
  compareEntry(parent: Ino, name: Name, fact: Dentry | null): S
  /** Is the directory as empty as it was? */
  compareEmpty(ino: Ino, empty: boolean): S
  lockRows(read: RowRead): S[]
  compareRows(read: RowRead, fact: Fact): S
}

const IDENTITY = ['type', 'flags', 'mode', 'uid', 'gid', 'rdev', 'parent', 'access_acl_id', 'default_acl_id', 'tier_id']
const LENGTH = ['nlink', 'length']
const TIMES = ['atime', 'mtime', 'ctime', 'atimensec', 'mtimensec', 'ctimensec']
/** The columns of a node that each strength compares, in the order of their values. */
export const COMPARED: Readonly<Record<Strength, readonly string[]>> = {
  identity: IDENTITY,
  length: [...IDENTITY, ...LENGTH],
  exact: [...IDENTITY, ...LENGTH, ...TIMES],
}

export function holdPlan<S>(words: HoldWords<S>, guards: readonly Guard[], changes: readonly Change[]): S[] {
  const locks: S[] = []
  const checks: S[] = []
  for (const [ino, hold] of nodeHoldsOf(guards, changes)) {
    if (hold.attr !== undefined) locks.push(words.compareNode(ino, hold.attr, hold.strength, hold.lock))
    else if (hold.mustExist) locks.push(words.requireNode(ino, hold.lock))
    else if (!hold.mustBeAbsent) locks.push(words.lockNode(ino, hold.lock))
    else checks.push(words.absentNode(ino))
  }
  for (const change of changes) {
    if (change.kind === 'replaceSlices') locks.push(words.comparePrefix(change))
  }
  for (const { read, fact } of guards) {
    if (read.kind === 'node' || read.kind === 'aclId') continue
    if (read.kind === 'dentry') checks.push(...entryChecks(words, read, fact as Dentry | null, changes))
    else {
      locks.push(...words.lockRows(read))
      checks.push(words.compareRows(read, fact))
    }
  }
  return [...locks, ...checks]
}

/** The entry, and whether its directory is still empty. Where this commit inserts or replaces the entry itself, that statement
 *  checks it (apply.ts). */
function entryChecks<S>(
  words: HoldWords<S>,
  { parent, name }: Read & { kind: 'dentry' },
  fact: Dentry | null,
  changes: readonly Change[],
): S[] {
  const checks: S[] = []
  const isWritten = changes.some(
    change =>
      (change.kind === 'setDentry' || change.kind === 'delDentry') && change.parent === parent && change.name === name,
  )
  if (!isWritten) checks.push(words.compareEntry(parent, name, fact))
  if (fact?.empty !== undefined) checks.push(words.compareEmpty(fact.ino, fact.empty))
  return checks
}

/** The row that a fact of one row stands in: its table, and the columns that its values name. Null for lists, which are held by
 *  their node. The setting has one row that matters. */
export function rowOf(read: RowRead): { readonly table: string; readonly key: readonly string[] } | null {
  switch (read.kind) {
    case 'chunk':
      return { table: 'chunk', key: ['inode', 'indx'] }
    case 'xattr':
      return { table: 'xattr', key: ['inode', 'name'] }
    case 'sliceRefs':
      return { table: 'chunk_ref', key: ['chunkid', 'size'] }
    case 'sustained':
      return { table: 'sustained', key: ['sid', 'inode'] }
    case 'deadFile':
      return { table: 'delfile', key: ['inode'] }
    case 'trashedSlices':
      return { table: 'delslices', key: ['chunkid', 'deleted'] }
    case 'dirUsage':
      return { table: 'dir_stats', key: ['inode'] }
    case 'quota':
      return read.type === QUOTA_DIR
        ? { table: 'dir_quota', key: ['inode'] }
        : { table: 'user_group_quota', key: ['qtype', 'qkey'] }
    case 'session':
      return { table: 'session2', key: ['sid'] }
    case 'counter':
      return { table: 'counter', key: ['name'] }
    case 'format':
      return { table: 'setting', key: [] }
    default:
      return null
  }
}
