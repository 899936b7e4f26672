/** Many records of a chunk become one (spec meta-model section 11): what to merge, and the commit of the merged slice.
 *
 *      list     ├ skipped: big, intact ┤├──── merged into one slice ────┤├ appended meanwhile ┤
 *               └──────────── `before`, compared at the commit ─────────┘
 */

import { assert } from '../../base/assert.ts'
import { writeU64 } from '../../base/bytes.ts'
import { EINVAL, EROFS } from '../../base/errno.ts'
import type { Ino } from '../../base/ino.ts'
import { type Change, chunk, done, gather, type Operation } from '../facts.ts'
import {
  buildView,
  decodeRecords,
  encodeRecords,
  namedSlices,
  SLICE_RECORD_BYTES,
  type SliceName,
  type SliceRecord,
} from '../model/slice.ts'
import type { Volume } from '../model/volume.ts'
import { dropReferences, unusedAfter } from '../rules/slice-refs.ts'
import type { Unused } from './dead-file.ts'

/** A first record below this is always merged. */
const BIG_BYTES = 1 << 20
/** A big first record is merged nevertheless where the rest is more than this many times its size. */
const MAX_RATIO = 5
const TRASHED_ITEM_BYTES = 12

export interface CompactionPlan {
  /** records at the beginning of the list that stay as they are */
  readonly skipped: number
  /** where in the chunk the merged slice begins, and its bytes */
  readonly pos: number
  readonly size: number
  /** what to read, in order and without gaps: its lengths add up to `size`; id 0 = zeros */
  readonly view: SliceRecord[]
}

/** What merging these records (at most 1,000, as decoded) would make of them; null where it would gain nothing. */
export function planCompaction(records: readonly SliceRecord[]): CompactionPlan | null {
  let skipped = 0
  while (records.length - skipped >= 2) {
    const rest = records.slice(skipped)
    const merged = mergedView(rest)
    if (!staysAsItIs(rest, merged.size, merged.view[0]!)) return { skipped, ...merged }
    skipped++
  }
  return null
}

/** Is the first record big, and untouched by all that follow? Copying it would cost much and gain nothing. Since nothing
 *  later overlaps it, zeros trimmed off the rest cannot uncover bytes of it. */
function staysAsItIs(rest: readonly SliceRecord[], size: number, seen: SliceRecord): boolean {
  const [first, ...later] = rest as [SliceRecord, ...SliceRecord[]]
  if (first.len < BIG_BYTES || first.len * MAX_RATIO < size) return false
  return sameRecord(seen, first) && !later.some(record => sameRecord(record, first))
}

const sameRecord = (a: SliceRecord, b: SliceRecord): boolean =>
  a.pos === b.pos && a.id === b.id && a.size === b.size && a.off === b.off && a.len === b.len

/** The view without zeros at its ends: there a missing record reads the same. All zeros: one byte of them remains, for a
 *  slice cannot be empty. */
function mergedView(records: readonly SliceRecord[]): { pos: number; size: number; view: SliceRecord[] } {
  const whole = buildView(records)
  let from = 0
  let to = whole.length
  while (to - from > 1 && whole[from]!.id === 0) from++
  while (to - from > 1 && whole[to - 1]!.id === 0) to--
  let view = whole.slice(from, to)
  if (view.length === 1 && view[0]!.id === 0) view = [{ ...view[0]!, len: 1 }]
  const size = view.reduce((sum, segment) => sum + segment.len, 0)
  return { pos: view[0]!.pos, size, view }
}

/** Puts `merged` in the place of what it was made of, if the list still begins with `before`; else EINVAL, and the caller
 *  deletes the new slice. The replaced slices lose their references: now, or, with `trash`, when the trash of `at` (unix
 *  seconds) has expired. `skippedBytes`: 24 for every record that stays. EROFS. */
export function* commitCompaction(
  volume: Volume,
  ino: Ino,
  index: number,
  before: Buffer,
  skippedBytes: number,
  merged: SliceRecord,
  options: { readonly trash: boolean; readonly at: number },
): Operation<Unused> {
  if (volume.readOnly) return EROFS
  const [stored] = yield* gather(chunk(ino, index))
  if (stored === null || !stored.subarray(0, before.length).equals(before)) return EINVAL

  const records = decodeRecords(before)
  const skipped = skippedBytes / SLICE_RECORD_BYTES
  const replaced = records.slice(skipped)
  const expected = mergedView(replaced)
  assert(
    merged.pos === expected.pos && merged.len === expected.size && merged.off === 0,
    'the merged slice covers exactly what it replaces',
  )
  // Records of no length cover nothing, and stay nowhere.
  let standing = 0
  const gone = namedSlices(before).filter(({ isEmpty }) => isEmpty || standing++ >= skipped)
  const kept = encodeRecords([...records.slice(0, skipped), merged])
  const changes: Change[] = [
    { kind: 'replaceSlices', ino, index, prefix: before, records: kept },
    { kind: 'newSlice', id: merged.id, size: merged.size, refs: 1 },
  ]
  if (!options.trash) {
    const drops = dropReferences(gone)
    return done(results => ({ unused: unusedAfter(drops, results) }), [...drops, ...changes])
  }
  const items = encodeTrashed(gone)
  if (items.length > 0) changes.push({ kind: 'trashSlices', id: merged.id, at: options.at, items })
  return done({ unused: [] }, changes)
}

function encodeTrashed(replaced: readonly SliceName[]): Buffer {
  const slices = replaced.filter(({ id }) => id > 0)
  const items = Buffer.allocUnsafe(slices.length * TRASHED_ITEM_BYTES)
  slices.forEach(({ id, size }, i) => {
    writeU64(items, id, i * TRASHED_ITEM_BYTES)
    items.writeUInt32BE(size, i * TRASHED_ITEM_BYTES + 8)
  })
  return items
}
