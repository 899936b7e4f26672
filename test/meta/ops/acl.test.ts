import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EACCES, ENOENT, ENOTSUP, EPERM, EROFS } from '../../../src/base/errno.ts'
import { TRASH_INO } from '../../../src/base/ino.ts'
import { node } from '../../../src/meta/facts.ts'
import { ACL_UNSET, type AclRule } from '../../../src/meta/model/acl.ts'
import { type Attr, FLAG_IMMUTABLE, TYPE_DIRECTORY } from '../../../src/meta/model/attr.ts'
import { getAcl, setAcl } from '../../../src/meta/ops/acl.ts'
import { attrOf, decide, FILE, NOW, owner, readOnly, root, stranger, volume, volumeOf, type World } from './decide.ts'

const rule: AclRule = { owner: 6, group: 4, mask: 7, other: 4, namedUsers: [{ id: 1000, perm: 7 }], namedGroups: [] }
const minimal: AclRule = { owner: 7, group: 5, mask: ACL_UNSET, other: 1, namedUsers: [], namedGroups: [] }
const empty: AclRule = { ...minimal, owner: ACL_UNSET, group: ACL_UNSET, other: ACL_UNSET }
const world = (attr: Partial<Attr>, stored: AclRule = rule): World => [
  [node(FILE), attrOf(attr)],
  [{ kind: 'aclId', rule: stored }, 9],
]
const set = (attr: Partial<Attr>, which: 'access' | 'default', wanted: AclRule, by = owner, stored?: AclRule) =>
  decide(setAcl(volume, by, FILE, which, wanted), world(attr, stored))

test('an access rule is stored, and the mode shows its mask', () => {
  const { value, changes, trips } = set({ mode: 0o4600 }, 'access', rule)
  const attr = attrOf({ mode: 0o4674, accessAcl: 9, ctime: NOW })
  assert.deepEqual([value, changes, trips], [attr, [{ kind: 'putNode', ino: FILE, attr }], 2])
})

test('what a rule leaves unset is taken from the mode', () => {
  const partial = { ...rule, owner: ACL_UNSET, group: ACL_UNSET, other: ACL_UNSET }
  const filled = { ...rule, owner: 7, group: 5, other: 1 }
  assert.equal(set({ mode: 0o751 }, 'access', partial, owner, filled).value.accessAcl, 9)
  assert.equal(set({ mode: 0o751, type: TYPE_DIRECTORY }, 'default', partial, owner, filled).value.defaultAcl, 9)
})

test('a minimal access rule becomes the mode, an empty one goes and leaves the mode', () => {
  const { value } = set({ mode: 0o1674, accessAcl: 4 }, 'access', minimal)
  assert.deepEqual([value.mode, value.accessAcl], [0o1751, 0])
  const gone = set({ mode: 0o674, accessAcl: 4 }, 'access', empty).value
  assert.deepEqual([gone.mode, gone.accessAcl, gone.ctime], [0o674, 0, NOW])
})

test('a default rule belongs to directories, is stored even when minimal, and leaves the mode', () => {
  const { value } = set({ type: TYPE_DIRECTORY, mode: 0o700 }, 'default', minimal, owner, minimal)
  assert.deepEqual([value.mode, value.defaultAcl], [0o700, 9])
  assert.equal(set({ type: TYPE_DIRECTORY, defaultAcl: 9 }, 'default', empty).value.defaultAcl, 0)
  assert.equal(set({}, 'default', rule).errno, EACCES)
  assert.equal(set({}, 'default', empty).errno, 0)
})

test('a rule that is there already changes nothing', () => {
  assert.deepEqual(set({ mode: 0o674, accessAcl: 9 }, 'access', rule).changes, [])
  assert.deepEqual(set({}, 'access', empty).changes, [])
})

test('whoever is not in the group of a file loses its sgid by setting its access rule', () => {
  assert.equal(set({ mode: 0o2755, gid: 999 }, 'access', rule).value.mode, 0o674)
  assert.equal(set({ mode: 0o2755, gid: 999 }, 'access', rule, root).value.mode, 0o2674)
  assert.equal(set({ mode: 0o2755, gid: 600 }, 'access', rule).value.mode, 0o2674)
})

test('setting is refused without ACLs, on virtual nodes, read-only, without a node, for strangers, and where immutable', () => {
  const errno = (v = volume, by = owner, facts: World = world({}), ino = FILE): number =>
    decide(setAcl(v, by, ino, 'access', rule), facts).errno
  assert.equal(errno(volumeOf({ acl: false })), ENOTSUP)
  assert.equal(errno(volume, root, world({}), TRASH_INO), EPERM)
  assert.equal(errno(readOnly), EROFS)
  assert.equal(errno(volume, owner, []), ENOENT)
  assert.equal(errno(volume, stranger), EPERM)
  assert.equal(errno(volume, root, world({ flags: FLAG_IMMUTABLE })), EPERM)
})

test('getAcl gives the rule that the node names, null where it names none', () => {
  const facts: World = [
    [node(FILE), attrOf({ accessAcl: 3 })],
    [{ kind: 'aclRule', id: 3 }, rule],
  ]
  assert.deepEqual(decide(getAcl(FILE, 'access'), facts).value, { rule })
  assert.deepEqual(decide(getAcl(FILE, 'default'), facts).value, { rule: null })
  assert.equal(decide(getAcl(FILE, 'access')).errno, ENOENT)
  assert.throws(() => decide(getAcl(FILE, 'access'), facts.slice(0, 1)), /read access rule 3 of inode 10/)
})
