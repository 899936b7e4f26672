/** The driver over an engine that answers as it is told. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ENOENT, type Errno } from '../../src/base/errno.ts'
import { Fault } from '../../src/base/fault.ts'
import { type Ino, ROOT_INO } from '../../src/base/ino.ts'
import type { Maybe } from '../../src/base/maybe.ts'
import { Driver, type DriverOptions } from '../../src/meta/driver.ts'
import { MemoryEngine } from '../../src/meta/engine/memory.ts'
import type { Engine, Guard, Intent, Outcome } from '../../src/meta/engine.ts'
import {
  type Change,
  counter,
  dentry,
  done,
  type Effect,
  type Fact,
  gather,
  node,
  type Operation,
  type Read,
} from '../../src/meta/facts.ts'

const CHANGE: Change = { kind: 'usage', space: 4096, inodes: 1 }
const REFUSED: Outcome = { done: false }
const ino = (n: number): Ino => n as Ino

/** Every fact is a number: how often was gathered. Commits end as `outcomes` say, then well. */
class Told implements Pick<Engine, 'gather' | 'commit'> {
  readonly gathers: (readonly Read[])[] = []
  readonly commits: { readonly guards: readonly Guard[]; readonly changes: readonly Change[] }[] = []
  readonly intents: Intent[] = []
  readonly outcomes: (Outcome | Error)[]
  readonly #later: boolean

  constructor(outcomes: (Outcome | Error)[] = [], options: { later: boolean } = { later: false }) {
    this.outcomes = outcomes
    this.#later = options.later
  }

  gather(reads: readonly Read[], intent: Intent): Maybe<readonly Fact[]> {
    this.gathers.push(reads)
    this.intents.push(intent)
    return this.#answer(reads.map(() => this.gathers.length))
  }

  commit(guards: readonly Guard[], changes: readonly Change[]): Maybe<Outcome> {
    this.commits.push({ guards, changes })
    const outcome = this.outcomes.shift() ?? { done: true, results: changes.map((_, i) => 100 + i) }
    if (outcome instanceof Error) throw outcome
    return this.#answer(outcome)
  }

  #answer<T>(answer: T): Maybe<T> {
    return this.#later ? Promise.resolve(answer) : answer
  }
}

const driverOf = (told: Told, options: Partial<DriverOptions> = {}): Driver =>
  new Driver(told as unknown as Engine, {
    random: () => 0,
    onEffect: () => undefined,
    sleep: () => Promise.resolve(),
    ...options,
  })

function* add(effects: readonly Effect[] = []): Operation<{ readonly seen: Fact }> {
  const [seen] = yield* gather(counter('usedSpace'))
  return done({ seen }, [CHANGE], effects)
}

describe('driver', () => {
  it('answers in the same turn where the engine does', () => {
    const told = new Told()
    assert.deepEqual(
      driverOf(told).run('change', () => add()),
      { seen: 1 },
    )
    assert.deepEqual(told.intents, ['change'])
  })

  it('answers later where the engine does', async () => {
    const result = driverOf(new Told([], { later: true })).run('change', () => add())
    assert.ok(result instanceof Promise)
    assert.deepEqual(await result, { seen: 1 })
  })

  it('commits nothing for an errno or where nothing changes', () => {
    const told = new Told()
    const driver = driverOf(told)
    function* miss(): Operation<{ found: boolean }> {
      yield* gather(node(ROOT_INO))
      return ENOENT
    }
    function* look(): Operation<{ found: boolean }> {
      yield* gather(node(ROOT_INO))
      return done({ found: true })
    }
    assert.equal(driver.run('look', miss), ENOENT)
    assert.deepEqual(driver.run('look', look), { found: true })
    assert.equal(told.commits.length, 0)
  })

  it('guards everything that was read, in every gather', () => {
    const told = new Told()
    function* twice(): Operation<undefined> {
      yield* gather(counter('usedSpace'), counter('totalInodes'))
      yield* gather(counter('nextTrash'))
      return done(undefined, [CHANGE])
    }
    driverOf(told).run('change', twice)
    assert.deepEqual(
      told.commits[0]!.guards.map(({ read, fact }) => [(read as { name: string }).name, fact]),
      [
        ['usedSpace', 1],
        ['totalInodes', 1],
        ['nextTrash', 2],
      ],
    )
  })

  it('runs the operation anew from fresh facts when its commit is refused', async () => {
    const told = new Told([REFUSED, REFUSED])
    const conflicts: string[] = []
    const driver = driverOf(told, { onConflict: operation => conflicts.push(operation) })
    assert.deepEqual(await driver.run('change', () => add()), { seen: 3 })
    assert.deepEqual(
      told.commits.map(commit => commit.guards.map(guard => guard.fact)),
      [[1], [2], [3]],
    )
    assert.equal(conflicts.length, 2)
  })

  it('tells of a commit and hands out its effects once, after it, and never those of a lost one', async () => {
    const told = new Told([REFUSED])
    const order: string[] = []
    const effect: Effect = { kind: 'deadFile', ino: ino(5), length: 7 }
    const driver = driverOf(told, {
      onEffect: each => order.push(`effect ${each.kind}`),
      onCommit: changes => order.push(`commit of ${changes.length} after ${told.commits.length} attempts`),
    })
    await driver.run('change', () => add([effect]))
    assert.deepEqual(order, ['commit of 1 after 2 attempts', 'effect deadFile'])
  })

  it('makes the value from one result for each change as the operation listed them, also when they were merged', () => {
    const refs = (id: number): Change => ({ kind: 'refSlice', id, size: 1, delta: -1 })
    function* drop(): Operation<{ results: readonly (number | undefined)[] }> {
      yield* gather(node(ROOT_INO))
      return done(results => ({ results }), [CHANGE, refs(1), refs(2), refs(1)])
    }
    const told = new Told()
    assert.deepEqual(driverOf(told).run('change', drop), { results: [100, 101, 102, 101] })
    assert.equal(told.commits[0]!.changes.length, 3)
  })

  it('lets those that lose over one inode take turns', async () => {
    const told = new Told([REFUSED, REFUSED, REFUSED], { later: true })
    const driver = driverOf(told)
    const order: number[] = []
    const runs = [1, 2, 3].map(async n => {
      await driver.run('change', () => add(), ino(5))
      order.push(n)
    })
    await Promise.all(runs)
    assert.deepEqual(order, [1, 2, 3])
    assert.equal(told.commits.length, 6)
  })

  it('lets a new operation overtake the queue, unless its first goes on losing', async () => {
    for (const [losses, overtakes] of [
      [2, true],
      [6, false],
    ] as const) {
      const told = new Told(Array<Outcome>(losses).fill(REFUSED), { later: true })
      const wakes: (() => void)[] = []
      const sleep = () => new Promise<void>(resolve => wakes.push(resolve))
      const driver = driverOf(told, { sleep })
      const order: string[] = []
      const first = (async () => {
        await driver.run('change', () => add(), ino(5))
        order.push('first')
      })()
      const settle = () => new Promise(resolve => setImmediate(resolve))
      for (let sleeps = 0; sleeps < losses - 1; sleeps++) {
        await settle()
        if (sleeps < losses - 2) wakes.shift()!()
      }
      const second = (async () => {
        await driver.run('change', () => add(), ino(5))
        order.push('second')
      })()
      await settle()
      wakes.shift()!()
      await Promise.all([first, second])
      assert.equal(order[0], overtakes ? 'second' : 'first', `${losses} losses`)
    }
  })

  it('backs off with jitter, longer each time and never longer than 100 ms', async () => {
    const told = new Told(Array<Outcome>(12).fill(REFUSED))
    const pauses: number[] = []
    const driver = driverOf(told, { random: () => 0.5, sleep: async ms => void pauses.push(ms) })
    await driver.run('change', () => add(), ino(5))
    assert.deepEqual(
      pauses,
      [1, 2, 4, 8, 16, 32, 64, 100, 100, 100, 100].map(ms => ms * 0.75),
    )
  })

  it('gives up after 50 conflicts with a fault, and lets the next one try', async () => {
    const told = new Told(Array<Outcome>(50).fill(REFUSED))
    const driver = driverOf(told)
    const lost = driver.run('change', () => add(), ino(5)) as Promise<unknown>
    await assert.rejects(
      lost,
      (error: unknown) => error instanceof Fault && /50 conflicts over inode 5/.test(error.message),
    )
    assert.equal(told.commits.length, 50)
    assert.deepEqual(
      driver.run('change', () => add(), ino(5)),
      { seen: 51 },
    )
  })

  it('passes a fault of the engine on, and those behind it in the queue go on', async () => {
    const told = new Told([REFUSED, REFUSED, new Fault('disk full')], { later: true })
    const driver = driverOf(told)
    const [first, second] = await Promise.allSettled([1, 2].map(async () => driver.run('change', () => add(), ino(5))))
    assert.equal(first!.status, 'rejected')
    assert.match(String((first as PromiseRejectedResult).reason), /disk full/)
    assert.deepEqual((second as PromiseFulfilledResult<{ seen: Fact } | Errno>).value, { seen: 4 })
  })

  it('keeps a name from being made twice on an engine that answers a turn later', async () => {
    const engine = new MemoryEngine({ deferred: true })
    const driver = new Driver(engine, { random: () => 0, onEffect: () => undefined })
    function* name(target: number): Operation<{ readonly made: boolean }> {
      const [found] = yield* gather(dentry(ROOT_INO, 'a'))
      if (found) return done({ made: false })
      return done({ made: true }, [{ kind: 'setDentry', parent: ROOT_INO, name: 'a', ino: ino(target), type: 1 }])
    }
    const results = await Promise.all([2, 3, 4].map(target => driver.run('change', () => name(target), ROOT_INO)))
    assert.deepEqual(results.filter(result => (result as { made: boolean }).made).length, 1)
  })
})
