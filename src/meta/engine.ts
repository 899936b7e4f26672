/** What a metadata engine is: facts laid out in a database, gathered and committed. It knows no POSIX.
 *
 *  gather ─► the operation decides ─► commit(guards, changes): "if all this is still so, make that so, all at once".
 *  An engine whose database lives in this process (memory, SQLite) answers synchronously where it can. */

import type { Name } from '../base/bytes.ts'
import type { Ino } from '../base/ino.ts'
import type { Maybe } from '../base/maybe.ts'
import type { Change, DirUsage, Fact, Quota, QuotaType, Read } from './facts.ts'
import type { Attr } from './model/attr.ts'

/** How much of a node a guard compares (other facts are compared whole):
 *  - `exact`    every field (the commit rewrites or deletes the record)
 *  - `length`   everything but times (the commit extends it, and charges the growth to the directories of its names)
 *  - `identity` everything but times, nlink and length (the operation only looked: type, mode, owner, flags, parent, ACL)
 *  A dentry guard compares ino, type, `empty` if it was asked, and the target's attributes by this strength. */
export type Strength = 'exact' | 'length' | 'identity'

export interface Guard {
  readonly read: Read
  readonly fact: Fact
  readonly strength: Strength
}

export type Outcome =
  | { readonly done: true /** one a change, in order */; readonly results: readonly (number | undefined)[] }
  /** a guard did not hold (or a guarded insert found its key taken): nothing was written */
  | { readonly done: false }

/** `look`: the verdict will carry no changes. `change`: it probably will; an engine may take its write lock now. */
export type Intent = 'look' | 'change'

export interface DirEntry {
  readonly name: Name
  readonly ino: Ino
  readonly type: number
  /** null where it was not asked for, or the node is gone */
  readonly attr: Attr | null
}

/** Paged reads, each with its arguments and rows. Order is ascending by the key in every engine that has one. */
export interface Scans {
  /** entries of a directory by name (engine order on Redis) */
  entries: { args: { parent: Ino; attrs: boolean }; row: DirEntry }
  sessions: { args: Record<never, never>; row: { sid: number; expire: number; info: Buffer | null } }
  sustained: { args: { sid: number }; row: { ino: Ino } }
  flocksOf: { args: { sid: number }; row: { ino: Ino; owner: string; type: 'R' | 'W' } }
  plocksOf: { args: { sid: number }; row: { ino: Ino; owner: string; records: Buffer } }
  /** removed files whose data waits, recorded before `before` (unix seconds) */
  deadFiles: { args: { before: number }; row: { ino: Ino; length: number; at: number } }
  /** slices replaced by compaction, recorded before `before` */
  trashedSlices: { args: { before: number }; row: { id: number; at: number; items: Buffer } }
  /** slices without references */
  unusedSlices: { args: Record<never, never>; row: { id: number; size: number } }
  /** stored chunks of one file, or of all files */
  chunks: { args: { ino: Ino | null }; row: { ino: Ino; index: number; records: Buffer } }
  quotas: { args: { type: QuotaType }; row: { key: number; quota: Quota } }
  dirUsages: { args: Record<never, never>; row: { ino: Ino; usage: DirUsage } }
  /** every stored node (checks, recounts) */
  nodes: { args: Record<never, never>; row: { ino: Ino; attr: Attr } }
  /** slice references (checks, gc) */
  sliceRefs: { args: Record<never, never>; row: { id: number; size: number; refs: number } }
}
export type ScanKind = keyof Scans
export interface Page<T> {
  readonly rows: readonly T[]
  /** where to go on; null = that was all */
  readonly next: Cursor | null
}
/** Opaque: whatever the engine needs to go on. Null = from the beginning. */
export type Cursor = string | number

/** What an engine with a server has counted since it was opened. */
export interface EngineCounts {
  /** requests sent, those that were sent again included */
  readonly requests: number
  /** connections made */
  readonly connects: number
  /** requests whose answer was lost with their connection */
  readonly lost: number
  /** what the server undid or turned away for the moment, and was tried again, by reason (`deadlock`) */
  readonly retries: ReadonlyMap<string, number>
}

export interface Engine {
  /** `memory`, `sqlite3`, … for messages and metrics */
  readonly kind: string
  /** The database is in this process, a gather costs microseconds and no trip: asking ahead and guessing would only cost. */
  readonly isLocal?: boolean
  /** Usage is summed in the client and written every second: one that dies loses what it summed since, and the volume's usage
   *  must be recounted some time. */
  readonly sumsUsage?: boolean
  readonly counts?: EngineCounts
  /** Which server answers: another value where another took over, or it was started anew. It may not know what it confirmed last. */
  readonly generation?: string | null
  /** Creates what must exist before the first fact (tables, indexes). Idempotent. */
  prepare(): Maybe<void>
  /** One fact a read, in order. Faults (EIO) on records that cannot be decoded, naming the inode. */
  gather(reads: readonly Read[], intent: Intent): Maybe<readonly Fact[]>
  /** Applies the changes, at most one a key (the driver merged them), if every guard holds; else nothing. */
  commit(guards: readonly Guard[], changes: readonly Change[]): Maybe<Outcome>
  scan<K extends ScanKind>(
    kind: K,
    args: Scans[K]['args'],
    cursor: Cursor | null,
    limit: number,
  ): Maybe<Page<Scans[K]['row']>>
  /** Reserves `count` ids and returns the first. Durable before it returns; wasted ids are fine. */
  allocate(counter: 'nextInode' | 'nextChunk' | 'nextSession' | 'nextTrash', count: number): Maybe<number>
  /** Where facts may have been gathered from changes of neighbours that are applied but not committed: a promise of that
   *  commit. A verdict that changes nothing itself, an errno above all, waits for it: it may rest on what is rolled back. */
  uncommitted?(): Promise<void> | undefined
  /** Resolves when everything committed so far survives a power cut. */
  sync(): Promise<void>
  close(): Maybe<void>
}
