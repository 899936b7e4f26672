import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EACCES, EDQUOT, EEXIST, EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM, EROFS } from '../../../src/base/errno.ts'
import { NO_INO, ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import { QUOTA_DIR } from '../../../src/meta/facts.ts'
import { FLAG_APPEND, FLAG_IMMUTABLE } from '../../../src/meta/model/attr.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import type { Growth, Volume } from '../../../src/meta/model/volume.ts'
import { link } from '../../../src/meta/ops/link.ts'
import { caller, Facts, ino, NOW, ROOT_CALLER, run, volume } from './run.ts'

const tree = () =>
  new Facts()
    .directory(1)
    .entry(1, 'dir', 2, { type: 2, uid: 7 })
    .entry(1, 'file', 3, { uid: 7, gid: 70, length: 5000 })

interface Call {
  who?: Caller
  on?: Volume
  source?: number
  parent?: number
  name?: string
  sid?: number
}
const linking = (facts: Facts, call: Call = {}) => {
  const { who = ROOT_CALLER, on = volume(), source = 3, parent = 2, name = 'new', sid = 11 } = call
  return run(facts, link(on, who, ino(source), ino(parent), name, { sid }))
}

test('the first link gives the node a second name and begins to count its parents', () => {
  const facts = tree()
  const linked = linking(facts)
  const attr = { ...facts.attr(3), nlink: 2, parent: NO_INO, ctime: NOW }
  assert.deepEqual(linked.value, { ino: 3, attr })
  assert.equal(linked.rounds, 1)
  assert.deepEqual(linked.changes, [
    { kind: 'putNode', ino: 3, attr },
    { kind: 'setDentry', parent: 2, name: 'new', ino: 3, type: 1 },
    { kind: 'linkParent', ino: 3, parent: 1, delta: 1 },
    { kind: 'linkParent', ino: 3, parent: 2, delta: 1 },
    { kind: 'adjustDir', ino: 2, nlink: 0, at: NOW },
  ])
})

test('a later link counts the new parent only', () => {
  const linked = linking(tree().entry(1, 'many', 4, { nlink: 3, parent: NO_INO }), { source: 4 })
  assert.equal(linked.value.attr.nlink, 4)
  assert.deepEqual(
    linked.changes.filter(c => c.kind === 'linkParent'),
    [{ kind: 'linkParent', ino: 4, parent: 2, delta: 1 }],
  )
})

test('a link costs its directory and the quotas above, but neither volume nor owner', () => {
  const on = volume({ dirStats: true, quotas: [ROOT_INO], userGroup: true })
  assert.deepEqual(linking(tree(), { on }).changes.slice(5), [
    { kind: 'dirUsage', ino: 2, length: 5000, space: 8192, inodes: 1 },
    { kind: 'quotaUsage', type: QUOTA_DIR, key: 1, space: 8192, inodes: 1 },
  ])
})

test('a directory quota refuses a link, asked for directories alone', () => {
  let asked: Growth | undefined
  const refuses = (growth: Growth) => {
    asked = growth
    return EDQUOT
  }
  assert.equal(linking(tree(), { on: volume({ refuses, quotas: [ROOT_INO] }) }).errno, EDQUOT)
  assert.deepEqual(asked, { uid: 7, gid: 70, ancestors: [2, 1], space: 8192, inodes: 1, onlyDirectories: true })
})

test('a file without a name that this session sustains is named again and is sustained no more', () => {
  const facts = tree().node(5, { type: 1, nlink: 0, parent: ino(1) })
  facts.set({ kind: 'sustained', sid: 11, ino: ino(5) }, true)
  const linked = linking(facts, { source: 5 })
  const attr = { ...facts.attr(5), nlink: 1, parent: ino(2), ctime: NOW }
  assert.deepEqual(linked.value, { ino: 5, attr })
  assert.deepEqual(linked.changes, [
    { kind: 'unsustain', sid: 11, ino: 5 },
    { kind: 'putNode', ino: 5, attr },
    { kind: 'setDentry', parent: 2, name: 'new', ino: 5, type: 1 },
    { kind: 'adjustDir', ino: 2, nlink: 0, at: NOW },
  ])
})

test('a sustained file whose parents were counted goes on counting them', () => {
  const facts = tree().node(5, { type: 1, nlink: 0, parent: NO_INO })
  facts.set({ kind: 'sustained', sid: 11, ino: ino(5) }, true)
  const linked = linking(facts, { source: 5 })
  assert.equal(linked.value.attr.parent, NO_INO)
  assert.deepEqual(
    linked.changes.filter(c => c.kind === 'linkParent'),
    [{ kind: 'linkParent', ino: 5, parent: 2, delta: 1 }],
  )
})

test('a file without a name that another session holds is ENOENT', () => {
  assert.equal(linking(tree().node(5, { type: 1, nlink: 0 }), { source: 5 }).errno, ENOENT)
})

test('a trashed file can be linked back: both directories are its parents', () => {
  const hour = ino(TRASH_INO + 1)
  const linked = linking(tree().node(5, { type: 1, parent: hour }), { source: 5 })
  assert.deepEqual(
    linked.changes.filter(c => c.kind === 'linkParent'),
    [
      { kind: 'linkParent', ino: 5, parent: hour, delta: 1 },
      { kind: 'linkParent', ino: 5, parent: 2, delta: 1 },
    ],
  )
})

test('a missing source or parent is ENOENT, a file as parent ENOTDIR', () => {
  assert.equal(linking(tree(), { source: 99 }).errno, ENOENT)
  assert.equal(linking(tree(), { parent: 99 }).errno, ENOENT)
  assert.equal(linking(tree(), { parent: 3 }).errno, ENOTDIR)
})

test('a parent that was removed into the trash is ENOENT', () => {
  assert.equal(linking(tree().directory(4, { parent: ino(TRASH_INO + 1) }), { parent: 4 }).errno, ENOENT)
})

test('an existing name is EEXIST, before permissions and kinds are asked', () => {
  const facts = tree().entry(2, 'new', 9)
  assert.equal(linking(facts).errno, EEXIST)
  assert.equal(linking(facts, { who: caller(8) }).errno, EEXIST)
  assert.equal(linking(facts, { source: 2 }).errno, EEXIST)
})

test('W and X on the parent are needed', () => {
  assert.equal(linking(tree(), { who: caller(8) }).errno, EACCES)
  assert.equal(linking(tree(), { who: caller(7) }).errno, undefined)
})

test('directories and protected nodes get no further name', () => {
  assert.equal(linking(tree(), { source: 2, parent: 1 }).errno, EPERM)
  assert.equal(linking(tree().node(4, { type: 1, flags: FLAG_APPEND }), { source: 4 }).errno, EPERM)
  assert.equal(linking(tree().node(4, { type: 1, flags: FLAG_IMMUTABLE }), { source: 4 }).errno, EPERM)
})

test('an immutable parent is EPERM', () => {
  assert.equal(linking(tree().directory(4, { flags: FLAG_IMMUTABLE }), { parent: 4 }).errno, EPERM)
})

test('a read-only client is EROFS', () => {
  assert.equal(linking(tree(), { on: volume({ readOnly: true }) }).errno, EROFS)
})

test('nothing is linked into the trash or under its name', () => {
  assert.equal(linking(tree(), { parent: TRASH_INO }).errno, EPERM)
  assert.equal(linking(tree(), { parent: TRASH_INO + 3 }).errno, EPERM)
  assert.equal(linking(tree(), { parent: 1, name: '.trash' }).errno, EPERM)
})

test('names that cannot be', () => {
  assert.equal(linking(tree(), { name: '..' }).errno, EEXIST)
  assert.equal(linking(tree(), { name: 'a/b' }).errno, EINVAL)
  assert.equal(linking(tree(), { name: 'x'.repeat(256) }).errno, ENAMETOOLONG)
})
