/** The judges of POSIX on volumes whose metadata is on a server: the same verdicts as on SQLite (pjdfstest.test.ts, fsx.test.ts).
 *  JUDGES=full: 20 seeds an engine, docs/conformance.md has the result. */

import { after, before, describe, it } from 'node:test'
import { mountedVolume, type TestVolume } from '../mount/harness.ts'
import { type EngineServer, serverEngines } from '../servers/engines.ts'
import { missing, size } from './judges.ts'
import { runFsx, runPjdfstest } from './runs.ts'

const seeds = size(
  [1],
  Array.from({ length: 20 }, (_, i) => i + 1),
)
const operations = size(1_000, 2_000)

for (const { kind, skip, start } of serverEngines) {
  describe(`on a volume on ${kind}`, { skip: missing('pjdfstest', 'fsx') || skip }, () => {
    let server: EngineServer
    let volume: TestVolume
    before(async () => {
      server = await start()
      volume = mountedVolume({ metaUrl: server.newDatabase()(), format: ['--trash-days', '0'] })
    })
    after(async () => {
      volume?.remove()
      await server?.stop()
    })

    it('pjdfstest passes the whole suite without a failure', () => runPjdfstest(volume))
    for (const seed of seeds) {
      it(`fsx finds no difference in ${operations} operations of seed ${seed}`, () => runFsx(volume, seed, operations))
    }
  })
}
