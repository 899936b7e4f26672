/** How often a client asks an engine that is a round trip away. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ENOENT, ENOTEMPTY } from '../../../src/base/errno.ts'
import { TRASH_INO } from '../../../src/base/ino.ts'
import { O_RDWR } from '../../vfs/harness.ts'
import { buildScene, CHANGES, lookAround, type Scene, SLICE } from './changes.ts'
import { FILE, ok, type RemoteClient, SharedVolume } from './harness.ts'

interface Remote extends Scene {
  readonly v: SharedVolume
  readonly c: RemoteClient
}

async function scene(setting = {}): Promise<Remote> {
  const v = await SharedVolume.create(setting)
  const c = await v.client()
  return { v, c, ...(await buildScene(c.meta, () => v.caller(), { hasTrash: 'TrashDays' in setting })) }
}

for (const [kind, setting] of Object.entries({ 'without a trash': {}, 'with a trash': { TrashDays: 1 } })) {
  describe(`on a volume ${kind}`, () => {
    for (const [name, change] of Object.entries(CHANGES)) {
      it(`${name} is one round trip where the facts are known`, async () => {
        const s = await scene(setting)
        await lookAround(s)
        assert.deepEqual(await s.c.engine.count(() => change(s)), { gather: 0, commit: 1, scan: 0, allocate: 0 })
        await s.v.close()
      })

      it(`${name} is two round trips a while later`, async () => {
        const s = await scene(setting)
        s.v.clock.aheadMs += 1100
        assert.deepEqual(await s.c.engine.count(() => change(s)), { gather: 1, commit: 1, scan: 0, allocate: 0 })
        await s.v.close()
      })

      it(`${name} is three round trips where somebody else changed what we knew`, async () => {
        const s = await scene(setting)
        await lookAround(s)
        const other = await s.v.client()
        for (const ino of [s.dir, s.file]) await ok(other.meta.setattr(s.v.caller(), ino, { uid: 5 }))
        for (const each of ['empty', 'sub']) {
          const { ino } = await ok(other.meta.lookup(s.v.caller(), s.dir, each))
          await ok(other.meta.setattr(s.v.caller(), ino, { uid: 5 }))
        }
        const { commit, gather } = await s.c.engine.count(() => change(s))
        assert.ok(commit <= 2 && gather <= 1, `${commit} commits, ${gather} gathers`)
        await s.v.close()
      })
    }
  })
}

describe('looking', () => {
  const one = { gather: 1, commit: 0, scan: 0, allocate: 0 }

  it('lookup, getattr, open and readlink are one round trip', async () => {
    const { v, c, dir, file } = await scene()
    const link = await ok(c.meta.make(v.caller(), dir, 'link', { ...FILE, type: 3, target: 'file' }))
    assert.deepEqual(await c.engine.count(() => c.meta.lookup(v.caller(), dir, 'file')), one)
    assert.deepEqual(await c.engine.count(() => c.meta.lookup(v.caller(), dir, 'nothing')), one)
    assert.deepEqual(await c.engine.count(() => c.meta.getattr(file)), one)
    assert.deepEqual(await c.engine.count(() => c.meta.open(v.caller(), file, O_RDWR)), one)
    assert.deepEqual(await c.engine.count(() => c.meta.close(file)), { ...one, gather: 0 })
    assert.deepEqual(await c.engine.count(() => c.meta.readlink(v.caller(), link.ino)), one)
    await v.close()
  })

  it('opening a small file and reading it is one round trip', async () => {
    const { v, c, file } = await scene()
    const other = await v.client()
    const read = async () => {
      await ok(other.meta.open(v.caller(), file, 0))
      assert.equal((await ok(other.meta.readChunk(file, 0))).length, 1)
      await other.meta.close(file)
    }
    assert.deepEqual(await other.engine.count(read), one)
    await ok(c.meta.writeSlice(file, 0, 0, SLICE(await c.meta.newSliceId()), v.clock.now()))
    assert.deepEqual(await other.engine.count(read), one)
    await v.close()
  })

  it('a page of a directory with attributes is one, and its entries are known to who removes them', async () => {
    const { v, c, dir } = await scene()
    v.clock.aheadMs += 2000
    await ok(c.meta.setattr(v.caller(), dir, { mode: 0o700 }))
    const page = await c.engine.count(() => c.meta.readdir(v.caller(), dir, null, 100, true))
    assert.deepEqual(page, { ...one, gather: 0, scan: 1 })
    for (const name of ['file', 'empty']) {
      const removal = await c.engine.count(() => ok(c.meta.unlink(v.caller(), dir, name)))
      assert.deepEqual(removal, { gather: 0, commit: 1, scan: 0, allocate: 0 })
    }
    await v.close()
  })
})

describe('what is known', () => {
  it('is never an answer: an errno and a success without changes come from the engine', async () => {
    const { v, c, dir, file } = await scene()
    const other = await v.client()
    await c.meta.lookup(v.caller(), dir, 'new')
    await ok(other.meta.make(v.caller(), dir, 'new', FILE))
    // We knew that there was none.
    const found = await ok(c.meta.create(v.caller(), dir, 'new', FILE, O_RDWR, false))
    assert.equal(found.created, false)

    assert.equal(await c.meta.unlink(v.caller(), dir, 'later'), ENOENT)
    await ok(other.meta.make(v.caller(), dir, 'later', FILE))
    await ok(c.meta.unlink(v.caller(), dir, 'later'))

    const set = { mode: 0o444 }
    await ok(c.meta.setattr(v.caller(), file, set))
    await ok(other.meta.setattr(v.caller(), file, { mode: 0o777 }))
    assert.equal((await ok(c.meta.setattr(v.caller(), file, set))).mode, 0o444)
    assert.equal((await ok(other.meta.getattr(file))).mode, 0o444)
    await v.close()
  })

  it('a directory that is not empty any more is not removed', async () => {
    const { v, c, dir } = await scene()
    const other = await v.client()
    const sub = await ok(c.meta.lookup(v.caller(), dir, 'sub'))
    await ok(other.meta.make(v.caller(), sub.ino, 'inside', FILE))
    assert.equal(await c.meta.rmdir(v.caller(), dir, 'sub'), ENOTEMPTY)
    await v.close()
  })

  it('a file that ends at 0 and still has data leaves it to be deleted', async () => {
    const { v, c, dir, file } = await scene()
    await ok(c.meta.truncate(v.caller(), file, 0, true))
    await ok(c.meta.unlink(v.caller(), dir, 'file'))
    const { rows } = await c.engine.scan('deadFiles', { before: 2 ** 40 }, null, 10)
    assert.deepEqual(
      rows.map(row => row.ino),
      [file],
    )
    await v.close()
  })

  it('is forgotten where nobody knows whether a commit was done', async () => {
    const { v, c, dir } = await scene()
    c.engine.onReply = trip => {
      if (trip === 'commit') throw new Error('connection lost')
    }
    await assert.rejects(async () => c.meta.make(v.caller(), dir, 'new', FILE), /connection lost/)
    c.engine.onReply = () => {}
    assert.equal((await ok(c.meta.lookup(v.caller(), dir, 'new'))).attr.nlink, 1)
    await ok(c.meta.unlink(v.caller(), dir, 'new'))
    await v.close()
  })

  it('two names of one node come to one entry of the trash, the second is dropped', async () => {
    const { v, c, dir, file } = await scene({ TrashDays: 1 })
    const long = 'n'.repeat(254)
    await ok(c.meta.link(v.caller(), file, dir, `${long}1`))
    await ok(c.meta.link(v.caller(), file, dir, `${long}2`))
    await ok(c.meta.unlink(v.caller(), dir, `${long}1`))
    await ok(c.meta.unlink(v.caller(), dir, `${long}2`))
    const hour = (await ok(c.meta.readdir(v.caller(), TRASH_INO, null, 10, false))).rows[0]!
    const kept = (await ok(c.meta.readdir(v.caller(), hour.ino, null, 10, false))).rows
    assert.equal(kept.filter(row => row.ino === file).length, 1)
    await v.close()
  })

  it('a slice that is named from what was known still tells of another writer', async () => {
    const { v, c, file } = await scene()
    const other = await v.client()
    await ok(c.meta.open(v.caller(), file, O_RDWR))
    await ok(c.meta.writeSlice(file, 0, 0, SLICE(2), v.clock.now()))
    await ok(other.meta.writeSlice(file, 1, 0, SLICE(3), v.clock.now()))
    await ok(c.meta.writeSlice(file, 0, 0, SLICE(4), v.clock.now()))
    await c.meta.close(file)
    const again = await ok(c.meta.open(v.caller(), file, O_RDWR))
    assert.equal(again.unchanged, false)
    await v.close()
  })
})
