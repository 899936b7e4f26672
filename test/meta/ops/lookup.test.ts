import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EACCES, ENOENT, ENOTDIR } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import { TYPE_FILE } from '../../../src/meta/model/attr.ts'
import { lookup } from '../../../src/meta/ops/lookup.ts'
import { caller, Facts, ino, ROOT_CALLER, run } from './run.ts'

const tree = () => new Facts().directory(1).entry(1, 'dir', 2, { type: 2, mode: 0o700, uid: 7 }).entry(2, 'file', 3)

test('a name is found with the attributes of its node, in one round trip and without changes', () => {
  const facts = tree()
  const found = run(facts, lookup(ROOT_CALLER, ino(2), 'file'))
  assert.deepEqual(found.value, { ino: 3, attr: facts.attr(3) })
  assert.deepEqual([found.rounds, found.changes], [1, []])
})

test('a missing name is ENOENT', () => {
  assert.equal(run(tree(), lookup(ROOT_CALLER, ino(2), 'other')).errno, ENOENT)
  assert.equal(run(tree(), lookup(caller(7), ino(2), 'other')).errno, ENOENT)
})

test('an entry whose node is gone is ENOENT', () => {
  const facts = tree().name(2, 'lost', 99)
  assert.equal(run(facts, lookup(ROOT_CALLER, ino(2), 'lost')).errno, ENOENT)
  assert.equal(run(facts, lookup(caller(7), ino(2), 'lost')).errno, ENOENT)
})

test('a checked caller needs X on the directory', () => {
  assert.equal(run(tree(), lookup(caller(8), ino(2), 'file')).errno, EACCES)
  assert.equal(run(tree(), lookup(caller(7), ino(2), 'file')).errno, undefined)
})

test('a checked caller who looks into a missing directory or a file gets ENOENT or ENOTDIR', () => {
  assert.equal(run(tree(), lookup(caller(8), ino(50), 'x')).errno, ENOENT)
  assert.equal(run(tree(), lookup(caller(8), ino(3), 'x')).errno, ENOTDIR)
})

test('the directory is . and its parent is ..', () => {
  const facts = tree()
  assert.deepEqual(run(facts, lookup(ROOT_CALLER, ino(2), '.')).value, { ino: 2, attr: facts.attr(2) })
  assert.deepEqual(run(facts, lookup(ROOT_CALLER, ino(2), '..')).value, { ino: 1, attr: facts.attr(1) })
  assert.deepEqual(run(facts, lookup(ROOT_CALLER, ROOT_INO, '..')).value, { ino: 1, attr: facts.attr(1) })
})

test('.. of an hour directory is the trash', () => {
  const facts = tree()
    .directory(TRASH_INO, { mode: 0o555 })
    .entry(TRASH_INO, '2026-11-21-07', TRASH_INO + 1, { type: 2 })
  assert.equal(run(facts, lookup(ROOT_CALLER, ino(TRASH_INO + 1), '..')).value.ino, TRASH_INO)
})

test('.. of a directory whose parent is gone is ENOENT, . of a file is ENOTDIR', () => {
  const facts = tree()
    .directory(5, { parent: ino(77) })
    .node(6, { type: TYPE_FILE })
  assert.equal(run(facts, lookup(ROOT_CALLER, ino(5), '..')).errno, ENOENT)
  assert.equal(run(facts, lookup(ROOT_CALLER, ino(6), '.')).errno, ENOTDIR)
})

const rule = { owner: 7, group: 0, mask: 7, other: 0, namedUsers: [{ id: 8, perm: 1 }], namedGroups: [] }

test('the access rule of a directory is asked in a second round trip and decides', () => {
  const facts = tree().entry(1, 'acl', 4, { type: 2, mode: 0o770, accessAcl: 3 }).entry(4, 'x', 5)
  facts.set({ kind: 'aclRule', id: 3 }, rule)
  const found = run(facts, lookup(caller(8), ino(4), 'x'))
  assert.deepEqual([found.errno, found.rounds], [undefined, 2])
  assert.equal(run(facts, lookup(caller(9), ino(4), 'x')).errno, EACCES)
})

test('a rule that the node names and nobody finds is a fault, not a permission', () => {
  const facts = tree().entry(1, 'acl', 4, { type: 2, mode: 0o770, accessAcl: 3 })
  assert.throws(() => run(facts, lookup(caller(8), ino(4), 'x')), Fault)
})
