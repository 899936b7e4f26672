import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EAGAIN, ENOENT } from '../../../src/base/errno.ts'
import { type FlockHolder, node } from '../../../src/meta/facts.ts'
import { flock } from '../../../src/meta/ops/flock.ts'
import { attrOf, decide, FILE } from './decide.ts'

const lock = (type: 'R' | 'W' | 'U', holders: FlockHolder[], hasNode = true) =>
  decide(flock(FILE, 1, 'a', type), [
    [{ kind: 'flocks', ino: FILE }, holders],
    [node(FILE), hasNode ? attrOf() : null],
  ])
const held = (type: 'R' | 'W', sid = 1, owner = 'b'): FlockHolder => ({ sid, owner, type })
const put = (type: 'R' | 'W' | null) => [{ kind: 'putFlock', ino: FILE, sid: 1, owner: 'a', type }]

test('readers share, a writer is alone, and another session is another holder', () => {
  assert.deepEqual(lock('R', [held('R')]).changes, put('R'))
  assert.equal(lock('R', [held('W')]).errno, EAGAIN)
  assert.equal(lock('W', [held('R')]).errno, EAGAIN)
  assert.equal(lock('W', [held('R', 2, 'a')]).errno, EAGAIN)
  assert.deepEqual(lock('W', []).changes, put('W'))
})

test('the own lock is replaced, up and down, and left alone where it is the same', () => {
  assert.deepEqual(lock('W', [held('R', 1, 'a')]).changes, put('W'))
  assert.deepEqual(lock('R', [held('W', 1, 'a')]).changes, put('R'))
  assert.deepEqual(lock('W', [held('W', 1, 'a')]).changes, [])
})

test('unlocking always succeeds and writes only what was held', () => {
  assert.deepEqual(lock('U', [held('W', 1, 'a')], false).changes, put(null))
  assert.deepEqual(lock('U', [held('W')]).changes, [])
})

test('locking a node that is gone fails with ENOENT', () => {
  assert.equal(lock('R', [], false).errno, ENOENT)
})
