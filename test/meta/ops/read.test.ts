import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EINVAL, EIO, ENOENT, EPERM } from '../../../src/base/errno.ts'
import { chunk, node } from '../../../src/meta/facts.ts'
import { TYPE_DIRECTORY, TYPE_SYMLINK } from '../../../src/meta/model/attr.ts'
import { encodeRecords } from '../../../src/meta/model/slice.ts'
import { readChunk, readlink } from '../../../src/meta/ops/read.ts'
import { attrOf, decide, FILE } from './decide.ts'

test('a stored list is read in one round trip, without looking at the node', () => {
  const records = [{ pos: 1, id: 2, size: 3, off: 0, len: 3 }]
  const { value, trips } = decide(readChunk(FILE, 4), [[chunk(FILE, 4), encodeRecords(records)]])
  assert.deepEqual([value, trips], [{ records }, 1])
})

test('a missing list is a hole of a file, ENOENT without a node, EPERM for what is no file', () => {
  assert.deepEqual(decide(readChunk(FILE, 0), [[node(FILE), attrOf()]]).value, { records: [] })
  assert.equal(decide(readChunk(FILE, 0)).errno, ENOENT)
  assert.equal(decide(readChunk(FILE, 0), [[node(FILE), attrOf({ type: TYPE_DIRECTORY })]]).errno, EPERM)
})

test('a damaged list is a fault', () => {
  assert.throws(() => decide(readChunk(FILE, 0), [[chunk(FILE, 0), Buffer.alloc(23)]]), /damaged chunk/)
})

test('readlink gives the target, or ENOENT, EINVAL for no symlink, EIO for a lost target', () => {
  const symlink = [node(FILE), attrOf({ type: TYPE_SYMLINK })] as const
  const target = [{ kind: 'symlink', ino: FILE }, '../a'] as const
  assert.deepEqual(decide(readlink(FILE), [symlink, target]).value, { target: '../a' })
  assert.equal(decide(readlink(FILE)).errno, ENOENT)
  assert.equal(decide(readlink(FILE), [[node(FILE), attrOf()]]).errno, EINVAL)
  assert.equal(decide(readlink(FILE), [symlink]).errno, EIO)
})
