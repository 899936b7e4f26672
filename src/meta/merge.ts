/** Brings the changes of one commit to at most one a key: an engine may apply them in any order, or all in one statement. */

import { assert } from '../base/assert.ts'
import { type Time, timeIsLess } from '../base/clock.ts'
import type { Change } from './facts.ts'

export interface Merged {
  readonly changes: readonly Change[]
  /** for every change given, in order: the index of the merged one that has its result */
  readonly resultOf: readonly number[]
}

/** Sums what commutes, folds an adjustment into the record that is put, and asserts that nothing contradicts. */
export function mergeChanges(given: readonly Change[]): Merged {
  const changes: Change[] = []
  const at = new Map<string, number>()
  const resultOf: number[] = []
  let merged = false
  for (const change of given) {
    const key = keyOf(change)
    const known = at.get(key)
    if (known === undefined) {
      at.set(key, changes.length)
      resultOf.push(changes.length)
      changes.push(change)
    } else {
      merged = true
      resultOf.push(known)
      changes[known] = combine(changes[known]!, change)
    }
  }
  return merged ? { changes, resultOf } : { changes: given, resultOf }
}

/** What the change is about: the record it touches. */
function keyOf(change: Change): string {
  switch (change.kind) {
    case 'putNode':
    case 'adjustDir':
    case 'extendNode':
    case 'delNode':
      return `n${change.ino}`
    case 'setDentry':
    case 'delDentry':
      return `d${change.parent}/${change.name}`
    case 'linkParent':
      return `p${change.ino}/${change.parent}`
    case 'delParents':
      return `p${change.ino}`
    case 'putSymlink':
    case 'delSymlink':
      return `s${change.ino}`
    case 'appendSlices':
    case 'replaceSlices':
    case 'delChunk':
      return `c${change.ino}_${change.index}`
    case 'newSlice':
    case 'refSlice':
    case 'delSliceRefs':
      return `r${change.id}_${change.size}`
    case 'putXattr':
    case 'delXattr':
      return `x${change.ino}/${change.name}`
    case 'delXattrs':
      return `x${change.ino}`
    case 'sustain':
    case 'unsustain':
      return `o${change.sid}_${change.ino}`
    case 'deadFile':
    case 'delDeadFile':
      return `f${change.ino}`
    case 'trashSlices':
    case 'delTrashedSlices':
      return `t${change.id}_${change.at}`
    case 'putFlock':
      return `lf${change.ino}_${change.sid}_${change.owner}`
    case 'putPlock':
      return `lp${change.ino}_${change.sid}_${change.owner}`
    case 'newDirUsage':
    case 'putDirUsage':
    case 'delDirUsage':
    case 'dirUsage':
      return `u${change.ino}`
    case 'usage':
      return 'U'
    case 'quotaUsage':
    case 'putQuota':
    case 'delQuota':
      return `q${change.type}_${change.key}`
    case 'putCounter':
      return `k${change.name}`
    case 'putSession':
    case 'delSession':
      return `S${change.sid}`
    case 'putFormat':
      return 'F'
  }
}

function combine(first: Change, second: Change): Change {
  const contradiction = `${first.kind} and ${second.kind} of one record in one commit`
  switch (first.kind) {
    case 'putNode':
      if (second.kind === 'adjustDir') {
        const times = second.at === null ? {} : { mtime: second.at, ctime: second.at }
        return { ...first, attr: { ...first.attr, nlink: first.attr.nlink + second.nlink, ...times } }
      }
      if (second.kind === 'extendNode') {
        const { mtime, ctime } = second
        return { ...first, attr: { ...first.attr, length: Math.max(first.attr.length, second.length), mtime, ctime } }
      }
      break
    case 'adjustDir':
      if (second.kind === 'putNode') return combine(second, first)
      if (second.kind === 'adjustDir')
        return { ...first, nlink: first.nlink + second.nlink, at: later(first.at, second.at) }
      break
    case 'extendNode':
      if (second.kind === 'putNode') return combine(second, first)
      if (second.kind === 'extendNode') return { ...second, length: Math.max(first.length, second.length) }
      break
    case 'delDentry':
      if (second.kind === 'setDentry') return second
      break
    case 'linkParent':
      if (second.kind === 'linkParent') return { ...first, delta: first.delta + second.delta }
      break
    case 'appendSlices':
      if (second.kind === 'appendSlices') return { ...first, records: Buffer.concat([first.records, second.records]) }
      break
    case 'newSlice':
      if (second.kind === 'refSlice') return { ...first, refs: first.refs + second.delta }
      break
    case 'refSlice':
      if (second.kind === 'refSlice') return { ...first, delta: first.delta + second.delta }
      break
    case 'dirUsage':
      if (second.kind === 'delDirUsage') return second
      if (second.kind === 'dirUsage') {
        return { ...first, length: first.length + second.length, ...summed(first, second) }
      }
      break
    case 'usage':
      if (second.kind === 'usage') return { ...first, ...summed(first, second) }
      break
    case 'quotaUsage':
      if (second.kind === 'delQuota') return second
      if (second.kind === 'quotaUsage') return { ...first, ...summed(first, second) }
      break
    // what is removed is charged no more
    case 'delQuota':
      if (second.kind === 'quotaUsage') return first
      break
    case 'delDirUsage':
      if (second.kind === 'dirUsage') return first
      break
  }
  assert(false, contradiction)
}

interface Charge {
  readonly space: number
  readonly inodes: number
}
const summed = (a: Charge, b: Charge): Charge => ({ space: a.space + b.space, inodes: a.inodes + b.inodes })

function later(a: Time | null, b: Time | null): Time | null {
  if (a === null || b === null) return a ?? b
  return timeIsLess(a, b) ? b : a
}
