/** Several callers of one client at once, and another client beside it, on an engine whose answers come late and out of order:
 *  a file that is open stays whole until its last close, nobody reads less than was there when he asked, and in the end nothing
 *  is left over. Replay one course of events with SEED. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isErrno } from '../../../src/base/errno.ts'
import { type Ino, ROOT_INO } from '../../../src/base/ino.ts'
import { checkVolume } from '../../../src/meta/check.ts'
import type { MetaClient } from '../../../src/meta/client.ts'
import { Random } from '../../simulation/random.ts'
import { FILE, ok, SharedVolume } from './harness.ts'

const CALLERS = 5
const DEEDS = 60
const NAMES = ['a', 'b', 'c']
const O_RDWR = 2
const SLICE_BYTES = 100
const seeds = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: 40 }, (_, i) => i + 1)

interface Course {
  readonly v: SharedVolume
  readonly random: Random
  readonly ours: MetaClient
  readonly theirs: MetaClient
  /** slices by file that are named; no place is written twice */
  readonly named: Map<Ino, Set<number>>
  /** those that our client named: it sees them without opening the file anew */
  readonly own: Map<Ino, Set<number>>
  nextPlace: number
}

async function course(seed: number): Promise<Course> {
  const random = new Random(seed)
  const v = await SharedVolume.create()
  const travel = async (): Promise<void> => {
    for (let turns = 1 + random.below(6); turns > 0; turns--) await new Promise(resolve => setImmediate(resolve))
  }
  const slow = { travel }
  const ours = (await v.client({ slow, random: random.next })).meta
  const theirs = (await v.client({ slow, random: random.next })).meta
  return { v, random, ours, theirs, named: new Map(), own: new Map(), nextPlace: 0 }
}

const place = (name: string) => ({ parent: ROOT_INO, name })

/** Names a slice at a place of its own; everybody who asks from now on must see it. */
async function write(c: Course, meta: MetaClient, ino: Ino): Promise<void> {
  const id = await meta.newSliceId()
  const pos = SLICE_BYTES * c.nextPlace++
  const slice = { id, size: SLICE_BYTES, off: 0, len: SLICE_BYTES }
  const written = await meta.writeSlice(ino, 0, pos, slice, c.v.clock.now())
  if (isErrno(written)) return
  for (const slices of meta === c.ours ? [c.named, c.own] : [c.named]) {
    slices.set(ino, (slices.get(ino) ?? new Set()).add(id))
  }
}

/** What was named before is read. */
async function read(meta: MetaClient, ino: Ino, named?: ReadonlySet<number>): Promise<void> {
  const before = new Set(named)
  const view = await ok(meta.readChunk(ino, 0))
  const seen = new Set(view.map(slice => slice.id))
  for (const id of before) assert.ok(seen.has(id), `inode ${ino} shows slice ${id}`)
}

/** One process: opens something, works on it and on names, closes it. */
async function caller(c: Course): Promise<void> {
  const { v, random, ours: meta } = c
  for (let n = 0; n < DEEDS; n++) {
    const name = random.pick(NAMES)
    switch (random.below(7)) {
      case 0:
        await meta.unlink(v.caller(), ROOT_INO, name)
        break
      case 1:
        await meta.rename(v.caller(), place(name), place(random.pick(NAMES)), random.pick([0, 0, 2]))
        break
      case 2: {
        const found = await meta.lookup(v.caller(), ROOT_INO, name)
        if (!isErrno(found)) await meta.link(v.caller(), found.ino, ROOT_INO, random.pick(NAMES))
        break
      }
      case 3: {
        const made = await meta.createUnnamed(v.caller(), ROOT_INO, FILE)
        if (!isErrno(made)) {
          if (random.oneIn(2)) await meta.link(v.caller(), made.ino, ROOT_INO, name)
          await use(c, made.ino)
        }
        break
      }
      default: {
        const opened = random.oneIn(2) ? await create(c, name) : await open(c, name)
        if (opened !== undefined) await use(c, opened)
      }
    }
  }
}

async function create({ v, ours }: Course, name: string): Promise<Ino | undefined> {
  const made = await ours.create(v.caller(), ROOT_INO, name, FILE, O_RDWR, false)
  return isErrno(made) ? undefined : made.ino
}

async function open({ v, ours }: Course, name: string): Promise<Ino | undefined> {
  const found = await ours.lookup(v.caller(), ROOT_INO, name)
  if (isErrno(found)) return undefined
  const opened = await ours.open(v.caller(), found.ino, O_RDWR)
  return isErrno(opened) ? undefined : found.ino
}

/** An open file is there, whatever becomes of its names. */
async function use(c: Course, ino: Ino): Promise<void> {
  const { random, ours: meta } = c
  for (let n = random.below(4); n >= 0; n--) {
    await ok(meta.getattr(ino))
    const deed = random.below(4)
    if (deed === 0) await write(c, meta, ino)
    else if (deed === 1) await read(meta, ino, c.own.get(ino))
    else if (deed === 2) await ok(meta.setattr(c.v.caller(), ino, { mtime: 'now' }))
  }
  await ok(meta.getattr(ino))
  await meta.close(ino)
}

/** The other client writes to what is there, and never removes anything. */
async function neighbour(c: Course): Promise<void> {
  const { v, random, theirs: meta } = c
  for (let n = 0; n < DEEDS; n++) {
    const found = await meta.lookup(v.caller(), ROOT_INO, random.pick(NAMES))
    if (isErrno(found)) continue
    const opened = await meta.open(v.caller(), found.ino, O_RDWR)
    if (isErrno(opened)) continue
    if (random.oneIn(2)) await write(c, meta, found.ino)
    await meta.close(found.ino)
  }
}

/** Reads files right after opening them: what anybody wrote and finished before is there. */
async function reader(c: Course, meta: MetaClient): Promise<void> {
  for (let n = 0; n < DEEDS; n++) {
    const found = await meta.lookup(c.v.caller(), ROOT_INO, c.random.pick(NAMES))
    if (isErrno(found)) continue
    const named = new Set(c.named.get(found.ino))
    const opened = await meta.open(c.v.caller(), found.ino, 0)
    if (isErrno(opened)) continue
    if (meta === c.ours) await read(meta, found.ino, named)
    else {
      // Ours may have removed it meanwhile; then it is gone for others.
      const view = await meta.readChunk(found.ino, 0)
      if (!isErrno(view))
        for (const id of named)
          assert.ok(
            view.some(slice => slice.id === id),
            `slice ${id}`,
          )
    }
    await meta.close(found.ino)
  }
}

describe('many callers of one client', () => {
  for (const seed of seeds) {
    it(`seed ${seed}`, async () => {
      const c = await course(seed)
      const callers = Array.from({ length: CALLERS }, () => caller(c))
      await Promise.all([...callers, neighbour(c), reader(c, c.ours), reader(c, c.theirs)])
      assert.equal(c.ours.openFileCount, 0)
      assert.equal(c.theirs.openFileCount, 0)
      for (const sid of [c.ours.sid, c.theirs.sid]) {
        const left = await c.ours.engine.scan('sustained', { sid }, null, 100)
        assert.deepEqual(left.rows, [], `sustained by session ${sid}`)
      }
      assert.deepEqual(await checkVolume(c.v.inner), [])
      await c.v.close()
    })
  }
})
