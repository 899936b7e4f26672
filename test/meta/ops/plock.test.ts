import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EAGAIN, EINVAL, ENOENT } from '../../../src/base/errno.ts'
import { node, type PlockHolder } from '../../../src/meta/facts.ts'
import type { Plock } from '../../../src/meta/meta.ts'
import { getPlock, setPlock } from '../../../src/meta/ops/plock.ts'
import { encodePlocks } from '../../../src/meta/rules/plock.ts'
import { attrOf, decide, FILE, type World } from './decide.ts'

const range = (type: 'R' | 'W' | 'U', start: number, end: number): Plock => ({ type, start, end, pid: 42 })
const records = (type: 'R' | 'W', start: number, end: number, pid = 42): Buffer =>
  encodePlocks([{ type, pid, start, end }])
const world = (...holders: PlockHolder[]): World => [
  [node(FILE), attrOf()],
  [{ kind: 'plocks', ino: FILE }, holders],
]
const set = (lock: Plock, facts: World) => decide(setPlock(FILE, 1, 'a', lock), facts)

test('a lock is written as the whole list of its holder', () => {
  const facts = world({ sid: 1, owner: 'a', records: records('W', 10, 19) })
  assert.deepEqual(set(range('W', 20, 29), facts).changes, [
    { kind: 'putPlock', ino: FILE, sid: 1, owner: 'a', records: records('W', 10, 29) },
  ])
  assert.deepEqual(set(range('U', 0, 99), facts).changes, [
    { kind: 'putPlock', ino: FILE, sid: 1, owner: 'a', records: Buffer.alloc(0) },
  ])
})

test('locking again and unlocking nothing write nothing', () => {
  assert.deepEqual(set(range('W', 12, 15), world({ sid: 1, owner: 'a', records: records('W', 10, 19) })).changes, [])
  assert.deepEqual(set(range('U', 0, 9), []).changes, [])
})

test('a conflict is EAGAIN, a missing node ENOENT, an end before its start EINVAL', () => {
  assert.equal(set(range('R', 0, 9), world({ sid: 1, owner: 'b', records: records('W', 9, 9) })).errno, EAGAIN)
  assert.equal(set(range('R', 0, 9), []).errno, ENOENT)
  assert.equal(set(range('R', 9, 0), world()).errno, EINVAL)
})

test('getPlock names the first conflict, its pid only within our session', () => {
  const get = (sid: number) =>
    decide(getPlock(FILE, 1, 'a', range('W', 0, 99)), world({ sid, owner: 'b', records: records('R', 5, 7, 77) })).value
  assert.deepEqual(get(1), { type: 'R', start: 5, end: 7, pid: 77 })
  assert.deepEqual(get(2), { type: 'R', start: 5, end: 7, pid: 0 })
  assert.equal(decide(getPlock(FILE, 1, 'a', range('W', 0, 99)), world()).value.type, 'U')
})
