import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EFBIG, ENOENT, ENOSPC, EPERM, EROFS } from '../../../src/base/errno.ts'
import { type Fact, node, type Read } from '../../../src/meta/facts.ts'
import { FLAG_IMMUTABLE, TYPE_DIRECTORY } from '../../../src/meta/model/attr.ts'
import { CHUNK_BYTES } from '../../../src/meta/model/slice.ts'
import { writeSlice } from '../../../src/meta/ops/write-slice.ts'
import { attrOf, BEFORE, DIR, decide, FILE, NOW, ofKind, readOnly, volume, volumeOf } from './decide.ts'

const slice = { id: 8, size: 100, off: 0, len: 100 }
const mtime = { sec: 1999, nsec: 3 }
const at = (attr: ReturnType<typeof attrOf>): [Read, Fact][] => [[node(FILE), attr]]

test('a write appends its record, makes the reference, and extends the file', () => {
  const before = attrOf({ length: 50 })
  const { value, changes, trips } = decide(writeSlice(volume, NOW, FILE, 2, 200, slice, mtime), at(before), [101])
  const length = 2 * CHUNK_BYTES + 300
  assert.deepEqual(value, { attr: attrOf({ length, mtime, ctime: NOW }), before, records: 101 })
  const records = Buffer.from('000000c8 0000000000000008 00000064 00000000 00000064'.replaceAll(' ', ''), 'hex')
  assert.deepEqual(changes, [
    { kind: 'appendSlices', ino: FILE, index: 2, records },
    { kind: 'newSlice', id: 8, size: 100, refs: 1 },
    { kind: 'extendNode', ino: FILE, length, mtime, ctime: NOW },
    { kind: 'usage', space: 2 * CHUNK_BYTES, inodes: 0 },
    { kind: 'dirUsage', ino: DIR, length: length - 50, space: 2 * CHUNK_BYTES, inodes: 0 },
  ])
  assert.equal(trips, 1)
})

test('an overwrite costs nothing, keeps the length it finds, and promises only its own end', () => {
  const { value, changes } = decide(
    writeSlice(volume, NOW, FILE, 0, 0, slice, BEFORE),
    at(attrOf({ length: 5000 })),
    [7],
  )
  assert.equal(value.attr.length, 5000)
  assert.deepEqual(
    changes.map(c => c.kind),
    ['appendSlices', 'newSlice', 'extendNode'],
  )
  assert.equal(ofKind(changes, 'extendNode')[0]!.length, 100)
})

test('flags and trash are not asked: the open was', () => {
  const world = at(attrOf({ flags: FLAG_IMMUTABLE }))
  assert.equal(decide(writeSlice(volume, NOW, FILE, 0, 0, slice, mtime), world, [1]).errno, 0)
})

test('a write is refused on a read-only client, beyond the largest file, without a file, and by limits', () => {
  const write = (index: number, v = volume) => writeSlice(v, NOW, FILE, index, 0, slice, mtime)
  assert.equal(decide(write(0, readOnly)).errno, EROFS)
  assert.equal(decide(write(2 ** 31)).errno, EFBIG)
  assert.equal(decide(write(0)).errno, ENOENT)
  assert.equal(decide(write(0), at(attrOf({ type: TYPE_DIRECTORY }))).errno, EPERM)
  const full = volumeOf({}, { refuses: () => ENOSPC })
  assert.equal(decide(write(1, full), at(attrOf())).errno, ENOSPC)
})
