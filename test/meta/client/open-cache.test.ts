import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EACCES, ENOENT } from '../../../src/base/errno.ts'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { FILE, ok, SharedVolume } from './harness.ts'

const O_RDONLY = 0
const slice = (id: number) => ({ id, size: 100, off: 0, len: 100 })
const nothing = { gather: 0, commit: 0, scan: 0, allocate: 0 }

async function scene() {
  const v = await SharedVolume.create()
  const c = await v.client({ config: { openCacheMs: 1000 } })
  const other = await v.client()
  const { ino } = await ok(other.meta.make(v.caller(), ROOT_INO, 'f', FILE))
  await ok(other.meta.writeSlice(ino, 0, 0, slice(1), v.clock.now()))
  const open = async () => {
    const opened = await ok(c.meta.open(v.caller(), ino, O_RDONLY))
    await ok(c.meta.readChunk(ino, 0))
    await c.meta.close(ino)
    return opened
  }
  return { v, c, other, ino, open }
}

describe('with --open-cache', () => {
  it('a file that was opened is opened, looked at and read again without asking, until the time is over', async () => {
    const { v, c, ino, open } = await scene()
    await open()
    const again = await c.engine.count(async () => {
      await open()
      await ok(c.meta.getattr(ino))
    })
    assert.deepEqual(again, nothing)
    v.clock.aheadMs += 1001
    assert.deepEqual(await c.engine.count(open), { ...nothing, gather: 1 })
    await v.close()
  })

  it('what another client wrote is seen when the time is over, and not before', async () => {
    const { v, other, ino, open } = await scene()
    await open()
    await ok(other.meta.writeSlice(ino, 0, 100, slice(2), v.clock.now()))
    assert.equal((await open()).attr.length, 100)
    v.clock.aheadMs += 1001
    const later = await open()
    assert.deepEqual([later.attr.length, later.unchanged], [200, false])
    await v.close()
  })

  it('what this client changes itself is seen at once', async () => {
    const { v, c, ino, open } = await scene()
    await open()
    await ok(c.meta.writeSlice(ino, 0, 100, slice(3), v.clock.now()))
    assert.equal((await open()).attr.length, 200)
    await ok(c.meta.setattr(v.caller(), ino, { mode: 0o600 }))
    assert.equal((await open()).attr.mode, 0o600)
    await ok(c.meta.truncate(v.caller(), ino, 5, true))
    assert.equal((await open()).attr.length, 5)
    await ok(c.meta.unlink(v.caller(), ROOT_INO, 'f'))
    assert.equal(await c.meta.open(v.caller(), ino, O_RDONLY), ENOENT)
    await v.close()
  })

  it('permission is never refused from what is kept', async () => {
    const { v, c, other, ino, open } = await scene()
    const stranger = { uid: 7, gid: 7, gids: [7], now: v.clock.now(), check: true }
    await ok(other.meta.setattr(v.caller(), ino, { mode: 0o600 }))
    await open()
    assert.equal(await c.meta.open(stranger, ino, O_RDONLY), EACCES)
    await ok(other.meta.setattr(v.caller(), ino, { mode: 0o644 }))
    await ok(c.meta.open(stranger, ino, O_RDONLY))
    await c.meta.close(ino)
    await v.close()
  })
})

describe('without --open-cache', () => {
  it('every open asks, and the lists of a file that nobody wrote are still there', async () => {
    const v = await SharedVolume.create()
    const c = await v.client()
    const { ino } = await ok(c.meta.make(v.caller(), ROOT_INO, 'f', FILE))
    await ok(c.meta.writeSlice(ino, 0, 0, slice(1), v.clock.now()))
    const open = async () => {
      await ok(c.meta.open(v.caller(), ino, O_RDONLY))
      await ok(c.meta.readChunk(ino, 0))
      await c.meta.close(ino)
    }
    await open()
    assert.deepEqual(await c.engine.count(open), { ...nothing, gather: 1 })
    await v.close()
  })
})
