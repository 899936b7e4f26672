/** Several cache directories at once: who keeps what, and that one that fails does not disturb the others. */

import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { SystemClock } from '../../src/base/clock.ts'
import { DEFAULT_HEALTH } from '../../src/chunk/disk-health.ts'
import { HashRing } from '../../src/chunk/hash-ring.ts'
import { fnv1 } from '../../src/chunk/hashes.ts'
import type { ChunkOptions } from '../../src/chunk/store.ts'
import type { WritebackOptions } from '../../src/chunk/write-back.ts'
import {
  BLOCK,
  eventually,
  FaultyStore,
  keepingLog,
  noCache,
  openTrial,
  pattern,
  readAll,
  type Trial,
  writeSlice,
} from './harness.ts'

const UUID = '11111111-2222-4333-8444-555555555555'
const staging: WritebackOptions = {
  isOn: true,
  thresholdBytes: 0,
  uploadDelayMs: 3_600_000,
  uploadHours: null,
  maxStageWrites: 1000,
  readOnly: false,
}

let dir: string
before(async () => {
  dir = await fs.mkdtemp(join(tmpdir(), 'cache-set-'))
})
after(() => fs.rm(dir, { recursive: true }))

interface SetTrial extends Trial {
  readonly lines: string[]
}

async function open(
  dirs: readonly string[],
  cache: Partial<ChunkOptions['cache']> = {},
  options: Partial<ChunkOptions> = {},
  store = new FaultyStore(),
): Promise<SetTrial> {
  const { log, lines } = keepingLog()
  const all = { ...noCache, dir: dirs.join(':'), uuid: UUID, sizeBytes: 1 << 30, freeSpaceRatio: 0.0001, ...cache }
  return { ...(await openTrial({ cache: all, log, ...options }, store)), lines }
}

const names = (...each: string[]): string[] => each.map(name => join(dir, name))
const keyOf = (id: number, length = 100): string => `chunks/0/0/${id}_0_${length}`
const exists = (path: string): Promise<boolean> =>
  fs.stat(path).then(
    () => true,
    () => false,
  )
const idOf = (where: string): Promise<string> => fs.readFile(`${where}/${UUID}/.lock`, 'latin1')

describe('several cache directories', () => {
  it('keep each block in the one that the ring of their identities names, and share the size', async () => {
    const dirs = names('a', 'b', 'c')
    const trial = await open(dirs, { sizeBytes: 3 * 20 * (BLOCK + 4096), largeWrite: true })
    for (let id = 1; id <= 30; id++) await writeSlice(trial.chunks, id, pattern(100, id))
    await trial.chunks.close()
    const ring = new HashRing(await Promise.all(dirs.map(idOf)))
    for (let id = 1; id <= 30; id++) {
      const owner = dirs[ring.ownerOf(keyOf(id))]!
      for (const where of dirs)
        assert.equal(await exists(`${where}/${UUID}/raw/${keyOf(id)}`), where === owner, keyOf(id))
    }
    assert.equal(trial.stat('blockcache_blocks'), 30)
  })

  it('are found again by their identities when they are mounted in another order', async () => {
    const dirs = names('m1', 'm2')
    const first = await open(dirs)
    for (let id = 1; id <= 20; id++) await writeSlice(first.chunks, id, pattern(100, id))
    await first.chunks.close()
    await fs.rename(dirs[0]!, join(dir, 'm3'))
    const store = new FaultyStore()
    const second = await open(names('m2', 'm3'), {}, {}, store)
    for (let id = 1; id <= 20; id++) {
      assert.ok((await readAll(second.chunks, { id, size: 100 })).equals(pattern(100, id)))
    }
    assert.deepEqual(store.requests, [])
    await second.chunks.close()
  })

  it('are asked where older clients would have put a block', async () => {
    const dirs = names('old1', 'old2', 'old3')
    const first = await open(dirs)
    await first.chunks.close()
    const ring = new HashRing(await Promise.all(dirs.map(idOf)))
    const ids = Array.from({ length: 50 }, (_, i) => i + 1)
    const id = ids.find(each => fnv1(keyOf(each)) % 3 !== ring.ownerOf(keyOf(each)))!
    const path = `${dirs[fnv1(keyOf(id)) % 3]}/${UUID}/raw/${keyOf(id)}`
    await fs.mkdir(join(path, '..'), { recursive: true })
    await fs.writeFile(path, pattern(100))
    const second = await open(dirs)
    assert.ok((await readAll(second.chunks, { id, size: 100 })).equals(pattern(100)))
    assert.deepEqual(second.store.requests, [])
    await second.chunks.remove({ id, size: 100 })
    await eventually(async () => !(await exists(path)), 'and there it is removed, too')
    await second.chunks.close()
  })

  it('that cannot be used are left out; none at all is refused', async () => {
    const [good, bad] = names('good', 'bad') as [string, string]
    await fs.writeFile(bad, 'a file')
    const trial = await open([bad, good])
    assert.ok(trial.lines.some(line => /ERROR.*bad.* cannot be used.*left out/.test(line)))
    const slice = await writeSlice(trial.chunks, 1, pattern(100))
    await eventually(() => trial.stat('blockcache_blocks') === 1, 'the other one serves')
    assert.ok((await readAll(trial.chunks, slice)).equals(pattern(100)))
    await trial.chunks.close()
    await assert.rejects(open([bad]), /cache directory .*bad.* cannot be used/)
    await assert.rejects(open([bad, `${bad}2/..//bad`]), /cannot be used/)
  })

  it('of which one vanishes go on', async () => {
    const dirs = names('v1', 'v2')
    const trial = await open(dirs, { largeWrite: true })
    const slices = []
    for (let id = 1; id <= 20; id++) slices.push(await writeSlice(trial.chunks, id, pattern(BLOCK, id)))
    await eventually(() => trial.stat('blockcache_blocks') === 20, 'all are cached')
    await fs.rm(dirs[0]!, { recursive: true })
    for (const slice of slices) {
      assert.ok((await readAll(trial.chunks, slice)).equals(pattern(BLOCK, slice.id)), `slice ${slice.id}`)
    }
    await trial.chunks.close()
  })

  it('that match no wildcard leave the memory', async () => {
    const trial = await open([join(dir, 'nothing*/here')])
    assert.ok(trial.lines.some(line => /cache store is empty, use memory cache/.test(line)))
    const slice = await writeSlice(trial.chunks, 1, pattern(100))
    assert.equal(trial.stat('blockcache_blocks'), 1)
    assert.ok((await readAll(trial.chunks, slice)).equals(pattern(100)))
    assert.equal(trial.stat('blockcache_hits'), 1)
    await trial.chunks.close()
  })

  it('find a staged block where it was staged, also when the ring has changed', async () => {
    const first = await open(names('s1'), {}, { writeback: staging })
    const slices = []
    for (let id = 1; id <= 20; id++) slices.push(await writeSlice(first.chunks, id, pattern(100, id)))
    await first.chunks.close()
    const store = new FaultyStore()
    const second = await open(names('s1', 's2'), {}, { writeback: staging }, store)
    await eventually(() => second.stat('staging_blocks') === 20, 'all are found')
    for (const slice of slices) {
      assert.ok((await readAll(second.chunks, slice)).equals(pattern(100, slice.id)))
    }
    assert.deepEqual(store.requests, [])
    await second.chunks.close()
  })
})

describe('a sick cache disk', () => {
  /** Puts a file there whose reading is EIO. */
  async function sicken(path: string): Promise<void> {
    await fs.mkdir(join(path, '..'), { recursive: true })
    await fs.rm(path, { force: true })
    await fs.symlink('/proc/self/mem', path) // nothing is mapped at 0
  }

  it('is unstable after three errors and down after its time; then its blocks move to the others', async () => {
    const dirs = names('sick', 'well')
    const probing = { ...DEFAULT_HEALTH, unstableToDownMs: 300 }
    const trial = await open(dirs, { health: probing }, { clock: new SystemClock() })
    await trial.chunks.close()
    const ring = new HashRing(await Promise.all([...dirs].sort().map(idOf)))
    const [sick] = [...dirs]
      .sort()
      .map((where, i) => ({ where, i }))
      .filter(({ where }) => where.endsWith('sick'))
    const ids = Array.from({ length: 100 }, (_, i) => i + 1).filter(id => ring.ownerOf(keyOf(id)) === sick!.i)
    const store = new FaultyStore()
    for (const id of ids) await store.inner.put(keyOf(id), pattern(100, id))
    for (const id of ids.slice(0, 3)) await sicken(`${sick!.where}/${UUID}/raw/${keyOf(id)}`)
    // Without a scan, every block is looked for on the disk.
    const second = await open(dirs, { health: probing, scanIntervalMs: -1 }, {}, store)
    await fs.writeFile(`${sick!.where}/${UUID}/raw/probe`, 'in the way of probes')
    for (const id of ids.slice(0, 3)) {
      assert.ok((await readAll(second.chunks, { id, size: 100 })).equals(pattern(100, id)))
    }
    assert.ok(
      second.lines.some(line => /sick\/.* state change from normal to unstable/.test(line)),
      second.lines.join('\n'),
    )
    await eventually(
      () => second.lines.some(line => /state change from unstable to down/.test(line)),
      'it is down',
      5000,
    )
    assert.ok(second.lines.some(line => /cache dir .*sick\/.* is unavailable, removed/.test(line)))
    const id = ids[10]!
    await readAll(second.chunks, { id, size: 100 })
    const moved = `${join(dir, 'well')}/${UUID}/raw/${keyOf(id)}`
    await eventually(() => exists(moved), 'what it would have kept is kept by the other')
    await second.chunks.close()
  })
})
