/** Permission predicates (spec meta-model section 14). Pure: attributes and caller in, answer out. */

import type { AclRule } from '../model/acl.ts'
import { type Attr, FLAG_APPEND, FLAG_IMMUTABLE } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'

export const MAY_EXEC = 1
export const MAY_WRITE = 2
export const MAY_READ = 4

const isInGroup = (caller: Caller, gid: number): boolean => caller.gid === gid || caller.gids.includes(gid)

/** Mode bits (and the access rule where the node has one) against the wanted mask. Always true for uid 0 and where the
 *  kernel has checked already. `rule` is the node's access ACL or null. */
export function mayAccess(attr: Attr, caller: Caller, mask: number, rule: AclRule | null = null): boolean {
  if (caller.uid === 0 || !caller.check) return true
  if (rule !== null && attr.accessAcl !== 0 && (attr.mode & 0o070) !== 0)
    return mayAccessByAcl(attr, caller, mask, rule)
  const shift = caller.uid === attr.uid ? 6 : isInGroup(caller, attr.gid) ? 3 : 0
  return ((attr.mode >> shift) & mask) === mask
}

function mayAccessByAcl(attr: Attr, caller: Caller, mask: number, rule: AclRule): boolean {
  const grants = (perm: number): boolean => (perm & mask) === mask
  if (caller.uid === attr.uid) return grants(rule.owner)
  const user = rule.namedUsers.find(entry => entry.id === caller.uid)
  if (user) return grants(user.perm & rule.mask)
  let anyGroup = false
  if (isInGroup(caller, attr.gid)) {
    anyGroup = true
    if (grants(rule.group & rule.mask)) return true
  }
  for (const entry of rule.namedGroups) {
    if (!isInGroup(caller, entry.id)) continue
    anyGroup = true
    if (grants(entry.perm & rule.mask)) return true
  }
  return anyGroup ? false : grants(rule.other)
}

/** The sticky bit: only root, the directory's owner and the node's owner may remove or rename an entry. */
export const stickyForbids = (dir: Attr, node: Attr, caller: Caller): boolean =>
  (dir.mode & 0o1000) !== 0 && caller.uid !== 0 && caller.uid !== dir.uid && caller.uid !== node.uid

export const isImmutable = (attr: Attr): boolean => (attr.flags & FLAG_IMMUTABLE) !== 0
export const isAppendOnly = (attr: Attr): boolean => (attr.flags & FLAG_APPEND) !== 0
export const isProtected = (attr: Attr): boolean => (attr.flags & (FLAG_IMMUTABLE | FLAG_APPEND)) !== 0
export const callerInGroup = isInGroup
