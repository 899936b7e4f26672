import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ACL_UNSET, type AclRule } from '../../../src/meta/model/acl.ts'
import {
  chmodAcl,
  decodeAclXattr,
  encodeAclXattr,
  fillAcl,
  inheritAcl,
  isEmptyAcl,
  isMinimalAcl,
  modeOfAcl,
} from '../../../src/meta/rules/acl.ts'
import { ACL_RULE as rule } from '../../conformance/engine/harness.ts'

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s/g, ''), 'hex')
const minimal: AclRule = { owner: 7, group: 5, mask: ACL_UNSET, other: 1, namedUsers: [], namedGroups: [] }
const empty: AclRule = { ...minimal, owner: ACL_UNSET, group: ACL_UNSET, other: ACL_UNSET }

test('the extended attribute lists owner, users, group, groups, mask, other in little-endian', () => {
  const value = hex(`02000000
    0100 0600 ffffffff  0200 0700 e8030000  0400 0400 ffffffff
    0800 0500 d0070000  1000 0700 ffffffff  2000 0400 ffffffff`)
  assert.deepEqual(encodeAclXattr(rule), value)
  assert.deepEqual(decodeAclXattr(value), rule)
})

test('what a rule leaves unset is not written to the extended attribute', () => {
  assert.equal(encodeAclXattr(minimal).length, 4 + 3 * 8)
  assert.deepEqual(encodeAclXattr(empty), hex('02000000'))
})

test('a header alone is the empty rule', () => {
  const decoded = decodeAclXattr(hex('02000000'))
  assert.ok(decoded !== null && isEmptyAcl(decoded))
})

test('an extended attribute is refused for its length, version, tag, permission, a tag twice, and names without a mask', () => {
  const owner = '0100 0600 ffffffff'
  for (const value of [
    '',
    '0200',
    '02000000 0100',
    `03000000 ${owner}`,
    '02000000 4000 0600 ffffffff',
    '02000000 0100 0800 ffffffff',
    `02000000 ${owner} ${owner}`,
    `02000000 ${owner} 0200 0700 e8030000`,
  ]) {
    assert.equal(decodeAclXattr(hex(value)), null, value)
  }
})

test('empty and minimal rules are told from those that name somebody or have a mask', () => {
  assert.deepEqual([isEmptyAcl(empty), isEmptyAcl(minimal), isEmptyAcl(rule)], [true, false, false])
  assert.deepEqual(
    [isMinimalAcl(minimal), isMinimalAcl({ ...minimal, mask: 5 }), isMinimalAcl(rule)],
    [true, false, false],
  )
})

test('chmod moves the group bits to the mask, or to the group where there is no mask', () => {
  assert.deepEqual(chmodAcl(rule, 0o4751), { ...rule, owner: 7, mask: 5, other: 1 })
  assert.deepEqual(chmodAcl(minimal, 0o640), { ...minimal, owner: 6, group: 4, other: 0 })
  assert.equal(modeOfAcl(rule, 0o4000), 0o4674)
  assert.equal(modeOfAcl(minimal, 0o1777), 0o1751)
})

test('a rule is filled from the mode where it says nothing, but never its mask', () => {
  assert.deepEqual(fillAcl(empty, 0o751), { ...minimal, owner: 7, group: 5, other: 1 })
})

test('a child under a default rule gets its access rule and mode from both', () => {
  const defaultRule = { owner: 7, group: 5, mask: 7, other: 5, namedUsers: [{ id: 1000, perm: 7 }], namedGroups: [] }
  assert.deepEqual(inheritAcl(defaultRule, 0o666, false), {
    mode: 0o664,
    access: { owner: 6, group: 5, mask: 6, other: 4, namedUsers: [{ id: 1000, perm: 7 }], namedGroups: [] },
    defaultRule: false,
  })
})

test('a child under a minimal default rule gets a mode only, and a directory the default rule', () => {
  assert.deepEqual(inheritAcl(minimal, 0o2777, true), { mode: 0o2751, access: null, defaultRule: true })
})
