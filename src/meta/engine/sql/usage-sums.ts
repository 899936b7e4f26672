/** What operations add to usage, directory statistics and quotas, summed: one UPDATE a record however many added to it.
 *  When the sums are written, the engine decides: SQLite inside every transaction, the servers once a second. */

import type { Ino } from '../../../base/ino.ts'
import type { Guard } from '../../engine.ts'
import { type Change, QUOTA_DIR, type QuotaType } from '../../facts.ts'

/** Changes that commute and may be summed. */
export type Summed = Change & { readonly kind: 'usage' | 'dirUsage' | 'quotaUsage' }
export const isSummed = (change: Change): change is Summed =>
  change.kind === 'usage' || change.kind === 'dirUsage' || change.kind === 'quotaUsage'

/** Reads of records that sums may not have reached yet. */
export const SUMMED_READS: ReadonlySet<string> = new Set(['dirUsage', 'quota', 'counter'])

/** Must the sums be written before this commit? It compares a record that they reach, or replaces one. */
export const needsSums = (guards: readonly Guard[], changes: readonly Change[]): boolean =>
  guards.some(({ read }) => SUMMED_READS.has(read.kind)) || changes.some(replacesSummed)

/** What was summed before belongs to the old record. (To what is gone, sums add nothing; but those of a user or group would
 *  make it anew.) */
const replacesSummed = (change: Change): boolean =>
  change.kind === 'putDirUsage' ||
  change.kind === 'putQuota' ||
  (change.kind === 'delQuota' && change.type !== QUOTA_DIR) ||
  (change.kind === 'putCounter' && (change.name === 'usedSpace' || change.name === 'totalInodes'))

/** Where the sums go. */
export interface SumSink {
  /** to usedSpace and totalInodes */
  addUsage(space: number, inodes: number): void
  /** a directory without a record stays without: clients that want it count it anew */
  addDirUsage(ino: Ino, length: number, space: number, inodes: number): void
  /** a directory without a quota has none; users and groups get a record without limits (spec meta-sql section 4) */
  addQuotaUsage(type: QuotaType, key: number, space: number, inodes: number): void
}

export class UsageSums implements SumSink {
  #space = 0
  #inodes = 0
  readonly #dirs = new Map<Ino, { length: number; space: number; inodes: number }>()
  readonly #quotas = new Map<string, { type: QuotaType; key: number; space: number; inodes: number }>()

  get isEmpty(): boolean {
    return this.#space === 0 && this.#inodes === 0 && this.#dirs.size === 0 && this.#quotas.size === 0
  }

  add(change: Summed): void {
    const { space, inodes } = change
    if (change.kind === 'usage') this.addUsage(space, inodes)
    else if (change.kind === 'dirUsage') this.addDirUsage(change.ino, change.length, space, inodes)
    else this.addQuotaUsage(change.type, change.key, space, inodes)
  }

  addUsage(space: number, inodes: number): void {
    this.#space += space
    this.#inodes += inodes
  }

  addDirUsage(ino: Ino, length: number, space: number, inodes: number): void {
    const sum = entry(this.#dirs, ino, () => ({ length: 0, space: 0, inodes: 0 }))
    sum.length += length
    sum.space += space
    sum.inodes += inodes
  }

  addQuotaUsage(type: QuotaType, key: number, space: number, inodes: number): void {
    const sum = entry(this.#quotas, `${type} ${key}`, () => ({ type, key, space: 0, inodes: 0 }))
    sum.space += space
    sum.inodes += inodes
  }

  /** Hands the sums over and starts from zero. */
  drain(sink: SumSink): void {
    this.tell(sink)
    this.#space = 0
    this.#inodes = 0
    this.#dirs.clear()
    this.#quotas.clear()
  }

  tell(sink: SumSink): void {
    sink.addUsage(this.#space, this.#inodes)
    for (const [ino, { length, space, inodes }] of this.#dirs) sink.addDirUsage(ino, length, space, inodes)
    for (const { type, key, space, inodes } of this.#quotas.values()) sink.addQuotaUsage(type, key, space, inodes)
  }
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key)
  if (value === undefined) map.set(key, (value = make()))
  return value
}
