/** Is what an operation read still so? Values are compared, by the strength that the commit needs (engine.ts); no layout
 *  has a version column, and an operation is a pure function of what it read. */

import type { Time } from '../base/clock.ts'
import type { Guard, Strength } from './engine.ts'
import type { Change, Dentry, Fact, Read } from './facts.ts'
import type { Attr } from './model/attr.ts'

/** Does the guard hold against what is read now? */
export function holds(guard: Guard, now: Fact): boolean {
  const { read, fact, strength } = guard
  if (read.kind === 'node') return sameNode(fact as Attr | null, now as Attr | null, strength)
  if (read.kind === 'dentry') return sameDentry(fact as Dentry | null, now as Dentry | null, strength)
  // Rules are never deleted and the id of an equal one is as good.
  if (read.kind === 'aclId') return true
  return sameValue(fact, now)
}

/** One guard a read, as strong as the changes ask: a record that is rewritten must be what it was; one that is extended
 *  must have its length and names (growth was charged by them); one that was only looked at may have new times and link
 *  counts. */
export function guardsOf(reads: readonly Read[], facts: readonly Fact[], changes: readonly Change[]): Guard[] {
  return reads.map((read, i) => {
    const fact = facts[i] as Fact
    let strength: Strength = 'identity'
    const ino = read.kind === 'node' ? read.ino : read.kind === 'dentry' ? (fact as Dentry | null)?.ino : undefined
    if (ino !== undefined) {
      for (const change of changes) {
        if ((change.kind === 'putNode' || change.kind === 'delNode') && change.ino === ino) {
          strength = 'exact'
          break
        }
        if (change.kind === 'extendNode' && change.ino === ino) strength = 'length'
      }
    }
    return { read, fact, strength }
  })
}

function sameDentry(a: Dentry | null, b: Dentry | null, strength: Strength): boolean {
  if (a === null || b === null) return a === b
  if (a.ino !== b.ino || a.type !== b.type || a.empty !== b.empty) return false
  return sameNode(a.attr, b.attr, strength)
}

function sameNode(a: Attr | null, b: Attr | null, strength: Strength): boolean {
  if (a === b) return true
  if (a === null || b === null) return false
  if (
    a.type !== b.type ||
    a.flags !== b.flags ||
    a.mode !== b.mode ||
    a.uid !== b.uid ||
    a.gid !== b.gid ||
    a.rdev !== b.rdev ||
    a.parent !== b.parent ||
    a.accessAcl !== b.accessAcl ||
    a.defaultAcl !== b.defaultAcl ||
    a.tier !== b.tier
  ) {
    return false
  }
  if (strength === 'identity') return true
  if (a.length !== b.length || a.nlink !== b.nlink) return false
  if (strength === 'length') return true
  return sameTime(a.atime, b.atime) && sameTime(a.mtime, b.mtime) && sameTime(a.ctime, b.ctime)
}

const sameTime = (a: Time, b: Time): boolean => a.sec === b.sec && a.nsec === b.nsec

function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Buffer.isBuffer(a)) return Buffer.isBuffer(b) && a.equals(b)
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((each, i) => sameValue(each, b[i]))
  const [x, y] = [a as Record<string, unknown>, b as Record<string, unknown>]
  const keys = Object.keys(x)
  return keys.length === Object.keys(y).length && keys.every(key => sameValue(x[key], y[key]))
}
