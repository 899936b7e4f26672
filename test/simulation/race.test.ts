/** SIM_STEPS=100000 for a long run; SEED=… replays one; SIM_CHECK=1 looks at the volume after every step and so names the
 *  one that went wrong. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ENOENT, ENOTEMPTY, isErrno } from '../../src/base/errno.ts'
import { type Ino, NO_INO, ROOT_INO } from '../../src/base/ino.ts'
import { Driver } from '../../src/meta/driver.ts'
import { MemoryEngine } from '../../src/meta/engine/memory.ts'
import type { Engine } from '../../src/meta/engine.ts'
import { TYPE_DIRECTORY, TYPE_FILE } from '../../src/meta/model/attr.ts'
import { systemCaller } from '../../src/meta/model/caller.ts'
import { make } from '../../src/meta/ops/make.ts'
import { rmdir } from '../../src/meta/ops/rmdir.ts'
import { Random, seedOf } from './random.ts'
import { Scheduler, SteppedEngine, UnlockedParents } from './scheduler.ts'
import { Simulation } from './simulation.ts'
import { World } from './world.ts'

const steps = Number(process.env.SIM_STEPS ?? 10_000)
const checkEvery = Number(process.env.SIM_CHECK ?? 40)

describe('many clients on one volume', () => {
  for (const [name, quota] of [
    ['who lose requests and replies, and crash', false],
    ['under a directory quota', true],
  ] as const) {
    it(`${name}, leave records that agree at every step`, async t => {
      const seed = seedOf()
      t.diagnostic(`SEED=${seed} SIM_STEPS=${steps}`)
      const simulation = new Simulation({ seed, steps, clients: 4, checkEvery, quota, trash: true })
      const { wrong, crashes, lost, conflicts, deeds } = await simulation.run()
      assert.deepEqual(wrong?.violations ?? [], [], `SEED=${seed}, after step ${wrong?.step}`)
      t.diagnostic(
        `${crashes} crashes, ${lost} requests or replies lost, ${conflicts} conflicts, ${deeds.size} outcomes`,
      )
      if (steps < 10_000) return
      assert.ok(crashes > 0 && lost > 0 && conflicts > 100, 'the clients got into trouble')
      for (const deed of ['rename', 'link', 'copy', 'compact', 'rmdir', 'emptyTrash', 'cleanSession']) {
        assert.ok(deeds.has(deed), `${deed} succeeded at least once`)
      }
    })
  }

  it('come to the same end when a seed is played again', async () => {
    const settings = { seed: 7, steps: 2000, clients: 3, checkEvery: 500, quota: false, trash: true }
    const [first, second] = [await new Simulation(settings).run(), await new Simulation(settings).run()]
    assert.deepEqual([...first.deeds], [...second.deeds])
    assert.equal(first.conflicts, second.conflicts)
  })
})

describe('a directory that is removed while somebody creates a file in it', () => {
  /** The creation has read everything and is about to commit when the removal comes between. */
  async function race(viewOf: (engine: Engine) => Engine) {
    const random = new Random(1)
    const world = new World(new MemoryEngine(), random, { quota: false, trash: false })
    await world.format()
    const { volume, engine } = world
    const scheduler = new Scheduler(random)
    const losses = { request: 0, reply: 0 }
    const stepped = viewOf(new SteppedEngine({ engine, scheduler, client: 1, random, losses }))
    const options = { random: random.next, onEffect: () => undefined, sleep: async () => undefined }
    const [slow, fast] = [new Driver(stepped, options), new Driver(engine, options)]
    const caller = systemCaller({ sec: 1_795_244_500, nsec: 0 })
    const what = (type: number) => ({ type, mode: 0o755, umask: 0, rdev: 0, target: '' })
    const [dir, file] = [100 as Ino, 101 as Ino]
    await engine.allocate('nextInode', 200)
    await fast.run('change', () =>
      make(volume, caller, ROOT_INO, 'd', dir, what(TYPE_DIRECTORY), { orExisting: false }),
    )

    const creating = slow.run('change', () =>
      make(volume, caller, dir, 'f', file, what(TYPE_FILE), { orExisting: false }),
    )
    await scheduler.step() // it has gathered
    const removal = { trash: NO_INO, isOpen: () => false, sid: 1 }
    const removed = await fast.run('change', () => rmdir(volume, caller, ROOT_INO, 'd', removal))
    while (await scheduler.step());
    return { created: await creating, removed, violations: await world.violations() }
  }

  it('is gone, and so is the chance to create, since a creation guards the directory it is in', async () => {
    const { created, removed, violations } = await race(engine => engine)
    assert.ok(!isErrno(removed))
    assert.equal(created, ENOENT)
    assert.deepEqual(violations, [])
  })

  it('loses a file of the reference client on SQL, which does not lock the directory: nothing else is wrong then', async () => {
    const { created, removed, violations } = await race(engine => new UnlockedParents(engine))
    assert.ok(!isErrno(removed))
    assert.ok(!isErrno(created))
    assert.deepEqual(violations, [
      'inode 101 has nlink 1 and 0 names',
      'inode 101 cannot be reached, and no session keeps it',
    ])
  })

  it('cannot be removed once the reference client has created a file in it', async () => {
    const world = new World(new MemoryEngine(), new Random(1), { quota: false, trash: false })
    await world.format()
    const { volume, engine } = world
    const driver = new Driver(new UnlockedParents(engine), { random: () => 0, onEffect: () => undefined })
    const caller = systemCaller({ sec: 1_795_244_500, nsec: 0 })
    const what = { type: TYPE_FILE, mode: 0o644, umask: 0, rdev: 0, target: '' }
    const top = world.directories.pick(new Random(1))
    await engine.allocate('nextInode', 200)
    await driver.run('change', () => make(volume, caller, top, 'f', 100 as Ino, what, { orExisting: false }))
    const removal = { trash: NO_INO, isOpen: () => false, sid: 1 }
    assert.equal(await driver.run('change', () => rmdir(volume, caller, ROOT_INO, 'top', removal)), ENOTEMPTY)
    assert.deepEqual(await world.violations(), [])
  })
})
