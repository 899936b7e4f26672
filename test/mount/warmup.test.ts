/** `warmup` and `compact` on a real mount, as scripts use them. */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { cli, launcher, mountSkip, newVolume, run, start, type TestVolume } from './harness.ts'

describe('warmup', { skip: mountSkip, timeout: 60_000 }, () => {
  let volume: TestVolume
  before(() => {
    volume = newVolume({ format: ['--block-size', '64K'] })
    volume.mount(['--cache-partial-only'])
    for (const name of ['a', 'b', 'odd\nname']) writeFileSync(at(name), Buffer.alloc(128 << 10, name))
  })
  after(() => {
    if (existsSync(join(volume.mountPoint, '.config'))) volume.unmount()
    volume.remove()
  })
  const at = (name: string): string => join(volume.mountPoint, name)

  it('says how much is cached, fetches the rest, and drops it again', () => {
    const none = cli(['warmup', '--check', volume.mountPoint])
    assert.equal(none.status, 0, none.stderr)
    assert.match(none.stderr, /check cache: 3 files checked, 0 B of 384 KiB \(0\.0%\) cached/)
    assert.equal(none.stdout, '')
    assert.match(cli(['warmup', at('a'), at('odd\nname')]).stderr, /warmup cache: 2 files \(256 KiB bytes\)/)
    const some = cli(['warmup', '--check', volume.mountPoint])
    assert.match(some.stderr, /check cache: 3 files checked, 256 KiB of 384 KiB \(66\.7%\) cached/)
    const uuid = (JSON.parse(readFileSync(at('.config'), 'utf8')) as { Format: { UUID: string } }).Format.UUID
    const place = `${volume.cacheDir}/${uuid}/`
    assert.equal(some.stdout.split('\n')[3], `| ${place} | 256 KiB |      66.7% |`)
    assert.match(cli(['warmup', '--evict', at('a')]).stderr, /evict cache: 1 files \(128 KiB bytes\)/)
    assert.match(cli(['warmup', '--check', at('a')]).stderr, /1 files checked, 0 B of 128 KiB/)
  })

  it('takes paths from a list, follows links, and can be left alone', async () => {
    symlinkSync('b', at('link'))
    const list = join(volume.dir, 'list')
    writeFileSync(list, `${at('link')}\n\n`)
    const started = cli(['warmup', '-f', list, '-b', '-p', '4'])
    assert.equal(started.status, 0, started.stderr)
    assert.match(started.stderr, /warmup cache for 1 paths in background/)
    for (let n = 0; ; n++) {
      if (/128 KiB of 128 KiB/.test(cli(['warmup', '--check', at('b')]).stderr)) break
      assert.ok(n < 50, 'it is cached after a while')
      await sleep(50)
    }
  })

  it('ends when the mount dies, and no more is fetched when it is interrupted itself', async () => {
    const big = at('big')
    writeFileSync(big, Buffer.alloc(24 << 20))
    volume.unmount()
    volume.mount(['--cache-partial-only', '--download-limit', '32', '--buffer-size', '8M']) // 3.4 MB a second
    const cached = (): number => {
      const { stderr } = cli(['warmup', '--check', big])
      return Number(/, ([\d.]+) (?:MiB|KiB|B) of 24 MiB/.exec(stderr)?.[1])
    }
    const interrupted = start(launcher, ['warmup', big])
    await sleep(1500)
    interrupted.kill('SIGINT')
    await once(interrupted, 'close')
    await sleep(1500) // what was on its way
    const before = cached()
    await sleep(1000)
    assert.equal(cached(), before)
    const dying = run(launcher, ['warmup', big])
    await sleep(1000)
    process.kill(volume.pid(), 'SIGKILL')
    const { status, stderr } = await dying
    assert.equal(status, 1)
    assert.match(stderr, /FATAL.*the mount that serves \S+ has ended/)
    volume.mount(['--cache-partial-only'])
  })

  it('is told when it asks for too much or too little', () => {
    const both = cli(['warmup', '--check', '--evict', volume.mountPoint])
    assert.equal(both.status, 1)
    assert.match(both.stderr, /FATAL.*--check and --evict can't be used together/)
    const none = cli(['warmup'])
    assert.equal(none.status, 0)
    assert.match(none.stderr, /INFO.*no path/)
    const outside = cli(['warmup', volume.dir])
    assert.equal(outside.status, 1)
    assert.match(outside.stderr, /FATAL.* is not inside a JuiceFS mount point/)
    const missing = cli(['warmup', at('none'), at('a')])
    assert.equal(missing.status, 1)
    assert.match(missing.stderr, /ERROR.*none.*no such file/)
    assert.match(missing.stderr, /warmup cache: 1 files/)
  })
})

describe('compact', { skip: mountSkip, timeout: 60_000 }, () => {
  it('merges the slices of files, and of all below a directory', () => {
    const volume = newVolume({ format: ['--trash-days', '0'] })
    try {
      volume.mount()
      const path = join(volume.mountPoint, 'file')
      const fd = openSync(path, 'w')
      for (let i = 0; i < 8; i++) {
        writeSync(fd, Buffer.alloc(1000, i), 0, 1000, i * 700)
        fsyncSync(fd)
      }
      closeSync(fd)
      const slices = (): number => cli(['info', '--raw', path]).stdout.match(/^\| +0 \|/gm)!.length
      assert.equal(slices(), 8)
      const done = cli(['compact', '--threads', '2', volume.mountPoint])
      assert.equal(done.status, 0, done.stderr)
      assert.ok(done.stderr.includes(`compact [1:"${volume.mountPoint}"] success.`), done.stderr)
      assert.equal(slices(), 1)
      assert.equal(readFileSync(path).length, 5900)
      const failed = cli(['compact', join(volume.mountPoint, 'none'), path])
      assert.equal(failed.status, 1)
      assert.match(failed.stderr, /ERROR.*compact .*none.*no such file/)
      assert.match(failed.stderr, /compact \[\d+:".*file"\] success\./)
      volume.unmount()
    } finally {
      volume.remove()
    }
  })
})
