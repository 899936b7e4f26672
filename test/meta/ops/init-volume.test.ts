import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EBUSY, EEXIST, ENOENT } from '../../../src/base/errno.ts'
import { ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import { node } from '../../../src/meta/facts.ts'
import { TYPE_DIRECTORY } from '../../../src/meta/model/attr.ts'
import { initVolume } from '../../../src/meta/ops/init-volume.ts'
import { attrOf, decide, NOW, ofKind, type World } from './decide.ts'

const directory = (mode: number) =>
  attrOf({
    type: TYPE_DIRECTORY,
    mode,
    uid: 0,
    gid: 0,
    atime: NOW,
    mtime: NOW,
    ctime: NOW,
    nlink: 2,
    length: 4096,
    parent: ROOT_INO,
  })
const formatted: World = [
  [{ kind: 'format' }, '{}'],
  [node(ROOT_INO), directory(0o777)],
]

test('a new volume gets its setting, root, counters, and the trash if it is wanted', () => {
  const init = (trash: boolean) => decide(initVolume('{}', { isNew: true, trash, now: NOW })).changes
  assert.deepEqual(init(true), [
    { kind: 'putFormat', json: '{}' },
    { kind: 'putNode', ino: ROOT_INO, attr: directory(0o777) },
    { kind: 'putCounter', name: 'usedSpace', value: 0 },
    { kind: 'putCounter', name: 'totalInodes', value: 0 },
    { kind: 'putNode', ino: TRASH_INO, attr: directory(0o555) },
  ])
  assert.deepEqual(
    ofKind(init(false), 'putNode').map(c => c.ino),
    [ROOT_INO],
  )
})

test('a volume that is there gets the new setting, and the trash only once', () => {
  const init = (world: World) => decide(initVolume('{"a":1}', { isNew: false, trash: true, now: NOW }), world).changes
  assert.deepEqual(
    init(formatted).map(c => c.kind),
    ['putFormat', 'putNode'],
  )
  assert.deepEqual(init([...formatted, [node(TRASH_INO), directory(0o555)]]), [{ kind: 'putFormat', json: '{"a":1}' }])
})

test('nobody formats over another’s volume, or changes one that is gone', () => {
  assert.equal(decide(initVolume('{}', { isNew: true, trash: true, now: NOW }), formatted).errno, EEXIST)
  assert.equal(decide(initVolume('{}', { isNew: false, trash: true, now: NOW })).errno, ENOENT)
})

test('a setting that was changed since it was read is not replaced', () => {
  const init = (replaces: string) =>
    decide(initVolume('{"a":1}', { isNew: false, trash: false, now: NOW, replaces }), formatted)
  assert.equal(init('{"b":1}').errno, EBUSY)
  assert.deepEqual(init('{}').changes, [{ kind: 'putFormat', json: '{"a":1}' }])
})

test('the trash alone is made without a word about the setting', () => {
  const init = decide(initVolume(null, { isNew: false, trash: true, now: NOW }), formatted)
  assert.deepEqual(
    init.changes.map(c => c.kind),
    ['putNode'],
  )
})
