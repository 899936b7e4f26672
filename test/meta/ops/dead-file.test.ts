import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EBUSY } from '../../../src/base/errno.ts'
import { chunk, node } from '../../../src/meta/facts.ts'
import { encodeRecords } from '../../../src/meta/model/slice.ts'
import { dropChunk, dropTrashedSlices, forgetDeadFile, forgetSlice } from '../../../src/meta/ops/dead-file.ts'
import { attrOf, decide, FILE, type World } from './decide.ts'

const record = (id: number, size: number) => ({ pos: 0, id, size, off: 0, len: 10 })
const list = encodeRecords([record(7, 100), record(0, 0), record(8, 50), record(7, 100)])
const stored: World = [[chunk(FILE, 2), list]]

test('a removed file’s chunk goes with one reference a record, and says which slices nobody uses any more', () => {
  const { value, changes } = decide(dropChunk(FILE, 2), stored, [0, 1])
  assert.deepEqual(changes, [
    { kind: 'refSlice', id: 7, size: 100, delta: -2 },
    { kind: 'refSlice', id: 8, size: 50, delta: -1 },
    { kind: 'delChunk', ino: FILE, index: 2 },
  ])
  assert.deepEqual(value.unused, [{ id: 7, size: 100 }])
})

test('records that cover nothing, or what no chunk has, name slices all the same', () => {
  const strange = encodeRecords([record(7, 100), record(8, 50), record(9, 60)])
  strange.writeUInt32BE(0, 24 + 20) // 8 has no length
  strange.writeUInt32BE(0xffffffff, 48 + 20) // 9 ends far behind the chunk
  const { value } = decide(dropChunk(FILE, 2), [[chunk(FILE, 2), strange]], [0, 0, 0])
  assert.deepEqual(
    value.unused.map(({ id }) => id),
    [7, 8, 9],
  )
})

test('a chunk of a node that still exists is not dropped; a chunk that is gone leaves nothing to do', () => {
  assert.equal(decide(dropChunk(FILE, 2), [...stored, [node(FILE), attrOf()]]).errno, EBUSY)
  assert.deepEqual(decide(dropChunk(FILE, 2)).changes, [])
})

test('the records of a dead file and of an unused slice are removed once', () => {
  const dead: World = [
    [
      { kind: 'deadFile', ino: FILE },
      { length: 1, at: 2 },
    ],
  ]
  assert.deepEqual(decide(forgetDeadFile(FILE), dead).changes, [{ kind: 'delDeadFile', ino: FILE }])
  assert.deepEqual(decide(forgetDeadFile(FILE)).changes, [])
  const refs = (count: number): World => [[{ kind: 'sliceRefs', id: 7, size: 100 }, count]]
  assert.deepEqual(decide(forgetSlice(7, 100), refs(0)).changes, [{ kind: 'delSliceRefs', id: 7, size: 100 }])
  assert.equal(decide(forgetSlice(7, 100), refs(1)).errno, EBUSY)
  assert.deepEqual(decide(forgetSlice(7, 100)).changes, [])
})

test('slices replaced by compaction lose their references when their trash expires', () => {
  const items = Buffer.from('000000000000000a000003e8000000000000000b000003e8000000000000000a000003e8', 'hex')
  const world: World = [[{ kind: 'trashedSlices', id: 18, at: 99 }, items]]
  const { value, changes } = decide(dropTrashedSlices(18, 99), world, [0, 0])
  assert.deepEqual(changes, [
    { kind: 'refSlice', id: 10, size: 1000, delta: -2 },
    { kind: 'refSlice', id: 11, size: 1000, delta: -1 },
    { kind: 'delTrashedSlices', id: 18, at: 99 },
  ])
  assert.deepEqual(value.unused, [
    { id: 10, size: 1000 },
    { id: 11, size: 1000 },
  ])
  assert.deepEqual(decide(dropTrashedSlices(18, 99)).changes, [])
  assert.throws(() => decide(dropTrashedSlices(18, 99), [[world[0]![0], items.subarray(1)]]), /damaged/)
})
