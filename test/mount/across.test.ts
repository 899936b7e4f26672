/** Several mounts of one volume merge and delete the slices of files that others read, overwrite, cut, copy and remove just then: nobody
 *  ever sees a wrong byte or an error, and at the end the store holds exactly what the records name. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { checkStored } from '../crash/harness.ts'
import { size } from '../judges/judges.ts'
import { allEngines } from '../servers/engines.ts'
import { cli, mountSkip, projectRoot, run } from './harness.ts'
import { type ManyClients, manyClients, until } from './many-clients-harness.ts'

const SECONDS = size(2, 60)
const BLOCK = 64 << 10
const WORKER = join(projectRoot, 'test', 'mount', 'across.py')
// As in across.py.
const CELLS = 512
const CHUNK = 64 << 20
const BASES = [0, 0, 0, CHUNK - 150_000, 0, CHUNK - 100_000]

for (const tested of allEngines) {
  describe(`mounts that compact what others use, on ${tested.kind}`, { skip: mountSkip || tested.skip }, () => {
    // What the trash keeps is the same everywhere.
    for (const trash of tested.kind === 'sqlite3' ? ['0', '1'] : ['0']) {
      describe(`--trash-days ${trash}`, { timeout: (6 * SECONDS + 60) * 1000 }, () => {
        const seed = size(1, Date.now() % 1_000_000)
        let clients: ManyClients
        let notes: string
        before(async () => {
          clients = await manyClients(tested, 1, { format: ['--trash-days', trash, '--block-size', '64K'] })
          notes = mkdtempSync(join(tmpdir(), 'across-'))
        })
        after(async () => {
          await clients?.remove()
          if (notes) rmSync(notes, { recursive: true })
        })

        async function all(workers: readonly (readonly [what: string, role: string, mount: string])[]): Promise<void> {
          const ran = await Promise.all(
            workers.map(([what, role, mount], i) =>
              run('python3', [WORKER, what, role, mount, notes, String(SECONDS), String(seed + i)]),
            ),
          )
          assert.deepEqual(
            ran.map(({ stdout, stderr }) => stdout + stderr),
            workers.map(() => ''),
          )
        }

        it('show every reader the old or the new bytes of a write', async t => {
          t.diagnostic(`seed ${seed}`)
          const [writer] = clients.mounts as [string]
          const trusting = clients.mountOne(['--open-cache', '5', '--cache-size', '1M', '-o', 'direct_io'])
          const impatient = clients.mountOne(['--io-retries', '1', '-o', 'direct_io'])
          const uncached = clients.mountOne(['--cache-size', '0', '--no-bgjob'])
          writeFileSync(join(notes, 'cells'), Buffer.alloc(CELLS * 16))
          writeFileSync(join(writer, 'cells'), '')
          await all([
            ['cells', 'overwriting', writer],
            ['cells', 'asking', writer],
            ['cells', 'held', trusting],
            ['cells', 'asking', impatient],
            ['cells', 'held', uncached],
            ['cells', 'compacting', uncached],
          ])
        })

        it('keep the slices that files share, whichever is compacted, cut or removed', async () => {
          // Who trusts what he knows would not see what others did just before.
          const [first, , second, third] = clients.mounts as [string, string, string, string]
          for (const [i, base] of BASES.entries()) {
            writeFileSync(join(notes, `${i}.name`), `shared${i}`)
            writeFileSync(join(notes, `${i}.bytes`), '')
            writeFileSync(join(first, `shared${i}`), '')
            truncateSync(join(first, `shared${i}`), base)
          }
          await all([
            ['shares', 'one', first],
            ['shares', 'two', first],
            ['shares', 'three', second],
            ['shares', 'four', third],
          ])
        })

        it('leave in the store what is named, and nothing else', async () => {
          for (const mount of clients.mounts) assert.equal(cli(['umount', mount]).status, 0)
          const { metaUrl, bucket } = clients.volume
          const check = () => checkStored(metaUrl, join(bucket, 'test-volume'), { blockBytes: BLOCK, garbage: false })
          let found: string[] = []
          await until(async () => {
            found = await check() // what is deleted just then
            return found.length === 0
          }, 'records and objects agree').catch(() => undefined)
          assert.deepEqual(found, [])
        })
      })
    }
  })
}
