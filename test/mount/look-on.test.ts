/** While requests follow each other closely the device is looked at before the event loop sleeps (native/juicefs_fuse.c). Nobody else
 *  may suffer from that: not what waits for the loop, and not the processor when it is over. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { addon } from '../../src/base/addon.ts'
import { mountedVolume, mountSkip, type TestVolume } from './harness.ts'

const skip =
  mountSkip || (addon() === null ? 'needs the addon' : availableParallelism() < 2 ? 'needs two processors' : false)
/** of /proc: 100 ticks a second */
const TICK_MS = 10

describe('a mount that is asked without a pause', { skip, timeout: 60_000 }, () => {
  let volume: TestVolume
  before(() => {
    volume = mountedVolume({ mount: ['--attr-cache', '0', '--entry-cache', '0'] })
    writeFileSync(join(volume.mountPoint, 'file'), 'x')
  })
  after(() => volume?.remove())

  /** Looks at a file for so long, as often as it can; resolves to how often that was. */
  function look(seconds: number): Promise<number> {
    const script = `import os, sys, time
end = time.monotonic() + ${seconds}; n = 0
while time.monotonic() < end: os.stat(sys.argv[1]); n += 1
print(n)`
    const looking = spawn('python3', ['-c', script, join(volume.mountPoint, 'file')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    return new Promise((resolve, reject) => {
      let printed = ''
      looking.stdout.on('data', text => {
        printed += text
      })
      looking.once('close', code =>
        code === 0 ? resolve(Number(printed)) : reject(new Error(`looking ended with ${code}`)),
      )
    })
  }
  const cpuMs = (pid: number): number => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ')
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS
  }

  it('answers on its sockets meanwhile', async () => {
    const address = /Prometheus metrics listening on "([^"]+)"/.exec(readFileSync(volume.logFile, 'utf8'))![1]!
    const looking = look(3)
    await sleep(500)
    for (let i = 0; i < 5; i++) {
      const answer = await fetch(`http://${address}/metrics`, { signal: AbortSignal.timeout(2000) })
      assert.match(await answer.text(), /juicefs_uptime/)
    }
    const times = await looking
    assert.ok(times > 100, `looked ${times} times`)
  })

  it('rests as soon as it is asked no more', async () => {
    const pid = volume.pid()
    await look(1)
    await sleep(200)
    const before = cpuMs(pid)
    await sleep(1000)
    const used = cpuMs(pid) - before
    assert.ok(used < 300, `${used} ms of processor time in a second without requests`)
  })
})
