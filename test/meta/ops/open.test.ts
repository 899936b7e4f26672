import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EACCES, EISDIR, ELOOP, ENOENT, EPERM, EROFS } from '../../../src/base/errno.ts'
import { type Ino, TRASH_INO } from '../../../src/base/ino.ts'
import { chunk, node } from '../../../src/meta/facts.ts'
import {
  type Attr,
  FLAG_APPEND,
  FLAG_IMMUTABLE,
  TYPE_DIRECTORY,
  TYPE_FIFO,
  TYPE_SYMLINK,
} from '../../../src/meta/model/attr.ts'
import { encodeRecords } from '../../../src/meta/model/slice.ts'
import { openNode, openToRead } from '../../../src/meta/ops/open.ts'
import { attrOf, decide, FILE, owner, readOnly, root, stranger, volume } from './decide.ts'

const O_RDONLY = 0
const O_WRONLY = 1
const O_RDWR = 2
const O_TRUNC = 0o1000
const O_APPEND = 0o2000
const EXEC = 0x20

const open = (attr: Partial<Attr>, flags: number, by = owner, v = volume): number =>
  decide(openNode(v, by, FILE, flags), [[node(FILE), attrOf(attr)]]).errno

test('open answers with the node and stores nothing', () => {
  const { value, changes, trips } = decide(openNode(volume, owner, FILE, O_RDWR), [[node(FILE), attrOf()]])
  assert.deepEqual([value, changes, trips], [attrOf(), [], 1])
  assert.equal(decide(openNode(volume, owner, FILE, O_RDONLY)).errno, ENOENT)
})

test('a read-only client opens nothing for writing, truncating or appending', () => {
  for (const flags of [O_WRONLY, O_RDWR, O_TRUNC, O_APPEND]) assert.equal(open({}, flags, root, readOnly), EROFS)
  assert.equal(open({}, O_RDONLY, root, readOnly), 0)
})

test('the mode bits must grant what the flags ask for', () => {
  assert.equal(open({ mode: 0o604 }, O_RDONLY, stranger), 0)
  assert.equal(open({ mode: 0o604 }, O_WRONLY, stranger), EACCES)
  assert.equal(open({ mode: 0o602 }, O_WRONLY, stranger), 0)
  assert.equal(open({ mode: 0o602 }, O_RDWR, stranger), EACCES)
  assert.equal(open({ mode: 0o604 }, O_RDONLY | O_TRUNC, stranger), EACCES)
  assert.equal(open({ mode: 0o601 }, EXEC, stranger), 0)
  assert.equal(open({ mode: 0o604 }, EXEC, stranger), EACCES)
})

test('a directory is not opened for writing, a symlink not at all, a fifo as a file', () => {
  assert.equal(open({ type: TYPE_DIRECTORY, mode: 0o755 }, O_RDONLY), 0)
  assert.equal(open({ type: TYPE_DIRECTORY, mode: 0o755 }, O_RDWR), EISDIR)
  assert.equal(open({ type: TYPE_SYMLINK }, O_RDONLY), ELOOP)
  assert.equal(open({ type: TYPE_FIFO }, O_RDWR), 0)
})

test('immutable and trashed files are read only, also for root', () => {
  for (const attr of [{ flags: FLAG_IMMUTABLE }, { parent: (TRASH_INO + 1) as Ino }]) {
    assert.equal(open(attr, O_RDONLY, root), 0)
    assert.equal(open(attr, O_WRONLY, root), EPERM)
    assert.equal(open(attr, O_RDONLY | O_TRUNC, root), EPERM)
  }
})

test('an append-only file is written by appending only', () => {
  assert.equal(open({ flags: FLAG_APPEND }, O_RDONLY), 0)
  assert.equal(open({ flags: FLAG_APPEND }, O_WRONLY), EPERM)
  assert.equal(open({ flags: FLAG_APPEND }, O_WRONLY | O_APPEND), 0)
  assert.equal(open({ flags: FLAG_APPEND }, O_WRONLY | O_APPEND | O_TRUNC), EPERM)
})

test('opening to read brings the list of the first chunk along, in one gather', () => {
  const records = [{ pos: 0, id: 7, size: 10, off: 0, len: 10 }]
  const world = [
    [node(FILE), attrOf()],
    [chunk(FILE, 0), encodeRecords(records)],
  ] as const
  const { value, trips } = decide(openToRead(volume, owner, FILE, O_RDONLY), world)
  assert.deepEqual([value, trips], [{ attr: attrOf(), records }, 1])
  assert.deepEqual(decide(openToRead(volume, owner, FILE, O_RDONLY), world.slice(0, 1)).value.records, [])
  assert.equal(decide(openToRead(volume, owner, FILE, O_RDONLY)).errno, ENOENT)
  assert.equal(decide(openToRead(readOnly, root, FILE, O_RDWR), world).errno, EROFS)
  assert.equal(decide(openToRead(volume, stranger, FILE, O_RDWR), world).errno, EACCES)
})
