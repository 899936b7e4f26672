/** A mount under load whose server dies and comes back, and which is killed itself then: what was fsynced is there. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { size } from '../judges/judges.ts'
import { mountSkip, newVolume, projectRoot, run, type TestVolume } from '../mount/harness.ts'
import { type EngineServer, isAboutUsage, SUMS_IN_CLIENT, serverEngines } from '../servers/engines.ts'
import { checkStored, MIB, sleep } from './harness.ts'

const rounds = size(1, 10)
const load = join(projectRoot, 'test/crash/load.py')

for (const { kind, skip, start } of serverEngines) {
  describe(`a mount on ${kind} under load`, { skip: mountSkip || skip }, () => {
    let server: EngineServer
    let volume: TestVolume
    before(async () => {
      server = await start()
      volume = newVolume({ metaUrl: server.newDatabase()() })
      volume.mount()
    })
    after(async () => {
      volume?.remove()
      await server?.stop()
    })

    it(`loses no fsynced byte when the server is killed twice, then the mount, ${rounds} times`, async t => {
      for (let round = 1; round <= rounds; round++) {
        const [dir, log] = [join(volume.mountPoint, `round${round}`), join(volume.dir, `log${round}`)]
        const writer = run('python3', [load, 'write', dir, log, '60', String(round)])
        for (let i = 0; i < 2; i++) {
          await sleep(700)
          await server.down('crash')
          await sleep(300)
          await server.up()
        }
        await sleep(1000)
        process.kill(volume.pid(), 'SIGKILL')
        const wrote = await writer
        assert.match(wrote.stdout, /operations \d/)
        assert.doesNotMatch(wrote.stdout, /Errno 5\b/, 'the server was away for a moment only')
        t.diagnostic(wrote.stdout.trim().replaceAll('\n', '; '))
        volume.mount()
        const verified = await run('python3', [load, 'verify', dir, log])
        assert.equal(verified.status, 0, verified.stdout)
      }
      volume.unmount()
      // What was stored and not yet named when the process was killed is garbage.
      const stored = { blockBytes: 4 * MIB, garbage: true }
      const wrong = await checkStored(volume.metaUrl, join(volume.bucket, 'test-volume'), stored)
      assert.deepEqual(SUMS_IN_CLIENT.has(kind) ? wrong.filter(line => !isAboutUsage(line)) : wrong, [])
    })
  })
}
