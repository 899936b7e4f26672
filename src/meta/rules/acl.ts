/** POSIX ACL rules (spec meta-model section 13): their extended attribute, and how they and the mode bits follow each other.
 *
 *  A rule that says no more than nine mode bits can say (*minimal*) is never stored for access; then the mode is the rule.
 *  In every other rule the mode's group bits mirror the *mask*, as in Linux, so `ls` shows the most anybody may get. */

import { ACL_UNSET, type AclEntry, type AclRule } from '../model/acl.ts'

// ── predicates ────────────────────────────────────────────────────────────────────────────────────────────────────────

const namesNobody = (rule: AclRule): boolean => rule.namedUsers.length === 0 && rule.namedGroups.length === 0

/** Says nothing at all: setting it removes the node's rule. */
export const isEmptyAcl = (rule: AclRule): boolean =>
  namesNobody(rule) && (rule.owner & rule.group & rule.mask & rule.other) === ACL_UNSET

/** Says nothing that the nine mode bits cannot say. */
export const isMinimalAcl = (rule: AclRule): boolean => namesNobody(rule) && rule.mask === ACL_UNSET

// ── mode and rule ─────────────────────────────────────────────────────────────────────────────────────────────────────

const bits = (owner: number, group: number, other: number): number =>
  ((owner & 7) << 6) | ((group & 7) << 3) | (other & 7)

/** The mode of a node with this access rule: suid, sgid and sticky of `mode`, the rest from the rule. */
export const modeOfAcl = (rule: AclRule, mode: number): number =>
  (mode & 0o7000) | bits(rule.owner, rule.mask === ACL_UNSET ? rule.group : rule.mask, rule.other)

/** The access rule after chmod: group bits go to the mask where there is one. */
export const chmodAcl = (rule: AclRule, mode: number): AclRule => {
  const group = (mode >> 3) & 7
  const changed = { ...rule, owner: (mode >> 6) & 7, other: mode & 7 }
  return isMinimalAcl(rule) ? { ...changed, group } : { ...changed, mask: group }
}

/** The rule with what it leaves unset taken from the mode (never the mask). */
export const fillAcl = (rule: AclRule, mode: number): AclRule => ({
  ...rule,
  owner: rule.owner === ACL_UNSET ? (mode >> 6) & 7 : rule.owner,
  group: rule.group === ACL_UNSET ? (mode >> 3) & 7 : rule.group,
  other: rule.other === ACL_UNSET ? mode & 7 : rule.other,
})

/** What a new node (no symlink) gets from `rule`, its parent's default rule. The umask plays no part then.
 *  `access` null: the mode says it all. `defaultRule`: the child takes the parent's default rule (and its id) as its own. */
export function inheritAcl(
  rule: AclRule,
  mode: number,
  isDirectory: boolean,
): { mode: number; access: AclRule | null; defaultRule: boolean } {
  if (isMinimalAcl(rule)) {
    const allowed = 0o7000 | bits(rule.owner, rule.group, rule.other)
    return { mode: mode & allowed, access: null, defaultRule: isDirectory }
  }
  const access: AclRule = {
    owner: (mode >> 6) & rule.owner & 7,
    group: rule.group,
    mask: (mode >> 3) & rule.mask & 7,
    other: mode & rule.other & 7,
    namedUsers: rule.namedUsers,
    namedGroups: rule.namedGroups,
  }
  return { mode: (mode & 0o7000) | bits(access.owner, access.mask, access.other), access, defaultRule: isDirectory }
}

// ── the extended attributes system.posix_acl_access and …_default: little-endian, as the kernel passes them ───────────

const XATTR_VERSION = 2
const XATTR_HEAD_BYTES = 4
const XATTR_ENTRY_BYTES = 8
const TAG_OWNER = 0x01
const TAG_USER = 0x02
const TAG_GROUP = 0x04
const TAG_NAMED_GROUP = 0x08
const TAG_MASK = 0x10
const TAG_OTHER = 0x20
const NO_ID = 0xffffffff

/** null = EINVAL: wrong length or version, an unknown tag or permission, an unnamed tag twice, names without a mask. */
export function decodeAclXattr(value: Buffer): AclRule | null {
  if (value.length % XATTR_ENTRY_BYTES !== XATTR_HEAD_BYTES || value.readUInt8(0) !== XATTR_VERSION) return null
  const unnamed = new Map<number, number>()
  const namedUsers: AclEntry[] = []
  const namedGroups: AclEntry[] = []
  for (let at = XATTR_HEAD_BYTES; at < value.length; at += XATTR_ENTRY_BYTES) {
    const tag = value.readUInt16LE(at)
    const perm = value.readUInt16LE(at + 2)
    if (perm > 7) return null
    switch (tag) {
      case TAG_USER:
        namedUsers.push({ id: value.readUInt32LE(at + 4), perm })
        break
      case TAG_NAMED_GROUP:
        namedGroups.push({ id: value.readUInt32LE(at + 4), perm })
        break
      case TAG_OWNER:
      case TAG_GROUP:
      case TAG_MASK:
      case TAG_OTHER:
        if (unnamed.has(tag)) return null
        unnamed.set(tag, perm)
        break
      default:
        return null
    }
  }
  const permOf = (tag: number): number => unnamed.get(tag) ?? ACL_UNSET
  const rule = {
    owner: permOf(TAG_OWNER),
    group: permOf(TAG_GROUP),
    mask: permOf(TAG_MASK),
    other: permOf(TAG_OTHER),
    namedUsers,
    namedGroups,
  }
  return rule.mask === ACL_UNSET && !namesNobody(rule) ? null : rule
}

/** Entries in the kernel's order (owner, users, group, groups, mask, other); what is unset is left out. */
export function encodeAclXattr(rule: AclRule): Buffer {
  const entries: [tag: number, perm: number, id: number][] = [
    [TAG_OWNER, rule.owner, NO_ID],
    ...rule.namedUsers.map((e): [number, number, number] => [TAG_USER, e.perm, e.id]),
    [TAG_GROUP, rule.group, NO_ID],
    ...rule.namedGroups.map((e): [number, number, number] => [TAG_NAMED_GROUP, e.perm, e.id]),
    [TAG_MASK, rule.mask, NO_ID],
    [TAG_OTHER, rule.other, NO_ID],
  ]
  const set = entries.filter(([, perm]) => perm !== ACL_UNSET)
  const value = Buffer.alloc(XATTR_HEAD_BYTES + set.length * XATTR_ENTRY_BYTES)
  value.writeUInt8(XATTR_VERSION, 0)
  set.forEach(([tag, perm, id], i) => {
    const at = XATTR_HEAD_BYTES + i * XATTR_ENTRY_BYTES
    value.writeUInt16LE(tag, at)
    value.writeUInt16LE(perm, at + 2)
    value.writeUInt32LE(id, at + 4)
  })
  return value
}
