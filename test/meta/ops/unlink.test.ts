import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EACCES, EISDIR, ENOENT, ENOTDIR, EPERM, EROFS } from '../../../src/base/errno.ts'
import { type Ino, NO_INO, ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import { QUOTA_DIR, QUOTA_GROUP, QUOTA_USER } from '../../../src/meta/facts.ts'
import { FLAG_APPEND, FLAG_IMMUTABLE, FLAG_SKIP_TRASH } from '../../../src/meta/model/attr.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import type { Volume } from '../../../src/meta/model/volume.ts'
import { unlink } from '../../../src/meta/ops/unlink.ts'
import { caller, Facts, ino, NOW, ROOT_CALLER, run, volume } from './run.ts'

const HOUR = ino(TRASH_INO + 1)

const tree = () =>
  new Facts()
    .directory(1)
    .entry(1, 'dir', 2, { type: 2, uid: 7 })
    .entry(2, 'file', 3, { uid: 8, gid: 80, length: 5000 })
    .entry(2, 'sub', 4, { type: 2 })

interface Call {
  who?: Caller
  on?: Volume
  parent?: number
  name?: string
  trash?: Ino
  open?: boolean
  sid?: number
}
const unlinking = (facts: Facts, call: Call = {}) => {
  const { who = ROOT_CALLER, on = volume(), parent = 2, name = 'file', trash = NO_INO, open = false, sid = 11 } = call
  return run(facts, unlink(on, who, ino(parent), name, { trash, isOpen: () => open, sid }))
}

test('the last name of a file takes the node along, and its data waits as a dead file', () => {
  const facts = tree()
  const gone = unlinking(facts)
  assert.deepEqual(gone.value, { ino: 3, attr: { ...facts.attr(3), nlink: 0, ctime: NOW }, isSustained: false })
  assert.equal(gone.rounds, 1)
  assert.deepEqual(gone.changes, [
    { kind: 'delDentry', parent: 2, name: 'file' },
    { kind: 'delNode', ino: 3 },
    { kind: 'delXattrs', ino: 3 },
    { kind: 'deadFile', ino: 3, length: 5000, at: NOW.sec },
    { kind: 'usage', space: -8192, inodes: -1 },
    { kind: 'adjustDir', ino: 2, nlink: 0, at: NOW },
  ])
  assert.deepEqual(gone.effects, [{ kind: 'deadFile', ino: 3, length: 5000 }])
})

test('a file without data leaves no dead file; one that was cut to 0 does', () => {
  const facts = tree().entry(2, 'empty', 5, { length: 0 }).entry(2, 'cut', 6, { length: 0 })
  facts.set({ kind: 'chunkIndexes', ino: ino(6), from: 0, to: 1, likely: [] }, [0])
  const empty = unlinking(facts, { name: 'empty' })
  assert.deepEqual([empty.changes.some(c => c.kind === 'deadFile'), empty.effects], [false, []])
  const cut = unlinking(facts, { name: 'cut' })
  assert.ok(cut.changes.some(c => c.kind === 'deadFile' && c.length === 0))
  assert.deepEqual(cut.effects, [{ kind: 'deadFile', ino: 6, length: 0 }])
})

test('a symlink goes with its target, and leaves no dead file', () => {
  const gone = unlinking(tree().entry(2, 'link', 5, { type: 3, length: 4 }), { name: 'link' })
  assert.deepEqual(
    gone.changes.map(c => c.kind),
    ['delDentry', 'delNode', 'delXattrs', 'delSymlink', 'usage', 'adjustDir'],
  )
  assert.deepEqual(gone.effects, [])
})

test('statistics, quotas above, user and group are paid back', () => {
  const on = volume({ dirStats: true, quotas: [ROOT_INO], userGroup: true })
  const gone = unlinking(tree(), { on })
  assert.equal(gone.rounds, 1)
  assert.deepEqual(
    gone.changes.filter(c => c.kind === 'dirUsage' || c.kind === 'quotaUsage'),
    [
      { kind: 'quotaUsage', type: QUOTA_USER, key: 8, space: -8192, inodes: -1 },
      { kind: 'quotaUsage', type: QUOTA_GROUP, key: 80, space: -8192, inodes: -1 },
      { kind: 'dirUsage', ino: 2, length: -5000, space: -8192, inodes: -1 },
      { kind: 'quotaUsage', type: QUOTA_DIR, key: 1, space: -8192, inodes: -1 },
    ],
  )
})

test('one of several names goes: the node stays with one link less and one parent less', () => {
  const facts = tree().entry(2, 'hard', 5, { nlink: 2, parent: NO_INO })
  const gone = unlinking(facts, { name: 'hard' })
  const attr = { ...facts.attr(5), nlink: 1, ctime: NOW }
  assert.deepEqual(gone.value.attr, attr)
  assert.deepEqual(gone.changes, [
    { kind: 'delDentry', parent: 2, name: 'hard' },
    { kind: 'putNode', ino: 5, attr },
    { kind: 'linkParent', ino: 5, parent: 2, delta: -1 },
    { kind: 'adjustDir', ino: 2, nlink: 0, at: NOW },
  ])
})

test('the last name of a node whose parents were counted takes the count along', () => {
  const gone = unlinking(tree().entry(2, 'hard', 5, { parent: NO_INO }), { name: 'hard' })
  assert.ok(gone.changes.some(c => c.kind === 'delParents' && c.ino === 5))
  assert.ok(!gone.changes.some(c => c.kind === 'linkParent'))
})

test('the last name of a file that is open here leaves the node sustained, without xattrs, and its space is not released yet', () => {
  const facts = tree()
  const gone = unlinking(facts, { open: true })
  const attr = { ...facts.attr(3), nlink: 0, ctime: NOW }
  assert.deepEqual(gone.value, { ino: 3, attr, isSustained: true })
  assert.deepEqual(gone.changes, [
    { kind: 'delDentry', parent: 2, name: 'file' },
    { kind: 'putNode', ino: 3, attr },
    { kind: 'delXattrs', ino: 3 },
    { kind: 'sustain', sid: 11, ino: 3 },
    { kind: 'adjustDir', ino: 2, nlink: 0, at: NOW },
  ])
  assert.deepEqual(gone.effects, [])
})

test('without a session nothing is sustained, and only files are', () => {
  assert.ok(unlinking(tree(), { open: true, sid: 0 }).changes.some(c => c.kind === 'delNode'))
  const fifo = unlinking(tree().entry(2, 'fifo', 5, { type: 4 }), { name: 'fifo', open: true })
  assert.ok(fifo.changes.some(c => c.kind === 'delNode'))
})

test('the trash takes the node under a name that tells where it was; volume and owner go on paying', () => {
  const facts = tree()
  const on = volume({ dirStats: true, userGroup: true, quotas: [ROOT_INO] })
  const gone = unlinking(facts, { trash: HOUR, on, open: true })
  const attr = { ...facts.attr(3), parent: HOUR, ctime: NOW }
  assert.deepEqual(gone.value, { ino: 3, attr, isSustained: false })
  assert.equal(gone.rounds, 1)
  assert.deepEqual(gone.changes, [
    { kind: 'delDentry', parent: 2, name: 'file' },
    { kind: 'putNode', ino: 3, attr },
    { kind: 'setDentry', parent: HOUR, name: '2-3-file', ino: 3, type: 1 },
    { kind: 'dirUsage', ino: HOUR, length: 5000, space: 8192, inodes: 1 },
    { kind: 'adjustDir', ino: 2, nlink: 0, at: NOW },
    { kind: 'dirUsage', ino: 2, length: -5000, space: -8192, inodes: -1 },
    { kind: 'quotaUsage', type: QUOTA_DIR, key: 1, space: -8192, inodes: -1 },
  ])
})

test('a name in the trash is cut at 255 bytes', () => {
  const name = 'x'.repeat(255)
  const gone = unlinking(tree().entry(2, name, 5), { name, trash: HOUR })
  const put = gone.changes.find(c => c.kind === 'setDentry')
  assert.equal(put?.name, `2-5-${'x'.repeat(251)}`)
})

test('a node with several names moves into the trash with all its links; its parents are counted there', () => {
  const facts = tree().entry(2, 'hard', 5, { nlink: 2, parent: NO_INO })
  const gone = unlinking(facts, { name: 'hard', trash: HOUR })
  assert.deepEqual([gone.value.attr.nlink, gone.value.attr.parent], [2, NO_INO])
  assert.equal(gone.rounds, 2)
  assert.deepEqual(gone.changes.slice(1, 5), [
    { kind: 'putNode', ino: 5, attr: gone.value.attr },
    { kind: 'setDentry', parent: HOUR, name: '2-5-hard', ino: 5, type: 1 },
    { kind: 'linkParent', ino: 5, parent: 2, delta: -1 },
    { kind: 'linkParent', ino: 5, parent: HOUR, delta: 1 },
  ])
})

test('a link whose name the trash holds already is dropped for real', () => {
  const facts = tree().entry(2, 'hard', 5, { nlink: 2, parent: NO_INO }).name(HOUR, '2-5-hard', 5)
  const gone = unlinking(facts, { name: 'hard', trash: HOUR })
  assert.equal(gone.value.attr.nlink, 1)
  assert.ok(!gone.changes.some(c => c.kind === 'setDentry'))
})

test('a file that wants no trash is deleted for real', () => {
  const gone = unlinking(tree().entry(2, 'tmp', 5, { flags: FLAG_SKIP_TRASH }), { name: 'tmp', trash: HOUR })
  assert.ok(gone.changes.some(c => c.kind === 'delNode'))
})

test('what root removes from the trash is gone, and the hour directory is not touched', () => {
  const facts = tree().directory(HOUR, { parent: TRASH_INO, mode: 0o555 })
  facts.directory(TRASH_INO).entry(HOUR, '2-9-old', 9, { length: 1 })
  const on = volume({ dirStats: true, quotas: [ROOT_INO] })
  const gone = unlinking(facts, { parent: HOUR, name: '2-9-old', trash: ino(TRASH_INO + 2), on })
  assert.deepEqual(
    gone.changes.map(c => c.kind),
    ['delDentry', 'delNode', 'delXattrs', 'deadFile', 'usage', 'dirUsage'],
  )
})

test('an entry whose node is gone is simply removed', () => {
  const gone = unlinking(tree().name(2, 'lost', 99), { name: 'lost', trash: HOUR })
  assert.deepEqual([gone.value.ino, gone.value.attr.nlink], [99, 0])
  assert.deepEqual(gone.changes, [
    { kind: 'delDentry', parent: 2, name: 'lost' },
    { kind: 'adjustDir', ino: 2, nlink: 0, at: NOW },
  ])
})

test('a missing name is ENOENT, even where the caller could not write', () => {
  assert.equal(unlinking(tree(), { name: 'other' }).errno, ENOENT)
  assert.equal(unlinking(tree(), { name: 'other', who: caller(9) }).errno, ENOENT)
})

test('a missing parent is ENOENT, a file as parent ENOTDIR', () => {
  assert.equal(unlinking(tree(), { parent: 99 }).errno, ENOENT)
  assert.equal(unlinking(tree(), { parent: 3 }).errno, ENOTDIR)
})

test('W and X on the directory are needed, not on the file', () => {
  assert.equal(unlinking(tree(), { who: caller(9) }).errno, EACCES)
  assert.equal(unlinking(tree(), { who: caller(7) }).errno, undefined)
  const facts = tree().entry(1, 'blind', 5, { type: 2, mode: 0o666 }).entry(5, 'file', 6)
  assert.equal(unlinking(facts, { parent: 5, who: caller(9) }).errno, EACCES)
})

test('a directory, . and .. are EISDIR', () => {
  assert.equal(unlinking(tree(), { name: 'sub' }).errno, EISDIR)
  assert.equal(unlinking(tree(), { name: '.' }).errno, EISDIR)
  assert.equal(unlinking(tree(), { name: '..' }).errno, EISDIR)
})

test('in a sticky directory only root, its owner and the owner of the file may remove it', () => {
  const facts = tree().entry(1, 'tmp', 5, { type: 2, mode: 0o1777, uid: 7 }).entry(5, 'file', 6, { uid: 8 })
  const by = (who: Caller) => unlinking(facts, { parent: 5, who }).errno
  assert.equal(by(caller(9)), EPERM)
  assert.equal(by({ ...caller(9), check: false }), EPERM)
  assert.deepEqual([by(caller(8)), by(caller(7)), by(ROOT_CALLER)], [undefined, undefined, undefined])
})

test('protected files, and files in protected directories, stay', () => {
  for (const flags of [FLAG_IMMUTABLE, FLAG_APPEND]) {
    assert.equal(unlinking(tree().entry(2, 'kept', 5, { flags }), { name: 'kept' }).errno, EPERM)
    const facts = tree().entry(1, 'keeper', 5, { type: 2, flags }).entry(5, 'file', 6)
    assert.equal(unlinking(facts, { parent: 5 }).errno, EPERM)
  }
})

test('a read-only client is EROFS', () => {
  assert.equal(unlinking(tree(), { on: volume({ readOnly: true }) }).errno, EROFS)
})

test('only root removes from the trash, and nobody the trash', () => {
  assert.equal(unlinking(tree(), { parent: HOUR, who: caller(7) }).errno, EPERM)
  assert.equal(unlinking(tree(), { parent: 1, name: '.trash' }).errno, EPERM)
})
