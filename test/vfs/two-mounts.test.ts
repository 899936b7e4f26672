/** Several processes on two mounts of one volume, whose engine is a round trip away and answers out of order: who opens a file
 *  reads what was closed before anywhere, and what was written before on his mount; an open file stays whole whatever becomes
 *  of its name. Replay one course of events with SEED. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ENOENT, isErrno } from '../../src/base/errno.ts'
import { type Ino, ROOT_INO, TRASH_INO } from '../../src/base/ino.ts'
import { checkVolume } from '../../src/meta/check.ts'
import { SlowEngine } from '../meta/client/slow-engine.ts'
import { Random } from '../simulation/random.ts'
import {
  close,
  create,
  lengthOf,
  listAll,
  O_RDONLY,
  O_RDWR,
  OWNER,
  ok,
  open,
  openVolume,
  ROOT,
  read,
  type TestFile,
  type Volume,
  write,
} from './harness.ts'

const FOPEN_KEEP_CACHE = 2
const OTHER = '00000000000000bb'
const seeds = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: 12 }, (_, i) => i + 1)

async function twoMounts(travel?: () => Promise<void>, engines: SlowEngine[] = []): Promise<[Volume, Volume]> {
  const over = (inner: ConstructorParameters<typeof SlowEngine>[0]) => {
    const engine = new SlowEngine(inner, travel ? { travel } : {})
    engines.push(engine)
    return engine
  }
  const a = await openVolume({ over })
  const b = await openVolume({ over, engine: a.engine, store: a.store })
  return [a, b]
}

// ── what the kernel may keep ──────────────────────────────────────────────────────────────────────────────────────────

describe('what another mount wrote', () => {
  async function scene() {
    const engines: SlowEngine[] = []
    const [a, b] = await twoMounts(undefined, engines)
    const f = await create(a, 'f')
    await write(a, f, 0, Buffer.from('old'))
    await close(a, f)
    const held = await open(a, f.ino, O_RDONLY)
    assert.equal((await read(a, held, 0, 10)).toString(), 'old')
    await close(a, await open(a, f.ino, O_RDONLY))
    const g = await open(b, f.ino)
    await write(b, g, 0, Buffer.from('newer'))
    await close(b, g)
    a.invalidated.length = 0
    return { a, b, f, held, engines }
  }

  it('is read after the next open, and the kernel forgets what it kept', async () => {
    const { a, b, f, held } = await scene()
    const { openFlags, fh } = await ok(a.vfs.open(ROOT, f.ino, O_RDONLY))
    assert.equal(openFlags & FOPEN_KEEP_CACHE, 0)
    assert.deepEqual(a.invalidated, [`${f.ino} -1+0`])
    assert.equal((await read(a, { ino: f.ino, fh }, 0, 10)).toString(), 'newer')
    await Promise.all([close(a, { ino: f.ino, fh }), close(a, held)])
    await Promise.all([a.close(), b.close()])
  })

  it('is not hidden from the next open by a read that looked whether the file had grown', async () => {
    const { a, b, f, held } = await scene()
    assert.equal((await read(a, held, 3, 10)).toString(), 'er')
    const { openFlags, fh } = await ok(a.vfs.open(ROOT, f.ino, O_RDONLY))
    assert.equal(openFlags & FOPEN_KEEP_CACHE, 0)
    assert.deepEqual(a.invalidated, [`${f.ino} -1+0`])
    await Promise.all([close(a, { ino: f.ino, fh }), close(a, held)])
    await Promise.all([a.close(), b.close()])
  })

  for (const flock of [true, false]) {
    it(`is read by who gets a ${flock ? 'flock' : 'record lock'}, even if it was written while he asked`, async () => {
      const { a, b, f, held, engines } = await scene()
      const lock = async (v: Volume, file: TestFile, type: 'R' | 'W' | 'U'): Promise<void> => {
        const range = { type, start: 0, end: 9, pid: 1 }
        assert.equal(await v.vfs.setlk(ROOT, f.ino, file.fh, v === a ? OWNER : OTHER, range, false, flock), undefined)
      }
      const g = await open(b, f.ino)
      await lock(a, held, 'R')
      assert.equal((await read(a, held, 0, 10)).toString(), 'newer')
      await lock(a, held, 'U')
      await lengthOf(a, f.ino)
      a.invalidated.length = 0
      let isMet = false
      engines[0]!.onRequest = async trip => {
        if (trip !== 'commit' || isMet) return
        isMet = true
        await lock(b, g, 'W')
        await write(b, g, 0, Buffer.from('newest'))
        await lock(b, g, 'U') // nothing is closed, nothing synced
      }
      await lock(a, held, 'R')
      assert.equal(isMet, true)
      assert.deepEqual(a.invalidated, [`${f.ino} 0+0`])
      assert.equal((await read(a, held, 0, 10)).toString(), 'newest')
      await Promise.all([close(a, held), close(b, g)])
      await Promise.all([a.close(), b.close()])
    })
  }

  it('is read by who gets a lock, though who wrote it has set its mtime back', async () => {
    const { a, b, f, held } = await scene()
    const range = { type: 'R', start: 0, end: 9, pid: 1 } as const
    const lock = async (type: 'R' | 'U'): Promise<void> =>
      void (await ok(a.vfs.setlk(ROOT, f.ino, held.fh, OWNER, { ...range, type }, false, false)))
    await lock('R')
    await lock('U')
    const { mtime } = await ok(b.vfs.getattr(ROOT, f.ino, null))
    const g = await open(b, f.ino)
    await write(b, g, 0, Buffer.from('other'))
    await close(b, g)
    await ok(b.vfs.setattr(ROOT, f.ino, { mtime }, null))
    a.invalidated.length = 0
    await lock('R')
    assert.deepEqual(a.invalidated, [`${f.ino} 0+0`])
    assert.equal((await read(a, held, 0, 5)).toString(), 'other')
    await close(a, held)
    await Promise.all([a.close(), b.close()])
  })

  it('leaves the pages of a file that nobody else wrote', async () => {
    const { a, b, f, held } = await scene()
    await close(a, await open(a, f.ino, O_RDONLY))
    const { openFlags, fh } = await ok(a.vfs.open(ROOT, f.ino, O_RDONLY))
    assert.equal(openFlags & FOPEN_KEEP_CACHE, FOPEN_KEEP_CACHE)
    await Promise.all([close(a, { ino: f.ino, fh }), close(a, held)])
    await Promise.all([a.close(), b.close()])
  })
})

describe('a file that another mount has removed', () => {
  it('is not opened by the name that it had, while the other has it open', async () => {
    const [a, b] = await twoMounts()
    const f = await create(a, 'f')
    await ok(b.vfs.lookup(ROOT, ROOT_INO, 'f'))
    await ok(a.vfs.unlink(ROOT, ROOT_INO, 'f'))
    for (const flags of [O_RDONLY, O_RDWR]) assert.equal(await b.vfs.open(ROOT, f.ino, flags), ENOENT)
    await close(a, await open(a, f.ino)) // by /proc/self/fd
    await close(a, f)
    assert.deepEqual([a.vfs.openFileCount, b.vfs.openFileCount], [0, 0])
    assert.deepEqual(await checkVolume(a.engine), [])
    await Promise.all([a.close(), b.close()])
  })

  it('is opened from the trash by who looks for it there, and by nobody else', async () => {
    const over = (inner: ConstructorParameters<typeof SlowEngine>[0]) => new SlowEngine(inner)
    const a = await openVolume({ over, trashDays: 1 })
    const b = await openVolume({ over, engine: a.engine, store: a.store })
    const [f, g] = [await create(a, 'f'), await create(a, 'g')]
    await close(a, f)
    await close(a, g)
    for (const name of ['f', 'g']) await ok(b.vfs.lookup(ROOT, ROOT_INO, name))
    const held = await open(b, g.ino, O_RDONLY)
    for (const name of ['f', 'g']) await ok(a.vfs.unlink(ROOT, ROOT_INO, name))
    assert.equal(await b.vfs.open(ROOT, f.ino, O_RDONLY), ENOENT)
    await close(b, await open(b, g.ino, O_RDONLY)) // by /proc/self/fd
    const hour = (await listAll(b, TRASH_INO)).at(-1)
    const trash = await ok(b.vfs.lookup(ROOT, TRASH_INO, hour!))
    const found = await ok(b.vfs.lookup(ROOT, trash.ino, `1-${f.ino}-f`))
    await close(b, await open(b, found.ino, O_RDONLY))
    await close(b, held)
    assert.equal(b.vfs.openFileCount, 0)
    await Promise.all([a.close(), b.close()])
  })
})

// ── many at once ──────────────────────────────────────────────────────────────────────────────────────────────────────

const FILES = ['x', 'y']
const REGION_BYTES = 40_000
const DEEDS = 14

/** A region of a file belongs to one process, which fills it with ever larger numbers. */
interface Region {
  /** handed to write */
  issued: number
  /** written, as the mount of its owner must see it */
  written: number
  /** closed, as everybody must see it after an open */
  closed: number
}
interface Course {
  readonly random: Random
  readonly mounts: readonly [Volume, Volume]
  readonly inos: Map<string, Ino>
  /** by file and process */
  readonly regions: Map<string, Region>
  replaced: number
}

const filled = (value: number): Buffer => {
  const bytes = Buffer.alloc(REGION_BYTES)
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(value, at)
  return bytes
}

async function writer(c: Course, mount: Volume, process: number): Promise<void> {
  for (let n = 0; n < DEEDS; n++) {
    const name = c.random.pick(FILES)
    const region = c.regions.get(`${name}${process}`)!
    const f = await open(mount, c.inos.get(name)!)
    for (let k = c.random.below(3); k >= 0; k--) {
      const value = ++region.issued
      const bytes = filled(value)
      const cut = c.random.pick([REGION_BYTES, 4 * c.random.below(REGION_BYTES / 4)])
      await write(mount, f, process * REGION_BYTES, bytes.subarray(0, cut))
      await write(mount, f, process * REGION_BYTES + cut, bytes.subarray(cut))
      region.written = value
      if (c.random.oneIn(3)) await ok(mount.vfs.fsync(ROOT, f.ino, f.fh, false))
      if (c.random.oneIn(4)) await ok(mount.vfs.setattr(ROOT, f.ino, { mtime: 'now' }, f.fh))
    }
    await close(mount, f)
    region.closed = region.written
  }
}

async function reader(c: Course, mount: Volume): Promise<void> {
  for (let n = 0; n < 2 * DEEDS; n++) {
    const name = c.random.pick(FILES)
    const process = c.random.below(4)
    const region = c.regions.get(`${name}${process}`)!
    const isHere = process < 2 === (mount === c.mounts[0])
    const { closed } = region
    const f = await open(mount, c.inos.get(name)!, O_RDONLY)
    for (let k = c.random.below(2); k >= 0; k--) {
      const least = isHere ? region.written : closed
      const length = await lengthOf(mount, f.ino)
      if (least > 0) assert.ok(length >= (process + 1) * REGION_BYTES, `${name} has ${length} bytes`)
      const bytes = await read(mount, f, process * REGION_BYTES, REGION_BYTES)
      const most = region.issued
      for (let at = 0; at + 4 <= bytes.length; at += 4) {
        const value = bytes.readUInt32LE(at)
        if (value >= least && value <= most) continue
        assert.fail(`${name}, region ${process} at ${at}: ${value} instead of ${least} … ${most}, here ${isHere}`)
      }
      if (least > 0) assert.equal(bytes.length, REGION_BYTES)
    }
    await close(mount, f)
  }
}

/** Writes a file beside and moves it over the old one, as editors do. */
async function replacer(c: Course, mount: Volume): Promise<void> {
  for (let n = 0; n < DEEDS; n++) {
    const f = await create(mount, 'beside', O_RDWR)
    await write(mount, f, 0, filled(++c.replaced))
    await close(mount, f)
    await ok(mount.vfs.rename(ROOT, ROOT_INO, 'beside', ROOT_INO, 'replaced', 0))
  }
}

/** Whoever has opened it reads one of its states, whole, as long as he likes. */
async function watcher(c: Course, mount: Volume): Promise<void> {
  for (let n = 0; n < 2 * DEEDS; n++) {
    const least = c.replaced - 1
    const found = await mount.vfs.lookup(ROOT, ROOT_INO, 'replaced')
    if (isErrno(found)) continue
    const opened = await mount.vfs.open(ROOT, found.ino, O_RDONLY)
    if (isErrno(opened)) continue // replaced meanwhile, and nobody had it open
    const f = { ino: found.ino, fh: opened.fh }
    for (let k = c.random.below(3); k >= 0; k--) {
      const bytes = await read(mount, f, 0, REGION_BYTES)
      assert.equal(bytes.length, REGION_BYTES)
      const value = bytes.readUInt32LE(0)
      assert.ok(value >= least && bytes.equals(filled(value)), `${value} of ${c.replaced}`)
    }
    await close(mount, f)
  }
}

describe('many processes on two mounts', () => {
  for (const seed of seeds) {
    it(`seed ${seed}`, async () => {
      const random = new Random(seed)
      const mounts = await twoMounts(async () => {
        for (let turns = 1 + random.below(5); turns > 0; turns--) await new Promise(resolve => setImmediate(resolve))
      })
      const [a, b] = mounts
      const c: Course = { random, mounts, inos: new Map(), regions: new Map(), replaced: 0 }
      for (const name of FILES) {
        const f = await create(a, name)
        await close(a, f)
        c.inos.set(name, f.ino)
        for (let p = 0; p < 4; p++) c.regions.set(`${name}${p}`, { issued: 0, written: 0, closed: 0 })
      }
      const writers = [writer(c, a, 0), writer(c, a, 1), writer(c, b, 2), writer(c, b, 3)]
      const readers = [reader(c, a), reader(c, a), reader(c, b)]
      // A file replaced elsewhere is gone here: only those of the same mount may watch it.
      await Promise.all([...writers, ...readers, replacer(c, a), watcher(c, a), watcher(c, a)])
      for (const v of mounts) {
        assert.equal(v.vfs.openFileCount, 0)
        await v.close()
      }
      assert.deepEqual(await checkVolume(a.engine), [])
    })
  }
})
