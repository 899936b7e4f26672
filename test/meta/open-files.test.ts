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
const openFiles = () => new OpenFiles({ limit: 10, trustMs: 0, nowMs: () => 0 })
const view = [{ pos: 0, id: 1, size: 10, off: 0, len: 10 }]

describe('what a client keeps of open files', () => {
  it('an unchanged mtime is recognised from the second open on, also after a close', () => {
    const files = openFiles()
    assert.equal(files.opened(ino, at(1)), false)
    files.closed(ino)
    assert.equal(files.opened(ino, at(1)), true)
    files.closed(ino)
    assert.equal(files.opened(ino, at(2)), false)
  })

  it('a list that was asked for before our own commit is not kept after it', () => {
    const files = openFiles()
    files.opened(ino, at(1))
    const drops = files.drops(ino)
    files.wrote(ino, at(1).mtime, at(2), 0)
    files.keepChunk(ino, 0, view, drops)
    assert.equal(files.chunk(ino, 0), undefined)
    files.keepChunk(ino, 0, view, files.drops(ino))
    assert.equal(files.chunk(ino, 0), view)
  })

  it('our own commit keeps the lists of other chunks, unless somebody else wrote in between', () => {
    const files = openFiles()
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
    const files = openFiles()
    files.opened(ino, at(1))
    files.opened(ino, at(1))
    assert.equal(files.removed(ino), true)
    assert.equal(files.closed(ino), false)
    assert.equal(files.closed(ino), true)
    assert.equal(files.removed(ino), false)
  })

  it('a write is noticed although its writer set the mtime back', () => {
    const files = openFiles()
    files.opened(ino, at(1))
    files.closed(ino)
    assert.equal(files.opened(ino, { ...at(1), ctime: at(9).ctime }), false)
  })

  it('our own chmod, rename or link of a file does not make it look written', () => {
    const files = openFiles()
    files.opened(ino, at(1))
    files.closed(ino)
    const attr = { ...at(1), mode: 0o600, ctime: at(9).ctime }
    files.committed([{ kind: 'putNode', ino, attr }])
    assert.equal(files.opened(ino, attr), true)
  })

  it('a closed file keeps a few lists for its next open, unless it was written meanwhile', () => {
    const files = openFiles()
    const keep = (count: number) => {
      files.opened(ino, at(1))
      for (let index = 0; index < count; index++) files.keepChunk(ino, index, view, files.drops(ino))
      files.closed(ino)
    }
    keep(3)
    files.opened(ino, at(1))
    assert.equal(files.chunk(ino, 2), view)
    files.closed(ino)
    files.opened(ino, at(2))
    assert.equal(files.chunk(ino, 2), undefined)
    files.closed(ino)
    keep(30)
    files.opened(ino, at(1))
    assert.equal(files.chunk(ino, 2), undefined)
  })

  it('our own commit drops a list that a closed file kept', () => {
    const files = openFiles()
    files.opened(ino, at(1))
    files.keepChunk(ino, 0, view, files.drops(ino))
    files.closed(ino)
    files.wrote(ino, at(1).mtime, at(2), 0)
    assert.equal(files.opened(ino, at(2)), true)
    assert.equal(files.chunk(ino, 0), undefined)
  })

  it('attributes are believed for as long as they may be, and never after a change that we do not know to its end', () => {
    let nowMs = 0
    const files = new OpenFiles({ limit: 10, trustMs: 1000, nowMs: () => nowMs })
    assert.equal(files.trusted(ino), null)
    files.opened(ino, at(1))
    nowMs = 999
    assert.deepEqual(files.trusted(ino), at(1))
    files.closed(ino)
    assert.deepEqual(files.trusted(ino), at(1))
    nowMs = 1000
    assert.equal(files.trusted(ino), null)
    files.opened(ino, at(1))
    files.committed([{ kind: 'extendNode', ino, length: 5, mtime: at(2).mtime, ctime: at(2).ctime }])
    assert.equal(files.trusted(ino), null)
    files.wrote(ino, at(1).mtime, at(2), 0)
    assert.deepEqual(files.trusted(ino), at(2))
    files.seen(ino, at(5))
    assert.equal(files.trusted(ino), null, 'somebody else has written')
  })

  it('a look that finds another ctime drops what was kept, whatever the mtime says', () => {
    const files = openFiles()
    files.opened(ino, at(1))
    files.keepChunk(ino, 0, view, files.drops(ino))
    files.seen(ino, at(1))
    assert.equal(files.chunk(ino, 0), view)
    const written = { ...at(1), ctime: at(9).ctime }
    files.seen(ino, written)
    assert.equal(files.chunk(ino, 0), undefined)
    files.keepChunk(ino, 0, view, files.drops(ino))
    files.seen(ino, written)
    assert.equal(files.chunk(ino, 0), view, 'once')
    assert.equal(files.opened(ino, written), false)
  })

  it('a closed file that a look finds changed is not opened by what was known of it', () => {
    const files = new OpenFiles({ limit: 10, trustMs: 1000, nowMs: () => 0 })
    files.opened(ino, at(1))
    files.closed(ino)
    files.seen(ino, at(1))
    assert.deepEqual(files.trusted(ino), at(1))
    files.seen(ino, at(2))
    assert.equal(files.trusted(ino), null)
    assert.equal(files.opened(ino, at(2)), false)
  })

  it('attributes are not believed any longer once a look has found another ctime', () => {
    let nowMs = 0
    const files = new OpenFiles({ limit: 10, trustMs: 1000, nowMs: () => nowMs })
    files.opened(ino, at(1))
    files.seen(ino, { ...at(1), mode: 0o600, ctime: at(9).ctime })
    assert.equal(files.trusted(ino), null)
    nowMs = 900
    files.seen(ino, { ...at(1), mode: 0o600, ctime: at(9).ctime })
    nowMs = 1800
    assert.equal(files.trusted(ino), null)
    assert.equal(files.opened(ino, { ...at(1), mode: 0o600, ctime: at(9).ctime }), false)
    assert.equal(files.trusted(ino)?.mode, 0o600)
  })

  it('no more than the limit of closed files are remembered', () => {
    const files = new OpenFiles({ limit: 2, trustMs: 0, nowMs: () => 0 })
    for (const each of [5, 6, 7] as Ino[]) {
      files.opened(each, at(1))
      files.closed(each)
    }
    assert.equal(files.opened(5 as Ino, at(1)), false)
    assert.equal(files.opened(7 as Ino, at(1)), true)
  })
})
