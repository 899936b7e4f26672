/** Random steps on the metadata engines and on a plain tree: every answer and, now and then, everything must be equal.
 *  SEED=… replays one; MODEL_RUNS=… for more of them. A failing sequence is shortened before it is shown. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { errnoName } from '../../src/base/errno.ts'
import type { Maybe } from '../../src/base/maybe.ts'
import { checkVolume } from '../../src/meta/check.ts'
import { MemoryEngine } from '../../src/meta/engine/memory.ts'
import { MysqlEngine } from '../../src/meta/engine/mysql/engine.ts'
import { PostgresEngine } from '../../src/meta/engine/postgres/engine.ts'
import { RedisEngine, type RedisOptions } from '../../src/meta/engine/redis/engine.ts'
import { SqliteEngine } from '../../src/meta/engine/sqlite/engine.ts'
import type { Engine } from '../../src/meta/engine.ts'
import { type ServerKind, serverEngines } from '../servers/engines.ts'
import { mariadbSkip } from '../servers/mariadb.ts'
import { postgresSkip } from '../servers/postgres.ts'
import { redisSkip } from '../servers/redis.ts'
import { Random, seedOf } from '../simulation/random.ts'
import { differences } from './compare.ts'
import { ReferenceTree } from './reference-tree.ts'
import { Pair, randomStep, type Step } from './steps.ts'

const STEPS = 300
const LOOK_EVERY = 50
const runs = Number(process.env.MODEL_RUNS ?? 25)

interface FreshVolume {
  readonly engine: Engine
  readonly remove: () => Promise<void>
}
type Fresh = () => Maybe<FreshVolume>

/** What went wrong when these steps were played on a fresh volume, or null. */
async function play(fresh: Fresh, steps: readonly Step[]): Promise<string | null> {
  const { engine, remove } = await fresh()
  try {
    const pair = new Pair(engine, new ReferenceTree())
    await pair.start()
    const look = async (after: string): Promise<string | null> => {
      const wrong = [...(await differences(engine, pair.tree)), ...(await checkVolume(engine))]
      return wrong.length > 0 ? `${after}:\n  ${wrong.join('\n  ')}` : null
    }
    for (const [i, step] of steps.entries()) {
      const { ours, expected } = await pair.step(step)
      if (ours !== expected) return `step ${i + 1} said ${spell(ours)}, should say ${spell(expected)}`
      const wrong = (i + 1) % LOOK_EVERY === 0 ? await look(`after step ${i + 1}`) : null
      if (wrong !== null) return wrong
    }
    const wrong = await look('after the last step')
    if (wrong !== null) return wrong
    await pair.finish()
    return await look('after closing all files')
  } catch (error) {
    return String(error)
  } finally {
    await engine.close()
    await remove()
  }
}

const spell = (errno: number): string => (errno === 0 ? 'yes' : errnoName(errno))

/** Leaves steps out, many at a time and then one by one, as long as it still goes wrong. */
async function shorten(fresh: Fresh, steps: readonly Step[]): Promise<readonly Step[]> {
  let left = steps
  for (let size = Math.ceil(left.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < left.length; ) {
      const fewer = [...left.slice(0, at), ...left.slice(at + size)]
      if ((await play(fresh, fewer)) !== null) left = fewer
      else at += size
    }
  }
  return left
}

async function model(fresh: Fresh, seed: number): Promise<void> {
  const random = new Random(seed)
  const steps = Array.from({ length: STEPS }, () => randomStep(random))
  if ((await play(fresh, steps)) === null) return
  const short = await shorten(fresh, steps)
  const lines = short.map(step => JSON.stringify(step))
  assert.fail(`SEED=${seed}, ${await play(fresh, short)}\n${lines.join('\n')}`)
}

const inMemory: Fresh = () => ({ engine: new MemoryEngine(), remove: async () => undefined })
const inSqlite: Fresh = () => {
  const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-model-'))
  const engine = SqliteEngine.open(`sqlite3://${join(dir, 'volume.db')}`, {})
  return { engine, remove: async () => rmSync(dir, { recursive: true, force: true }) }
}
const onServer = async (kind: ServerKind, options: RedisOptions = {}): Promise<FreshServer> => {
  const server = await serverEngines.find(each => each.kind === kind)!.start()
  const open = (url: string): Promise<Engine> =>
    kind === 'redis'
      ? RedisEngine.open(url, { env: {}, ...options })
      : kind === 'postgres'
        ? PostgresEngine.open(url, { env: {} })
        : MysqlEngine.open(url, { env: {} })
  const fresh = async () => ({ engine: await open(server.newDatabase()()), remove: async () => undefined })
  return { fresh, stop: () => server.stop() }
}
interface FreshServer {
  readonly fresh: Fresh
  readonly stop: () => Promise<void>
}
const without = (fresh: Fresh) => async (): Promise<FreshServer> => ({ fresh, stop: async () => undefined })

describe('random steps on a volume and on a plain tree', () => {
  for (const [name, start, count, skip] of [
    ['memory', without(inMemory), runs, false],
    ['sqlite3', without(inSqlite), Math.ceil(runs / 5), false],
    ['redis', () => onServer('redis'), Math.ceil(runs / 5), redisSkip],
    ['redis without scripts', () => onServer('redis', { withoutScripts: true }), Math.ceil(runs / 10), redisSkip],
    ['postgres', () => onServer('postgres'), Math.ceil(runs / 8), postgresSkip],
    ['mysql', () => onServer('mysql'), Math.ceil(runs / 8), mariadbSkip],
  ] as const) {
    it(`come to the same answers and the same tree on ${name}`, { skip }, async t => {
      const seed = seedOf()
      t.diagnostic(`SEED=${seed}, and the ${count - 1} that follow it`)
      const { fresh, stop } = await start()
      try {
        for (let i = 0; i < count; i++) await model(fresh, seed + i)
      } finally {
        await stop()
      }
    })
  }

  it('are shortened to those that make the difference when something is wrong', async () => {
    const random = new Random(3)
    const steps: Step[] = Array.from({ length: 60 }, () => randomStep(random))
    steps.splice(20, 0, { kind: 'make', path: ['odd'], type: 'directory', mode: 0o700 })
    steps.splice(40, 0, { kind: 'rmdir', path: ['odd'] })
    class Forgetful extends MemoryEngine {
      override commit(...[guards, changes]: Parameters<MemoryEngine['commit']>) {
        return super.commit(
          guards,
          changes.filter(change => change.kind !== 'delDentry' || change.name !== 'odd'),
        )
      }
    }
    const fresh: Fresh = () => ({ engine: new Forgetful(), remove: async () => undefined })
    const short = await shorten(fresh, steps)
    assert.deepEqual(
      short.map(step => step.kind),
      ['make', 'rmdir'],
    )
  })
})
