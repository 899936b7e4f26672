/** The connection to the database breaks at each step of each operation: before the server has heard of it, after it was done
 *  and before the answer came. Whoever is answered was told the truth, and everything happens once or not at all. */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { SystemClock } from '../../src/base/clock.ts'
import { EIO, isErrno } from '../../src/base/errno.ts'
import { Fault } from '../../src/base/fault.ts'
import { ROOT_INO } from '../../src/base/ino.ts'
import { silentLog } from '../../src/base/log.ts'
import { openEngine } from '../../src/cmd/volume.ts'
import { checkVolume } from '../../src/meta/check.ts'
import { MetaClient } from '../../src/meta/client.ts'
import { RedisEngine } from '../../src/meta/engine/redis/engine.ts'
import type { Engine } from '../../src/meta/engine.ts'
import { systemCaller } from '../../src/meta/model/caller.ts'
import { projectRoot } from '../mount/harness.ts'
import { type EngineServer, isAboutUsage, serverEngines } from '../servers/engines.ts'
import { type Fate, TcpProxy } from '../servers/proxy.ts'
import { clientConfig, formatVolume } from '../servers/volumes.ts'
import { contradictions, DEEDS, Place, storedOf, TAKEN_BACK } from './deeds.ts'

/** where the connection breaks: on a piece's way to the server, behind it, on the way back */
const BREAKS: readonly (readonly [words: string, where: 'onRequest' | 'onReply', fate: Fate])[] = [
  ['before it arrives', 'onRequest', 'cut'],
  ['after it arrived', 'onRequest', 'drop'],
  ['with the answer', 'onReply', 'cut'],
]
/** No operation has more. */
const MAX_STEPS = 12
/** of an operation whose connection breaks once */
const PATIENT_MS = 5000
const FILE = { type: 1, mode: 0o644, umask: 0, rdev: 0, target: '' }
const clock = new SystemClock()
const now = () => clock.now()

/** Operations that may be told EIO when the answer of their commit is lost, since nothing that is theirs alone shows what became
 *  of them: the rows of a table in SEMANTICS.md. */
const mayBeUnknown = (kind: string, what: string): boolean => {
  const row = SEMANTICS.split('\n').find(line => line.startsWith(`| ${what} `))
  const [, , redis, sql] = row?.split('|').map(cell => cell.trim()) ?? []
  return (kind.startsWith('redis') ? redis : sql) === 'EIO'
}
const SEMANTICS = readFileSync(join(projectRoot, 'SEMANTICS.md'), 'utf8')

const kinds: readonly {
  readonly name: string
  readonly skip: string | false
  readonly start: () => Promise<EngineServer>
  readonly open: (url: string) => Promise<Engine>
}[] = [
  ...serverEngines.map(({ kind, skip, start }) => ({
    ...{ name: kind, skip, start },
    open: (url: string) => openEngine(url, { log: silentLog }),
  })),
  {
    ...serverEngines[0]!,
    name: 'redis without scripts',
    open: url => RedisEngine.open(url, { withoutScripts: true }),
  },
]

for (const { name, skip, start, open } of kinds) {
  describe(`a connection that breaks at any step, on ${name}`, { skip }, () => {
    let server: EngineServer
    let proxy: TcpProxy
    /** on a connection that holds */
    let direct: MetaClient
    /** on the one that breaks */
    let client: MetaClient
    const unknown = new Set<string>()
    let count = 0

    before(async () => {
      server = await start()
      proxy = await TcpProxy.start(server.port)
      const address = server.newDatabase()
      await formatVolume(address(), { TrashDays: 0 })
      const join = async (url: string): Promise<MetaClient> => {
        const options = { clock, log: silentLog, random: Math.random, config: clientConfig() }
        const meta = await MetaClient.open(await open(url), options)
        await meta.newSession()
        return meta
      }
      direct = await join(address())
      client = await join(address(proxy.port))
      // The first ranges of ids are there.
      await client.make(systemCaller(now()), ROOT_INO, 'first', FILE)
      await client.newSliceId()
    })
    after(async () => {
      proxy?.heal()
      for (const meta of [client, direct]) {
        await meta?.closeSession()
        await meta?.engine.close()
      }
      await proxy?.stop()
      await server?.stop()
    })

    /** A furnished directory of its own, made by the one and told to the other. */
    async function place(deed: Partial<(typeof DEEDS)[string]> = {}): Promise<Place> {
      const what = { type: 2, mode: 0o755, umask: 0, rdev: 0, target: '' }
      const made = await direct.make(systemCaller(now()), ROOT_INO, `place${count++}`, what)
      assert.ok(!isErrno(made))
      const furnished = new Place(direct, made.ino, now)
      await furnished.furnish()
      const mine = new Place(client, made.ino, now)
      mine.inos.push(...furnished.inos)
      await deed.before?.(mine)
      return mine
    }

    for (const [what, deed] of Object.entries(DEEDS)) {
      it(what, async () => {
        const unbroken = await place(deed)
        const was = await storedOf(direct.engine, unbroken)
        const told = said(await deed.run(unbroken))
        const is = await storedOf(direct.engine, unbroken)
        await deed.after?.(unbroken)

        for (const [words, where, fate] of BREAKS) {
          for (let step = 0; ; step++) {
            assert.ok(step < MAX_STEPS, `${step} steps`)
            const here = await place(deed)
            const isBroken = breakAt(proxy, where, fate, step)
            const startMs = performance.now()
            const result = await Promise.resolve()
              .then(() => deed.run(here))
              .then(said, (error: unknown) => error)
            const tookMs = performance.now() - startMs
            proxy.heal()
            const about = `step ${step}, broken ${words}: ${String(result)}`
            assert.ok(tookMs < PATIENT_MS, `${about} after ${tookMs} ms`)
            const stands = await storedOf(direct.engine, here)
            if (result instanceof Fault && result.errno === EIO) {
              unknown.add(what)
              assert.ok(stands === was || stands === is, `${about}\n${stands}\nis neither\n${was}\nnor\n${is}`)
            } else {
              assert.equal(result, told, about)
              assert.equal(stands, is, about)
            }
            assert.deepEqual(await contradictions(here, direct.engine), [], about)
            await deed.after?.(here)
            if (!isBroken()) break
          }
        }
      })
    }

    for (const [what, { run, back, isKnown = false }] of Object.entries(TAKEN_BACK)) {
      it(`is no reason to do again what another client has changed since: ${what}`, async () => {
        for (let step = 0; ; step++) {
          assert.ok(step < MAX_STEPS, `${step} steps`)
          const here = await place()
          // Every connection is there again.
          await client.make(systemCaller(now()), here.dir, 'warm', FILE)
          const was = await storedOf(direct.engine, here)
          // Nobody comes through any more as soon as the answer of this step is lost.
          const isBroken = breakAt(proxy, 'onReply', 'cut', step, () => {
            proxy.isDown = true
            proxy.cut()
          })
          const result = Promise.resolve()
            .then(() => run(here))
            .then(said, (error: unknown) => error)
          let isTold = false
          void result.then(() => {
            isTold = true
          })
          while (!isBroken() && !isTold) await sleep(1)
          assert.ok(isBroken(), `step ${step} is none`)
          if ((await storedOf(direct.engine, here)) === was) {
            proxy.heal()
            await result
            continue // it was an answer to a question
          }
          const there = new Place(direct, here.dir, now)
          there.inos.push(...here.inos)
          assert.equal(said(await back(there)), 'done')
          const left = await storedOf(direct.engine, here)
          proxy.heal()
          const told = await result
          assert.equal(await storedOf(direct.engine, here), left, `was told ${String(told)}`)
          if (isKnown) assert.equal(told, 'done')
          else assert.ok(told instanceof Fault && told.errno === EIO, String(told))
          break
        }
      })
    }

    it('tells EIO only where SEMANTICS.md says so, and leaves records that agree', async t => {
      t.diagnostic(`EIO: ${[...unknown].join(', ') || 'never'}`)
      assert.deepEqual(
        [...unknown].filter(what => !mayBeUnknown(name, what)),
        [],
      )
      await client.closeSession()
      await client.engine.close()
      await direct.closeSession()
      const wrong = await checkVolume(direct.engine)
      assert.deepEqual(unknown.size === 0 ? wrong : wrong.filter(line => !isAboutUsage(line)), [])
    })
  })
}

/** An errno, or that it went well. */
const said = (result: unknown): string => (isErrno(result) ? `errno ${result}` : 'done')

/** Breaks the connection at the piece of this number, once; answers whether that happened. */
function breakAt(
  proxy: TcpProxy,
  where: 'onRequest' | 'onReply',
  fate: Fate,
  step: number,
  then: () => void = () => undefined,
): () => boolean {
  let pieces = 0
  let isBroken = false
  proxy[where] = () => {
    if (isBroken || pieces++ !== step) return 'pass'
    isBroken = true
    then()
    return fate
  }
  return () => isBroken
}
