/** What is known is spelled as a database spells it: on every server a change whose facts are known is one round trip. */

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { silentLog } from '../../../src/base/log.ts'
import { openEngine } from '../../../src/cmd/volume.ts'
import { checkVolume } from '../../../src/meta/check.ts'
import { MetaClient } from '../../../src/meta/client.ts'
import { Driver } from '../../../src/meta/driver.ts'
import { systemCaller } from '../../../src/meta/model/caller.ts'
import { initVolume } from '../../../src/meta/ops/init-volume.ts'
import { type EngineServer, isAboutUsage, serverEngines } from '../../servers/engines.ts'
import { buildScene, CHANGES, lookAround } from './changes.ts'
import { CONFIG, DIRECTORY, ok, TestClock } from './harness.ts'
import { SlowEngine } from './slow-engine.ts'

for (const { kind, skip, start } of serverEngines) {
  describe(`on ${kind}`, { skip }, () => {
    let server: EngineServer
    before(async () => {
      server = await start()
    })
    after(() => server?.stop())

    for (const trashDays of [0, 1]) {
      it(`known facts make every change one round trip${trashDays > 0 ? ', with a trash' : ''}`, async () => {
        const clock = new TestClock()
        const caller = () => systemCaller(clock.now())
        const real = await openEngine(server.newDatabase()(), { log: silentLog })
        const engine = new SlowEngine(real, { travel: async () => {} })
        try {
          await engine.prepare()
          const setting = { Name: 'known', UUID: 'known', BlockSize: 4096, TrashDays: trashDays, DirStats: true }
          const driver = new Driver(engine, { random: Math.random, onEffect: () => undefined })
          const init = { isNew: true, trash: trashDays > 0, now: clock.now() }
          await driver.run('change', () => initVolume(JSON.stringify({ ...setting, MetaVersion: 1 }), init))
          const meta = await MetaClient.open(engine, { config: CONFIG, clock, log: silentLog, random: Math.random })
          await meta.newSession()

          const cost: Record<string, string> = {}
          for (const [name, change] of Object.entries(CHANGES)) {
            const { ino: top } = await ok(meta.make(caller(), ROOT_INO, name, DIRECTORY))
            const scene = await buildScene(meta, caller, { hasTrash: trashDays > 0, top })
            await lookAround(scene)
            const { gather, commit } = await engine.count(() => change(scene))
            cost[name] = `${gather} gathers, ${commit} commits`
          }
          const wanted = Object.fromEntries(Object.keys(CHANGES).map(name => [name, '0 gathers, 1 commits']))
          assert.deepEqual(cost, wanted)

          await meta.closeSession()
          assert.deepEqual(
            (await checkVolume(engine)).filter(line => !isAboutUsage(line)),
            [],
          )
        } finally {
          await engine.close()
        }
      })
    }
  })
}
