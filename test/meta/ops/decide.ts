/** Runs an operation over facts handed in by the test: no engine, no commit. A fact nobody handed in is "not there". */

import type { Time } from '../../../src/base/clock.ts'
import { isErrno } from '../../../src/base/errno.ts'
import type { Ino } from '../../../src/base/ino.ts'
import type { Change, Effect, Fact, Operation, Read } from '../../../src/meta/facts.ts'
import { type Attr, TYPE_FILE } from '../../../src/meta/model/attr.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import type { Limits, Volume } from '../../../src/meta/model/volume.ts'
import { NO_QUOTAS, volumeWith } from '../../conformance/engine/harness.ts'

export type World = readonly (readonly [Read, Fact])[]
export interface Decision<T> {
  readonly errno: number
  readonly value: T
  readonly changes: readonly Change[]
  readonly effects: readonly Effect[]
  readonly trips: number
}

const LISTS: readonly Read['kind'][] = ['chunkIndexes', 'xattrNames', 'flocks', 'plocks', 'parents', 'ancestors']

function absent(read: Read): Fact {
  if (LISTS.includes(read.kind)) return []
  if (read.kind === 'counter') return 0
  return read.kind === 'sustained' ? false : null
}

/** `results`: what the commit would report, one a change. */
export function decide<T>(
  operation: Operation<T>,
  world: World = [],
  results: readonly (number | undefined)[] = [],
): Decision<T> {
  const known = new Map(world.map(([read, fact]) => [JSON.stringify(read), fact]))
  let trips = 0
  let step = operation.next()
  while (!step.done) {
    trips++
    step = operation.next(step.value.map(read => known.get(JSON.stringify(read)) ?? absent(read)))
  }
  const verdict = step.value
  if (isErrno(verdict)) return { errno: verdict, value: undefined as T, changes: [], effects: [], trips }
  const { value, changes, effects } = verdict
  const made = typeof value === 'function' ? (value as (results: readonly (number | undefined)[]) => T)(results) : value
  return { errno: 0, value: made, changes, effects, trips }
}

export const ofKind = <K extends Change['kind']>(changes: readonly Change[], kind: K): (Change & { kind: K })[] =>
  changes.filter((change): change is Change & { kind: K } => change.kind === kind)

export const BEFORE: Time = { sec: 1000, nsec: 5 }
export const NOW: Time = { sec: 2000, nsec: 7 }
export const FILE = 10 as Ino
export const OTHER = 11 as Ino
export const DIR = 3 as Ino

export const attrOf = (set: Partial<Attr> = {}): Attr => ({
  type: TYPE_FILE,
  flags: 0,
  mode: 0o644,
  uid: 500,
  gid: 600,
  atime: BEFORE,
  mtime: BEFORE,
  ctime: BEFORE,
  nlink: 1,
  length: 0,
  rdev: 0,
  parent: DIR,
  accessAcl: 0,
  defaultAcl: 0,
  tier: 0,
  ...set,
})

export const root: Caller = { uid: 0, gid: 0, gids: [0], now: NOW, check: true }
export const owner: Caller = { uid: 500, gid: 600, gids: [600], now: NOW, check: true }
export const stranger: Caller = { uid: 501, gid: 601, gids: [601], now: NOW, check: true }

export const volumeOf = (set: Partial<Volume> = {}, limits: Partial<Limits> = {}): Volume =>
  volumeWith({ acl: true, ...set, limits: { ...NO_QUOTAS, ...limits } })
export const volume = volumeOf()
export const readOnly = volumeOf({ readOnly: true })
