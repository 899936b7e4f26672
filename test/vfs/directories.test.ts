import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EACCES, EBADF, EEXIST, ENAMETOOLONG, EPERM } from '../../src/base/errno.ts'
import { type Ino, ROOT_INO, STATS_INO, TRASH_INO } from '../../src/base/ino.ts'
import { systemCaller } from '../../src/meta/model/caller.ts'
import type { Entry } from '../../src/vfs/file-system.ts'
import type { InternalFiles } from '../../src/vfs/internal-files.ts'
import { SlowEngine } from '../meta/client/slow-engine.ts'
import { attr } from '../meta/ops/run.ts'
import {
  close,
  create,
  list,
  listAll,
  ok,
  openVolume,
  ROOT,
  seeded,
  sleep,
  user,
  type Volume,
  type VolumeOptions,
  write,
} from './harness.ts'

const caller = (v: Volume) => systemCaller(v.clock.now())

/** Everything, with the offset at which each entry is the next one (and, last, that of the end). */
async function listOffsets(v: Volume, ino: Ino, fh: number): Promise<{ names: string[]; offsets: number[] }> {
  const names: string[] = []
  const offsets = [0]
  for (let more = true; more; ) {
    more = false
    let room = 700
    await ok(
      v.vfs.readdir(ROOT, ino, fh, offsets.at(-1)!, false, (name, _ino, _type, _attr, nextOffset) => {
        if (room-- === 0) return false
        more = true
        names.push(name)
        offsets.push(nextOffset)
        return true
      }),
    )
  }
  return { names, offsets }
}

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

const kinds: Record<string, VolumeOptions> = {
  'metadata answering at once': {},
  'metadata answering later': { deferred: true },
  'metadata answering later, in an order of its own': { over: engine => new SlowEngine(engine, { unordered: true }) },
}
for (const [kind, options] of Object.entries(kinds)) {
  describe(`listing a directory, ${kind}`, () => {
    /** names in the order in which this volume lists them */
    const inOrder = (names: readonly string[], listed: readonly string[]) =>
      options.over ? listed.filter(name => !name.startsWith('.')) : names
    const sorted = (names: readonly string[]) => [...names].sort()
    it('starts with . and .. and has every entry once, whatever the size of the replies', async () => {
      const v = await openVolume(options)
      const { ino, names } = await directoryOf(v, 3000)
      for (const room of [7, 256, 1024, 5000]) {
        const listed = await listAll(v, ino, room)
        assert.deepEqual(listed.slice(0, 2), ['.', '..'])
        assert.deepEqual(sorted(listed.slice(2)), names)
        assert.deepEqual(listed.slice(2), inOrder(names, listed))
      }
      await v.close()
    })

    it('removing each entry as it is listed empties the directory', async () => {
      const v = await openVolume(options)
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
      assert.deepEqual(sorted(seen), names)
      await ok(v.vfs.rmdir(ROOT, ROOT_INO, 'd'))
      await v.close()
    })

    it('what is removed ahead of the listing is not listed, what remains is listed once', async () => {
      const v = await openVolume(options)
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
      const v = await openVolume(options)
      const { ino, fh } = await directoryOf(v, 9000)
      const { names, offsets } = await listOffsets(v, ino, fh)
      assert.equal(new Set(names).size, 9002)
      for (const at of [8999, 5, 4096, 1, 7000, 1025, 2, 512, 513, 514, 8000, 3]) {
        assert.equal((await list(v, ino, fh, offsets[at]!, 1)).names[0], names[at], `entry ${at}`)
      }
      assert.deepEqual((await list(v, ino, fh, offsets[9002]!, 10)).names, [])
      await v.close()
    })

    it('an offset leads back to its place when entries before and behind it were removed', async () => {
      const v = await openVolume(options)
      const { ino, fh } = await directoryOf(v, 4000)
      const { names, offsets } = await listOffsets(v, ino, fh)
      for (let i = 2; i < 4000; i += 1 + (i % 7)) if (i % 512 > 9) await ok(v.vfs.unlink(ROOT, ino, names[i]!))
      // The first of each page is where a page begins again, whatever was removed in those before.
      for (const at of [2, 514, 1026, 3074, 1538]) {
        assert.equal((await list(v, ino, fh, offsets[at]!, 1)).names[0], names[at], `entry ${at}`)
      }
      await v.close()
    })

    it('another handle goes on at an offset that this one was given', async () => {
      const v = await openVolume(options)
      const { ino, fh } = await directoryOf(v, 3000)
      const { names, offsets } = await listOffsets(v, ino, fh)
      const other = (await ok(v.vfs.opendir(ROOT, ino, 0))).fh
      const rest = await list(v, ino, other, offsets[2000]!, 100)
      assert.deepEqual(rest.names, names.slice(2000, 2000 + rest.names.length))
      assert.ok(rest.names.length > 0)
      await v.close()
    })

    it('an entry that is replaced while it is listed is there, as what it became', async () => {
      const v = await openVolume(options)
      const { ino, fh, names } = await directoryOf(v, 60)
      await list(v, ino, fh, 0, 3, true)
      const made = await ok(v.vfs.mknod(ROOT, ROOT_INO, 'new', 0o100644, 0, 0))
      for (const name of [names[50]!, names[51]!]) await ok(v.vfs.link(ROOT, made.ino, ino, `${name}.tmp`))
      await ok(v.vfs.rename(ROOT, ino, `${names[50]}.tmp`, ino, names[50]!, 0))
      await ok(v.vfs.rename(ROOT, ino, names[51]!, ino, `${names[51]}.tmp`, 2))
      const inos = new Map<string, Ino>()
      await ok(
        v.vfs.readdir(ROOT, ino, fh, 3, false, (name, child) => {
          inos.set(name, child)
          return true
        }),
      )
      assert.equal(inos.get(names[50]!), made.ino)
      assert.equal(inos.get(names[51]!), made.ino)
      await v.close()
    })

    it('what another client removed is not listed a second later', async () => {
      const v = await openVolume(options)
      const { ino, fh, names } = await directoryOf(v, 1000)
      const first = await list(v, ino, fh, 0, 20, true)
      const left = names.filter(name => !first.names.includes(name))
      for (const name of left.slice(0, 900)) await ok(v.meta.unlink(caller(v), ino, name))
      v.clock.aheadMs += 1500
      const seen: string[] = []
      for (let offset = first.next; ; ) {
        const page = await list(v, ino, fh, offset, 1000)
        if (page.names.length === 0) break
        seen.push(...page.names)
        offset = page.next
      }
      assert.deepEqual(sorted(seen), left.slice(900))
      await v.close()
    })

    it('rewinding shows what was made since', async () => {
      const v = await openVolume(options)
      const { ino, fh } = await directoryOf(v, 2)
      assert.equal((await list(v, ino, fh, 0, 10)).names.length, 4)
      await ok(v.vfs.mknod(ROOT, ino, 'a', 0o100644, 0, 0))
      assert.deepEqual(sorted((await list(v, ino, fh, 0, 10)).names), ['.', '..', 'a', 'n000000', 'n000001'])
      await v.close()
    })

    it('attributes in a listing are no older than our own writes', async () => {
      const v = await openVolume(options)
      const { ino, fh } = await directoryOf(v, 5)
      const f = await create(v, 'zz', 2, ino)
      const first = await list(v, ino, fh, 0, 2, true)
      const lengthOfFile = async () => {
        const { names, attrs } = await list(v, ino, fh, first.next, 10, true)
        return attrs[names.indexOf('zz')]
      }
      assert.equal(await lengthOfFile(), 0)
      await write(v, f, 0, Buffer.alloc(77))
      assert.equal(await lengthOfFile(), 77)
      await close(v, f)
      const named = await lengthOfFile()
      assert.ok(named === 77 || named === null)
      await v.close()
    })
  })
}

describe('directories', () => {
  it('a listing of many entries asks for pages, never for everything', async () => {
    const v = await openVolume()
    const { ino } = await directoryOf(v, 5000)
    const limits: number[] = []
    v.override.readdir = (caller, dir, cursor, limit, attrs) => {
      limits.push(limit)
      return v.meta.readdir(caller, dir, cursor, limit, attrs)
    }
    await listAll(v, ino, 400)
    assert.ok(Math.max(...limits) <= 1024)
    await v.close()
  })

  it('a listing costs a round trip a page, and asks for the next one while this one is handed out', async () => {
    let engine!: SlowEngine
    const v = await openVolume({ over: inner => (engine = new SlowEngine(inner, { unordered: true })) })
    const { ino, fh, names } = await directoryOf(v, 5000)
    const ahead = await engine.count(async () => {
      const first = await list(v, ino, fh, 0, 100, true)
      assert.equal(first.names.length, 100)
      await sleep(20)
    })
    assert.equal(ahead.scan, 2, 'the second page is asked for when the first is there')
    const { scan, gather } = await engine.count(() => listAll(v, ino, 200))
    assert.equal(scan, Math.ceil(names.length / 512))
    assert.equal(gather, 1, 'the parent of the directory')
    await v.close()
  })

  it('an entry that the engine tells twice is listed once', async () => {
    const v = await openVolume({ deferred: true })
    const { ino, names } = await directoryOf(v, 30)
    const order = [...names.slice(20), ...names.slice(0, 15), ...names.slice(5, 25)]
    v.override.readdir = async (caller, dir, cursor, _limit, attrs) => {
      const { rows } = await ok(v.meta.readdir(caller, dir, null, 1000, attrs))
      const from = (cursor as number | null) ?? 0
      const page = order.slice(from, from + 8).map(name => rows.find(row => row.name === name)!)
      return { rows: page, next: from + 8 < order.length ? from + 8 : null }
    }
    const listed = await listAll(v, ino, 5)
    assert.deepEqual(listed.slice(2).sort(), names)
    await v.close()
  })

  it('pages without entries are passed over, pages with too many are split', async () => {
    const v = await openVolume({ deferred: true })
    const { ino } = await ok(v.vfs.mkdir(ROOT, ROOT_INO, 'd', 0o755, 0))
    const row = (i: number) => ({ name: `x${(i * 7919) % 20_000}`, ino: (100 + i) as Ino, type: 1, attr: null })
    v.override.readdir = (_caller, _dir, cursor) => {
      if (cursor === null || cursor === 'b') return { rows: [], next: cursor === null ? 'a' : 'c' }
      if (cursor === 'a') return { rows: Array.from({ length: 20_000 }, (_, i) => row(i)), next: 'b' }
      return { rows: [{ ...row(0), name: 'last' }], next: null }
    }
    const { fh } = await ok(v.vfs.opendir(ROOT, ino, 0))
    const { names, offsets } = await listOffsets(v, ino, fh)
    assert.equal(names.length, 20_003)
    assert.equal(new Set(names).size, 20_003)
    assert.equal(names.at(-1), 'last')
    for (const at of [20_002, 3, 8193, 8192, 19_000]) {
      assert.equal((await list(v, ino, fh, offsets[at]!, 1)).names[0], names[at])
    }
    await v.close()
  })

  it('what we remove or make while a page is on its way is right when it arrives', async () => {
    const v = await openVolume({ deferred: true })
    const { ino, fh, names } = await directoryOf(v, 10)
    const arrive = Promise.withResolvers<void>()
    v.override.readdir = async (...args) => {
      const page = await v.meta.readdir(...args)
      await arrive.promise
      return page
    }
    const listing = list(v, ino, fh, 0, 100)
    await sleep(20)
    await ok(v.vfs.unlink(ROOT, ino, names[3]!))
    await ok(v.vfs.unlink(ROOT, ino, names[4]!))
    await ok(v.vfs.mkdir(ROOT, ino, names[4]!, 0o755, 0))
    arrive.resolve()
    const listed = await listing
    assert.ok(!listed.names.includes(names[3]!))
    assert.ok(listed.names.includes(names[4]!))
    await v.close()
  })

  it('a page that could not be read is an error once, and then asked for again', async () => {
    const v = await openVolume({ deferred: true })
    const { ino, fh } = await directoryOf(v, 1000)
    let failures = 2
    v.override.readdir = async (...args) => {
      if (args[2] !== null && failures-- > 0) throw new Error('no connection')
      return await v.meta.readdir(...args)
    }
    const { next } = await list(v, ino, fh, 0, 514)
    await sleep(20)
    await assert.rejects(list(v, ino, fh, next, 10), /no connection/)
    assert.equal((await list(v, ino, fh, next, 10)).names.length, 10)
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
