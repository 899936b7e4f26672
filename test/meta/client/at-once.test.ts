/** Things that happen at the same moment on one client whose engine answers later, each held at the worst point. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EACCES, ENOENT } from '../../../src/base/errno.ts'
import { type Ino, ROOT_INO } from '../../../src/base/ino.ts'
import { checkVolume } from '../../../src/meta/check.ts'
import { zeroRecord } from '../../../src/meta/rules/chunks.ts'
import { DIRECTORY, FILE, ok, type RemoteClient, SharedVolume, sleep } from './harness.ts'
import type { SlowEngine, Trip } from './slow-engine.ts'

const O_RDWR = 2
const slice = (id: number) => ({ id, size: 100, off: 0, len: 100 })

/** Holds the next request (or answer) of this kind until it is let go. */
function hold(engine: SlowEngine, trip: Trip, where: 'onRequest' | 'onReply' = 'onRequest') {
  const reached = Promise.withResolvers<void>()
  const gate = Promise.withResolvers<void>()
  let held = false
  engine[where] = async each => {
    if (held || each !== trip) return
    held = true
    reached.resolve()
    await gate.promise
  }
  return { reached: reached.promise, letGo: () => gate.resolve() }
}

async function scene(): Promise<{ v: SharedVolume; c: RemoteClient; file: Ino }> {
  const v = await SharedVolume.create()
  const c = await v.client()
  const { ino: file } = await ok(c.meta.make(v.caller(), ROOT_INO, 'f', FILE))
  await c.meta.newSliceId()
  await ok(c.meta.writeSlice(file, 0, 0, slice(1), v.clock.now()))
  return { v, c, file }
}

/** We write while the answer to `ask` is on its way: whatever that brings, the write is seen. */
async function overtaken({ v, c, file }: Awaited<ReturnType<typeof scene>>, ask: () => unknown): Promise<void> {
  const held = hold(c.engine, 'gather', 'onReply')
  const asking = ask()
  await held.reached
  await ok(c.meta.writeSlice(file, 0, 100, slice(2), v.clock.now()))
  held.letGo()
  await asking
  assert.deepEqual(
    (await ok(c.meta.readChunk(file, 0))).map(each => each.id),
    [1, 2],
  )
}

async function end(v: SharedVolume, c: RemoteClient): Promise<void> {
  assert.equal(c.meta.openFileCount, 0)
  assert.deepEqual((await c.engine.scan('sustained', { sid: c.meta.sid }, null, 10)).rows, [])
  assert.deepEqual(await checkVolume(v.inner), [])
  await v.close()
}

describe('opening and removing at once', () => {
  it('a file that lost all its names before the answer to a link came is let go by its last close', async () => {
    const { v, c, file } = await scene()
    await ok(c.meta.open(v.caller(), file, O_RDWR))
    const held = hold(c.engine, 'commit', 'onReply')
    const linking = c.meta.link(v.caller(), file, ROOT_INO, 'g')
    await held.reached
    await ok(c.meta.unlink(v.caller(), ROOT_INO, 'f'))
    await ok(c.meta.unlink(v.caller(), ROOT_INO, 'g'))
    held.letGo()
    await ok(linking)
    await ok(c.meta.getattr(file))
    await c.meta.close(file)
    await end(v, c)
  })

  it('an open that comes while the last name is being removed waits, and finds nothing', async () => {
    const { v, c, file } = await scene()
    const held = hold(c.engine, 'commit')
    const removal = c.meta.unlink(v.caller(), ROOT_INO, 'f')
    await held.reached
    const opening = c.meta.open(v.caller(), file, O_RDWR)
    await sleep(5)
    held.letGo()
    await ok(removal)
    assert.equal(await opening, ENOENT)
    await end(v, c)
  })

  it('an open that waited for a removal that was refused opens the file', async () => {
    const { v, c, file } = await scene()
    const other = await v.client()
    const held = hold(c.engine, 'commit')
    const removal = c.meta.unlink(v.caller(), ROOT_INO, 'f')
    await held.reached
    await ok(other.meta.rename(v.caller(), { parent: ROOT_INO, name: 'f' }, { parent: ROOT_INO, name: 'g' }, 0))
    const opening = c.meta.open(v.caller(), file, O_RDWR)
    held.letGo()
    assert.equal(await removal, ENOENT)
    await ok(opening)
    await c.meta.close(file)
    await end(v, c)
  })

  it('a file whose open is on its way is open for whoever removes it, and goes with its last close', async () => {
    const { v, c, file } = await scene()
    await c.meta.lookup(v.caller(), ROOT_INO, 'f')
    const held = hold(c.engine, 'gather', 'onReply')
    const opening = c.meta.open(v.caller(), file, O_RDWR)
    await held.reached
    await ok(c.meta.unlink(v.caller(), ROOT_INO, 'f'))
    held.letGo()
    await ok(opening)
    assert.equal((await ok(c.meta.getattr(file))).nlink, 0)
    assert.equal((await ok(c.meta.readChunk(file, 0))).length, 1)
    await c.meta.close(file)
    assert.equal(await c.meta.getattr(file), ENOENT)
    await end(v, c)
  })

  it('a file that was kept for an open that then failed goes at once', async () => {
    const { v, c, file } = await scene()
    await c.meta.lookup(v.caller(), ROOT_INO, 'f')
    const stranger = { uid: 7, gid: 7, gids: [7], now: v.clock.now(), check: true }
    const held = hold(c.engine, 'gather', 'onReply')
    const opening = c.meta.open(stranger, file, O_RDWR)
    await held.reached
    await ok(c.meta.unlink(v.caller(), ROOT_INO, 'f'))
    held.letGo()
    assert.equal(await opening, EACCES)
    assert.equal(await c.meta.getattr(file), ENOENT)
    await end(v, c)
  })

  it('a file that is closed while its last name is being removed goes', async () => {
    const { v, c, file } = await scene()
    await ok(c.meta.open(v.caller(), file, O_RDWR))
    const held = hold(c.engine, 'commit', 'onReply')
    const removal = c.meta.unlink(v.caller(), ROOT_INO, 'f')
    await held.reached
    await c.meta.close(file)
    held.letGo()
    await ok(removal)
    assert.equal(await c.meta.getattr(file), ENOENT)
    await end(v, c)
  })

  it('a file that somebody removes before its maker hears that it was made is open for the maker', async () => {
    const { v, c } = await scene()
    const held = hold(c.engine, 'commit', 'onReply')
    const making = c.meta.create(v.caller(), ROOT_INO, 'new', FILE, O_RDWR, true)
    await held.reached
    await ok(c.meta.unlink(v.caller(), ROOT_INO, 'new'))
    held.letGo()
    const { ino } = await ok(making)
    assert.equal((await ok(c.meta.getattr(ino))).nlink, 0)
    await c.meta.close(ino)
    await end(v, c)
  })

  it('a file that is replaced by a rename while it is being opened keeps its data for the opener', async () => {
    const { v, c, file } = await scene()
    await ok(c.meta.make(v.caller(), ROOT_INO, 'g', FILE))
    const held = hold(c.engine, 'gather', 'onReply')
    const opening = c.meta.open(v.caller(), file, O_RDWR)
    await held.reached
    await ok(c.meta.rename(v.caller(), { parent: ROOT_INO, name: 'g' }, { parent: ROOT_INO, name: 'f' }, 0))
    held.letGo()
    await ok(opening)
    assert.equal((await ok(c.meta.readChunk(file, 0))).length, 1)
    await c.meta.close(file)
    await end(v, c)
  })

  it('an open file goes with its last close although nobody knows whether its name was removed', async () => {
    const { v, c, file } = await scene()
    await ok(c.meta.open(v.caller(), file, O_RDWR))
    c.engine.onReply = trip => {
      if (trip === 'commit') throw new Error('connection lost')
    }
    await assert.rejects(async () => c.meta.unlink(v.caller(), ROOT_INO, 'f'), /connection lost/)
    c.engine.onReply = () => {}
    assert.equal((await ok(c.meta.getattr(file))).nlink, 0)
    await c.meta.close(file)
    assert.equal(await c.meta.getattr(file), ENOENT)
    await end(v, c)
  })
})

describe('reading and writing at once', () => {
  it('a list that was on its way when we wrote is not kept', async () => {
    const at = await scene()
    const { v, c, file } = at
    await ok(c.meta.open(v.caller(), file, O_RDWR))
    c.meta.forgetChunks(file, 0)
    await overtaken(at, () => ok(c.meta.readChunk(file, 0)))
    await c.meta.close(file)
    await end(v, c)
  })

  it('a list from before a close is not kept for the next open', async () => {
    const { v, c, file } = await scene()
    const other = await v.client()
    await ok(c.meta.open(v.caller(), file, O_RDWR))
    c.meta.forgetChunks(file, 0)
    const held = hold(c.engine, 'gather', 'onReply')
    const reading = c.meta.readChunk(file, 0)
    await held.reached
    await c.meta.close(file)
    await ok(other.meta.writeSlice(file, 0, 100, slice(2), v.clock.now()))
    await ok(c.meta.open(v.caller(), file, O_RDWR))
    held.letGo()
    await ok(reading)
    assert.deepEqual(
      (await ok(c.meta.readChunk(file, 0))).map(each => each.id),
      [1, 2],
    )
    await c.meta.close(file)
    await end(v, c)
  })

  it('a list is not kept where nobody knows whether the file was changed', async () => {
    const { v, c, file } = await scene()
    await ok(c.meta.open(v.caller(), file, O_RDWR))
    await ok(c.meta.readChunk(file, 0))
    c.engine.onReply = trip => {
      if (trip === 'commit') throw new Error('connection lost')
    }
    await assert.rejects(async () => c.meta.writeSlice(file, 0, 100, slice(2), v.clock.now()), /connection lost/)
    c.engine.onReply = () => {}
    assert.deepEqual(
      (await ok(c.meta.readChunk(file, 0))).map(each => each.id),
      [1, 2],
    )
    await c.meta.close(file)
    await end(v, c)
  })

  it('another writer between our reading and our writing is noticed, although the length stayed', async () => {
    const { v, c, file } = await scene()
    const other = await v.client()
    await ok(c.meta.open(v.caller(), file, O_RDWR))
    await ok(c.meta.readChunk(file, 1))
    v.clock.aheadMs += 2000
    const held = hold(c.engine, 'commit')
    // Two at once: they cannot both be exact.
    const writes = [1, 2].map(index => c.meta.writeSlice(file, 0, 0, slice(10 + index), v.clock.now()))
    await held.reached
    await ok(other.meta.writeSlice(file, 0, 50, { ...slice(20), len: 10 }, v.clock.now()))
    held.letGo()
    await Promise.all(writes.map(ok))
    await c.meta.close(file)
    assert.equal((await ok(c.meta.open(v.caller(), file, O_RDWR))).unchanged, false)
    await c.meta.close(file)
    await end(v, c)
  })

  it('our own writes do not make us distrust what we keep', async () => {
    const { v, c, file } = await scene()
    await ok(c.meta.open(v.caller(), file, O_RDWR))
    for (let i = 0; i < 5; i++) {
      await ok(c.meta.writeSlice(file, 0, i * 100, slice(10 + i), v.clock.now()))
      await ok(c.meta.setattr(v.caller(), file, { mtime: 'now' }))
    }
    // The attributes are noticed by somebody before the writer hears of its commit.
    const held = hold(c.engine, 'commit', 'onReply')
    const writing = c.meta.writeSlice(file, 0, 0, slice(20), v.clock.now())
    await held.reached
    await ok(c.meta.getattr(file))
    held.letGo()
    await ok(writing)
    await c.meta.close(file)
    assert.equal((await ok(c.meta.open(v.caller(), file, O_RDWR))).unchanged, true)
    await c.meta.close(file)
    await end(v, c)
  })

  it('another writer is noticed at the next open, whoever looked at the file meanwhile', async () => {
    const { v, c, file } = await scene()
    const other = await v.client()
    const { ino: dir } = await ok(c.meta.make(v.caller(), ROOT_INO, 'd', DIRECTORY))
    await ok(c.meta.link(v.caller(), file, dir, 'again'))
    const looks: Record<string, () => unknown> = {
      getattr: () => c.meta.getattr(file),
      lookup: () => c.meta.lookup(v.caller(), ROOT_INO, 'f'),
      list: () => c.meta.readdir(v.caller(), dir, null, 10, true),
      utimes: () => c.meta.setattr(v.caller(), file, { mtime: 'now' }),
      'list again': () => c.meta.entriesOf(dir, ['again']),
    }
    for (const [name, look] of Object.entries(looks)) {
      await ok(c.meta.open(v.caller(), file, O_RDWR))
      await ok(c.meta.readChunk(file, 0))
      await c.meta.close(file)
      await ok(c.meta.open(v.caller(), file, O_RDWR))
      await ok(other.meta.writeSlice(file, 0, 0, slice(30 + Object.keys(looks).indexOf(name)), v.clock.now()))
      await look()
      const [first] = await ok(c.meta.readChunk(file, 0))
      assert.equal(first!.id, 30 + Object.keys(looks).indexOf(name), `${name}: lists of slices`)
      await c.meta.close(file)
      const again = await ok(c.meta.open(v.caller(), file, O_RDWR))
      assert.equal(again.unchanged, false, name)
      await c.meta.close(file)
    }
    await end(v, c)
  })

  it('a list that came with an open is not kept when we wrote meanwhile', async () => {
    const at = await scene()
    const { v, c, file } = at
    await overtaken(at, () => ok(c.meta.open(v.caller(), file, O_RDWR)))
    await c.meta.close(file)
    await end(v, c)
  })
})

describe('a file that is made without a name', () => {
  it('has none at any moment, leaves its directory alone, and goes with its session', async () => {
    const { v, c } = await scene()
    const before = await ok(c.meta.look(ROOT_INO))
    const seen = new Set<string>()
    c.engine.onReply = async () => {
      const { rows } = await v.inner.scan('entries', { parent: ROOT_INO, attrs: false }, null, 10)
      for (const { name } of rows) seen.add(name)
    }
    v.clock.aheadMs += 5000
    const { ino } = await ok(c.meta.createUnnamed(v.caller(), ROOT_INO, FILE))
    assert.deepEqual([...seen], ['f'])
    assert.deepEqual(await ok(c.meta.look(ROOT_INO)), before)
    assert.deepEqual(await checkVolume(v.inner), [])
    await ok(c.meta.link(v.caller(), ino, ROOT_INO, 'named'))
    await c.meta.close(ino)
    assert.equal((await ok(c.meta.look(ino))).nlink, 1)
    const { ino: other } = await ok(c.meta.createUnnamed(v.caller(), ROOT_INO, FILE))
    await c.meta.close(other)
    assert.equal(await c.meta.look(other), ENOENT)
    await end(v, c)
  })
})

describe('a list of slices that grows long', () => {
  const grow = (v: SharedVolume, file: Ino, records: number) =>
    v.inner.commit([], [
      { kind: 'appendSlices', ino: file, index: 0, records: Buffer.concat(Array(records).fill(zeroRecord(0, 1))) },
    ]) // biome-ignore format: one line a change

  it('is told of by whoever wrote, or copied, to it', async () => {
    const { v, c, file } = await scene()
    const { ino: source } = await ok(c.meta.make(v.caller(), ROOT_INO, 'source', FILE))
    await ok(c.meta.writeSlice(source, 0, 0, slice(2), v.clock.now()))
    await grow(v, file, 400)
    const told: number[][] = []
    c.meta.hooks.onLongChunk = (...what) => {
      told.push(what)
      return undefined
    }
    await ok(c.meta.writeSlice(file, 0, 0, slice(3), v.clock.now()))
    await ok(c.meta.copyRange(v.caller(), { ino: source, offset: 0 }, { ino: file, offset: 0 }, 100))
    assert.deepEqual(told, [
      [file, 0, 402],
      [file, 0, 403],
    ])
    await end(v, c)
  })

  it('keeps a writer waiting until it was shortened, but not for ever', async t => {
    const { v, c, file } = await scene()
    await grow(v, file, 1600)
    const shortened = Promise.withResolvers<void>()
    c.meta.hooks.onLongChunk = () => shortened.promise
    let isDone = false
    const write = async (id: number) => {
      isDone = false
      await ok(c.meta.writeSlice(file, 0, 0, slice(id), v.clock.now()))
      isDone = true
    }
    const first = write(2)
    await sleep(20)
    assert.equal(isDone, false)
    shortened.resolve()
    await first
    const never = new Promise<void>(() => undefined)
    c.meta.hooks.onLongChunk = () => never
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const second = write(3)
    for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve))
    assert.equal(isDone, false)
    t.mock.timers.tick(10_000)
    await second
    // One that takes long is not waited for by each write anew, unless the list cannot hold much more.
    await write(4)
    await grow(v, file, 900)
    const last = write(5)
    for (let turn = 0; turn < 20; turn++) await new Promise(resolve => setImmediate(resolve))
    assert.equal(isDone, false)
    t.mock.timers.tick(10_000)
    await last
    t.mock.timers.reset()
    await end(v, c)
  })
})
