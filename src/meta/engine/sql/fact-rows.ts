/** How a fact is told by the rows of a query, each of some numbers and some bytes; and back: that is how a guard compares it
 *  at the commit. */

import { type Name, nameFromBytes, nameToBytes } from '../../../base/bytes.ts'
import type { Ino } from '../../../base/ino.ts'
import {
  type Dentry,
  type DirUsage,
  type Fact,
  type FlockHolder,
  type ParentCount,
  type PlockHolder,
  QUOTA_DIR,
  type Quota,
  type Read,
} from '../../facts.ts'
import type { AclRule } from '../../model/acl.ts'
import { aclBytes, aclEntries, attrFromRow, flockCode, flockTypeOf, quotaFromRow } from './columns.ts'

const OWNER_BYTES = 8

export interface FactRow {
  readonly n: readonly number[]
  readonly b: Buffer | null
}

/** What tells apart the statements of two reads: their kinds, and the variants of a kind. */
export function shapeOf(read: Read): string {
  if (read.kind === 'dentry' && read.empty === true) return 'dentry?'
  return read.kind === 'quota' && read.type !== QUOTA_DIR ? 'owner quota' : read.kind
}

export function factOf(read: Read, rows: readonly FactRow[]): Fact {
  const row = rows[0]
  switch (read.kind) {
    case 'node':
      return row === undefined ? null : attrFromRow(read.ino, row.n, 0)
    case 'dentry':
      return row === undefined ? null : dentryOf(row.n, read.empty === true)
    case 'chunk':
    case 'xattr':
    case 'trashedSlices':
      return row?.b ?? null
    case 'symlink':
      return row === undefined ? null : nameFromBytes(row.b!)
    case 'chunkIndexes':
    case 'ancestors':
      return rows.map(({ n }) => n[0]!)
    case 'xattrNames':
      return rows.map(({ b }): Name => nameFromBytes(b!))
    case 'flocks':
      return rows.map(({ n, b }): FlockHolder => ({ sid: n[0]!, owner: ownerOf(b!), type: flockTypeOf(n[1]) }))
    case 'plocks':
      return rows.map(
        ({ n, b }): PlockHolder => ({ sid: n[0]!, owner: ownerOf(b!), records: b!.subarray(OWNER_BYTES) }),
      )
    case 'parents':
      return rows.map(({ n }): ParentCount => ({ parent: n[0] as Ino, count: n[1]! }))
    case 'aclRule':
      return row === undefined ? null : aclRuleOf(row)
    case 'sliceRefs':
      return row?.n[0] ?? null
    case 'sustained':
      return row !== undefined
    case 'deadFile':
      return row === undefined ? null : { length: row.n[0]!, at: row.n[1]! }
    case 'dirUsage':
      return row === undefined ? null : { length: row.n[0]!, space: row.n[1]!, inodes: row.n[2]! }
    case 'quota':
      return row === undefined ? null : quotaFromRow(row.n, 0)
    case 'counter':
    case 'aclId':
      return row?.n[0] ?? 0
    case 'session':
      return row === undefined ? null : { expire: row.n[0]!, info: row.b }
    case 'format':
      return row === undefined ? null : row.b!.toString('utf8')
  }
}

/** The rows that `factOf` would make this fact of. Nodes and entries have strengths and are compared by column (hold.ts). */
export function rowsOf(read: Exclude<Read, { kind: 'node' | 'dentry' | 'aclId' }>, fact: Fact): FactRow[] {
  const n = (...values: number[]): FactRow => ({ n: values, b: null })
  const b = (value: Buffer): FactRow => ({ n: [], b: value })
  if (fact === null || fact === false) return []
  switch (read.kind) {
    case 'chunk':
    case 'xattr':
    case 'trashedSlices':
      return [b(fact as Buffer)]
    case 'symlink':
      return [b(nameToBytes(fact as Name))]
    case 'chunkIndexes':
    case 'ancestors':
      return (fact as readonly number[]).map(value => n(value))
    case 'xattrNames':
      return (fact as readonly Name[]).map(name => b(nameToBytes(name)))
    case 'flocks':
      return (fact as readonly FlockHolder[]).map(({ sid, owner, type }) => ({
        n: [sid, flockCode(type)],
        b: Buffer.from(owner, 'hex'),
      }))
    case 'plocks':
      return (fact as readonly PlockHolder[]).map(({ sid, owner, records }) => ({
        n: [sid],
        b: Buffer.concat([Buffer.from(owner, 'hex'), records]),
      }))
    case 'parents':
      return (fact as readonly ParentCount[]).map(({ parent, count }) => n(parent, count))
    case 'aclRule': {
      const rule = fact as AclRule
      const [users, groups] = [aclBytes(rule.namedUsers), aclBytes(rule.namedGroups)]
      const parts = [rule.owner, rule.group, rule.mask, rule.other, users.length]
      return [{ n: parts, b: Buffer.concat([users, groups]) }]
    }
    case 'sliceRefs':
    case 'counter':
      return [n(fact as number)]
    case 'sustained':
      return [n()]
    case 'deadFile': {
      const { length, at } = fact as { length: number; at: number }
      return [n(length, at)]
    }
    case 'dirUsage': {
      const { length, space, inodes } = fact as DirUsage
      return [n(length, space, inodes)]
    }
    case 'quota': {
      const { maxSpace, maxInodes, usedSpace, usedInodes } = fact as Quota
      return [n(maxSpace, maxInodes, usedSpace, usedInodes)]
    }
    case 'session': {
      const { expire, info } = fact as { expire: number; info: Buffer | null }
      return [{ n: [expire], b: info }]
    }
    case 'format':
      return [b(Buffer.from(fact as string, 'utf8'))]
  }
}

/** Where the attributes begin in the numbers of an entry. */
const ENTRY_ATTR = 4

function dentryOf(n: readonly number[], askEmpty: boolean): Dentry {
  const ino = n[0] as Ino
  const found = { ino, type: n[1]!, attr: n[2] === 0 ? null : attrFromRow(ino, n, ENTRY_ATTR) }
  return askEmpty ? { ...found, empty: n[3] === 0 } : found
}

const ownerOf = (b: Buffer): string => b.toString('hex', 0, OWNER_BYTES)

function aclRuleOf({ n, b }: FactRow): AclRule {
  const [owner, group, mask, other, userBytes] = n as [number, number, number, number, number]
  return {
    owner,
    group,
    mask,
    other,
    namedUsers: aclEntries(b!.subarray(0, userBytes)),
    namedGroups: aclEntries(b!.subarray(userBytes)),
  }
}
