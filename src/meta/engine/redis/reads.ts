/** Facts out of keys: what to ask, and what the replies mean. Facts keep the bytes they came from (raw-facts.ts). */

import { nameFromBytes, nameToBytes } from '../../../base/bytes.ts'
import { type Ino, inoFromString, inoToString, isTrash, NO_INO, ROOT_INO } from '../../../base/ino.ts'
import type { Dentry, Fact, FlockHolder, ParentCount, PlockHolder, Read } from '../../facts.ts'
import { decodeAclRule, encodeAclRule } from '../../model/acl-record.ts'
import type { Attr } from '../../model/attr.ts'
import { decodeAttr } from '../../model/attr-record.ts'
import { command, type Instruction, type Reply } from './instruction.ts'
import { deadMember, type Keys, parseLockField, quotaField, sliceField, trashedField } from './keys.ts'
import { remember } from './raw-facts.ts'
import { buffersOf, bytesOf, decodeEntry, decodeLimits, listOf, numberOf, textOf } from './values.ts'

export interface ReadPlan {
  readonly instructions: readonly Instruction[]
  /** of the instructions' replies, in order */
  decode(replies: readonly Reply[]): Fact
}

/** Spans of chunk indexes up to this are looked at one by one, larger ones by going through all keys. */
export const MAX_CHUNK_PROBES = 10_000

/** What the engine must find out by other means before it can ask: a dead file is keyed by its length too, and chunks of a huge
 *  span are found by a walk over all keys. */
export interface Hints {
  readonly deadLengths: ReadonlyMap<Ino, number>
  readonly chunkIndexes: ReadonlyMap<Read, readonly number[]>
}

export function planRead(read: Read, keys: Keys, hints: Hints): ReadPlan {
  switch (read.kind) {
    case 'node':
      return one(command('q', 'GET', keys.node(read.ino)), reply => attrOf(read.ino, reply))
    case 'dentry':
      return planDentry(read, keys)
    case 'chunk':
      return one(command('q', 'LRANGE', keys.chunk(read.ino, read.index), '0', '-1'), reply => {
        const records = buffersOf(reply)
        return records.length === 0 ? null : Buffer.concat(records)
      })
    case 'chunkIndexes': {
      const walked = hints.chunkIndexes.get(read)
      if (walked !== undefined) return { instructions: [], decode: () => walked }
      const args = [String(read.from), String(read.to)]
      return one({ op: 'x', keys: [keys.chunks(read.ino)], args }, reply => buffersOf(reply).map(numberOf))
    }
    case 'symlink':
      return one(command('q', 'GET', keys.symlink(read.ino)), reply => {
        const target = bytesOf(reply)
        return target === null ? null : nameFromBytes(target)
      })
    case 'xattr':
      return one(command('q', 'HGET', keys.xattrs(read.ino), nameToBytes(read.name)), bytesOf)
    case 'xattrNames':
      return one(command('q', 'HKEYS', keys.xattrs(read.ino)), reply => buffersOf(reply).map(nameFromBytes).sort())
    case 'flocks':
      return one(command('q', 'HGETALL', keys.flocks(read.ino)), reply => holders(reply, flockHolder))
    case 'plocks':
      return one(command('q', 'HGETALL', keys.plocks(read.ino)), reply => holders(reply, plockHolder))
    case 'parents':
      return planParents(read.ino, keys)
    case 'ancestors':
      return one({ op: 'a', keys: [keys.node(read.ino)], args: [keys.prefix] }, reply =>
        ancestorsOf(read.ino, buffersOf(reply)),
      )
    case 'aclRule':
      return one(command('q', 'HGET', keys.acl, String(read.id)), reply => {
        const rule = bytesOf(reply)
        return rule === null ? null : remember(decodeAclRule(rule), rule)
      })
    case 'aclId':
      return one({ op: 'l', keys: [keys.acl, keys.aclMaxId], args: [encodeAclRule(read.rule)] }, numberOf)
    case 'sliceRefs':
      // Stored is one less than there are; a slice that is not listed has one.
      return one(command('q', 'HGET', keys.sliceRefs, sliceField(read.id, read.size)), reply => numberOf(reply) + 1)
    case 'sustained':
      return one(command('q', 'SISMEMBER', keys.sustained(read.sid), inoToString(read.ino)), reply => reply === 1)
    case 'deadFile': {
      const length = hints.deadLengths.get(read.ino)
      if (length === undefined) return { instructions: [], decode: () => null }
      return one(command('q', 'ZSCORE', keys.deadFiles, deadMember(read.ino, length)), reply =>
        reply === null ? null : { length, at: numberOf(reply) },
      )
    }
    case 'trashedSlices':
      return one(command('q', 'HGET', keys.trashedSlices, trashedField(read.id, read.at)), bytesOf)
    case 'dirUsage': {
      const field = inoToString(read.ino)
      const [space, length, inodes] = [keys.dirSpace, keys.dirLength, keys.dirInodes]
      return several(
        [space, length, inodes].map(key => command('q', 'HGET', key, field)),
        replies => {
          const raw = replies.map(bytesOf)
          if (raw[0] === null) return null
          const [space, length, inodes] = replies.map(numberOf) as [number, number, number]
          return remember({ length, space, inodes }, ...raw)
        },
      )
    }
    case 'quota': {
      const field = quotaField(read.type, read.key)
      return several(
        keys.quota(read.type).map(key => command('q', 'HGET', key, field)),
        replies => {
          const raw = replies.map(bytesOf)
          const limits = raw[0]
          if (limits === null || limits === undefined) return null
          const [usedSpace, usedInodes] = [numberOf(replies[1]), numberOf(replies[2])]
          return remember({ ...decodeLimits(limits), usedSpace, usedInodes }, ...raw)
        },
      )
    }
    case 'counter':
      return one(command('q', 'GET', keys.counter(read.name)), reply =>
        reply === null ? 0 : numberOf(reply) + counterOffset(read.name),
      )
    case 'session': {
      const member = String(read.sid)
      return several(
        [command('q', 'ZSCORE', keys.allSessions, member), command('q', 'HGET', keys.sessionInfos, member)],
        ([score, info]) => (score === null ? null : { expire: numberOf(score), info: bytesOf(info) }),
      )
    }
    case 'format':
      return one(command('q', 'GET', keys.setting), reply => bytesOf(reply)?.toString('utf8') ?? null)
  }
}

/** Counters of inodes and slices hold the last id taken here; everywhere else, and in facts, the next one that is free. */
export const counterOffset = (name: string): number => (name === 'nextInode' || name === 'nextChunk' ? 1 : 0)

const one = (instruction: Instruction, decode: (reply: Reply) => Fact): ReadPlan => ({
  instructions: [instruction],
  decode: replies => decode(replies[0]!),
})
const several = (instructions: readonly Instruction[], decode: (replies: readonly Reply[]) => Fact): ReadPlan => ({
  instructions,
  decode,
})

export function attrOf(ino: Ino, reply: Reply | undefined): Attr | null {
  const record = bytesOf(reply)
  return record === null ? null : remember(decodeAttr(ino, record), record)
}

function planDentry(read: Read & { readonly kind: 'dentry' }, keys: Keys): ReadPlan {
  const asksEmpty = read.empty === true
  const args = [keys.prefix, nameToBytes(read.name), asksEmpty ? '1' : '0']
  return one({ op: 'd', keys: [keys.entries(read.parent)], args }, reply => {
    const [entry, record, filled] = listOf(reply)
    const bytes = bytesOf(entry)
    if (bytes === null) return null
    const { ino, type } = decodeEntry(bytes)
    const attr = attrOf(ino, record)
    const found: Dentry = asksEmpty ? { ino, type, attr, empty: filled !== 1 } : { ino, type, attr }
    return remember(found, bytes)
  })
}

/** Where a node still knows its parent nothing is counted: it has one name there. */
function planParents(ino: Ino, keys: Keys): ReadPlan {
  const instructions = [command('q', 'GET', keys.node(ino)), command('q', 'HGETALL', keys.parents(ino))]
  return several(instructions, replies => {
    const record = bytesOf(replies[0])
    const parent = record === null ? NO_INO : decodeAttr(ino, record).parent
    const raw = buffersOf(replies[1])
    const counts: ParentCount[] = parent === NO_INO ? countsOf(raw) : [{ parent, count: 1 }]
    return remember(counts, record, ...raw)
  })
}

function countsOf(pairs: readonly Buffer[]): ParentCount[] {
  const counts: ParentCount[] = []
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    const parent = inoFromString(textOf(pairs[i]!))
    const count = numberOf(pairs[i + 1])
    if (parent !== null && count > 0) counts.push({ parent, count })
  }
  return counts.sort((a, b) => a.parent - b.parent)
}

/** The chain ends at the root, at the first directory of the trash, or where a record is missing. */
function ancestorsOf(ino: Ino, records: readonly Buffer[]): Ino[] {
  const chain: Ino[] = []
  let at = ino
  for (const record of records) {
    chain.push(at)
    if (at === ROOT_INO || isTrash(at)) break
    at = decodeAttr(at, record).parent
  }
  return remember(chain, ...records.slice(0, chain.length))
}

/** Sorted by session and owner, as everywhere. */
function holders<H extends FlockHolder | PlockHolder>(
  reply: Reply,
  make: (sid: number, owner: string, value: Buffer) => H,
): readonly H[] {
  const raw = buffersOf(reply)
  const found: H[] = []
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const holder = parseLockField(textOf(raw[i]!))
    if (holder !== null) found.push(make(holder.sid, holder.owner, raw[i + 1]!))
  }
  found.sort((a, b) => a.sid - b.sid || (a.owner < b.owner ? -1 : 1))
  return remember(found, ...raw)
}
export const flockHolder = (sid: number, owner: string, value: Buffer): FlockHolder => ({
  sid,
  owner,
  type: value[0] === 0x57 ? 'W' : 'R',
})
export const plockHolder = (sid: number, owner: string, records: Buffer): PlockHolder => ({ sid, owner, records })
