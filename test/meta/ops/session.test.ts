import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EBUSY, EROFS } from '../../../src/base/errno.ts'
import { node } from '../../../src/meta/facts.ts'
import { type Attr, TYPE_FIFO, TYPE_SYMLINK } from '../../../src/meta/model/attr.ts'
import { dropSession, putSession, releaseSustained } from '../../../src/meta/ops/session.ts'
import { attrOf, decide, FILE, NOW, readOnly, volume, volumeOf, type World } from './decide.ts'

const world = (attr: Attr | null, isSustained = true): World => [
  [node(FILE), attr],
  [{ kind: 'sustained', sid: 5, ino: FILE }, isSustained],
]
const release = (facts: World, v = volume) => decide(releaseSustained(v, 5, FILE, NOW), facts)

test('the last close of an unlinked file frees its space and leaves its data to deletion', () => {
  const attr = attrOf({ nlink: 0, length: 5000 })
  const { value, changes, effects } = release(world(attr), volumeOf({}, { userGroup: true }))
  assert.deepEqual(value, { attr })
  assert.deepEqual(changes, [
    { kind: 'unsustain', sid: 5, ino: FILE },
    { kind: 'delNode', ino: FILE },
    { kind: 'delXattrs', ino: FILE },
    { kind: 'delParents', ino: FILE },
    { kind: 'deadFile', ino: FILE, length: 5000, at: NOW.sec },
    { kind: 'usage', space: -8192, inodes: -1 },
    { kind: 'quotaUsage', type: 1, key: 500, space: -8192, inodes: -1 },
    { kind: 'quotaUsage', type: 2, key: 600, space: -8192, inodes: -1 },
  ])
  assert.deepEqual(effects, [{ kind: 'deadFile', ino: FILE, length: 5000 }])
})

test('an unlinked node without data leaves none to delete', () => {
  const fifo = release(world(attrOf({ type: TYPE_FIFO, nlink: 0 })))
  assert.deepEqual(fifo.effects, [])
  assert.ok(!fifo.changes.some(c => c.kind === 'deadFile'))
  assert.ok(
    release(world(attrOf({ type: TYPE_SYMLINK, nlink: 0, length: 3 }))).changes.some(c => c.kind === 'delSymlink'),
  )
})

test('a node that was named again, or is gone, is only let go of', () => {
  for (const attr of [attrOf({ nlink: 1 }), null]) {
    assert.deepEqual(release(world(attr)).changes, [{ kind: 'unsustain', sid: 5, ino: FILE }])
  }
})

test('what another session sustains stays, and a read-only client lets nothing go', () => {
  assert.deepEqual(release(world(attrOf({ nlink: 0 }), false)).changes, [])
  assert.equal(release(world(attrOf({ nlink: 0 })), readOnly).errno, EROFS)
})

test('a session is written with its expiry, and dropped', () => {
  const info = Buffer.from('{}')
  assert.deepEqual(decide(putSession(5, 60, info)).changes, [{ kind: 'putSession', sid: 5, expire: 60, info }])
  assert.deepEqual(decide(putSession(5, 60, null)).changes, [{ kind: 'putSession', sid: 5, expire: 60, info: null }])
  assert.deepEqual(decide(dropSession(5)).changes, [{ kind: 'delSession', sid: 5 }])
})

test('the session of another client is ended only while its record is what it was', () => {
  const record = (expire: number): World => [
    [
      { kind: 'session', sid: 5 },
      { expire, info: null },
    ],
  ]
  const files = world(attrOf({ nlink: 0 }))
  assert.equal(decide(releaseSustained(volume, 5, FILE, NOW, 60), [...files, ...record(72)]).errno, EBUSY)
  assert.equal(decide(dropSession(5, 60), record(72)).errno, EBUSY)
  assert.equal(decide(releaseSustained(volume, 5, FILE, NOW, 60), [...files, ...record(60)]).changes.length, 6)
  assert.equal(decide(dropSession(5, 60), record(60)).changes.length, 1)
  assert.equal(decide(dropSession(5, 60), [[{ kind: 'session', sid: 5 }, null]]).changes.length, 1)
})
