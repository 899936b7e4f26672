/** Another server takes over that does not know what the first one confirmed last: numbers must not be given out twice. */

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { silentLog } from '../../../src/base/log.ts'
import { openEngine } from '../../../src/cmd/volume.ts'
import { MetaClient } from '../../../src/meta/client.ts'
import { node } from '../../../src/meta/facts.ts'
import { type EngineServer, serverEngines } from '../../servers/engines.ts'
import { TcpProxy } from '../../servers/proxy.ts'
import { formatVolume } from '../../servers/volumes.ts'
import { CONFIG, TestClock } from './harness.ts'

for (const { kind, skip, start } of serverEngines) {
  describe(`another server in the place of ${kind}`, { skip }, () => {
    let servers: readonly EngineServer[] = []
    before(async () => {
      servers = await Promise.all([start(), start()])
    })
    after(() => Promise.all(servers.map(server => server.stop())))

    it('gives nobody the numbers of slices that the first one has given', async () => {
      const [first, second] = servers.map(server => server.newDatabase())
      for (const address of [first!, second!]) await formatVolume(address())
      const proxy = await TcpProxy.start(servers[0]!.port)
      const mount = async (url: string) => {
        const options = { config: CONFIG, clock: new TestClock(), log: silentLog, random: Math.random }
        return await MetaClient.open(await openEngine(url, { log: silentLog }), options)
      }
      const ours = await mount(first!(proxy.port))
      const used: number[] = []
      try {
        for (let i = 0; i < 10; i++) used.push(await ours.newSliceId())
        proxy.redirect(servers[1]!.port)
        proxy.cut()
        await ours.engine.gather([node(ROOT_INO)], 'look')
        for (let i = 0; i < 10; i++) used.push(await ours.newSliceId())
        const theirs = await mount(second!())
        for (let i = 0; i < 10; i++) used.push(await theirs.newSliceId(), await ours.newSliceId())
        await theirs.engine.close()
        assert.equal(new Set(used).size, used.length, used.join())
      } finally {
        await ours.engine.close()
        await proxy.stop()
      }
    })
  })
}
