/** POSIX ACL rules (spec meta-model section 13). The shape only: the stored record is in acl-record.ts,
 *  the extended attribute and inheritance are in meta/rules/acl.ts. */

export interface AclEntry {
  readonly id: number
  readonly perm: number
}
export interface AclRule {
  /** permissions 0…7; 0xFFFF = unset */
  readonly owner: number
  readonly group: number
  readonly mask: number
  readonly other: number
  readonly namedUsers: readonly AclEntry[]
  readonly namedGroups: readonly AclEntry[]
}
export const ACL_UNSET = 0xffff
