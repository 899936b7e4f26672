/** kill -9 of the serving process under load: after the next mount nothing that was fsynced is lost, and the stored
 *  records agree with each other and with the bucket. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { size } from '../judges/judges.ts'
import { mountSkip, newVolume, projectRoot, run, type TestVolume } from '../mount/harness.ts'
import { seeded } from '../vfs/harness.ts'
import { checkStored, MIB } from './harness.ts'

const rounds = size(6, 30)
const shortestMs = 800
const longestMs = size(3_000, 15_000)

describe('kill -9 under load', { skip: mountSkip }, () => {
  let volume: TestVolume
  before(() => {
    volume = newVolume()
    volume.mount()
  })
  after(() => volume.remove())

  it(`loses no fsynced byte in ${rounds} rounds, and the next mount cleans up by itself`, async t => {
    const seed = Date.now() % 1_000_000
    t.diagnostic(`seed ${seed}`)
    const random = seeded(seed)
    const load = join(projectRoot, 'test/crash/load.py')
    const logOf = (round: number) => join(volume.dir, `log${round}`)
    const dirOf = (round: number) => join(volume.mountPoint, `round${round}`)
    for (let round = 1; round <= rounds; round++) {
      const pid = volume.pid()
      const writer = run('python3', [load, 'write', dirOf(round), logOf(round), '60', String(round)])
      await new Promise(resolve => setTimeout(resolve, shortestMs + random() * (longestMs - shortestMs)))
      process.kill(pid, 'SIGKILL')
      const wrote = await writer
      assert.match(wrote.stdout, /operations \d/)
      volume.mount() // over the dead mount, which it cleans up
      for (let earlier = 1; earlier <= round; earlier++) {
        const verified = await run('python3', [load, 'verify', dirOf(earlier), logOf(earlier)])
        assert.equal(verified.status, 0, verified.stdout)
      }
    }
    volume.unmount()
    // What was stored and not yet named when the process was killed is garbage.
    const stored = { blockBytes: 4 * MIB, garbage: true }
    assert.deepEqual(await checkStored(volume.metaUrl, join(volume.bucket, 'test-volume'), stored), [])
  })
})
