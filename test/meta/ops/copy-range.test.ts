import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EDQUOT, EFBIG, EINVAL, ENOENT, EPERM, EROFS } from '../../../src/base/errno.ts'
import { type Change, chunk, node } from '../../../src/meta/facts.ts'
import { type Attr, FLAG_APPEND, FLAG_IMMUTABLE, TYPE_DIRECTORY } from '../../../src/meta/model/attr.ts'
import {
  CHUNK_BYTES,
  decodeRecords,
  encodeRecords,
  MAX_FILE_BYTES,
  type SliceRecord,
} from '../../../src/meta/model/slice.ts'
import { copyRange } from '../../../src/meta/ops/copy-range.ts'
import { attrOf, decide, FILE, NOW, OTHER, ofKind, readOnly, root, volume, volumeOf, type World } from './decide.ts'

type Row = [pos: number, id: number, size: number, off: number, len: number]
const record = ([pos, id, size, off, len]: Row): SliceRecord => ({ pos, id, size, off, len })
const row = ({ pos, id, size, off, len }: SliceRecord): Row => [pos, id, size, off, len]
const list = (...rows: Row[]): Buffer => encodeRecords(rows.map(record))
const appended = (changes: readonly Change[]): [number, Row[]][] =>
  ofKind(changes, 'appendSlices').map(c => [c.index, decodeRecords(c.records).map(row)])
const references = (changes: readonly Change[]): [number, number, number][] =>
  ofKind(changes, 'refSlice').map(c => [c.id, c.size, c.delta])

const copy = (world: World, offset: number, targetOffset: number, length: number, v = volume) =>
  decide(copyRange(v, root, { ino: FILE, offset }, { ino: OTHER, offset: targetOffset }, length), world)
const nodes = (source: Partial<Attr>, target: Partial<Attr> = {}): World => [
  [node(FILE), attrOf(source)],
  [node(OTHER), attrOf(target)],
]
const worked = list([0, 7, 10000, 0, 10000], [200, 8, 100, 0, 100], [4096, 0, 0, 0, 4096])

test('copying the documented file stores what its reader sees, and counts every record', () => {
  const { value, changes } = copy([...nodes({ length: 10000 }), [chunk(FILE, 0), worked]], 0, 0, 10000)
  assert.deepEqual(appended(changes), [
    [
      0,
      [
        [0, 7, 10000, 0, 200],
        [200, 8, 100, 0, 100],
        [300, 7, 10000, 300, 3796],
        [4096, 0, 0, 0, 4096],
        [8192, 7, 10000, 8192, 1808],
      ],
    ],
  ])
  assert.deepEqual(references(changes), [
    [7, 10000, 1],
    [8, 100, 1],
    [7, 10000, 1],
    [7, 10000, 1],
  ])
  assert.deepEqual(ofKind(changes, 'extendNode'), [
    { kind: 'extendNode', ino: OTHER, length: 10000, mtime: NOW, ctime: NOW },
  ])
  assert.deepEqual(ofKind(changes, 'usage'), [{ kind: 'usage', space: 8192, inodes: 0 }])
  assert.deepEqual(value, {
    copied: 10000,
    target: attrOf({ length: 10000, mtime: NOW, ctime: NOW }),
    before: attrOf(),
    chunks: [0],
    records: [], // no engine has told
  })
})

test('a part is cut at both ends and split at the border of the target chunk', () => {
  const { value, changes } = copy([...nodes({ length: 10000 }), [chunk(FILE, 0), worked]], 250, CHUNK_BYTES - 30, 100)
  assert.deepEqual(appended(changes), [
    [0, [[CHUNK_BYTES - 30, 8, 100, 50, 30]]],
    [
      1,
      [
        [0, 8, 100, 80, 20],
        [20, 7, 10000, 300, 50],
      ],
    ],
  ])
  assert.deepEqual(references(changes), [
    [8, 100, 1],
    [8, 100, 1],
    [7, 10000, 1],
  ])
  assert.deepEqual(value.chunks, [0, 1])
  assert.equal(value.target.length, CHUNK_BYTES + 70)
})

test('holes and chunks without a list are copied as explicit zeros', () => {
  const world: World = [...nodes({ length: CHUNK_BYTES * 2 }), [chunk(FILE, 1), list([10, 5, 20, 0, 20])]]
  const { changes, value } = copy(world, CHUNK_BYTES - 5, 0, 50)
  assert.deepEqual(appended(changes), [
    [
      0,
      [
        [0, 0, 0, CHUNK_BYTES - 5, 5],
        [5, 0, 0, 0, 10],
        [15, 5, 20, 0, 20],
        [35, 0, 0, 30, 15],
      ],
    ],
  ])
  assert.equal(value.copied, 50)
})

test('the source ends the copy, and behind its end nothing is copied or changed', () => {
  assert.equal(copy(nodes({ length: 60 }), 50, 0, 100).value.copied, 10)
  const behind = copy(nodes({ length: 60 }), 60, 0, 100)
  assert.deepEqual([behind.value.copied, behind.changes, behind.value.target], [0, [], attrOf()])
  assert.equal(copy(nodes({ length: 60 }), 0, 0, 0).value.copied, 0)
})

test('a very fragmented source is copied in parts of 1,000 records that join without a seam', () => {
  const rows = Array.from({ length: 1500 }, (_, i): Row => [i * 10, i + 1, 10, 0, 10])
  const world: World = [...nodes({ length: 15000 }), [chunk(FILE, 0), list(...rows)]]
  const first = copy(world, 0, 7, 15000)
  assert.equal(first.value.copied, 10000)
  const second = copy(world, 10000, 7 + 10000, 5000)
  const all = [...appended(first.changes), ...appended(second.changes)].flatMap(([, records]) => records)
  assert.deepEqual(
    all,
    rows.map(([pos, ...rest]) => [pos + 7, ...rest]),
  )
})

test('one file may be copied onto itself where the ranges do not overlap', () => {
  const world: World = [
    [node(FILE), attrOf({ length: 100 })],
    [chunk(FILE, 0), list([0, 7, 100, 0, 100])],
  ]
  const same = (from: number, to: number, length: number) =>
    decide(copyRange(volume, root, { ino: FILE, offset: from }, { ino: FILE, offset: to }, length), world)
  const { changes, value } = same(0, 100, 100)
  assert.deepEqual(appended(changes), [[0, [[100, 7, 100, 0, 100]]]])
  assert.equal(changes.filter(c => c.kind === 'putNode' || c.kind === 'extendNode').length, 1)
  assert.equal(value.target.length, 200)
  assert.equal(same(0, 99, 100).errno, EINVAL)
  assert.equal(same(99, 0, 100).errno, EINVAL)
})

test('copying is refused for offsets, a read-only client, missing nodes, types, flags, and by limits', () => {
  assert.equal(copy([], -1, 0, 1).errno, EINVAL)
  assert.equal(copy([], 0, MAX_FILE_BYTES - 1, 1).errno, EFBIG)
  assert.equal(copy(nodes({}), 0, 0, 1, readOnly).errno, EROFS)
  assert.equal(copy([[node(OTHER), attrOf()]], 0, 0, 1).errno, ENOENT)
  assert.equal(copy([[node(FILE), attrOf()]], 0, 0, 1).errno, ENOENT)
  assert.equal(copy(nodes({ type: TYPE_DIRECTORY }), 0, 0, 1).errno, EINVAL)
  assert.equal(copy(nodes({}, { type: TYPE_DIRECTORY }), 0, 0, 1).errno, EINVAL)
  assert.equal(copy(nodes({}, { flags: FLAG_IMMUTABLE }), 0, 0, 1).errno, EPERM)
  assert.equal(copy(nodes({}, { flags: FLAG_APPEND }), 0, 0, 1).errno, EPERM)
  const full = volumeOf({}, { refuses: () => EDQUOT })
  assert.equal(copy(nodes({ length: 9000 }), 0, 0, 9000, full).errno, EDQUOT)
})
