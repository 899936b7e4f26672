/** An ACL rule as one binary record: what Redis stores, and the binary backup (spec meta-model section 13).
 *
 *      owner u16 | group u16 | mask u16 | other u16 | n u32, n × (id u32, perm u16) users | the same, groups
 */

import { Fault } from '../../base/fault.ts'
import type { AclEntry, AclRule } from './acl.ts'

const HEAD_BYTES = 8
const ENTRY_BYTES = 6

export function encodeAclRule(rule: AclRule): Buffer {
  const lists = [rule.namedUsers, rule.namedGroups]
  const entries = rule.namedUsers.length + rule.namedGroups.length
  const bytes = Buffer.alloc(HEAD_BYTES + 8 + entries * ENTRY_BYTES)
  bytes.writeUInt16BE(rule.owner, 0)
  bytes.writeUInt16BE(rule.group, 2)
  bytes.writeUInt16BE(rule.mask, 4)
  bytes.writeUInt16BE(rule.other, 6)
  let at = HEAD_BYTES
  for (const list of lists) {
    at = bytes.writeUInt32BE(list.length, at)
    for (const { id, perm } of list) at = bytes.writeUInt16BE(perm, bytes.writeUInt32BE(id, at))
  }
  return bytes
}

/** Fault (EIO) where the bytes are no rule. */
export function decodeAclRule(bytes: Buffer): AclRule {
  let at = HEAD_BYTES
  const list = (): AclEntry[] => {
    if (at + 4 > bytes.length) throw damaged(bytes)
    const count = bytes.readUInt32BE(at)
    at += 4
    if (at + count * ENTRY_BYTES > bytes.length) throw damaged(bytes)
    return Array.from({ length: count }, () => {
      const entry = { id: bytes.readUInt32BE(at), perm: bytes.readUInt16BE(at + 4) }
      at += ENTRY_BYTES
      return entry
    })
  }
  if (bytes.length < HEAD_BYTES) throw damaged(bytes)
  const [owner, group, mask, other] = [0, 2, 4, 6].map(offset => bytes.readUInt16BE(offset)) as [
    number,
    number,
    number,
    number,
  ]
  return { owner, group, mask, other, namedUsers: list(), namedGroups: list() }
}

const damaged = (bytes: Buffer): Fault => new Fault(`damaged ACL rule: ${bytes.length} bytes`, { isPermanent: true })
