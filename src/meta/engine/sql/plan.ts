/** The changes of a commit as statements, in the order that all clients keep, and what their answers say of each change. */

import type { Change } from '../../facts.ts'
import { SLICE_RECORD_BYTES } from '../../model/slice.ts'
import { compareChanges } from './change-order.ts'
import { isSummed, type Summed } from './usage-sums.ts'

/** Changes that are written by the commit itself; the others are summed (usage-writer.ts). */
export type Written = Exclude<Change, Summed>

/** Rows as arrays of their columns. */
interface Rows {
  readonly rows: readonly (readonly unknown[])[]
}

export interface Plan<S> {
  readonly statements: readonly S[]
  /** results by the answers to those statements, one a change given */
  results(answers: readonly Rows[]): (number | undefined)[]
}

/** `statementsOf`: of one change; where it has a result, its last statement answers with that. */
export function planOf<S>(changes: readonly Change[], statementsOf: (change: Written) => readonly S[]): Plan<S> {
  const order = changes.map((_, i) => i).sort((a, b) => compareChanges(changes[a]!, changes[b]!))
  const statements: S[] = []
  const at = new Map<number, number>()
  for (const i of order) {
    const change = changes[i]!
    if (isSummed(change)) continue
    statements.push(...statementsOf(change))
    if (change.kind === 'appendSlices' || change.kind === 'refSlice') at.set(i, statements.length - 1)
  }
  return {
    statements,
    results: answers =>
      changes.map((change, i) => {
        const answer = at.get(i)
        const value = answer === undefined ? undefined : answers[answer]!.rows[0]?.[0]
        if (value === undefined || value === null) return undefined
        return change.kind === 'appendSlices' ? Number(value) / SLICE_RECORD_BYTES : Number(value)
      }),
  }
}
