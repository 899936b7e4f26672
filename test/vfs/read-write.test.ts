import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { EBADF, EFBIG } from '../../src/base/errno.ts'
import { ROOT_INO } from '../../src/base/ino.ts'
import {
  BLOCK,
  CHUNK,
  close,
  create,
  lengthOf,
  O_APPEND,
  O_RDONLY,
  O_TRUNC,
  O_WRONLY,
  ok,
  open,
  openVolume,
  pattern,
  ROOT,
  read,
  seeded,
  type Volume,
  write,
} from './harness.ts'

for (const deferred of [false, true]) {
  describe(`bytes of a file, metadata answering ${deferred ? 'later' : 'at once'}`, () => {
    let v: Volume
    before(async () => {
      v = await openVolume({ deferred })
    })
    after(() => v.close())

    it('what one handle wrote, every handle reads before and after the close', async () => {
      const a = await create(v, 'shared')
      const data = pattern(3 * BLOCK + 17)
      await write(v, a, 0, data)
      const b = await open(v, a.ino, O_RDONLY)
      assert.deepEqual(await read(v, b, 0, data.length + 100), data)
      await close(v, a)
      assert.deepEqual(await read(v, b, 5, 100), data.subarray(5, 105))
      await close(v, b)
    })

    it('a file has the length that was written, at every edge', async () => {
      for (const size of [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK]) {
        const f = await create(v, `edge${size}`)
        const data = pattern(size, size)
        if (size > 0) await write(v, f, 0, data)
        assert.equal(await lengthOf(v, f.ino), size)
        await close(v, f)
        const again = await open(v, f.ino, O_RDONLY)
        assert.deepEqual(await read(v, again, 0, size + 1), data)
        await close(v, again)
      }
    })

    it('a write across a chunk border lands on both sides of it', async () => {
      const f = await create(v, 'border')
      const data = pattern(2 * BLOCK)
      for (const shift of [-1, 0, 1]) {
        await write(v, f, CHUNK - BLOCK + shift, data)
        assert.deepEqual(await read(v, f, CHUNK - BLOCK + shift, data.length), data)
      }
      assert.equal(await lengthOf(v, f.ino), CHUNK + BLOCK + 1)
      assert.deepEqual(await read(v, f, 1000, 10), Buffer.alloc(10))
      await close(v, f)
    })

    it('an overwrite wins over what was there', async () => {
      const f = await create(v, 'over')
      const expected = pattern(2 * BLOCK)
      await write(v, f, 0, expected)
      const patch = Buffer.alloc(BLOCK, 0xee)
      await write(v, f, 100, patch)
      patch.copy(expected, 100)
      assert.deepEqual(await read(v, f, 0, 2 * BLOCK), expected)
      await close(v, f)
    })

    it('what lies between two distant writes is zeros', async () => {
      const f = await create(v, 'sparse')
      await write(v, f, 10 * BLOCK, Buffer.from('far'))
      await write(v, f, 0, Buffer.from('near'))
      assert.deepEqual(await read(v, f, 2, 10), Buffer.from('ar\0\0\0\0\0\0\0\0'))
      assert.deepEqual(await read(v, f, 10 * BLOCK - 2, 10), Buffer.from('\0\0far'))
      await close(v, f)
    })

    it('a shortened file that grows again reads zeros where it was cut', async () => {
      const f = await create(v, 'cut')
      await write(v, f, 0, pattern(BLOCK))
      await ok(v.vfs.setattr(ROOT, f.ino, { size: 10 }, f.fh))
      assert.equal(await lengthOf(v, f.ino), 10)
      await ok(v.vfs.setattr(ROOT, f.ino, { size: 20 }, f.fh))
      assert.deepEqual(await read(v, f, 0, 100), Buffer.concat([pattern(BLOCK).subarray(0, 10), Buffer.alloc(10)]))
      await close(v, f)
    })

    it('an append goes to the end, wherever the kernel believes the end to be', async () => {
      const f = await create(v, 'log', O_WRONLY | O_APPEND)
      await write(v, f, 0, Buffer.from('one'), O_APPEND)
      await write(v, f, 0, Buffer.from('two'), O_APPEND)
      assert.deepEqual(await read(v, f, 0, 100), Buffer.from('onetwo'))
      assert.ok(v.invalidated.some(line => line === `${f.ino} 0+0`))
      await close(v, f)
    })

    it('pages that the kernel writes back keep their offset on a descriptor opened for appending', async () => {
      const f = await create(v, 'mapped', O_WRONLY | O_APPEND)
      await write(v, f, 0, Buffer.from('abcdef'), O_APPEND)
      await write(v, f, 2, Buffer.from('XY'), 0)
      assert.deepEqual(await read(v, f, 0, 100), Buffer.from('abXYef'))
      await close(v, f)
    })

    it('an open with O_TRUNC empties the file', async () => {
      const f = await create(v, 'trunc')
      await write(v, f, 0, pattern(100))
      const again = await open(v, f.ino, O_WRONLY | O_TRUNC)
      assert.equal(await lengthOf(v, f.ino), 0)
      await close(v, again)
      await close(v, f)
    })

    it('a create with O_TRUNC empties a file that was there already', async () => {
      const f = await create(v, 'trunc2')
      await write(v, f, 0, pattern(100))
      const again = await create(v, 'trunc2', O_WRONLY | O_TRUNC)
      assert.equal(again.ino, f.ino)
      assert.equal(await lengthOf(v, f.ino), 0)
      await close(v, again)
      await close(v, f)
    })

    it('an unlinked file stays readable and writable through its handle', async () => {
      const f = await create(v, 'gone')
      await write(v, f, 0, Buffer.from('still'))
      await ok(v.vfs.unlink(ROOT, ROOT_INO, 'gone'))
      await write(v, f, 5, Buffer.from(' here'))
      assert.equal((await read(v, f, 0, 100)).toString(), 'still here')
      await close(v, f)
    })

    it('random writes, truncates, reads and closes give what a plain array gives', async () => {
      const seed = Number(process.env.SEED ?? 20261121)
      const random = seeded(seed)
      let f = await create(v, 'random')
      let model = Buffer.alloc(0)
      const places = [0, 1, BLOCK, 2 * BLOCK, 5 * BLOCK]
      const place = (): number =>
        Math.max(
          0,
          places[Math.floor(random() * places.length)]! +
            Math.floor(random() * 9) -
            4 +
            (random() < 0.3 ? Math.floor(random() * BLOCK) : 0),
        )
      for (let step = 0; step < 400; step++) {
        const what = random()
        const offset = place()
        if (what < 0.5) {
          const data = pattern(1 + Math.floor(random() * (random() < 0.5 ? 100 : 2 * BLOCK)), step)
          await write(v, f, offset, data)
          if (model.length < offset + data.length) {
            model = Buffer.concat([model, Buffer.alloc(offset + data.length - model.length)])
          }
          data.copy(model, offset)
        } else if (what < 0.6) {
          await ok(v.vfs.setattr(ROOT, f.ino, { size: offset }, f.fh))
          model = Buffer.concat([model.subarray(0, offset), Buffer.alloc(Math.max(0, offset - model.length))])
        } else if (what < 0.65) {
          await close(v, f)
          f = await open(v, f.ino)
        } else if (what < 0.7) {
          await ok(v.vfs.fallocate(ROOT, f.ino, f.fh, 3, offset, 1000))
          model.fill(0, Math.min(offset, model.length), Math.min(offset + 1000, model.length))
        } else {
          const size = Math.floor(random() * 3 * BLOCK) + 1
          const expected = model.subarray(offset, offset + size)
          assert.deepEqual(await read(v, f, offset, size), expected, `seed ${seed}, step ${step}`)
        }
        assert.equal(await lengthOf(v, f.ino), model.length, `seed ${seed}, step ${step}`)
      }
      assert.deepEqual(await read(v, f, 0, model.length + 1), model)
      await close(v, f)
    })

    it('two handles that write at the same time lose nothing', async () => {
      const a = await create(v, 'both')
      const b = await open(v, a.ino)
      const piece = 1000
      const writes: Promise<void>[] = []
      for (let i = 0; i < 100; i++) writes.push(write(v, i % 2 === 0 ? a : b, i * piece, Buffer.alloc(piece, i)))
      await Promise.all(writes)
      await Promise.all([close(v, a), close(v, b)])
      const c = await open(v, a.ino, O_RDONLY)
      const bytes = await read(v, c, 0, 100 * piece)
      for (let i = 0; i < 100; i++) assert.equal(bytes[i * piece + 500], i)
      await close(v, c)
    })

    it('no handle or buffer is left when all files are closed', () => {
      assert.equal(v.vfs.openHandleCount, 0)
      assert.equal(v.vfs.openFileCount, 0)
    })
  })
}

describe('answers without waiting', () => {
  it('lookup, getattr, open, write and a read of what is in memory come in the same turn', async () => {
    const v = await openVolume()
    const f = await create(v, 'quick')
    assert.ok(!(v.vfs.write(ROOT, f.ino, f.fh, 0, pattern(100), 0) instanceof Promise))
    await ok(v.vfs.flush(ROOT, f.ino, f.fh, '0000000000000001'))
    await read(v, f, 0, 100)
    assert.ok(!(v.vfs.read(ROOT, f.ino, f.fh, 0, 100) instanceof Promise))
    assert.ok(!(v.vfs.lookup(ROOT, ROOT_INO, 'quick') instanceof Promise))
    assert.ok(!(v.vfs.getattr(ROOT, f.ino, null) instanceof Promise))
    const again = v.vfs.open(ROOT, f.ino, O_RDONLY)
    assert.ok(!(again instanceof Promise))
    await v.close()
  })
})

describe('handles', () => {
  it('read-only files and directories have odd ids, writable files even ones', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    assert.equal(f.fh % 2, 0)
    assert.equal((await open(v, f.ino, O_RDONLY)).fh % 2, 1)
    assert.equal((await ok(v.vfs.opendir(ROOT, ROOT_INO, 0))).fh % 2, 1)
    await v.close()
  })

  it('an unknown odd id reads, as after a restart; an unknown even one is EBADF', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    await write(v, f, 0, Buffer.from('x'))
    await close(v, f)
    assert.equal((await read(v, { ino: f.ino, fh: 4711 }, 0, 10)).toString(), 'x')
    assert.equal(await v.vfs.read(ROOT, f.ino, 4712, 0, 10), EBADF)
    assert.equal(await v.vfs.write(ROOT, f.ino, 4712, 0, Buffer.from('y'), 0), EBADF)
    await close(v, { ino: f.ino, fh: 4711 })
    await v.close()
  })

  it('a write through a read-only handle is EBADF, one beyond what a file can hold EFBIG', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    const r = await open(v, f.ino, O_RDONLY)
    assert.equal(await v.vfs.write(ROOT, f.ino, r.fh, 0, Buffer.from('y'), 0), EBADF)
    assert.equal(await v.vfs.write(ROOT, f.ino, f.fh, Number.MAX_SAFE_INTEGER, Buffer.from('y'), 0), EFBIG)
    await v.close()
  })
})
