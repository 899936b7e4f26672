/** Which nodes a commit locks, how, and what it compares them with: the same on every server with row locks.
 *
 *  A node that is only looked at is locked FOR SHARE. So creations in one directory (whose times are due only every 100 ms)
 *  commit side by side, while whoever changes or removes the directory waits for them and they for him. A list of records
 *  (locks, chunks, entries) may grow by a row that nobody can lock beforehand: whoever compares a list has the node FOR UPDATE,
 *  whoever adds to it FOR SHARE. */

import type { Ino } from '../../../base/ino.ts'
import type { Guard, Strength } from '../../engine.ts'
import { type Change, type Dentry, type Fact, node, type Read } from '../../facts.ts'
import { holds as holdsNow } from '../../guard.ts'
import { type Attr, TYPE_DIRECTORY } from '../../model/attr.ts'
import { hasNode } from './seen.ts'

export const SHARE = 0
export const UPDATE = 1
export type Lock = typeof SHARE | typeof UPDATE

export interface NodeHold {
  lock: Lock
  /** what it must be; undefined = not compared */
  attr: Attr | undefined
  strength: Strength
  mustExist: boolean
  /** it was not there, and must not be there now */
  mustBeAbsent: boolean
}

const STRENGTHS: readonly Strength[] = ['identity', 'length', 'exact']
const stronger = (a: Strength, b: Strength): Strength => (STRENGTHS.indexOf(a) > STRENGTHS.indexOf(b) ? a : b)

/** Facts made of several rows: their node is locked FOR UPDATE. */
const LISTS: ReadonlySet<string> = new Set(['chunk', 'chunkIndexes', 'xattrNames', 'flocks', 'plocks', 'parents'])

/** By ascending inode: the order in which everybody locks them. A node that was read at two moments, and was not the same, is
 *  there twice: the server finds that one of them does not hold. */
export function nodeHoldsOf(guards: readonly Guard[], changes: readonly Change[]): [Ino, NodeHold][] {
  const holds = new Map<Ino, NodeHold>()
  const contradictions: [Ino, Attr | null][] = []
  const hold = (ino: Ino, lock: Lock): NodeHold => {
    const known = holds.get(ino)
    if (known !== undefined) {
      if (lock > known.lock) known.lock = lock
      return known
    }
    const made: NodeHold = { lock, attr: undefined, strength: 'identity', mustExist: false, mustBeAbsent: false }
    holds.set(ino, made)
    return made
  }
  const compare = (ino: Ino, attr: Attr | null, strength: Strength): void => {
    const known = hold(ino, SHARE)
    known.strength = stronger(strength, known.strength)
    if (known.attr === undefined && !known.mustBeAbsent) compareWith(known, attr)
    else if (!isSame(ino, known.attr ?? null, attr)) contradictions.push([ino, attr])
  }
  for (const { read, fact, strength } of guards) holdRead(read, fact, strength, hold, compare)
  const isNew = new Set<Ino>()
  for (const change of changes) {
    if (change.kind === 'putNode' && !hasNode(guards, change.ino)) isNew.add(change.ino)
  }
  for (const change of changes) {
    switch (change.kind) {
      case 'putNode':
        if (!isNew.has(change.ino)) hold(change.ino, UPDATE)
        break
      case 'delNode':
        hold(change.ino, UPDATE)
        break
      case 'adjustDir':
        hold(change.ino, change.at === null && change.nlink === 0 ? SHARE : UPDATE).mustExist = true
        break
      case 'extendNode':
        hold(change.ino, UPDATE).mustExist = true
        break
      case 'setDentry':
        hold(change.parent, SHARE)
        hold(change.ino, SHARE)
        break
      case 'delDentry':
        hold(change.parent, SHARE)
        break
      case 'appendSlices':
      case 'replaceSlices':
      case 'delChunk':
      case 'putXattr':
      case 'delXattr':
      case 'delXattrs':
      case 'putFlock':
      case 'putPlock':
        hold(change.ino, SHARE)
        break
    }
  }
  // The insert itself finds out whether it is there.
  for (const ino of isNew) holds.delete(ino)
  const again = contradictions.map(([ino, attr]): [Ino, NodeHold] => {
    const other = { ...holds.get(ino)!, attr: undefined, mustBeAbsent: false }
    compareWith(other, attr)
    return [ino, other]
  })
  return [...holds, ...again].sort(([a], [b]) => a - b)
}

function compareWith(hold: NodeHold, attr: Attr | null): void {
  if (attr === null) hold.mustBeAbsent = true
  else hold.attr = attr
}

const isSame = (ino: Ino, a: Attr | null, b: Attr | null): boolean =>
  holdsNow({ read: node(ino), fact: a, strength: 'exact' }, b)

type Hold = (ino: Ino, lock: Lock) => NodeHold
type Compare = (ino: Ino, attr: Attr | null, strength: Strength) => void

function holdRead(read: Read, fact: Fact, strength: Strength, hold: Hold, compare: Compare): void {
  if (read.kind === 'node') compare(read.ino, fact as Attr | null, strength)
  else if (read.kind === 'dentry') {
    hold(read.parent, SHARE)
    const found = fact as Dentry | null
    if (found === null) return
    compare(found.ino, found.attr, strength)
    if (found.empty === true && found.type === TYPE_DIRECTORY) hold(found.ino, UPDATE)
  } else if (read.kind === 'ancestors') {
    for (const ino of fact as readonly Ino[]) hold(ino, SHARE)
  } else if (LISTS.has(read.kind)) {
    hold((read as { ino: Ino }).ino, UPDATE)
  } else if (read.kind === 'xattr' || read.kind === 'symlink') {
    hold(read.ino, SHARE)
  }
}
