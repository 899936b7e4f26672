import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EACCES, ENOENT, EPERM, EROFS } from '../../../src/base/errno.ts'
import { type Ino, ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import { node } from '../../../src/meta/facts.ts'
import type { SetAttr } from '../../../src/meta/meta.ts'
import { type Attr, FLAG_IMMUTABLE, TYPE_DIRECTORY, TYPE_SYMLINK } from '../../../src/meta/model/attr.ts'
import { decodeAttr, encodeAttr } from '../../../src/meta/model/attr-record.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import { access, getattr, setattr, touchAtime } from '../../../src/meta/ops/attributes.ts'
import {
  attrOf,
  BEFORE,
  decide,
  FILE,
  NOW,
  ofKind,
  owner,
  readOnly,
  root,
  stranger,
  volume,
  volumeOf,
  type World,
} from './decide.ts'

const world = (attr: Partial<Attr>): World => [[node(FILE), attrOf(attr)]]
const set = (attr: Partial<Attr>, change: SetAttr, caller: Caller = owner) =>
  decide(setattr(volume, caller, FILE, change), world(attr))
const modeAfter = (attr: Partial<Attr>, change: SetAttr, caller: Caller): number =>
  set(attr, change, caller).value.attr.mode
const unchecked: Caller = { ...stranger, check: false }

test('getattr and access answer from the node, or ENOENT', () => {
  assert.deepEqual(decide(getattr(FILE), world({})).value, attrOf())
  assert.equal(decide(getattr(FILE)).errno, ENOENT)
  assert.equal(decide(access(root, FILE, 4)).errno, ENOENT)
  assert.equal(decide(access(stranger, FILE, 4), world({ mode: 0o640 })).errno, EACCES)
  assert.equal(decide(access(stranger, FILE, 4), world({ mode: 0o644 })).errno, 0)
  assert.equal(decide(access(unchecked, FILE, 7), world({ mode: 0 })).errno, 0)
})

test('setattr writes the whole node once and sets ctime', () => {
  const { value, changes, trips } = set({}, { mode: 0o600 })
  const attr = attrOf({ mode: 0o600, ctime: NOW })
  assert.deepEqual(value, { attr, before: attrOf() })
  assert.deepEqual([changes, trips], [[{ kind: 'putNode', ino: FILE, attr }], 1])
})

test('equal values change nothing, not even ctime', () => {
  const same = { mode: 0o644, uid: 500, gid: 600, atime: BEFORE, mtime: BEFORE }
  assert.deepEqual(set({}, same).changes, [])
  assert.deepEqual(set({}, {}).changes, [])
})

test('equal values do change ctime for "now", for flags, for chown of a node with suid, for chmod under an access rule', () => {
  const isChanged = (attr: Partial<Attr>, change: SetAttr): boolean => set(attr, change).changes.length > 0
  assert.ok(isChanged({}, { atime: 'now' }))
  assert.ok(isChanged({}, { flags: 0 }))
  assert.ok(isChanged({ type: TYPE_DIRECTORY, mode: 0o2755 }, { gid: 600 }))
})

test('only the owner, or root, changes the mode; others may only take suid and sgid away', () => {
  assert.equal(set({}, { mode: 0o600 }, stranger).errno, EPERM)
  assert.equal(set({}, { mode: 0o600 }, unchecked).errno, EPERM)
  assert.equal(set({}, { mode: 0o4644 }, unchecked).errno, EPERM)
  assert.equal(modeAfter({ mode: 0o6755 }, { mode: 0o755 }, unchecked), 0o755)
  assert.equal(modeAfter({}, { mode: 0o4755 }, root), 0o4755)
})

test('sgid is dropped from a mode set by somebody outside the file’s group', () => {
  assert.equal(modeAfter({ gid: 999 }, { mode: 0o2755 }, owner), 0o755)
  assert.equal(modeAfter({ gid: 600 }, { mode: 0o2755 }, owner), 0o2755)
  assert.equal(modeAfter({ gid: 999 }, { mode: 0o2755 }, root), 0o2755)
})

test('chown takes suid and sgid away; root keeps the sgid of a file its group cannot execute; directories keep both', () => {
  assert.equal(modeAfter({ mode: 0o6755 }, { gid: 600 }, owner), 0o755)
  assert.equal(modeAfter({ mode: 0o6755 }, { uid: 0 }, root), 0o755)
  assert.equal(modeAfter({ mode: 0o6745 }, { uid: 0 }, root), 0o2745)
  assert.equal(modeAfter({ mode: 0o6755, type: TYPE_DIRECTORY }, { uid: 0 }, root), 0o6755)
})

test('chown together with a mode does not bring suid back, and keeps the bits of a directory', () => {
  assert.equal(modeAfter({ mode: 0o4755 }, { uid: 0, mode: 0o4711 }, root), 0o711)
  assert.equal(modeAfter({ mode: 0o2755, type: TYPE_DIRECTORY }, { uid: 0, mode: 0o711 }, root), 0o2711)
})

test('the group is changed by root and by the owner, who must be a member', () => {
  assert.equal(set({}, { gid: 601 }, stranger).errno, EPERM)
  assert.equal(set({}, { gid: 600 }, unchecked).errno, EPERM)
  assert.equal(set({}, { gid: 601 }, owner).errno, EPERM)
  assert.equal(set({}, { gid: 601 }, { ...owner, gids: [600, 601] }).value.attr.gid, 601)
  assert.equal(set({}, { gid: 601 }, root).value.attr.gid, 601)
})

test('the owner is changed by root', () => {
  assert.equal(set({}, { uid: 501 }, owner).errno, EPERM)
  assert.equal(set({}, { uid: 501 }, root).value.attr.uid, 501)
})

test('"now" is for the owner and whoever may write; a chosen time is the owner’s', () => {
  assert.equal(set({}, { mtime: 'now' }, stranger).errno, EACCES)
  assert.deepEqual(set({ mode: 0o666 }, { mtime: 'now' }, stranger).value.attr.mtime, NOW)
  assert.deepEqual(set({ mode: 0 }, { atime: 'now' }, owner).value.attr, attrOf({ mode: 0, atime: NOW, ctime: NOW }))
  assert.equal(set({ mode: 0o666 }, { mtime: { sec: 1, nsec: 0 } }, stranger).errno, EPERM)
  assert.equal(set({ uid: 0, mode: 0o666 }, { mtime: { sec: 1, nsec: 0 } }, unchecked).errno, EPERM)
  assert.deepEqual(set({}, { mtime: { sec: -1, nsec: 5 } }, owner).value.attr.mtime, { sec: -1, nsec: 5 })
})

test('the last second of 64 bits, which no double holds, does not come back as the first', () => {
  const { attr } = set({}, { mtime: { sec: 2 ** 63, nsec: 0 }, atime: { sec: -(2 ** 63), nsec: 1 } }, owner).value
  const stored = decodeAttr(FILE, encodeAttr(attr, null))
  assert.deepEqual([attr.mtime, stored.mtime.sec > 9e18], [stored.mtime, true])
  assert.deepEqual(stored.atime, { sec: -(2 ** 63), nsec: 1 })
})

test('flags are set as they are, and an immutable node may still be changed here', () => {
  assert.equal(set({}, { flags: FLAG_IMMUTABLE }).value.attr.flags, FLAG_IMMUTABLE)
  assert.equal(set({ flags: FLAG_IMMUTABLE }, { mode: 0o600 }).errno, 0)
})

test('setattr is refused on a read-only client, without a node, and in the trash', () => {
  assert.equal(decide(setattr(readOnly, root, FILE, { mode: 0 }), world({})).errno, EROFS)
  assert.equal(decide(setattr(volume, root, FILE, { mode: 0 })).errno, ENOENT)
  assert.equal(decide(setattr(volume, root, TRASH_INO, { mode: 0 })).errno, EPERM)
  assert.equal(set({ parent: (TRASH_INO + 1) as Ino }, { mode: 0 }, root).errno, EPERM)
})

test('chmod under an access rule moves its mask, and refers to the rule that results', () => {
  const rule = { owner: 6, group: 4, mask: 7, other: 4, namedUsers: [{ id: 1000, perm: 7 }], namedGroups: [] }
  const changed = { ...rule, owner: 7, mask: 5, other: 0 }
  const facts: World = [
    ...world({ mode: 0o674, accessAcl: 3 }),
    [{ kind: 'aclRule', id: 3 }, rule],
    [{ kind: 'aclId', rule: changed }, 4],
  ]
  const { attr } = decide(setattr(volume, owner, FILE, { mode: 0o750 }), facts).value
  assert.deepEqual([attr.mode, attr.accessAcl, attr.ctime], [0o750, 4, NOW])
  assert.equal(decide(setattr(volume, stranger, FILE, { mode: 0o750 }), facts).errno, EPERM)
  assert.throws(() => decide(setattr(volume, owner, FILE, { mode: 0 }), facts.slice(0, 1)), /read access rule 3/)
})

test('chown moves the usage of a node of any type between users and groups, but never the root', () => {
  const counted = volumeOf({}, { userGroup: true })
  const moved = (ino: Ino, attr: Partial<Attr>, change: SetAttr): unknown[] =>
    ofKind(decide(setattr(counted, root, ino, change), [[node(ino), attrOf(attr)]]).changes, 'quotaUsage').map(c => [
      c.type,
      c.key,
      c.space,
      c.inodes,
    ])
  assert.deepEqual(moved(FILE, { length: 5000 }, { uid: 7, gid: 600 }), [
    [1, 500, -8192, -1],
    [1, 7, 8192, 1],
  ])
  assert.deepEqual(moved(FILE, { type: TYPE_DIRECTORY, length: 4096 }, { gid: 8 }), [
    [2, 600, -4096, -1],
    [2, 8, 4096, 1],
  ])
  assert.deepEqual(moved(FILE, { type: TYPE_SYMLINK, length: 5 }, { uid: 7 }), [
    [1, 500, -4096, -1],
    [1, 7, 4096, 1],
  ])
  assert.deepEqual(moved(ROOT_INO, { type: TYPE_DIRECTORY }, { uid: 7 }), [])
})

test('a reader’s atime is set when the file changed since, or a day (strictatime: a second) has passed', () => {
  const touched = (mode: 'relatime' | 'strictatime', attr: Partial<Attr>): boolean =>
    decide(touchAtime(mode, FILE, NOW), world(attr)).changes.length > 0
  const recent = { sec: NOW.sec - 500, nsec: 0 }
  assert.ok(!touched('relatime', { atime: recent, mtime: recent, ctime: recent }))
  assert.ok(touched('relatime', { atime: recent, mtime: NOW, ctime: recent }))
  assert.ok(touched('relatime', { atime: recent, mtime: recent, ctime: NOW }))
  assert.ok(
    touched('relatime', {
      atime: { sec: NOW.sec - 86401, nsec: 7 },
      mtime: { sec: -1e6, nsec: 0 },
      ctime: { sec: -1e6, nsec: 0 },
    }),
  )
  assert.ok(touched('strictatime', { atime: recent, mtime: recent, ctime: recent }))
  assert.ok(!touched('strictatime', { atime: { ...NOW, sec: NOW.sec - 1 } }))
  const { value } = decide(touchAtime('strictatime', FILE, NOW), world({}))
  assert.deepEqual(value, attrOf({ atime: NOW }))
  assert.equal(decide(touchAtime('relatime', FILE, NOW)).errno, ENOENT)
})
