/** Chunks and slice records (spec meta-model section 3).
 *
 *  A file is an array of 64 MiB chunks; a chunk is an append-only list of 24-byte records; later records overlay earlier:
 *
 *     0      4            12     16     20     24
 *     ├─pos──┼─────id─────┼─size─┼─off──┼─len──┤      big-endian; id 0 = zeros without an object
 */

import { assert } from '../../base/assert.ts'
import { readU64, writeU64 } from '../../base/bytes.ts'
import { Fault } from '../../base/fault.ts'

export const CHUNK_BYTES = 2 ** 26
/** Any offset or end at or beyond this is EFBIG. The format allows 2^57; lengths are exact numbers here, so it is 8 PiB. */
export const MAX_FILE_BYTES = 2 ** 53
export const SLICE_RECORD_BYTES = 24

export interface Slice {
  /** volume-unique, never reused; 0 = a hole written down */
  readonly id: number
  /** bytes of the whole slice as stored: with the id it names the objects */
  readonly size: number
  /** first byte used inside the slice */
  readonly off: number
  /** bytes used */
  readonly len: number
}
export interface SliceRecord extends Slice {
  /** offset inside the chunk */
  readonly pos: number
}

export function encodeRecords(records: readonly SliceRecord[]): Buffer {
  const bytes = Buffer.allocUnsafe(records.length * SLICE_RECORD_BYTES)
  let at = 0
  for (const r of records) {
    assert(r.pos >= 0 && r.len > 0 && r.pos + r.len <= CHUNK_BYTES, 'a slice record lies inside its chunk')
    bytes.writeUInt32BE(r.pos, at)
    writeU64(bytes, r.id, at + 4)
    bytes.writeUInt32BE(r.size, at + 12)
    bytes.writeUInt32BE(r.off, at + 16)
    bytes.writeUInt32BE(r.len, at + 20)
    at += SLICE_RECORD_BYTES
  }
  return bytes
}

/** Records in list order. A length that is no multiple of 24 is a damaged list: fault EIO. Records of length 0 are left out. */
export function decodeRecords(bytes: Buffer): SliceRecord[] {
  if (bytes.length % SLICE_RECORD_BYTES !== 0) throw damaged(`${bytes.length} bytes of slice records`)
  const records: SliceRecord[] = []
  for (let at = 0; at < bytes.length; at += SLICE_RECORD_BYTES) {
    const pos = bytes.readUInt32BE(at)
    const len = bytes.readUInt32BE(at + 20)
    if (len === 0) continue
    if (pos + len > CHUNK_BYTES) throw damaged(`a slice record ends at ${pos + len}`)
    records.push({
      pos,
      id: readU64(bytes, at + 4),
      size: bytes.readUInt32BE(at + 12),
      off: bytes.readUInt32BE(at + 16),
      len,
    })
  }
  return records
}

export interface SliceName {
  readonly id: number
  readonly size: number
}

/** The slices that a list names, once a record and in its order: whoever counts references counts records that readers leave out, too,
 *  and those that they take for damaged. */
export function namedSlices(bytes: Buffer): (SliceName & { readonly isEmpty: boolean })[] {
  const names = []
  for (let at = 0; at + SLICE_RECORD_BYTES <= bytes.length; at += SLICE_RECORD_BYTES)
    names.push({
      id: readU64(bytes, at + 4),
      size: bytes.readUInt32BE(at + 12),
      isEmpty: bytes.readUInt32BE(at + 20) === 0,
    })
  return names
}

/** What a reader sees of a chunk: the records painted over each other in list order, gaps below the last covered byte as
 *  id 0, neighbours not merged. Sorted by `pos`, no gap, starting at 0; bytes beyond the last segment are zeros.
 *  A record costs a binary search and one splice: 5,000 random 4 KiB records take some 15 ms. */
export function buildView(records: readonly SliceRecord[]): SliceRecord[] {
  const view: SliceRecord[] = []
  for (const top of records) paint(view, top)
  return fillGaps(view)
}

/** Lays `top` over the sorted, disjoint segments of `view`; what it covers is cut or goes. */
function paint(view: SliceRecord[], top: SliceRecord): void {
  const end = top.pos + top.len
  const last = view[view.length - 1]
  if (last === undefined || last.pos + last.len <= top.pos) {
    view.push(top) // the common case: appended behind everything
    return
  }
  const from = firstEndingAfter(view, top.pos)
  let to = from
  while (to < view.length && view[to]!.pos < end) to++
  const pieces = [top]
  if (to > from) {
    const left = view[from]!
    const right = view[to - 1]!
    if (left.pos < top.pos) pieces.unshift({ ...left, len: top.pos - left.pos })
    const cut = end - right.pos
    if (cut < right.len) pieces.push({ ...right, pos: end, off: right.off + cut, len: right.len - cut })
  }
  view.splice(from, to - from, ...pieces)
}

/** Index of the first segment that ends beyond `pos`; segments are sorted and do not overlap. */
export function firstEndingAfter(view: readonly SliceRecord[], pos: number): number {
  let low = 0
  let high = view.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const segment = view[middle]!
    if (segment.pos + segment.len <= pos) low = middle + 1
    else high = middle
  }
  return low
}

function fillGaps(view: readonly SliceRecord[]): SliceRecord[] {
  const filled: SliceRecord[] = []
  let at = 0
  for (const segment of view) {
    if (segment.pos > at) filled.push({ pos: at, id: 0, size: 0, off: 0, len: segment.pos - at })
    filled.push(segment)
    at = segment.pos + segment.len
  }
  return filled
}

const damaged = (what: string): Fault => new Fault(`damaged chunk: ${what}`, { isPermanent: true })
