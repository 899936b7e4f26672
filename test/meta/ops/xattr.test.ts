import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EEXIST, EINVAL, ENODATA, ENOENT, EROFS } from '../../../src/base/errno.ts'
import { node, xattr } from '../../../src/meta/facts.ts'
import { getXattr, listXattr, removeXattr, setXattr } from '../../../src/meta/ops/xattr.ts'
import { attrOf, decide, FILE, readOnly, volume, type World } from './decide.ts'

const CREATE = 1
const REPLACE = 2
const value = Buffer.from('v')
const bare: World = [[node(FILE), attrOf()]]
const having: World = [...bare, [xattr(FILE, 'user.a'), Buffer.from('old')]]
const set = (world: World, flags: number, name = 'user.a') => decide(setXattr(volume, FILE, name, value, flags), world)

test('an attribute is set, created or replaced as the flags say, and ctime stays', () => {
  const put = [{ kind: 'putXattr', ino: FILE, name: 'user.a', value }]
  for (const [world, flags] of [
    [bare, 0],
    [having, 0],
    [bare, CREATE],
    [having, REPLACE],
  ] as const) {
    assert.deepEqual(set(world, flags).changes, put)
  }
  assert.equal(set(having, CREATE).errno, EEXIST)
  assert.equal(set(bare, REPLACE).errno, ENODATA)
})

test('setting is refused for other flags, an empty name, no node, and a read-only client', () => {
  assert.equal(set(bare, CREATE | REPLACE).errno, EINVAL)
  assert.equal(set(bare, 4).errno, EINVAL)
  assert.equal(set(bare, 0, '').errno, EINVAL)
  assert.equal(set([], 0).errno, ENOENT)
  assert.equal(decide(setXattr(readOnly, FILE, 'user.a', value, 0), bare).errno, EROFS)
})

test('an attribute is read, listed and removed, ENODATA where it is not there', () => {
  assert.deepEqual(decide(getXattr(FILE, 'user.a'), having).value.value.toString(), 'old')
  assert.equal(decide(getXattr(FILE, 'user.b'), having).errno, ENODATA)
  assert.equal(decide(getXattr(FILE, ''), having).errno, EINVAL)
  assert.deepEqual(decide(listXattr(FILE), [...bare, [{ kind: 'xattrNames', ino: FILE }, ['user.a']]]).value, {
    names: ['user.a'],
  })
  assert.equal(decide(listXattr(FILE)).errno, ENOENT)
  assert.deepEqual(decide(removeXattr(volume, FILE, 'user.a'), having).changes, [
    { kind: 'delXattr', ino: FILE, name: 'user.a' },
  ])
  assert.equal(decide(removeXattr(volume, FILE, 'user.b'), having).errno, ENODATA)
  assert.equal(decide(removeXattr(volume, FILE, ''), having).errno, EINVAL)
  assert.equal(decide(removeXattr(readOnly, FILE, 'user.a'), having).errno, EROFS)
})
