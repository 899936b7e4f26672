import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  EACCES,
  EDQUOT,
  EEXIST,
  EINVAL,
  ENAMETOOLONG,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ENOTSUP,
  EPERM,
  EROFS,
} from '../../../src/base/errno.ts'
import { ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import { QUOTA_DIR, QUOTA_GROUP, QUOTA_USER } from '../../../src/meta/facts.ts'
import type { NewNode } from '../../../src/meta/meta.ts'
import { FLAG_APPEND, FLAG_IMMUTABLE, FLAG_SKIP_TRASH } from '../../../src/meta/model/attr.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import type { Growth, Volume } from '../../../src/meta/model/volume.ts'
import { make, makeUnnamed } from '../../../src/meta/ops/make.ts'
import { attr, caller, Facts, ino, LONG_AGO, NOW, ROOT_CALLER, run, volume } from './run.ts'

const FILE: NewNode = { type: 1, mode: 0o666, umask: 0o022, rdev: 0, target: '' }
const DIRECTORY: NewNode = { ...FILE, type: 2, mode: 0o777 }
const NEW = ino(100)

const tree = () => new Facts().directory(1).entry(1, 'dir', 2, { type: 2, mode: 0o755, uid: 7, gid: 70 })

interface Call {
  who?: Caller
  on?: Volume
  parent?: number
  name?: string
  what?: NewNode
  orExisting?: boolean
  inTrash?: boolean
}
const making = (facts: Facts, call: Call = {}) => {
  const { who = ROOT_CALLER, on = volume(), parent = 2, name = 'new', what = FILE, orExisting = false, inTrash } = call
  const options = { orExisting, ...(inTrash === undefined ? {} : { inTrash }) }
  return run(facts, make(on, who, ino(parent), name, NEW, what, options))
}

test('a new file is a node, an entry, the times of its directory and one unit of usage', () => {
  const made = making(tree(), { who: caller(7, [70]) })
  const expected = attr({
    type: 1,
    mode: 0o644,
    uid: 7,
    gid: 70,
    atime: NOW,
    mtime: NOW,
    ctime: NOW,
    parent: ino(2),
  })
  assert.deepEqual(made.value, { ino: NEW, attr: expected, created: true })
  assert.equal(made.rounds, 1)
  assert.deepEqual(made.changes, [
    { kind: 'putNode', ino: NEW, attr: expected },
    { kind: 'setDentry', parent: 2, name: 'new', ino: NEW, type: 1 },
    { kind: 'adjustDir', ino: 2, nlink: 0, at: NOW },
    { kind: 'usage', space: 4096, inodes: 1 },
  ])
})

test('a new directory has two links, gives its parent one, and starts its own statistics', () => {
  const made = making(tree(), { what: DIRECTORY, on: volume({ skipDirMtimeNs: Number.MAX_SAFE_INTEGER }) })
  assert.deepEqual([made.value.attr.nlink, made.value.attr.length, made.value.attr.mode], [2, 4096, 0o755])
  assert.deepEqual(made.changes.slice(2), [
    { kind: 'newDirUsage', ino: NEW },
    { kind: 'adjustDir', ino: 2, nlink: 1, at: NOW },
    { kind: 'usage', space: 4096, inodes: 1 },
  ])
})

test('a symlink keeps its target as it is, with mode 0777 and the length of the target', () => {
  const made = making(tree(), { what: { ...FILE, type: 3, target: '../x', rdev: 9 } })
  assert.deepEqual([made.value.attr.mode, made.value.attr.length, made.value.attr.rdev], [0o777, 4, 0])
  assert.ok(made.changes.some(c => c.kind === 'putSymlink' && c.target === '../x'))
})

test('a device keeps its number', () => {
  assert.equal(making(tree(), { what: { ...FILE, type: 6, rdev: 0x103 } }).value.attr.rdev, 0x103)
})

test('the times of a directory that was changed a moment ago are left, yet the directory is named in the commit', () => {
  const facts = tree().entry(1, 'busy', 3, { type: 2, mtime: { sec: NOW.sec, nsec: 0 } })
  const made = making(facts, { parent: 3, on: volume({ skipDirMtimeNs: 100e6 }) })
  assert.deepEqual(made.changes[2], { kind: 'adjustDir', ino: 3, nlink: 0, at: null })
  const due = making(tree(), { on: volume({ skipDirMtimeNs: 100e6 }) })
  assert.deepEqual(due.changes[2], { kind: 'adjustDir', ino: 2, nlink: 0, at: NOW })
})

test('an mtime set into the future is replaced', () => {
  const facts = tree().entry(1, 'ahead', 3, { type: 2, mtime: { sec: NOW.sec + 3600, nsec: 0 } })
  const made = making(facts, { parent: 3, on: volume({ skipDirMtimeNs: 100e6 }) })
  assert.deepEqual(made.changes[2], { kind: 'adjustDir', ino: 3, nlink: 0, at: NOW })
})

test('statistics, quotas above, user and group are charged', () => {
  const on = volume({ dirStats: true, quotas: [ROOT_INO], userGroup: true })
  const made = making(tree(), { on, who: caller(7, [70]) })
  assert.equal(made.rounds, 1)
  assert.deepEqual(made.changes.slice(3), [
    { kind: 'dirUsage', ino: 2, length: 0, space: 4096, inodes: 1 },
    { kind: 'quotaUsage', type: QUOTA_DIR, key: 1, space: 4096, inodes: 1 },
    { kind: 'usage', space: 4096, inodes: 1 },
    { kind: 'quotaUsage', type: QUOTA_USER, key: 7, space: 4096, inodes: 1 },
    { kind: 'quotaUsage', type: QUOTA_GROUP, key: 70, space: 4096, inodes: 1 },
  ])
})

test('growth that a limit refuses is refused with the errno of the limit, asked for owner, inherited group and path', () => {
  let asked: Growth | undefined
  const refuses = (growth: Growth) => {
    asked = growth
    return EDQUOT
  }
  const facts = tree().entry(1, 'shared', 3, { type: 2, mode: 0o2777, gid: 50 })
  assert.equal(making(facts, { parent: 3, who: caller(7), on: volume({ refuses, quotas: [ROOT_INO] }) }).errno, EDQUOT)
  assert.deepEqual(asked, { uid: 7, gid: 50, ancestors: [3, 1], space: 4096, inodes: 1 })
  assert.equal(making(tree(), { on: volume({ refuses: () => ENOSPC }) }).errno, ENOSPC)
})

test('flags that concern the trash and the tier are inherited, others are not', () => {
  const facts = tree().entry(1, 'odd', 3, { type: 2, flags: FLAG_SKIP_TRASH | FLAG_APPEND, tier: 2 })
  const made = making(facts, { parent: 3 }).value.attr
  assert.deepEqual([made.flags, made.tier], [FLAG_SKIP_TRASH, 2])
})

test('below a setgid directory the group is inherited, and directories pass the bit on', () => {
  const facts = tree().entry(1, 'shared', 3, { type: 2, mode: 0o2777, gid: 50 })
  const file = making(facts, { parent: 3, who: caller(7) }).value.attr
  assert.deepEqual([file.gid, file.mode], [50, 0o644])
  const directory = making(facts, { parent: 3, who: caller(7), what: DIRECTORY }).value.attr
  assert.deepEqual([directory.gid, directory.mode], [50, 0o2755])
})

test('an executable setgid file in a foreign group loses the bit, unless the caller belongs to the group', () => {
  const facts = tree().entry(1, 'shared', 3, { type: 2, mode: 0o2777, gid: 50 })
  const what = { ...FILE, mode: 0o2775 }
  assert.equal(making(facts, { parent: 3, who: caller(7), what }).value.attr.mode, 0o755)
  assert.equal(making(facts, { parent: 3, who: caller(7, [7, 50]), what }).value.attr.mode, 0o2755)
  assert.equal(making(facts, { parent: 3, what }).value.attr.mode, 0o2755)
})

test('a default ACL takes the place of the umask: rule and mode of the child come from it', () => {
  const defaults = { owner: 7, group: 5, mask: 7, other: 5, namedUsers: [{ id: 1000, perm: 7 }], namedGroups: [] }
  const access = { ...defaults, owner: 6, mask: 6, other: 4 }
  const facts = tree().entry(1, 'acl', 3, { type: 2, defaultAcl: 4 })
  facts.set({ kind: 'aclRule', id: 4 }, defaults).set({ kind: 'aclId', rule: access }, 9)
  const made = making(facts, { parent: 3, on: volume({ acl: true }), what: { ...FILE, umask: 0o777 } })
  assert.deepEqual([made.value.attr.mode, made.value.attr.accessAcl, made.value.attr.defaultAcl], [0o664, 9, 0])
  assert.equal(made.rounds, 3)
  facts.set({ kind: 'aclId', rule: { ...access, owner: 7, mask: 7, other: 5 } }, 10)
  const directory = making(facts, { parent: 3, on: volume({ acl: true }), what: DIRECTORY }).value.attr
  assert.deepEqual([directory.mode, directory.accessAcl, directory.defaultAcl], [0o775, 10, 4])
})

test('a minimal default ACL asks for no rule, and a symlink takes none', () => {
  const minimal = { owner: 7, group: 5, mask: 0xffff, other: 0, namedUsers: [], namedGroups: [] }
  const facts = tree().entry(1, 'acl', 3, { type: 2, defaultAcl: 4 }).set({ kind: 'aclRule', id: 4 }, minimal)
  const on = volume({ acl: true })
  const file = making(facts, { parent: 3, on })
  assert.deepEqual([file.value.attr.mode, file.value.attr.accessAcl, file.rounds], [0o640, 0, 2])
  const symlink = making(facts, { parent: 3, on, what: { ...FILE, type: 3, target: 'x' } })
  assert.deepEqual([symlink.value.attr.mode, symlink.value.attr.defaultAcl, symlink.rounds], [0o777, 0, 1])
})

test('an existing name is EEXIST, also for one who could not write there', () => {
  const facts = tree().entry(2, 'new', 5)
  assert.equal(making(facts).errno, EEXIST)
  assert.equal(making(facts, { who: caller(8) }).errno, EEXIST)
  assert.equal(making(facts, { on: volume({ readOnly: true }) }).errno, EEXIST)
})

test('create without O_EXCL answers with the regular file that is there, and changes nothing', () => {
  const facts = tree().entry(2, 'new', 5)
  const made = making(facts, { orExisting: true })
  assert.deepEqual(made.value, { ino: 5, attr: facts.attr(5), created: false })
  assert.deepEqual(made.changes, [])
})

test('create without O_EXCL over anything but a regular file is EEXIST', () => {
  assert.equal(making(tree().entry(2, 'new', 5, { type: 2 }), { orExisting: true }).errno, EEXIST)
  assert.equal(making(tree().entry(2, 'new', 5, { type: 3 }), { orExisting: true }).errno, EEXIST)
  assert.equal(making(tree().name(2, 'new', 99), { orExisting: true }).errno, EEXIST)
})

test('a parent that is missing, no directory, or removed into the trash is refused', () => {
  assert.equal(making(tree(), { parent: 55 }).errno, ENOENT)
  assert.equal(making(tree().entry(1, 'file', 3), { parent: 3 }).errno, ENOTDIR)
  assert.equal(making(tree().directory(3, { parent: ino(TRASH_INO + 1) }), { parent: 3 }).errno, ENOENT)
})

test('W and X on the parent are needed', () => {
  assert.equal(making(tree(), { who: caller(8) }).errno, EACCES)
  const facts = tree().entry(1, 'blind', 3, { type: 2, mode: 0o666 })
  assert.equal(making(facts, { parent: 3, who: caller(8) }).errno, EACCES)
})

test('an immutable parent is EPERM even for root, an append-only one takes new names', () => {
  const facts = tree()
    .entry(1, 'fixed', 3, { type: 2, flags: FLAG_IMMUTABLE })
    .entry(1, 'log', 4, { type: 2, flags: FLAG_APPEND })
  assert.equal(making(facts, { parent: 3 }).errno, EPERM)
  assert.equal(making(facts, { parent: 3, who: caller(8) }).errno, EPERM)
  assert.equal(making(facts, { parent: 4 }).errno, undefined)
})

test('a read-only client is EROFS', () => {
  assert.equal(making(tree(), { on: volume({ readOnly: true }) }).errno, EROFS)
})

test('names that cannot be', () => {
  assert.equal(making(tree(), { name: '.' }).errno, EEXIST)
  assert.equal(making(tree(), { name: '..' }).errno, EEXIST)
  assert.equal(making(tree(), { name: '' }).errno, EINVAL)
  assert.equal(making(tree(), { name: 'a/b' }).errno, EINVAL)
  assert.equal(making(tree(), { name: 'a\0' }).errno, EINVAL)
  assert.equal(making(tree(), { name: 'x'.repeat(256) }).errno, ENAMETOOLONG)
  assert.equal(making(tree(), { name: 'x'.repeat(255) }).errno, undefined)
})

test('types and symlink targets that cannot be', () => {
  assert.equal(making(tree(), { what: { ...FILE, type: 0 } }).errno, EINVAL)
  assert.equal(making(tree(), { what: { ...FILE, type: 8 } }).errno, EINVAL)
  for (const target of ['', 'x'.repeat(4097), 'a\0b']) {
    assert.equal(making(tree(), { what: { ...FILE, type: 3, target } }).errno, EINVAL)
  }
  assert.equal(making(tree(), { what: { ...FILE, type: 3, target: 'x'.repeat(4096) } }).errno, undefined)
})

test('nothing is made in the trash, nor under its name in the root', () => {
  const facts = tree()
    .directory(TRASH_INO)
    .directory(TRASH_INO + 1, { parent: TRASH_INO })
  assert.equal(making(facts, { parent: TRASH_INO }).errno, EPERM)
  assert.equal(making(facts, { parent: TRASH_INO + 1 }).errno, EPERM)
  assert.equal(making(facts, { parent: 1, name: '.trash' }).errno, EPERM)
})

test('the client opens an hour in the trash even on a full volume, and leaves the trash root as it is', () => {
  const facts = tree().directory(TRASH_INO, { mode: 0o555 })
  const what = { ...DIRECTORY, mode: 0o555, umask: 0 }
  const on = volume({ dirStats: true, refuses: () => ENOSPC })
  const made = making(facts, { parent: TRASH_INO, name: '2026-11-21-07', what, on, inTrash: true })
  assert.deepEqual([made.value.attr.mode, made.value.attr.parent], [0o555, TRASH_INO])
  assert.deepEqual(
    made.changes.map(c => c.kind),
    ['putNode', 'setDentry', 'newDirUsage', 'usage'],
  )
  assert.notDeepEqual(made.value.attr.mtime, LONG_AGO)
})

test('a file without a name is a node that its session keeps, and one unit of usage; its directory is not touched', () => {
  const unnamed = (facts: Facts, who: Caller, on = volume({ dirStats: true })) =>
    run(facts, makeUnnamed(on, who, ino(2), NEW, FILE, 11))
  const made = unnamed(tree(), caller(7, [70]))
  const expected = attr({
    type: 1,
    mode: 0o644,
    uid: 7,
    gid: 70,
    nlink: 0,
    parent: ino(2),
    atime: NOW,
    mtime: NOW,
    ctime: NOW,
  })
  assert.deepEqual(made.value, { ino: NEW, attr: expected })
  assert.deepEqual(made.changes, [
    { kind: 'putNode', ino: NEW, attr: expected },
    { kind: 'sustain', sid: 11, ino: NEW },
    { kind: 'usage', space: 4096, inodes: 1 },
  ])
  assert.equal(run(tree(), makeUnnamed(volume(), ROOT_CALLER, ino(2), NEW, FILE, 0)).errno, ENOTSUP)
  assert.equal(unnamed(tree(), caller(8)).errno, EACCES)
  assert.equal(unnamed(new Facts().directory(1), ROOT_CALLER).errno, ENOENT)
  assert.equal(unnamed(tree(), ROOT_CALLER, volume({ readOnly: true })).errno, EROFS)
  assert.equal(unnamed(tree(), ROOT_CALLER, volume({ refuses: () => ENOSPC })).errno, ENOSPC)
})
