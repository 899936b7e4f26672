/** Rows of a paged read, each of some numbers and some bytes, as what the scan hands out. The first number is the key that the
 *  next page begins after; but entries go by name. */

import { nameFromBytes } from '../../../base/bytes.ts'
import type { Ino } from '../../../base/ino.ts'
import type { Page, ScanKind, Scans } from '../../engine.ts'
import { attrFromRow, bytesOf, flockTypeOf, quotaFromRow } from './columns.ts'
import type { FactRow } from './fact-rows.ts'

const OWNER_BYTES = 8

/** A page that is not full is the last. */
export function pageOf<K extends ScanKind>(kind: K, rows: readonly FactRow[], limit: number): Page<Scans[K]['row']> {
  const last = rows.length < limit ? undefined : rows[rows.length - 1]
  const next = last === undefined ? null : kind === 'entries' ? nameFromBytes(last.b!) : last.n[0]!
  return { rows: rows.map(decoders[kind]) as Scans[K]['row'][], next }
}

const decoders: { readonly [K in ScanKind]: (row: FactRow) => Scans[K]['row'] } = {
  entries: ({ n, b }) => {
    const ino = n[0] as Ino
    return { name: nameFromBytes(b!), ino, type: n[1]!, attr: n[2] === 0 ? null : attrFromRow(ino, n, 3) }
  },
  sessions: ({ n, b }) => ({ sid: n[0]!, expire: n[1]!, info: b }),
  sustained: ({ n }) => ({ ino: n[0] as Ino }),
  flocksOf: ({ n, b }) => ({
    ino: n[1] as Ino,
    owner: b!.toString('hex', 0, OWNER_BYTES),
    type: flockTypeOf(n[2]),
  }),
  plocksOf: ({ n, b }) => ({
    ino: n[1] as Ino,
    owner: b!.toString('hex', 0, OWNER_BYTES),
    records: b!.subarray(OWNER_BYTES),
  }),
  deadFiles: ({ n }) => ({ ino: n[0] as Ino, length: n[1]!, at: n[2]! }),
  trashedSlices: ({ n, b }) => ({ id: n[0]!, at: n[1]!, items: bytesOf(b) }),
  unusedSlices: ({ n }) => ({ id: n[0]!, size: n[1]! }),
  chunks: ({ n, b }) => ({ ino: n[1] as Ino, index: n[2]!, records: bytesOf(b) }),
  quotas: ({ n }) => ({ key: n[0]!, quota: quotaFromRow(n, 1) }),
  dirUsages: ({ n }) => ({ ino: n[0] as Ino, usage: { length: n[1]!, space: n[2]!, inodes: n[3]! } }),
  nodes: ({ n }) => ({ ino: n[0] as Ino, attr: attrFromRow(n[0] as Ino, n, 1) }),
  sliceRefs: ({ n }) => ({ id: n[0]!, size: n[1]!, refs: n[2]! }),
}
