/** Guards as checks of the commit script: is what was read still so? Compared are the bytes that were read (raw-facts.ts). */

import { nameToBytes } from '../../../base/bytes.ts'
import { type Ino, inoToString, isTrash, NO_INO, ROOT_INO } from '../../../base/ino.ts'
import type { Guard, Strength } from '../../engine.ts'
import type { Dentry, DirUsage, FlockHolder, ParentCount, PlockHolder, Quota, Read } from '../../facts.ts'
import type { AclRule } from '../../model/acl.ts'
import { encodeAclRule } from '../../model/acl-record.ts'
import type { Attr } from '../../model/attr.ts'
import { ATIME_AT, decodeAttr, NLINK_AT, PARENT_AT, RDEV_AT } from '../../model/attr-record.ts'
import type { Arg, Instruction } from './instruction.ts'
import { deadMember, type Keys, lockField, quotaField, sliceField, trashedField } from './keys.ts'
import { rawOf, recordOf } from './raw-facts.ts'
import { counterOffset, type Hints, MAX_CHUNK_PROBES } from './reads.ts'
import { encodeEntry, encodeLimits } from './values.ts'

const PARENT_END = 71

/** The checks of one guard; none where it cannot break (the id of an ACL rule: rules are never deleted). */
export function checksOf(guard: Guard, keys: Keys, hints: Hints): Instruction[] {
  const { read, fact } = guard
  switch (read.kind) {
    case 'node':
      return [checkNode(keys.node(read.ino), fact as Attr | null, guard.strength)]
    case 'dentry':
      return checksOfDentry(read, fact as Dentry | null, guard.strength, keys)
    case 'chunk':
      return [bytesCheck('L', keys.chunk(read.ino, read.index), fact as Buffer | null)]
    case 'chunkIndexes': {
      const found = (fact as readonly number[]).map(String)
      // In a span too large to look at, only what was found is compared: whoever adds a list also changes the node.
      const to = read.to - read.from > MAX_CHUNK_PROBES ? read.from : read.to
      return [check('X', keys.chunks(read.ino), String(read.from), String(to), String(found.length), ...found)]
    }
    case 'symlink':
      return [bytesCheck('G', keys.symlink(read.ino), fact === null ? null : nameToBytes(fact as string))]
    case 'xattr':
      return [fieldCheck(keys.xattrs(read.ino), nameToBytes(read.name), fact as Buffer | null)]
    case 'xattrNames': {
      const names = (fact as readonly string[]).map(nameToBytes)
      return [check('K', keys.xattrs(read.ino), String(names.length), ...names)]
    }
    case 'flocks':
      return [checkHash(keys.flocks(read.ino), rawOf(fact) ?? (fact as FlockHolder[]).flatMap(flockPair))]
    case 'plocks':
      return [checkHash(keys.plocks(read.ino), rawOf(fact) ?? (fact as PlockHolder[]).flatMap(plockPair))]
    case 'parents':
      return checksOfParents(read, fact as readonly ParentCount[], keys)
    case 'ancestors':
      return checksOfAncestors(read, fact as readonly Ino[], keys)
    case 'aclRule':
      return [fieldCheck(keys.acl, String(read.id), fact === null ? null : encodeAclRule(fact as AclRule))]
    case 'aclId':
      return []
    case 'sliceRefs': {
      const field = sliceField(read.id, read.size)
      return [fieldCheck(keys.sliceRefs, field, fact === 1 ? null : String((fact as number) - 1))]
    }
    case 'sustained':
      return [check('S', keys.sustained(read.sid), inoToString(read.ino), fact === true ? '1' : '0')]
    case 'deadFile': {
      const length = (fact as { length: number } | null)?.length ?? hints.deadLengths.get(read.ino)
      if (length === undefined) return []
      const score = fact === null ? '' : String((fact as { at: number }).at)
      return [check('Z', keys.deadFiles, deadMember(read.ino, length), score)]
    }
    case 'trashedSlices':
      return [fieldCheck(keys.trashedSlices, trashedField(read.id, read.at), fact as Buffer | null)]
    case 'dirUsage': {
      const field = inoToString(read.ino)
      if (fact === null) return [fieldCheck(keys.dirSpace, field, null)]
      const { space, length, inodes } = fact as DirUsage
      const values = rawOf(fact) ?? [space, length, inodes].map(String)
      return [keys.dirSpace, keys.dirLength, keys.dirInodes].map((key, i) => fieldCheck(key, field, values[i] ?? null))
    }
    case 'quota': {
      const field = quotaField(read.type, read.key)
      const hashes = keys.quota(read.type)
      if (fact === null) return [fieldCheck(hashes[0], field, null)]
      const quota = fact as Quota
      const values = rawOf(fact) ?? [encodeLimits(quota), String(quota.usedSpace), String(quota.usedInodes)]
      return hashes.map((key, i) => fieldCheck(key, field, values[i] ?? null))
    }
    case 'counter': {
      const key = keys.counter(read.name)
      const offset = counterOffset(read.name)
      // 0 is what a missing counter reads as, and what one reads as that holds 0.
      if (offset === 0) return [check('C', key, String(fact))]
      return [bytesCheck('G', key, fact === 0 ? null : String((fact as number) - offset))]
    }
    case 'session': {
      const session = fact as { expire: number; info: Buffer | null } | null
      const member = String(read.sid)
      const score = check('Z', keys.allSessions, member, session === null ? '' : String(session.expire))
      return session === null ? [score] : [score, fieldCheck(keys.sessionInfos, member, session.info)]
    }
    case 'format':
      return [bytesCheck('G', keys.setting, fact === null ? null : Buffer.from(fact as string, 'utf8'))]
  }
}

const check = (op: string, key: string, ...args: readonly Arg[]): Instruction => ({ op, keys: [key], args })
export const absentCheck = (key: string): Instruction => check('N', key)
export const existsCheck = (key: string): Instruction => check('E', key)
/** The field has this value, or (null) there is no such field. */
export const fieldCheck = (key: string, field: Arg, value: Arg | null): Instruction =>
  value === null ? check('f', key, field) : check('F', key, field, value)
export const prefixCheck = (key: string, records: number, prefix: Buffer): Instruction =>
  check('l', key, String(records), prefix)
const bytesCheck = (op: 'G' | 'L', key: string, value: Arg | null): Instruction =>
  value === null ? absentCheck(key) : check(op, key, value)

/** What of a record each strength leaves out: the times; and link count; and length (spec: attribute record). */
const LEFT_OUT_UNTIL: Readonly<Record<Strength, number>> = { exact: ATIME_AT, length: NLINK_AT, identity: RDEV_AT }

function checkNode(key: string, attr: Attr | null, strength: Strength): Instruction {
  if (attr === null) return absentCheck(key)
  const record = recordOf(attr)
  if (strength === 'exact') return check('G', key, record)
  const cut = LEFT_OUT_UNTIL[strength]
  return check('R', key, String(cut), Buffer.concat([record.subarray(0, ATIME_AT), record.subarray(cut)]))
}

function checksOfDentry(
  read: Read & { readonly kind: 'dentry' },
  fact: Dentry | null,
  strength: Strength,
  keys: Keys,
): Instruction[] {
  const entries = keys.entries(read.parent)
  const name = nameToBytes(read.name)
  if (fact === null) return [fieldCheck(entries, name, null)]
  const entry = rawOf(fact)?.[0] ?? encodeEntry(fact.ino, fact.type)
  const checks = [fieldCheck(entries, name, entry), checkNode(keys.node(fact.ino), fact.attr, strength)]
  if (fact.empty === true) checks.push(absentCheck(keys.entries(fact.ino)))
  if (fact.empty === false) checks.push(existsCheck(keys.entries(fact.ino)))
  return checks
}

function checksOfParents(
  { ino }: Read & { readonly kind: 'parents' },
  counts: readonly ParentCount[],
  keys: Keys,
): Instruction[] {
  const raw = rawOf(counts)
  if (raw === undefined) return [checkHash(keys.parents(ino), counts.flatMap(parentPair))]
  const [record, ...pairs] = raw
  const node = keys.node(ino)
  return [checkHash(keys.parents(ino), pairs), record ? parentCheck(node, record) : absentCheck(node)]
}

/** Every directory of the chain still has the parent it had; where the chain broke, it still does. */
function checksOfAncestors(
  { ino }: Read & { readonly kind: 'ancestors' },
  chain: readonly Ino[],
  keys: Keys,
): Instruction[] {
  if (chain.length === 0) return [absentCheck(keys.node(ino))]
  const records = rawOf(chain) as readonly Buffer[] | undefined
  if (records === undefined) return chain.map(each => existsCheck(keys.node(each)))
  const checks = chain.map((each, i) => parentCheck(keys.node(each), records[i]!))
  const top = chain[chain.length - 1]!
  const above = decodeAttr(top, records[records.length - 1]!).parent
  if (top !== ROOT_INO && !isTrash(top) && above !== NO_INO) checks.push(absentCheck(keys.node(above)))
  return checks
}

const parentCheck = (key: string, record: Buffer): Instruction =>
  check('P', key, record.subarray(PARENT_AT, PARENT_END))

/** The hash has these fields and values and no others; `pairs` are field, value, field, value, … */
const checkHash = (key: string, pairs: readonly (Arg | null)[]): Instruction =>
  check('H', key, String(pairs.length / 2), ...(pairs as readonly Arg[]))

const flockPair = ({ sid, owner, type }: FlockHolder): Arg[] => [lockField(sid, owner), type]
const plockPair = ({ sid, owner, records }: PlockHolder): Arg[] => [lockField(sid, owner), records]
const parentPair = ({ parent, count }: ParentCount): Arg[] => [inoToString(parent), String(count)]
