import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EACCES, EDQUOT, EFBIG, EINVAL, EISDIR, ENOENT, ENOTSUP, EPERM, EPIPE, EROFS } from '../../../src/base/errno.ts'
import { node } from '../../../src/meta/facts.ts'
import {
  type Attr,
  FLAG_APPEND,
  FLAG_IMMUTABLE,
  TYPE_CHAR,
  TYPE_DIRECTORY,
  TYPE_FIFO,
} from '../../../src/meta/model/attr.ts'
import { CHUNK_BYTES, decodeRecords, MAX_FILE_BYTES } from '../../../src/meta/model/slice.ts'
import { fallocate } from '../../../src/meta/ops/fallocate.ts'
import { attrOf, decide, FILE, NOW, ofKind, owner, readOnly, stranger, volume, volumeOf, type World } from './decide.ts'

const KEEP = 1
const PUNCH = 2
const COLLAPSE = 8
const ZERO = 16
const INSERT = 32

const run = (mode: number, offset: number, length: number, world: World, by = owner, v = volume) =>
  decide(fallocate(v, by, FILE, mode, offset, length), world)
const file = (attr: Partial<Attr>): World => [[node(FILE), attrOf(attr)]]

test('preallocation is a length, and always a new mtime and ctime', () => {
  const { value, changes } = run(0, 100, 8092, file({ length: 10 }))
  assert.deepEqual(value.attr, attrOf({ length: 8192, mtime: NOW, ctime: NOW }))
  assert.deepEqual(ofKind(changes, 'appendSlices'), [])
  assert.deepEqual(ofKind(changes, 'usage'), [{ kind: 'usage', space: 4096, inodes: 0 }])
  for (const [mode, length] of [
    [KEEP, 10],
    [0, 10000],
  ] as const) {
    const kept = run(mode, 0, 100, file({ length }))
    assert.deepEqual(kept.value.attr, attrOf({ length, mtime: NOW, ctime: NOW }))
    assert.deepEqual(
      kept.changes.map(c => c.kind),
      ['putNode'],
    )
  }
})

test('a hole is zero records in every stored chunk it touches, and never beyond the old end', () => {
  const length = 2 * CHUNK_BYTES + 500
  const range = { kind: 'chunkIndexes', ino: FILE, from: 0, to: 3 } as const
  const world: World = [...file({ length }), [range, [0, 2]]]
  for (const [mode, newLength] of [
    [PUNCH | KEEP, length],
    [ZERO, length + 500],
    [ZERO | KEEP, length],
  ] as const) {
    const { value, changes } = run(mode, CHUNK_BYTES - 100, CHUNK_BYTES + 1100, world)
    assert.equal(value.attr.length, newLength)
    assert.deepEqual(
      ofKind(changes, 'appendSlices').map(c => [c.index, ...decodeRecords(c.records)]),
      [
        [0, { pos: CHUNK_BYTES - 100, id: 0, size: 0, off: 0, len: 100 }],
        [2, { pos: 0, id: 0, size: 0, off: 0, len: 500 }],
      ],
    )
  }
})

test('where a range has too many chunks, the last ones are zeroed first and the length waits for the last step', () => {
  const stored = Array.from({ length: 1200 }, (_, i) => i)
  const length = 1200 * CHUNK_BYTES
  const range = (to: number) => ({ kind: 'chunkIndexes', ino: FILE, from: 0, to }) as const
  const step = run(ZERO, 0, length + 10, [...file({ length }), [range(1200), stored]])
  assert.equal(step.value.zeroedFrom, 200 * CHUNK_BYTES)
  assert.deepEqual(step.value.attr, attrOf({ length, mtime: NOW, ctime: NOW }))
  assert.deepEqual(ofKind(step.changes, 'usage'), [])
  const world: World = [...file({ length }), [range(200), stored.slice(0, 200)]]
  const last = decide(fallocate(volume, owner, FILE, ZERO, 0, length + 10, step.value.zeroedFrom), world)
  assert.equal(last.value.attr.length, length + 10)
  assert.equal(last.value.zeroedFrom, undefined)
  assert.equal(ofKind(last.changes, 'appendSlices').length, 200)
})

test('a hole behind the end writes no record', () => {
  const { changes, trips } = run(PUNCH | KEEP, 100, 50, file({ length: 100 }))
  assert.deepEqual(
    changes.map(c => c.kind),
    ['putNode'],
  )
  assert.equal(trips, 1)
})

test('modes that do not exist, or not together, are refused before the file is looked at', () => {
  const errno = (mode: number, offset = 0, length = 1): number => run(mode, offset, length, []).errno
  assert.equal(errno(COLLAPSE), ENOTSUP)
  assert.equal(errno(INSERT), ENOTSUP)
  assert.equal(errno(COLLAPSE | KEEP), EINVAL)
  assert.equal(errno(INSERT | COLLAPSE), EINVAL)
  assert.equal(errno(PUNCH), EINVAL)
  assert.equal(errno(PUNCH | ZERO | KEEP), ENOTSUP)
  assert.equal(errno(0x40), ENOTSUP)
  assert.equal(errno(0, 0, 0), EINVAL)
  assert.equal(errno(0, -1, 5), EINVAL)
  assert.equal(errno(0, MAX_FILE_BYTES - 1, 1), EFBIG)
  assert.equal(errno(0), ENOENT)
})

test('fifos, directories, devices, flags, mode bits and quotas refuse', () => {
  const errno = (attr: Partial<Attr>, mode = 0, by = owner): number => run(mode, 0, 1, file(attr), by).errno
  assert.equal(errno({ type: TYPE_FIFO }), EPIPE)
  assert.equal(errno({ type: TYPE_DIRECTORY }), EISDIR)
  assert.equal(errno({ type: TYPE_CHAR }), EPERM)
  assert.equal(errno({ flags: FLAG_IMMUTABLE }), EPERM)
  assert.equal(errno({}, 0, stranger), EACCES)
  assert.equal(errno({ flags: FLAG_APPEND }, ZERO), EPERM)
  assert.equal(errno({ flags: FLAG_APPEND }, KEEP), 0)
  assert.equal(errno({ flags: FLAG_APPEND }, 0), 0)
  assert.equal(run(0, 0, 1, file({}), owner, readOnly).errno, EROFS)
  assert.equal(run(0, 0, 4097, file({}), owner, volumeOf({}, { refuses: () => EDQUOT })).errno, EDQUOT)
})
