import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EACCES, EINVAL, ENOENT, ENOTDIR, ENOTEMPTY, EPERM, EROFS } from '../../../src/base/errno.ts'
import { type Ino, NO_INO, ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import { QUOTA_DIR, QUOTA_GROUP, QUOTA_USER } from '../../../src/meta/facts.ts'
import { FLAG_APPEND, FLAG_IMMUTABLE, FLAG_SKIP_TRASH } from '../../../src/meta/model/attr.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import type { Volume } from '../../../src/meta/model/volume.ts'
import { rmdir } from '../../../src/meta/ops/rmdir.ts'
import { hourName } from '../../../src/meta/rules/trash.ts'
import { caller, Facts, ino, NOW, ROOT_CALLER, run, volume } from './run.ts'

const HOUR = ino(TRASH_INO + 1)

const tree = () =>
  new Facts()
    .directory(1)
    .entry(1, 'dir', 2, { type: 2, uid: 7 })
    .entry(2, 'empty', 3, { type: 2, uid: 8, gid: 80 })
    .entry(2, 'full', 4, { type: 2 })
    .entry(4, 'file', 5)

interface Call {
  who?: Caller
  on?: Volume
  parent?: number
  name?: string
  trash?: Ino
}
const removing = (facts: Facts, call: Call = {}) => {
  const { who = ROOT_CALLER, on = volume(), parent = 2, name = 'empty', trash = NO_INO } = call
  return run(facts, rmdir(on, who, ino(parent), name, { trash, isOpen: () => true, sid: 11 }))
}

test('an empty directory goes with its statistics and quota, and its parent loses a link at once', () => {
  const facts = tree()
  const gone = removing(facts, { on: volume({ skipDirMtimeNs: Number.MAX_SAFE_INTEGER }) })
  assert.deepEqual(gone.value, { ino: 3, attr: { ...facts.attr(3), nlink: 0, ctime: NOW } })
  assert.equal(gone.rounds, 1)
  assert.deepEqual(gone.changes, [
    { kind: 'delDentry', parent: 2, name: 'empty' },
    { kind: 'delDirUsage', ino: 3 },
    { kind: 'delQuota', type: QUOTA_DIR, key: 3 },
    { kind: 'delNode', ino: 3 },
    { kind: 'delXattrs', ino: 3 },
    { kind: 'usage', space: -4096, inodes: -1 },
    { kind: 'adjustDir', ino: 2, nlink: -1, at: NOW },
  ])
})

test('statistics, quotas above, user and group are paid back', () => {
  const gone = removing(tree(), { on: volume({ dirStats: true, quotas: [ROOT_INO], userGroup: true }) })
  assert.deepEqual(
    gone.changes.filter(c => c.kind === 'dirUsage' || c.kind === 'quotaUsage'),
    [
      { kind: 'quotaUsage', type: QUOTA_USER, key: 8, space: -4096, inodes: -1 },
      { kind: 'quotaUsage', type: QUOTA_GROUP, key: 80, space: -4096, inodes: -1 },
      { kind: 'dirUsage', ino: 2, length: 0, space: -4096, inodes: -1 },
      { kind: 'quotaUsage', type: QUOTA_DIR, key: 1, space: -4096, inodes: -1 },
    ],
  )
})

test('the trash takes the directory, but not its statistics and quota', () => {
  const facts = tree()
  const gone = removing(facts, { trash: HOUR, on: volume({ dirStats: true }) })
  const attr = { ...facts.attr(3), parent: HOUR, ctime: NOW }
  assert.deepEqual(gone.value, { ino: 3, attr })
  assert.deepEqual(gone.changes, [
    { kind: 'delDentry', parent: 2, name: 'empty' },
    { kind: 'delDirUsage', ino: 3 },
    { kind: 'delQuota', type: QUOTA_DIR, key: 3 },
    { kind: 'putNode', ino: 3, attr },
    { kind: 'setDentry', parent: HOUR, name: '2-3-empty', ino: 3, type: 2 },
    { kind: 'dirUsage', ino: HOUR, length: 0, space: 4096, inodes: 1 },
    { kind: 'adjustDir', ino: 2, nlink: -1, at: NOW },
    { kind: 'dirUsage', ino: 2, length: 0, space: -4096, inodes: -1 },
  ])
})

test('a directory that wants no trash is deleted for real', () => {
  const facts = tree().entry(2, 'tmp', 6, { type: 2, flags: FLAG_SKIP_TRASH })
  assert.ok(removing(facts, { name: 'tmp', trash: HOUR }).changes.some(c => c.kind === 'delNode'))
})

test('a directory in the trash is deleted for real, and the hour directory keeps its links', () => {
  const facts = tree().directory(TRASH_INO).directory(HOUR, { parent: TRASH_INO }).entry(HOUR, '2-6-d', 6, { type: 2 })
  const gone = removing(facts, { parent: HOUR, name: '2-6-d', on: volume({ dirStats: true }) })
  assert.deepEqual(
    gone.changes.map(c => c.kind),
    ['delDentry', 'delDirUsage', 'delQuota', 'delNode', 'delXattrs', 'usage', 'dirUsage'],
  )
})

const withHour = (name: string) => tree().directory(TRASH_INO).entry(TRASH_INO, name, HOUR, { type: 2, mode: 0o555 })

test('an hour that is over leaves the trash, and the trash root stays as it is', () => {
  const past = hourName(NOW.sec - 3 * 3600)
  const gone = removing(withHour(past), { parent: TRASH_INO, name: past, on: volume({ dirStats: true }) })
  assert.deepEqual(
    gone.changes.map(c => c.kind),
    ['delDentry', 'delDirUsage', 'delQuota', 'delNode', 'delXattrs', 'usage'],
  )
})

test('the directory of the running hour stays, and the one of the hour before', () => {
  for (const sec of [NOW.sec, NOW.sec - 3600]) {
    const name = hourName(sec)
    assert.equal(removing(withHour(name), { parent: TRASH_INO, name }).errno, EPERM)
  }
})

test('only root removes from the trash, and nobody the trash', () => {
  assert.equal(removing(tree(), { parent: HOUR, who: caller(7) }).errno, EPERM)
  assert.equal(removing(tree(), { parent: TRASH_INO, name: '2000-01-01-00', who: caller(7) }).errno, EPERM)
  assert.equal(removing(tree(), { parent: 1, name: '.trash' }).errno, EPERM)
})

test('an entry whose directory is gone is simply removed', () => {
  const gone = removing(tree().name(2, 'lost', 99, 2), { name: 'lost', trash: HOUR })
  assert.equal(gone.value.attr.nlink, 0)
  assert.deepEqual(
    gone.changes.map(c => c.kind),
    ['delDentry', 'delDirUsage', 'delQuota', 'adjustDir'],
  )
})

test('a directory with entries is ENOTEMPTY', () => {
  assert.equal(removing(tree(), { name: 'full' }).errno, ENOTEMPTY)
})

test('. is EINVAL and .. is ENOTEMPTY', () => {
  assert.equal(removing(tree(), { name: '.' }).errno, EINVAL)
  assert.equal(removing(tree(), { name: '..' }).errno, ENOTEMPTY)
})

test('anything but a directory is ENOTDIR', () => {
  assert.equal(removing(tree(), { parent: 4, name: 'file' }).errno, ENOTDIR)
})

test('a missing name or parent is ENOENT, a file as parent ENOTDIR', () => {
  assert.equal(removing(tree(), { name: 'other' }).errno, ENOENT)
  assert.equal(removing(tree(), { parent: 99 }).errno, ENOENT)
  assert.equal(removing(tree(), { parent: 5 }).errno, ENOTDIR)
})

test('W and X on the parent are needed', () => {
  assert.equal(removing(tree(), { who: caller(9) }).errno, EACCES)
  assert.equal(removing(tree(), { who: caller(7) }).errno, undefined)
})

test('a sticky violation is EPERM, before the directory is found to have entries', () => {
  const facts = tree().entry(1, 'tmp', 6, { type: 2, mode: 0o1777 }).entry(6, 'd', 7, { type: 2, uid: 8 })
  facts.entry(7, 'file', 10)
  assert.equal(removing(facts, { parent: 6, name: 'd', who: caller(9) }).errno, EPERM)
  assert.equal(removing(facts, { parent: 6, name: 'd', who: caller(8) }).errno, ENOTEMPTY)
})

test('protected directories, and directories in protected ones, stay', () => {
  for (const flags of [FLAG_IMMUTABLE, FLAG_APPEND]) {
    assert.equal(removing(tree().entry(2, 'kept', 6, { type: 2, flags }), { name: 'kept' }).errno, EPERM)
    const facts = tree().entry(1, 'keeper', 6, { type: 2, flags }).entry(6, 'empty', 7, { type: 2 })
    assert.equal(removing(facts, { parent: 6 }).errno, EPERM)
  }
})

test('a read-only client is EROFS', () => {
  assert.equal(removing(tree(), { on: volume({ readOnly: true }) }).errno, EROFS)
})
