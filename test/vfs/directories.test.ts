import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EACCES, EBADF, EEXIST, ENAMETOOLONG, EPERM } from '../../src/base/errno.ts'
import { type Ino, ROOT_INO, STATS_INO, TRASH_INO } from '../../src/base/ino.ts'
import type { Entry } from '../../src/vfs/file-system.ts'
import type { InternalFiles } from '../../src/vfs/internal-files.ts'
import { attr } from '../meta/ops/run.ts'
import { close, create, list, listAll, ok, openVolume, ROOT, seeded, user, type Volume, write } from './harness.ts'

async function directoryOf(v: Volume, count: number): Promise<{ ino: Ino; fh: number; names: string[] }> {
  const { ino } = await ok(v.vfs.mkdir(ROOT, ROOT_INO, 'd', 0o755, 0))
  const names: string[] = []
  for (let i = 0; i < count; i++) {
    const name = `n${String(i).padStart(6, '0')}`
    await ok(v.vfs.mknod(ROOT, ino, name, 0o100644, 0, 0))
    names.push(name)
  }
  const { fh } = await ok(v.vfs.opendir(ROOT, ino, 0))
  return { ino, fh, names }
}

for (const deferred of [false, true]) {
  describe(`listing a directory, metadata answering ${deferred ? 'later' : 'at once'}`, () => {
    it('starts with . and .. and has every entry once, whatever the size of the replies', async () => {
      const v = await openVolume({ deferred })
      const { ino, names } = await directoryOf(v, 3000)
      for (const room of [7, 256, 1024, 5000]) {
        assert.deepEqual(await listAll(v, ino, room), ['.', '..', ...names])
      }
      await v.close()
    })

    it('removing each entry as it is listed empties the directory', async () => {
      const v = await openVolume({ deferred })
      const { ino, fh, names } = await directoryOf(v, 1500)
      const seen: string[] = []
      for (let offset = 0; ; ) {
        const page = await list(v, ino, fh, offset, 33, true)
        if (page.names.length === 0) break
        offset = page.next
        for (const name of page.names) {
          if (name.startsWith('.')) continue
          seen.push(name)
          await ok(v.vfs.unlink(ROOT, ino, name))
        }
      }
      assert.deepEqual(seen, names)
      await ok(v.vfs.rmdir(ROOT, ROOT_INO, 'd'))
      await v.close()
    })

    it('what is removed ahead of the listing is not listed, what remains is listed once', async () => {
      const v = await openVolume({ deferred })
      const random = seeded(7)
      const { ino, fh, names } = await directoryOf(v, 800)
      const left = new Set(names)
      const seen: string[] = []
      for (let offset = 0; ; ) {
        const page = await list(v, ino, fh, offset, 10)
        if (page.names.length === 0) break
        offset = page.next
        const entries = page.names.filter(name => !name.startsWith('.'))
        for (const name of entries) assert.ok(left.has(name), `${name} was removed before`)
        seen.push(...entries)
        for (const name of names) {
          if (!left.has(name) || random() > 0.02) continue
          left.delete(name)
          await ok(v.vfs.unlink(ROOT, ino, name))
        }
      }
      assert.equal(new Set(seen).size, seen.length)
      for (const name of left) assert.ok(seen.includes(name), name)
      await v.close()
    })

    it('an offset leads back to its place, near or far', async () => {
      const v = await openVolume({ deferred })
      const { ino, fh, names } = await directoryOf(v, 9000)
      const all = ['.', '..', ...names]
      for (let offset = 0; offset < all.length; ) offset = (await list(v, ino, fh, offset, 900)).next
      for (const offset of [8999, 5, 4096, 1, 7000, 1025, 2]) {
        assert.equal((await list(v, ino, fh, offset, 1)).names[0], all[offset])
      }
      assert.deepEqual((await list(v, ino, fh, all.length, 10)).names, [])
      await v.close()
    })

    it('rewinding shows what was made since', async () => {
      const v = await openVolume({ deferred })
      const { ino, fh } = await directoryOf(v, 2)
      assert.equal((await list(v, ino, fh, 0, 10)).names.length, 4)
      await ok(v.vfs.mknod(ROOT, ino, 'a', 0o100644, 0, 0))
      assert.deepEqual((await list(v, ino, fh, 0, 10)).names, ['.', '..', 'a', 'n000000', 'n000001'])
      await v.close()
    })

    it('attributes in a listing are no older than our own writes', async () => {
      const v = await openVolume({ deferred })
      const { ino, fh } = await directoryOf(v, 5)
      const f = await create(v, 'zz', 2, ino)
      assert.equal((await list(v, ino, fh, 0, 3, true)).names.length, 3)
      await write(v, f, 0, Buffer.alloc(77))
      const waiting = await list(v, ino, fh, 3, 10, true)
      assert.deepEqual(waiting.attrs.at(-1), 77)
      await close(v, f)
      const named = await list(v, ino, fh, 3, 10, true)
      assert.ok(named.attrs.at(-1) === 77 || named.attrs.at(-1) === null)
      await v.close()
    })
  })
}

describe('directories', () => {
  it('a listing of many entries asks for pages, never for everything', async () => {
    const v = await openVolume()
    const { ino } = await directoryOf(v, 5000)
    const limits: number[] = []
    v.override.readdir = (caller, dir, after, limit, attrs) => {
      limits.push(limit)
      return v.meta.readdir(caller, dir, after, limit, attrs)
    }
    await listAll(v, ino, 400)
    assert.ok(Math.max(...limits) <= 1024)
    await v.close()
  })

  it('a listing by somebody who may not search the directory comes without attributes', async () => {
    const v = await openVolume({ config: { checkPermissions: true } })
    const { ino } = await ok(v.vfs.mkdir(ROOT, ROOT_INO, 'd', 0o744, 0))
    await create(v, 'f', 2, ino)
    const somebody = user(1000)
    const { fh } = await ok(v.vfs.opendir(somebody, ino, 0))
    assert.deepEqual((await list(v, ino, fh, 2, 5, true)).attrs, [null])
    await ok(v.vfs.setattr(ROOT, ino, { mode: 0o700 }, null))
    assert.equal(await v.vfs.opendir(somebody, ino, 0), EACCES)
    await v.close()
  })

  it('a file handle is no directory handle, an unknown odd one lists anew', async () => {
    const v = await openVolume()
    const f = await create(v, 'f')
    assert.equal(await v.vfs.readdir(ROOT, ROOT_INO, f.fh, 0, false, () => true), EBADF)
    assert.ok((await list(v, ROOT_INO, 991, 0, 10)).names.includes('f'))
    await v.close()
  })

  it('a directory handle that is released is gone', async () => {
    const v = await openVolume()
    await listAll(v, ROOT_INO)
    assert.equal(v.vfs.openHandleCount, 0)
    await v.close()
  })
})

describe('the root of the mount', () => {
  const stats: Entry = { ino: STATS_INO, attr: attr({ type: 1, mode: 0o444 }) }
  const internal: InternalFiles = {
    lookup: (parent, name) => (parent === ROOT_INO && name === '.stats' ? stats : undefined),
    getattr: () => stats.attr,
    open: () => undefined,
    read: () => [Buffer.from('numbers')],
    write: () => EACCES,
    flush: () => {},
    release: () => {},
    rootEntries: [{ name: '.stats', entry: stats }],
  }

  it('lists virtual files and the trash, unless they are hidden', async () => {
    const v = await openVolume({ internal, trashDays: 1 })
    assert.deepEqual(await listAll(v, ROOT_INO), ['.', '..', '.stats', '.trash'])
    await v.close()
    const hidden = await openVolume({ internal, trashDays: 1, config: { hideInternal: true } })
    assert.deepEqual(await listAll(hidden, ROOT_INO), ['.', '..'])
    assert.equal((await ok(hidden.vfs.lookup(ROOT, ROOT_INO, '.trash'))).ino, TRASH_INO)
    await hidden.close()
  })

  it('virtual files are opened with odd handles for direct reading', async () => {
    const v = await openVolume({ internal })
    const { ino } = await ok(v.vfs.lookup(ROOT, ROOT_INO, '.stats'))
    const { fh, openFlags } = await ok(v.vfs.open(ROOT, ino, 0))
    assert.equal(fh % 2, 1)
    assert.equal(openFlags, 1)
    assert.equal(Buffer.concat(await ok(v.vfs.read(ROOT, ino, fh, 0, 100))).toString(), 'numbers')
    assert.equal(await v.vfs.setattr(ROOT, ino, { size: 0 }, null), EPERM)
    await ok(v.vfs.release(ROOT, ino, fh, null))
    assert.equal(v.vfs.openHandleCount, 0)
    await v.close()
  })

  it('their names cannot be made, removed, moved or linked there', async () => {
    const v = await openVolume({ internal, trashDays: 1 })
    const f = await create(v, 'f')
    for (const name of ['.stats', '.trash']) {
      assert.equal(await v.vfs.mkdir(ROOT, ROOT_INO, name, 0o755, 0), EEXIST)
      assert.equal(await v.vfs.create(ROOT, ROOT_INO, name, 0o644, 0, 2), EEXIST)
      assert.equal(await v.vfs.symlink(ROOT, ROOT_INO, name, 'x'), EEXIST)
      assert.equal(await v.vfs.unlink(ROOT, ROOT_INO, name), EPERM)
      assert.equal(await v.vfs.rename(ROOT, ROOT_INO, 'f', ROOT_INO, name, 0), EPERM)
      assert.equal(await v.vfs.rename(ROOT, ROOT_INO, name, ROOT_INO, 'g', 0), EPERM)
      assert.equal(await v.vfs.link(ROOT, f.ino, ROOT_INO, name), EPERM)
    }
    await v.close()
  })

  it('removed files are found in the trash', async () => {
    const v = await openVolume({ trashDays: 1 })
    await close(v, await create(v, 'f'))
    await ok(v.vfs.unlink(ROOT, ROOT_INO, 'f'))
    const trash = await ok(v.vfs.lookup(ROOT, ROOT_INO, '.trash'))
    const hours = (await listAll(v, trash.ino)).slice(2)
    assert.equal(hours.length, 1)
    const hour = await ok(v.vfs.lookup(ROOT, trash.ino, hours[0]!))
    assert.match((await listAll(v, hour.ino))[2]!, /^1-\d+-f$/)
    await v.close()
  })

  it('may be a subdirectory of the volume, which then has no trash', async () => {
    const v = await openVolume({ trashDays: 1 })
    const sub = await ok(v.vfs.mkdir(ROOT, ROOT_INO, 'sub', 0o755, 0))
    const inner = await ok(v.vfs.mkdir(ROOT, sub.ino, 'inner', 0o755, 0))
    const s = await openVolume({ engine: v.engine, store: v.store, config: { subdirRoot: sub.ino } })
    assert.deepEqual(await listAll(s, ROOT_INO), ['.', '..', 'inner'])
    assert.equal((await ok(s.vfs.lookup(ROOT, ROOT_INO, 'inner'))).ino, inner.ino)
    assert.equal((await ok(s.vfs.lookup(ROOT, inner.ino, '..'))).ino, ROOT_INO)
    assert.equal((await ok(s.vfs.lookup(ROOT, ROOT_INO, '..'))).ino, ROOT_INO)
    await create(s, 'f')
    assert.ok((await listAll(v, sub.ino)).includes('f'))
    await Promise.all([v.close(), s.close()])
  })

  it('names of 255 bytes are taken, longer ones and targets of 4096 bytes are ENAMETOOLONG', async () => {
    const v = await openVolume()
    await create(v, 'x'.repeat(255))
    const long = 'x'.repeat(256)
    assert.equal(await v.vfs.lookup(ROOT, ROOT_INO, long), ENAMETOOLONG)
    assert.equal(await v.vfs.mkdir(ROOT, ROOT_INO, long, 0o755, 0), ENAMETOOLONG)
    assert.equal(await v.vfs.unlink(ROOT, ROOT_INO, long), ENAMETOOLONG)
    assert.equal(await v.vfs.symlink(ROOT, ROOT_INO, 'l', 'x'.repeat(4096)), ENAMETOOLONG)
    const link = await ok(v.vfs.symlink(ROOT, ROOT_INO, 'l', 'x'.repeat(4095)))
    assert.equal((await ok(v.vfs.readlink(ROOT, link.ino))).length, 4095)
    await v.close()
  })
})
