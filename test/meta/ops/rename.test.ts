import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  EACCES,
  EBUSY,
  EDQUOT,
  EEXIST,
  EINVAL,
  EISDIR,
  ENAMETOOLONG,
  ENOENT,
  ENOTDIR,
  ENOTEMPTY,
  ENOTSUP,
  EPERM,
  EROFS,
} from '../../../src/base/errno.ts'
import { type Ino, NO_INO, ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import { QUOTA_DIR } from '../../../src/meta/facts.ts'
import { FLAG_APPEND, FLAG_IMMUTABLE } from '../../../src/meta/model/attr.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import type { Growth, Volume } from '../../../src/meta/model/volume.ts'
import {
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_RESTORE,
  RENAME_WHITEOUT,
  rename,
} from '../../../src/meta/ops/rename.ts'
import { caller, Facts, ino, NOW, ROOT_CALLER, run, volume } from './run.ts'

const HOUR = ino(TRASH_INO + 1)

//  1 ─┬─ a (2) ─┬─ file (10)            1 ── b (3) ─┬─ other (20)
//     │         ├─ dir (11)                         ├─ empty (21)
//     │         └─ full (12) ─ inner (13) ─ x (14)  └─ full (22) ─ y (23)
const tree = () =>
  new Facts()
    .directory(1)
    .entry(1, 'a', 2, { type: 2, uid: 7 })
    .entry(1, 'b', 3, { type: 2, uid: 7 })
    .entry(2, 'file', 10, { uid: 7, length: 5000 })
    .entry(2, 'dir', 11, { type: 2, uid: 7 })
    .entry(2, 'full', 12, { type: 2, uid: 7 })
    .entry(12, 'inner', 13, { type: 2 })
    .entry(13, 'x', 14)
    .entry(3, 'other', 20, { uid: 8, length: 10 })
    .entry(3, 'empty', 21, { type: 2 })
    .entry(3, 'full', 22, { type: 2 })
    .entry(22, 'y', 23)

interface Call {
  who?: Caller
  on?: Volume
  flags?: number
  trash?: Ino
  open?: boolean
  subtree?: { space: number; inodes: number }
}
type At = readonly [parent: number, name: string]
const renaming = (facts: Facts, from: At, to: At, call: Call = {}) => {
  const { who = ROOT_CALLER, on = volume(), flags = 0, trash = NO_INO, open = false, subtree } = call
  const place = ([parent, name]: At) => ({ parent: ino(parent), name })
  const removal = { trash, isOpen: () => open, sid: 11, subtree }
  return run(facts, rename(on, who, place(from), place(to), flags, removal))
}

test('within a directory only the entry and the times move', () => {
  const facts = tree()
  const renamed = renaming(facts, [2, 'file'], [2, 'new'])
  const attr = { ...facts.attr(10), ctime: NOW }
  assert.deepEqual(renamed.value, {
    moved: { ino: 10, attr },
    replaced: NO_INO,
    replacedIsGone: false,
    replacedIsSustained: false,
  })
  assert.equal(renamed.rounds, 1)
  assert.deepEqual(renamed.changes, [
    { kind: 'delDentry', parent: 2, name: 'file' },
    { kind: 'setDentry', parent: 2, name: 'new', ino: 10, type: 1 },
    { kind: 'putNode', ino: 10, attr },
    { kind: 'adjustDir', ino: 2, nlink: 0, at: NOW },
  ])
})

test('a file that changes its directory names the new one as its parent, in one round trip', () => {
  const facts = tree()
  const renamed = renaming(facts, [2, 'file'], [3, 'new'], { on: volume({ dirStats: true }) })
  const attr = { ...facts.attr(10), parent: ino(3), ctime: NOW }
  assert.equal(renamed.rounds, 1)
  assert.deepEqual(renamed.changes, [
    { kind: 'delDentry', parent: 2, name: 'file' },
    { kind: 'setDentry', parent: 3, name: 'new', ino: 10, type: 1 },
    { kind: 'putNode', ino: 10, attr },
    { kind: 'dirUsage', ino: 2, length: -5000, space: -8192, inodes: -1 },
    { kind: 'dirUsage', ino: 3, length: 5000, space: 8192, inodes: 1 },
    { kind: 'adjustDir', ino: 2, nlink: 0, at: NOW },
    { kind: 'adjustDir', ino: 3, nlink: 0, at: NOW },
  ])
})

test('a node with several names has its parents counted anew', () => {
  const facts = tree().entry(2, 'hard', 30, { nlink: 2, parent: NO_INO })
  const renamed = renaming(facts, [2, 'hard'], [3, 'hard'])
  assert.equal(renamed.value.moved.attr.parent, NO_INO)
  assert.deepEqual(
    renamed.changes.filter(c => c.kind === 'linkParent'),
    [
      { kind: 'linkParent', ino: 30, parent: 2, delta: -1 },
      { kind: 'linkParent', ino: 30, parent: 3, delta: 1 },
    ],
  )
  const within = renaming(facts, [2, 'hard'], [2, 'renamed'])
  assert.ok(!within.changes.some(c => c.kind === 'linkParent'))
})

test('a directory that changes its parent takes a link along, whatever the times', () => {
  const on = volume({ skipDirMtimeNs: Number.MAX_SAFE_INTEGER })
  const renamed = renaming(tree(), [2, 'full'], [3, 'new'], { on })
  assert.equal(renamed.value.moved.attr.parent, 3)
  assert.deepEqual(
    renamed.changes.filter(c => c.kind === 'adjustDir'),
    [
      { kind: 'adjustDir', ino: 2, nlink: -1, at: NOW },
      { kind: 'adjustDir', ino: 3, nlink: 1, at: NOW },
    ],
  )
})

test('two names of one node: nothing changes', () => {
  const facts = tree().entry(2, 'hard', 30, { nlink: 2, parent: NO_INO }).name(3, 'hard', 30)
  for (const flags of [0, RENAME_EXCHANGE]) {
    const renamed = renaming(facts, [2, 'hard'], [3, 'hard'], { flags })
    assert.deepEqual(renamed.value.moved, { ino: 30, attr: facts.attr(30) })
    assert.deepEqual([renamed.errno, renamed.changes], [undefined, []])
  }
  assert.deepEqual(renaming(tree(), [2, 'dir'], [2, 'dir']).changes, [])
})

test('a replaced file whose last name that was is deleted, with its data left as a dead file', () => {
  const renamed = renaming(tree(), [2, 'file'], [3, 'other'], { on: volume({ dirStats: true }) })
  assert.deepEqual(
    [renamed.value.replaced, renamed.value.replacedIsGone, renamed.value.replacedIsSustained],
    [20, true, false],
  )
  assert.deepEqual(renamed.changes.slice(0, 6), [
    { kind: 'delDentry', parent: 2, name: 'file' },
    { kind: 'delNode', ino: 20 },
    { kind: 'delXattrs', ino: 20 },
    { kind: 'deadFile', ino: 20, length: 10, at: NOW.sec },
    { kind: 'usage', space: -4096, inodes: -1 },
    { kind: 'dirUsage', ino: 3, length: -10, space: -4096, inodes: -1 },
  ])
  assert.deepEqual(renamed.changes[6], { kind: 'setDentry', parent: 3, name: 'other', ino: 10, type: 1 })
  assert.deepEqual(renamed.effects, [{ kind: 'deadFile', ino: 20, length: 10 }])
})

test('a replaced file that is open here is sustained', () => {
  const renamed = renaming(tree(), [2, 'file'], [3, 'other'], { open: true })
  assert.ok(renamed.changes.some(c => c.kind === 'sustain' && c.ino === 20 && c.sid === 11))
  const { replacedIsGone, replacedIsSustained } = renamed.value
  assert.deepEqual([replacedIsGone, replacedIsSustained, renamed.effects], [true, true, []])
})

test('a replaced node with more names keeps them', () => {
  const facts = tree().entry(3, 'hard', 30, { nlink: 2, parent: NO_INO })
  const renamed = renaming(facts, [2, 'file'], [3, 'hard'])
  assert.deepEqual([renamed.value.replaced, renamed.value.replacedIsGone], [30, false])
  assert.ok(renamed.changes.some(c => c.kind === 'putNode' && c.ino === 30 && c.attr.nlink === 1))
  assert.ok(renamed.changes.some(c => c.kind === 'linkParent' && c.parent === 3 && c.delta === -1))
})

test('a replaced file goes to the trash under the name it had', () => {
  const renamed = renaming(tree(), [2, 'file'], [3, 'other'], { trash: HOUR })
  assert.ok(renamed.changes.some(c => c.kind === 'setDentry' && c.parent === HOUR && c.name === '3-20-other'))
  assert.ok(renamed.changes.some(c => c.kind === 'putNode' && c.ino === 20 && c.attr.parent === HOUR))
  assert.equal(renamed.value.replacedIsGone, false)
})

test('a replaced empty directory goes, and its parent keeps the link of the one that came', () => {
  const renamed = renaming(tree(), [2, 'full'], [3, 'empty'])
  assert.ok(renamed.changes.some(c => c.kind === 'delNode' && c.ino === 21))
  assert.ok(renamed.changes.some(c => c.kind === 'delQuota' && c.key === 21))
  assert.deepEqual(
    renamed.changes.filter(c => c.kind === 'adjustDir'),
    [
      { kind: 'adjustDir', ino: 2, nlink: -1, at: NOW },
      { kind: 'adjustDir', ino: 3, nlink: 0, at: NOW },
    ],
  )
  const facts = tree().entry(2, 'gap', 31, { type: 2 })
  assert.deepEqual(renaming(facts, [2, 'dir'], [2, 'gap']).changes.at(-1), {
    kind: 'adjustDir',
    ino: 2,
    nlink: -1,
    at: NOW,
  })
})

test('an entry at the target whose node is gone is replaced', () => {
  const renamed = renaming(tree().name(3, 'lost', 99), [2, 'file'], [3, 'lost'])
  assert.deepEqual([renamed.errno, renamed.value.replaced], [undefined, 99])
  assert.ok(!renamed.changes.some(c => c.kind === 'delNode'))
})

test('exchange swaps two entries, their parents and links; nothing is deleted', () => {
  const facts = tree()
  const on = volume({ dirStats: true })
  const renamed = renaming(facts, [2, 'full'], [3, 'other'], { flags: RENAME_EXCHANGE, trash: HOUR, on })
  const moved = { ...facts.attr(12), parent: ino(3), ctime: NOW }
  const back = { ...facts.attr(20), parent: ino(2), ctime: NOW }
  assert.deepEqual(renamed.value, {
    moved: { ino: 12, attr: moved },
    replaced: NO_INO,
    replacedIsGone: false,
    replacedIsSustained: false,
  })
  assert.deepEqual(renamed.changes, [
    { kind: 'setDentry', parent: 2, name: 'full', ino: 20, type: 1 },
    { kind: 'putNode', ino: 20, attr: back },
    { kind: 'setDentry', parent: 3, name: 'other', ino: 12, type: 2 },
    { kind: 'putNode', ino: 12, attr: moved },
    { kind: 'dirUsage', ino: 2, length: 0, space: -4096, inodes: -1 },
    { kind: 'dirUsage', ino: 3, length: 0, space: 4096, inodes: 1 },
    { kind: 'dirUsage', ino: 3, length: -10, space: -4096, inodes: -1 },
    { kind: 'dirUsage', ino: 2, length: 10, space: 4096, inodes: 1 },
    { kind: 'adjustDir', ino: 2, nlink: -1, at: NOW },
    { kind: 'adjustDir', ino: 3, nlink: 1, at: NOW },
  ])
})

test('exchange of two full directories leaves the links of their parents as they were', () => {
  const renamed = renaming(tree(), [2, 'full'], [3, 'full'], { flags: RENAME_EXCHANGE })
  assert.deepEqual(
    renamed.changes.filter(c => c.kind === 'adjustDir').map(c => c.nlink),
    [0, 0],
  )
})

test('exchange moves the parent counts of a node with several names', () => {
  const facts = tree().entry(3, 'hard', 30, { nlink: 2, parent: NO_INO })
  const renamed = renaming(facts, [2, 'file'], [3, 'hard'], { flags: RENAME_EXCHANGE })
  assert.deepEqual(
    renamed.changes.filter(c => c.kind === 'linkParent'),
    [
      { kind: 'linkParent', ino: 30, parent: 3, delta: -1 },
      { kind: 'linkParent', ino: 30, parent: 2, delta: 1 },
    ],
  )
})

test('exchange within a directory changes both entries and both ctimes', () => {
  const renamed = renaming(tree(), [2, 'file'], [2, 'dir'], { flags: RENAME_EXCHANGE })
  assert.deepEqual(
    renamed.changes.map(c => c.kind),
    ['setDentry', 'putNode', 'setDentry', 'putNode', 'adjustDir'],
  )
})

test('exchange with a missing name is ENOENT', () => {
  assert.equal(renaming(tree(), [2, 'file'], [3, 'none'], { flags: RENAME_EXCHANGE }).errno, ENOENT)
  assert.equal(renaming(tree().name(3, 'lost', 99), [2, 'file'], [3, 'lost'], { flags: RENAME_EXCHANGE }).errno, ENOENT)
})

test('NOREPLACE over an existing name is EEXIST, even over itself', () => {
  assert.equal(renaming(tree(), [2, 'file'], [3, 'other'], { flags: RENAME_NOREPLACE }).errno, EEXIST)
  assert.equal(renaming(tree(), [2, 'file'], [2, 'file'], { flags: RENAME_NOREPLACE }).errno, EEXIST)
  assert.equal(renaming(tree(), [2, 'file'], [3, 'new'], { flags: RENAME_NOREPLACE }).errno, undefined)
})

test('flags that cannot be', () => {
  const by = (flags: number) => renaming(tree(), [2, 'file'], [3, 'new'], { flags }).errno
  assert.equal(by(RENAME_WHITEOUT), ENOTSUP)
  assert.equal(by(RENAME_WHITEOUT | RENAME_NOREPLACE), ENOTSUP)
  assert.equal(by(RENAME_NOREPLACE | RENAME_EXCHANGE), EINVAL)
  assert.equal(by(RENAME_RESTORE), EINVAL)
  assert.equal(by(8), EINVAL)
})

test('a directory cannot move into itself or below, found by one more round trip', () => {
  assert.equal(renaming(tree(), [2, 'full'], [12, 'x']).errno, EINVAL)
  const deep = renaming(tree(), [2, 'full'], [13, 'x'])
  assert.deepEqual([deep.errno, deep.rounds], [EINVAL, 2])
  assert.equal(renaming(tree(), [1, 'a'], [13, 'x'], { on: volume({ quotas: [ROOT_INO] }) }).rounds, 1)
})

test('exchange with a directory above the moved one is EINVAL', () => {
  assert.equal(renaming(tree(), [13, 'x'], [2, 'full'], { flags: RENAME_EXCHANGE }).errno, EINVAL)
})

test('a directory over a file is ENOTDIR, a file over a directory EISDIR, over a full directory ENOTEMPTY', () => {
  assert.equal(renaming(tree(), [2, 'dir'], [3, 'other']).errno, ENOTDIR)
  assert.equal(renaming(tree(), [2, 'file'], [3, 'empty']).errno, EISDIR)
  assert.equal(renaming(tree(), [2, 'dir'], [3, 'full']).errno, ENOTEMPTY)
})

test('missing names, directories and nodes are ENOENT, files as directories ENOTDIR', () => {
  assert.equal(renaming(tree(), [2, 'none'], [3, 'new']).errno, ENOENT)
  assert.equal(renaming(tree(), [99, 'x'], [3, 'new']).errno, ENOENT)
  assert.equal(renaming(tree(), [2, 'file'], [99, 'new']).errno, ENOENT)
  assert.equal(renaming(tree().name(2, 'lost', 98), [2, 'lost'], [3, 'new']).errno, ENOENT)
  assert.equal(renaming(tree(), [10, 'x'], [3, 'new']).errno, ENOTDIR)
  assert.equal(renaming(tree(), [2, 'file'], [20, 'new']).errno, ENOTDIR)
})

test('W and X are needed on both directories', () => {
  assert.equal(renaming(tree(), [2, 'file'], [2, 'new'], { who: caller(9) }).errno, EACCES)
  assert.equal(renaming(tree(), [2, 'file'], [1, 'new'], { who: caller(7) }).errno, EACCES)
  assert.equal(renaming(tree(), [2, 'file'], [3, 'new'], { who: caller(7) }).errno, undefined)
})

test('a directory that changes its parent must be writable, for its .. changes', () => {
  const facts = tree().entry(2, 'foreign', 30, { type: 2, uid: 9 })
  assert.equal(renaming(facts, [2, 'foreign'], [3, 'new'], { who: caller(7) }).errno, EACCES)
  assert.equal(renaming(facts, [2, 'foreign'], [2, 'new'], { who: caller(7) }).errno, undefined)
})

test('sticky directories keep the moved and the replaced node from foreigners', () => {
  const sticky = { type: 2, mode: 0o1777, uid: 7 }
  const facts = tree().entry(1, 'tmp', 30, sticky).entry(30, 'mine', 31, { uid: 8 }).entry(30, 'his', 32, { uid: 9 })
  facts.entry(1, 'open', 33, { type: 2, mode: 0o777 })
  const by = (uid: number, from: At, to: At) => renaming(facts, from, to, { who: caller(uid) }).errno
  assert.equal(by(9, [30, 'mine'], [33, 'x']), EPERM)
  assert.equal(by(8, [30, 'mine'], [33, 'x']), undefined)
  assert.equal(by(8, [30, 'mine'], [30, 'his']), EPERM)
  assert.equal(by(7, [30, 'mine'], [30, 'his']), undefined)
})

test('protected nodes and directories neither move nor yield', () => {
  for (const flags of [FLAG_IMMUTABLE, FLAG_APPEND]) {
    const facts = tree().entry(2, 'kept', 30, { flags }).entry(1, 'keeper', 31, { type: 2, flags }).entry(31, 'f', 32)
    assert.equal(renaming(facts, [2, 'kept'], [3, 'new']).errno, EPERM)
    assert.equal(renaming(facts, [2, 'file'], [2, 'kept']).errno, EPERM)
    assert.equal(renaming(facts, [31, 'f'], [3, 'new']).errno, EPERM)
    assert.equal(renaming(facts, [2, 'file'], [31, 'f']).errno, EPERM)
  }
  const fixed = tree().entry(1, 'fixed', 30, { type: 2, flags: FLAG_IMMUTABLE })
  assert.equal(renaming(fixed, [2, 'file'], [30, 'new']).errno, EPERM)
  const log = tree().entry(1, 'log', 30, { type: 2, flags: FLAG_APPEND })
  assert.equal(renaming(log, [2, 'file'], [30, 'new']).errno, undefined)
})

test('names that cannot be', () => {
  assert.equal(renaming(tree(), [2, '.'], [3, 'new']).errno, EBUSY)
  assert.equal(renaming(tree(), [2, 'file'], [3, '..']).errno, EBUSY)
  assert.equal(renaming(tree(), [2, 'file'], [3, '']).errno, EINVAL)
  assert.equal(renaming(tree(), [2, 'file'], [3, 'a/b']).errno, EINVAL)
  assert.equal(renaming(tree(), [2, 'file'], [3, 'x'.repeat(256)]).errno, ENAMETOOLONG)
})

test('a read-only client is EROFS', () => {
  assert.equal(renaming(tree(), [2, 'file'], [3, 'new'], { on: volume({ readOnly: true }) }).errno, EROFS)
})

test('nothing is renamed into the trash, nor the trash or its hours', () => {
  assert.equal(renaming(tree(), [2, 'file'], [TRASH_INO, 'x']).errno, EPERM)
  assert.equal(renaming(tree(), [2, 'file'], [HOUR, 'x']).errno, EPERM)
  assert.equal(renaming(tree(), [1, '.trash'], [2, 'x']).errno, EPERM)
  assert.equal(renaming(tree(), [2, 'file'], [1, '.trash']).errno, EPERM)
  assert.equal(renaming(tree(), [TRASH_INO, '2026-11-21-07'], [2, 'x']).errno, EPERM)
  assert.equal(renaming(tree(), [HOUR, 'x'], [2, 'x'], { who: caller(7) }).errno, EPERM)
})

const withTrash = () =>
  tree().directory(TRASH_INO).directory(HOUR, { parent: TRASH_INO }).entry(HOUR, '2-40-f', 40, { length: 1 })

test('not by way of an exchange either: what came back would be emptied with the trash', () => {
  const facts = tree().directory(TRASH_INO).directory(HOUR, { parent: TRASH_INO }).entry(HOUR, '2-40-old', 40)
  assert.equal(renaming(facts, [HOUR, '2-40-old'], [2, 'full'], { flags: RENAME_EXCHANGE }).errno, EPERM)
  assert.equal(renaming(facts, [HOUR, '2-40-old'], [2, 'old']).errno, undefined)
})

test('root takes a file out of the trash: the quotas above pay again, the hour directory is not touched', () => {
  const on = volume({ dirStats: true, quotas: [ROOT_INO] })
  const renamed = renaming(withTrash(), [HOUR, '2-40-f'], [2, 'f'], { on })
  assert.equal(renamed.value.moved.attr.parent, 2)
  assert.deepEqual(renamed.changes.slice(3), [
    { kind: 'dirUsage', ino: HOUR, length: -1, space: -4096, inodes: -1 },
    { kind: 'dirUsage', ino: 2, length: 1, space: 4096, inodes: 1 },
    { kind: 'quotaUsage', type: QUOTA_DIR, key: 1, space: 4096, inodes: 1 },
    { kind: 'adjustDir', ino: 2, nlink: 0, at: NOW },
  ])
})

test('a directory that lies in the trash takes entries only by a restore', () => {
  const facts = withTrash().entry(HOUR, '1-41-d', 41, { type: 2 })
  assert.equal(renaming(facts, [2, 'file'], [41, 'f']).errno, ENOENT)
  const restored = renaming(facts, [HOUR, '2-40-f'], [41, 'f'], { flags: RENAME_NOREPLACE | RENAME_RESTORE })
  assert.equal(restored.value.moved.attr.parent, 41)
})

const quotaUsage = (changes: readonly { kind: string }[]) => changes.filter(c => c.kind === 'quotaUsage')

test('a file that leaves one quota for another is charged there; a quota above both pays nothing', () => {
  const on = volume({ quotas: [ROOT_INO, ino(2), ino(3)] })
  assert.deepEqual(quotaUsage(renaming(tree(), [2, 'file'], [3, 'new'], { on }).changes), [
    { kind: 'quotaUsage', type: QUOTA_DIR, key: 2, space: -8192, inodes: -1 },
    { kind: 'quotaUsage', type: QUOTA_DIR, key: 3, space: 8192, inodes: 1 },
  ])
})

test('a directory is charged with what the client counted below it, or with the usage of its own quota', () => {
  const on = volume({ quotas: [ino(3)] })
  const subtree = { space: 3 * 4096, inodes: 3 }
  assert.deepEqual(quotaUsage(renaming(tree(), [2, 'full'], [3, 'new'], { on, subtree }).changes), [
    { kind: 'quotaUsage', type: QUOTA_DIR, key: 3, space: 3 * 4096, inodes: 3 },
  ])
  const own = tree().set(
    { kind: 'quota', type: QUOTA_DIR, key: 12 },
    { maxSpace: -1, maxInodes: -1, usedSpace: 8192, usedInodes: 2 },
  )
  const both = volume({ quotas: [ino(3), ino(12)] })
  assert.deepEqual(quotaUsage(renaming(own, [2, 'full'], [3, 'new'], { on: both }).changes), [
    { kind: 'quotaUsage', type: QUOTA_DIR, key: 3, space: 3 * 4096, inodes: 3 },
  ])
})

test('exchange charges each quota with the difference', () => {
  const on = volume({ quotas: [ino(2), ino(3)] })
  const renamed = renaming(tree(), [2, 'file'], [3, 'other'], { on, flags: RENAME_EXCHANGE })
  assert.deepEqual(quotaUsage(renamed.changes), [
    { kind: 'quotaUsage', type: QUOTA_DIR, key: 2, space: -4096, inodes: 0 },
    { kind: 'quotaUsage', type: QUOTA_DIR, key: 3, space: 4096, inodes: 0 },
  ])
})

test('a replaced file is paid back to the quotas above it, also within one directory', () => {
  const on = volume({ dirStats: true, quotas: [ROOT_INO] })
  const renamed = renaming(tree().entry(2, 'old', 30), [2, 'file'], [2, 'old'], { on })
  assert.deepEqual(
    renamed.changes.filter(c => c.kind === 'dirUsage' || c.kind === 'quotaUsage'),
    [
      { kind: 'dirUsage', ino: 2, length: 0, space: -4096, inodes: -1 },
      { kind: 'quotaUsage', type: QUOTA_DIR, key: 1, space: -4096, inodes: -1 },
    ],
  )
})

test('a directory quota refuses what would outgrow it; what is replaced makes room', () => {
  const asked: Growth[] = []
  const refuses = (growth: Growth) => {
    asked.push(growth)
    return growth.ancestors.includes(ino(3)) ? EDQUOT : undefined
  }
  const on = volume({ quotas: [ino(3)], refuses })
  assert.equal(renaming(tree(), [2, 'file'], [3, 'other'], { on }).errno, EDQUOT)
  assert.deepEqual(asked[0], { uid: 7, gid: 0, onlyDirectories: true, ancestors: [3], space: 4096, inodes: 0 })
})
