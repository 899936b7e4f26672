import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { Ino } from '../../src/base/ino.ts'
import type { Attr } from '../../src/meta/model/attr.ts'
import { OpenFiles } from '../../src/meta/open-files.ts'

const ino = 7 as Ino
const at = (sec: number): Attr => {
  const time = { sec, nsec: 0 }
  return {
    type: 1,
    flags: 0,
    mode: 0o644,
    uid: 0,
    gid: 0,
    atime: time,
    mtime: time,
    ctime: time,
    nlink: 1,
    length: 0,
    rdev: 0,
    parent: 1 as Ino,
    accessAcl: 0,
    defaultAcl: 0,
    tier: 0,
  }
}
const view = [{ pos: 0, id: 1, size: 10, off: 0, len: 10 }]

describe('what a client keeps of open files', () => {
  it('an unchanged mtime is recognised from the second open on, also after a close', () => {
    const files = new OpenFiles(10)
    assert.equal(files.opened(ino, at(1)), false)
    files.closed(ino)
    assert.equal(files.opened(ino, at(1)), true)
    files.closed(ino)
    assert.equal(files.opened(ino, at(2)), false)
  })

  it('a list that was asked for before our own commit is not kept after it', () => {
    const files = new OpenFiles(10)
    files.opened(ino, at(1))
    const drops = files.drops(ino)
    files.wrote(ino, at(1).mtime, at(2), 0)
    files.keepChunk(ino, 0, view, drops)
    assert.equal(files.chunk(ino, 0), undefined)
    files.keepChunk(ino, 0, view, files.drops(ino))
    assert.equal(files.chunk(ino, 0), view)
  })

  it('our own commit keeps the lists of other chunks, unless somebody else wrote in between', () => {
    const files = new OpenFiles(10)
    files.opened(ino, at(1))
    files.keepChunk(ino, 1, view, files.drops(ino))
    files.wrote(ino, at(1).mtime, at(2), 0)
    assert.equal(files.chunk(ino, 1), view)
    files.wrote(ino, at(5).mtime, at(6), 0)
    assert.equal(files.chunk(ino, 1), undefined)
    files.closed(ino)
    assert.equal(files.opened(ino, at(6)), false, 'pages that the foreign write made stale must go')
  })

  it('tells the last close of a removed node, once', () => {
    const files = new OpenFiles(10)
    files.opened(ino, at(1))
    files.opened(ino, at(1))
    assert.equal(files.removed(ino), true)
    assert.equal(files.closed(ino), false)
    assert.equal(files.closed(ino), true)
    assert.equal(files.removed(ino), false)
  })
})
