/** References of slices, summed: one change a slice however often a list names it. */

import type { Change } from '../facts.ts'
import type { SliceName } from '../model/slice.ts'

export type { SliceName }

/** `refSlice` changes that take one reference for every name given; id 0 has no object and no count. */
export function dropReferences(slices: readonly SliceName[]): (Change & { readonly kind: 'refSlice' })[] {
  const counts = new Map<string, { id: number; size: number; count: number }>()
  for (const { id, size } of slices) {
    if (id === 0) continue
    const key = `${id}_${size}`
    const known = counts.get(key)
    if (known) known.count++
    else counts.set(key, { id, size, count: 1 })
  }
  return [...counts.values()].map(({ id, size, count }) => ({ kind: 'refSlice', id, size, delta: -count }))
}

/** Which of these slices nobody uses any more, by the results of their changes (`results[i]` belongs to `drops[i]`). */
export const unusedAfter = (drops: readonly SliceName[], results: readonly (number | undefined)[]): SliceName[] =>
  drops.filter((_, i) => results[i]! <= 0).map(({ id, size }) => ({ id, size }))
