/** A server that forgets the scripts, or begins to refuse them, in the middle of the work of two clients. */

import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ROOT_INO } from '../../../src/base/ino.ts'
import type { RedisEngine } from '../../../src/meta/engine/redis/engine.ts'
import { counter, node } from '../../../src/meta/facts.ts'
import { directory } from '../../conformance/engine/harness.ts'
import { redisSkip } from '../../servers/redis.ts'
import { guard, Journal, read, World, write } from './harness.ts'

const STEPS = 60

/** Each step counts one up in the link count of the root, by what it has read: one that is lost or done twice shows. */
async function work(engine: RedisEngine): Promise<number> {
  for (let done = 0; done < STEPS; ) {
    const guards = await guard(engine, 'exact', node(ROOT_INO))
    const attr = guards[0]!.fact as ReturnType<typeof directory>
    const outcome = await engine.commit(guards, [
      { kind: 'putNode', ino: ROOT_INO, attr: { ...attr, nlink: attr.nlink + 1 } },
      { kind: 'usage', space: 0, inodes: 1 },
    ])
    if (outcome.done) done++
  }
  return STEPS
}

describe('scripts of Redis under load', { skip: redisSkip }, () => {
  let world: World
  before(async () => {
    world = await World.start()
  })
  after(async () => {
    await world?.remove()
  })
  afterEach(async () => {
    world.server.cli('ACL', 'SETUSER', 'default', '+@all')
    await world.reset()
  })

  async function underLoad(
    meanwhile: () => Promise<void>,
  ): Promise<{ engines: readonly RedisEngine[]; logs: readonly Journal[] }> {
    const logs = [new Journal(), new Journal()]
    const engines = await Promise.all(logs.map(log => world.open({ log })))
    await write(engines[0]!, { kind: 'putNode', ino: ROOT_INO, attr: directory({ nlink: 2 }) })
    let isDone = false
    const working = Promise.all([...engines, ...engines].map(work)).finally(() => {
      isDone = true
    })
    while (!isDone) await Promise.race([meanwhile(), working])
    const total = (await working).reduce((sum, each) => sum + each)
    const [root, inodes] = [await read(engines[0]!, node(ROOT_INO)), await read(engines[0]!, counter('totalInodes'))]
    assert.equal(root!.nlink, 2 + total)
    assert.equal(inodes, total)
    return { engines, logs }
  }

  it('that are forgotten are told again, and nothing is lost or done twice', async () => {
    const { engines } = await underLoad(async () => {
      world.server.cli('SCRIPT', 'FLUSH')
      await sleep(5)
    })
    for (const { counts } of engines) assert.ok((counts.retries.get('noscript') ?? 0) > 2)
  })

  it('that are refused from some moment on are done without, which the log says once', async () => {
    let calls = 0
    const { logs, engines } = await underLoad(async () => {
      if (++calls === 3) world.server.cli('ACL', 'SETUSER', 'default', '-eval', '-evalsha')
      await sleep(5)
    })
    for (const log of logs) assert.equal(log.warnings.filter(line => /refuses scripts/.test(line)).length, 1)
    assert.ok(engines.some(({ counts }) => (counts.retries.get('watch') ?? 0) > 0))
  })
})
