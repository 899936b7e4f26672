/** The data of what was removed goes, step by step; every step can be found again from a record after a crash
 *  (spec meta-model sections 8 and 11):
 *
 *      dead file ─► its chunk lists, with one reference a record ─► objects of slices at 0 ─► their reference records
 *                └─ last, the dead file's own record                                          (forgetSlice) */

import { readU64 } from '../../base/bytes.ts'
import { EBUSY } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import type { Ino } from '../../base/ino.ts'
import { chunk, done, gather, node, type Operation } from '../facts.ts'
import { namedSlices } from '../model/slice.ts'
import { dropReferences, type SliceName, unusedAfter } from '../rules/slice-refs.ts'

export interface Unused {
  /** slices whose last reference went: their objects may be deleted */
  readonly unused: readonly SliceName[]
}

const TRASHED_ITEM_BYTES = 12

/** Removes one chunk list of a removed file. EBUSY while the node still exists: then its data is alive. */
export function* dropChunk(ino: Ino, index: number): Operation<Unused> {
  const [attr, stored] = yield* gather(node(ino), chunk(ino, index))
  if (attr) return EBUSY
  if (stored === null) return done({ unused: [] })
  const drops = dropReferences(namedSlices(stored))
  return done(results => ({ unused: unusedAfter(drops, results) }), [...drops, { kind: 'delChunk', ino, index }])
}

/** All chunks are gone: so goes the record that named the file. */
export function* forgetDeadFile(ino: Ino): Operation<undefined> {
  const [record] = yield* gather({ kind: 'deadFile', ino })
  return done(undefined, record === null ? [] : [{ kind: 'delDeadFile', ino }])
}

/** The objects of a slice are gone: so goes its reference record. EBUSY where somebody refers to it. */
export function* forgetSlice(id: number, size: number): Operation<undefined> {
  const [refs] = yield* gather({ kind: 'sliceRefs', id, size })
  if (refs === null) return done(undefined)
  return refs > 0 ? EBUSY : done(undefined, [{ kind: 'delSliceRefs', id, size }])
}

/** The trash has expired for slices replaced by compaction: they lose the references that were kept for them. */
export function* dropTrashedSlices(id: number, at: number): Operation<Unused> {
  const [items] = yield* gather({ kind: 'trashedSlices', id, at })
  if (items === null) return done({ unused: [] })
  const drops = dropReferences(decodeTrashed(items))
  return done(results => ({ unused: unusedAfter(drops, results) }), [...drops, { kind: 'delTrashedSlices', id, at }])
}

function decodeTrashed(items: Buffer): SliceName[] {
  if (items.length % TRASHED_ITEM_BYTES !== 0)
    throw new Fault(`damaged record of replaced slices: ${items.length} bytes`)
  const slices: SliceName[] = []
  for (let at = 0; at < items.length; at += TRASHED_ITEM_BYTES) {
    slices.push({ id: readU64(items, at), size: items.readUInt32BE(at + 8) })
  }
  return slices
}
