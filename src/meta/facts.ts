/** The vocabulary in which operations and engines meet; neither imports the other.
 *
 *  An operation *asks* by yielding Reads and gets Facts, then *returns* a verdict: an errno, or Done with the Changes that
 *  make it true. An engine answers gathers and commits changes if every guard still holds (engine.ts). A Change says the
 *  smallest thing: those marked "commutes" need no guard on what they add to, so writers in one directory do not collide.
 *  How a fact is spelled in a database, the engine alone knows; Changes that a layout does not store (linkParent on SQL,
 *  where parents are derived from the edges) are ignored there. */

import type { Name } from '../base/bytes.ts'
import type { Time } from '../base/clock.ts'
import type { Errno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import type { AclRule } from './model/acl.ts'
import type { Attr } from './model/attr.ts'

// ── facts that can be read ────────────────────────────────────────────────────────────────────────────────────────────

export interface Dentry {
  readonly ino: Ino
  readonly type: number
  /** attributes of the target; null where the entry points to a node that is gone */
  readonly attr: Attr | null
  /** only where the read asked: has the target directory no entries? */
  readonly empty?: boolean
}
export interface FlockHolder {
  readonly sid: number
  /** lock owner as 16 hex digits */
  readonly owner: string
  readonly type: 'R' | 'W'
}
export interface PlockHolder {
  readonly sid: number
  readonly owner: string
  /** 24-byte records: type u32, pid u32, start u64, end u64 (inclusive), sorted, disjoint (spec section 15) */
  readonly records: Buffer
}
export interface ParentCount {
  readonly parent: Ino
  readonly count: number
}
export interface DirUsage {
  readonly length: number
  readonly space: number
  readonly inodes: number
}
export const QUOTA_DIR = 0
export const QUOTA_USER = 1
export const QUOTA_GROUP = 2
export type QuotaType = typeof QUOTA_DIR | typeof QUOTA_USER | typeof QUOTA_GROUP
export interface Quota {
  /** ≤ 0 = unlimited */
  readonly maxSpace: number
  readonly maxInodes: number
  readonly usedSpace: number
  readonly usedInodes: number
}

export type Read =
  | { readonly kind: 'node'; readonly ino: Ino }
  /** `likely`: what it nearly always is; on an engine that is far away the driver may go on with that, and have the commit
   *  verify it (KnownFacts). Here and below, engines do not look at it. */
  | {
      readonly kind: 'dentry'
      readonly parent: Ino
      readonly name: Name
      readonly empty?: boolean
      readonly likely?: null
    }
  /** the chunk's records as stored, or null where it has no list */
  | { readonly kind: 'chunk'; readonly ino: Ino; readonly index: number }
  /** indexes (ascending) of the stored chunks with from ≤ index < to */
  | {
      readonly kind: 'chunkIndexes'
      readonly ino: Ino
      readonly from: number
      readonly to: number
      readonly likely?: readonly number[]
    }
  | { readonly kind: 'symlink'; readonly ino: Ino }
  | { readonly kind: 'xattr'; readonly ino: Ino; readonly name: Name }
  | { readonly kind: 'xattrNames'; readonly ino: Ino }
  | { readonly kind: 'flocks'; readonly ino: Ino }
  | { readonly kind: 'plocks'; readonly ino: Ino }
  /** every directory that has names of this node, with how many; counts > 0 only */
  | { readonly kind: 'parents'; readonly ino: Ino }
  /** the directory itself, its parent, … up to the root (or to where the chain breaks) */
  | { readonly kind: 'ancestors'; readonly ino: Ino }
  | { readonly kind: 'aclRule'; readonly id: number }
  /** the id of a stored rule equal to this one; stores it where there is none (rules are never deleted, so this is no change) */
  | { readonly kind: 'aclId'; readonly rule: AclRule }
  | { readonly kind: 'sliceRefs'; readonly id: number; readonly size: number }
  | { readonly kind: 'sustained'; readonly sid: number; readonly ino: Ino }
  | { readonly kind: 'deadFile'; readonly ino: Ino }
  | { readonly kind: 'trashedSlices'; readonly id: number; readonly at: number }
  | { readonly kind: 'dirUsage'; readonly ino: Ino }
  | { readonly kind: 'quota'; readonly type: QuotaType; readonly key: number }
  | { readonly kind: 'counter'; readonly name: CounterName }
  | { readonly kind: 'session'; readonly sid: number }
  /** the setting as stored, text of a JSON document; null = not formatted */
  | { readonly kind: 'format' }

/** Canonical counter names (spec meta-model section 4); an engine knows how it spells them. A missing one reads as 0. */
export type CounterName =
  | 'nextInode'
  | 'nextChunk'
  | 'nextSession'
  | 'nextTrash'
  | 'usedSpace'
  | 'totalInodes'
  | 'lastCleanupSessions'
  | 'lastCleanupFiles'
  | 'nextCleanupSlices'
  | 'lastCleanupTrash'
  | 'lastCleanupChangelog'

interface FactByKind {
  node: Attr | null
  dentry: Dentry | null
  chunk: Buffer | null
  chunkIndexes: readonly number[]
  symlink: Name | null
  xattr: Buffer | null
  xattrNames: readonly Name[]
  flocks: readonly FlockHolder[]
  plocks: readonly PlockHolder[]
  parents: readonly ParentCount[]
  ancestors: readonly Ino[]
  aclRule: AclRule | null
  aclId: number
  sliceRefs: number | null
  sustained: boolean
  deadFile: { readonly length: number; readonly at: number } | null
  trashedSlices: Buffer | null
  dirUsage: DirUsage | null
  quota: Quota | null
  counter: number
  session: { readonly expire: number; readonly info: Buffer | null } | null
  format: string | null
}
export type FactOf<R extends Read> = FactByKind[R['kind']]
export type Fact = FactByKind[Read['kind']]

export const node = (ino: Ino) => ({ kind: 'node', ino }) as const
export const dentry = (parent: Ino, name: Name, empty = false) => ({ kind: 'dentry', parent, name, empty }) as const
export const chunk = (ino: Ino, index: number) => ({ kind: 'chunk', ino, index }) as const
export const ancestors = (ino: Ino) => ({ kind: 'ancestors', ino }) as const
export const parents = (ino: Ino) => ({ kind: 'parents', ino }) as const
export const xattr = (ino: Ino, name: Name) => ({ kind: 'xattr', ino, name }) as const
export const counter = (name: CounterName) => ({ kind: 'counter', name }) as const

// ── changes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

export type Change =
  /** the whole record, new or replacing what was read (guarded: exact) */
  | { readonly kind: 'putNode'; readonly ino: Ino; readonly attr: Attr }
  /** commutes: nlink += , and mtime = ctime = at unless null. The node must exist, else the commit is refused. */
  | { readonly kind: 'adjustDir'; readonly ino: Ino; readonly nlink: number; readonly at: Time | null }
  /** commutes: length at least this (guarded only where it grows), mtime and ctime set */
  | {
      readonly kind: 'extendNode'
      readonly ino: Ino
      readonly length: number
      readonly mtime: Time
      readonly ctime: Time
    }
  | { readonly kind: 'delNode'; readonly ino: Ino }
  /** inserts, or replaces the entry that was read; never delete + put */
  | { readonly kind: 'setDentry'; readonly parent: Ino; readonly name: Name; readonly ino: Ino; readonly type: number }
  | { readonly kind: 'delDentry'; readonly parent: Ino; readonly name: Name }
  /** commutes: the node's count of names in this directory (layouts that store it) */
  | { readonly kind: 'linkParent'; readonly ino: Ino; readonly parent: Ino; readonly delta: number }
  | { readonly kind: 'delParents'; readonly ino: Ino }
  | { readonly kind: 'putSymlink'; readonly ino: Ino; readonly target: Name }
  | { readonly kind: 'delSymlink'; readonly ino: Ino }
  /** commutes; result: number of records in the list afterwards */
  | { readonly kind: 'appendSlices'; readonly ino: Ino; readonly index: number; readonly records: Buffer }
  /** refused unless the list still begins with `prefix`; that prefix becomes `records` */
  | {
      readonly kind: 'replaceSlices'
      readonly ino: Ino
      readonly index: number
      readonly prefix: Buffer
      readonly records: Buffer
    }
  | { readonly kind: 'delChunk'; readonly ino: Ino; readonly index: number }
  /** a slice that was just stored, with `refs` references (1, or 0 so that it is collected) */
  | { readonly kind: 'newSlice'; readonly id: number; readonly size: number; readonly refs: number }
  /** commutes; result: references left */
  | { readonly kind: 'refSlice'; readonly id: number; readonly size: number; readonly delta: number }
  | { readonly kind: 'delSliceRefs'; readonly id: number; readonly size: number }
  | { readonly kind: 'putXattr'; readonly ino: Ino; readonly name: Name; readonly value: Buffer }
  | { readonly kind: 'delXattr'; readonly ino: Ino; readonly name: Name }
  | { readonly kind: 'delXattrs'; readonly ino: Ino }
  | { readonly kind: 'sustain'; readonly sid: number; readonly ino: Ino }
  | { readonly kind: 'unsustain'; readonly sid: number; readonly ino: Ino }
  | { readonly kind: 'deadFile'; readonly ino: Ino; readonly length: number; readonly at: number }
  | { readonly kind: 'delDeadFile'; readonly ino: Ino }
  /** items: n × (id u64, size u32), kept until the trash expires */
  | { readonly kind: 'trashSlices'; readonly id: number; readonly at: number; readonly items: Buffer }
  | { readonly kind: 'delTrashedSlices'; readonly id: number; readonly at: number }
  /** type null = unlock */
  | {
      readonly kind: 'putFlock'
      readonly ino: Ino
      readonly sid: number
      readonly owner: string
      readonly type: 'R' | 'W' | null
    }
  /** no records = unlock */
  | {
      readonly kind: 'putPlock'
      readonly ino: Ino
      readonly sid: number
      readonly owner: string
      readonly records: Buffer
    }
  /** a directory's statistics record {0, 0, 0} */
  | { readonly kind: 'newDirUsage'; readonly ino: Ino }
  | { readonly kind: 'putDirUsage'; readonly ino: Ino; readonly usage: DirUsage }
  | { readonly kind: 'delDirUsage'; readonly ino: Ino }
  /** commutes; a missing record is left missing (it is recomputed when read) */
  | {
      readonly kind: 'dirUsage'
      readonly ino: Ino
      readonly length: number
      readonly space: number
      readonly inodes: number
    }
  /** commutes: the volume's usedSpace and totalInodes */
  | { readonly kind: 'usage'; readonly space: number; readonly inodes: number }
  /** commutes */
  | {
      readonly kind: 'quotaUsage'
      readonly type: QuotaType
      readonly key: number
      readonly space: number
      readonly inodes: number
    }
  | { readonly kind: 'putQuota'; readonly type: QuotaType; readonly key: number; readonly quota: Quota }
  | { readonly kind: 'delQuota'; readonly type: QuotaType; readonly key: number }
  | { readonly kind: 'putCounter'; readonly name: CounterName; readonly value: number }
  /** expire: unix seconds; info null = leave as it is */
  | { readonly kind: 'putSession'; readonly sid: number; readonly expire: number; readonly info: Buffer | null }
  /** the session's record and everything keyed by it that is not done one by one (its flocks and plocks) */
  | { readonly kind: 'delSession'; readonly sid: number }
  | { readonly kind: 'putFormat'; readonly json: string }

/** What happens after the commit, outside the operation. Each can be found again from a stored record after a crash. */
export type Effect =
  /** the data of a removed file waits for deletion (its deadFile record stands) */
  | { readonly kind: 'deadFile'; readonly ino: Ino; readonly length: number }
  /** slices whose last reference went: their objects may be deleted, then the record */
  | { readonly kind: 'unusedSlice'; readonly id: number; readonly size: number }
  /** a cached list of this chunk is no longer true */
  | { readonly kind: 'chunkChanged'; readonly ino: Ino; readonly index: number }

// ── operations ────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface Done<T> {
  /** a value, or made from the results of the changes (one a change, in order; undefined where a change has none) */
  readonly value: T | ((results: readonly (number | undefined)[]) => T)
  readonly changes: readonly Change[]
  readonly effects: readonly Effect[]
}
export type Verdict<T> = Errno | Done<T>

/** A pure generator: yields what it must know (each yield is one round trip), returns its verdict. It may be run many
 *  times; it does no I/O and reads no clock. T is never a bare number or function (an Errno is a number). */
export type Operation<T> = Generator<readonly Read[], Verdict<T>, readonly Fact[]>

export const done = <T>(
  value: T | ((results: readonly (number | undefined)[]) => T),
  changes: readonly Change[] = [],
  effects: readonly Effect[] = [],
): Done<T> => ({ value, changes, effects })

/** One round trip, typed: `const [dir, found] = yield* gather(node(parent), dentry(parent, name))`. */
export function* gather<const R extends readonly Read[]>(
  ...reads: R
): Generator<readonly Read[], { [K in keyof R]: FactOf<R[K]> }, readonly Fact[]> {
  return (yield reads) as { [K in keyof R]: FactOf<R[K]> }
}
