/** kill -9 of the serving process under load: after the next mount nothing that was fsynced is lost, and the stored
 *  records agree with each other. */

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { checkVolume } from '../../src/meta/check.ts'
import { SqliteEngine } from '../../src/meta/engine/sqlite/engine.ts'
import { size } from '../judges/judges.ts'
import { mountSkip, newVolume, projectRoot, run, type TestVolume } from '../mount/harness.ts'

const rounds = size(2, 10)
const loadMs = size(4_000, 15_000)

describe('kill -9 under load', { skip: mountSkip }, () => {
  let volume: TestVolume
  before(() => {
    volume = newVolume()
    volume.mount()
  })
  after(() => volume.remove())

  it(`loses no fsynced byte in ${rounds} rounds, and the next mount cleans up by itself`, async () => {
    const load = join(projectRoot, 'test/crash/load.py')
    const logOf = (round: number) => join(volume.dir, `log${round}`)
    const dirOf = (round: number) => join(volume.mountPoint, `round${round}`)
    for (let round = 1; round <= rounds; round++) {
      const pid = volume.pid()
      const writer = run('python3', [load, 'write', dirOf(round), logOf(round), '60', String(round)])
      await new Promise(resolve => setTimeout(resolve, loadMs))
      process.kill(pid, 'SIGKILL')
      const wrote = await writer
      assert.match(wrote.stdout, /operations [1-9]/)
      volume.mount() // over the dead mount, which it cleans up
      for (let earlier = 1; earlier <= round; earlier++) {
        const verified = await run('python3', [load, 'verify', dirOf(earlier), logOf(earlier)])
        assert.equal(verified.status, 0, verified.stdout)
      }
    }
    volume.unmount()
    const engine = SqliteEngine.open(volume.metaUrl, { mustExist: true })
    try {
      assert.deepEqual(await checkVolume(engine), [])
    } finally {
      await engine.close()
    }
  })
})
