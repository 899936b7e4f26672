/** A mount from its start to its end, as an operator sees it. */

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { cli, launcher, mountSkip, newVolume, run, type TestVolume } from './harness.ts'

function fetchText(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    get(url, response => {
      let text = ''
      response.setEncoding('utf8').on('data', piece => {
        text += piece
      })
      response.on('end', () => resolve(text))
    }).on('error', reject)
  })
}

const isAlive = (pid: number): boolean =>
  existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))
async function until(what: () => boolean, limitMs = 10_000): Promise<void> {
  for (const end = performance.now() + limitMs; !what(); await sleep(20)) assert.ok(performance.now() < end, 'in time')
}

describe('a mount', { skip: mountSkip }, () => {
  let volume: TestVolume
  before(() => {
    volume = newVolume()
  })
  afterEach(() => void (existsSync(join(volume.mountPoint, '.config')) && volume.unmount()))
  after(() => volume.remove())
  const flags = (): string[] => [
    '--no-syslog',
    '--log',
    volume.logFile,
    '--cache-dir',
    volume.cacheDir,
    '--backup-meta',
    '0',
  ]
  const log = (): string => readFileSync(volume.logFile, 'utf8')
  const inTable = (): string | undefined =>
    readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .find(line => line.includes(` ${volume.mountPoint} `))

  const sessions = () =>
    (JSON.parse(cli(['-q', 'status', volume.metaUrl]).stdout) as { Sessions: Record<string, unknown>[] }).Sessions

  it('says OK when it answers, and its log tells each step', () => {
    const ran = cli(['mount', '-d', ...flags(), '--metrics', '127.0.0.1:0', volume.metaUrl, volume.mountPoint])
    assert.equal(ran.status, 0, ran.stderr)
    assert.ok(ran.stderr.includes(`\x1b[92mOK\x1b[0m, test-volume is ready at "${volume.mountPoint}"`))
    assert.match(ran.stderr, /<INFO>: Meta address: sqlite3:.*\n.*<INFO>: Data use file:/)
    const steps = [
      'Meta address:',
      'Data use',
      'JuiceFS version',
      'Disk cache',
      'Create session',
      'Prometheus metrics listening on',
      'Mounting volume test-volume at',
    ]
    const places = steps.map(step => log().indexOf(step))
    assert.ok(
      places.every(place => place >= 0),
      log(),
    )
    assert.deepEqual(
      [...places].sort((a, b) => a - b),
      places,
    )
    assert.match(
      inTable() ?? '',
      / - fuse\.juicefs JuiceFS:test-volume rw,user_id=0,group_id=0,default_permissions,allow_other/,
    )
  })

  it('is mounted also when nobody reads what the command says', async () => {
    const words = ['mount', '-d', ...flags(), '--metrics', '127.0.0.1:0', volume.metaUrl, volume.mountPoint]
    const ran = spawnSync('bash', ['-c', `"$0" "$@" 2>&1 | true; exit \${PIPESTATUS[0]}`, launcher, ...words])
    assert.equal(ran.status, 0)
    assert.ok(existsSync(join(volume.mountPoint, '.config')))
  })

  it('outlives its log: on a full disk lines are lost, and come again when there is room', async () => {
    const disk = join(volume.dir, 'small')
    mkdirSync(disk)
    assert.equal(spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', disk]).status, 0)
    try {
      const logFile = join(disk, 'log')
      volume.mount(['--log', logFile])
      const pid = volume.pid()
      spawnSync('dd', ['if=/dev/zero', `of=${join(disk, 'fill')}`, 'bs=1k', 'count=100'])
      const hang = (): void => void process.kill(pid, 'SIGHUP')
      for (let i = 0; i < 60; i++, await sleep(10)) hang()
      await run('sh', ['-c', 'echo here > file && cat file'], { cwd: volume.mountPoint, timeoutMs: 5000 }).then(ran =>
        assert.equal(ran.stdout, 'here\n'),
      )
      rmSync(join(disk, 'fill'))
      hang()
      await until(() => readFileSync(logFile, 'utf8').length > 4096)
      volume.unmount()
    } finally {
      spawnSync('umount', ['-l', volume.mountPoint, disk])
    }
  })

  it('serves in a session of its own, at the root directory, as what it is', () => {
    volume.mount()
    const pid = volume.pid()
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ')
    assert.equal(Number(fields[3]), pid, 'session leader')
    assert.match(readFileSync(`/proc/${pid}/cmdline`, 'latin1'), /^juicefs-ts mount sqlite3:/)
  })

  it('is in status while it lives, and not afterwards', () => {
    volume.mount()
    assert.deepEqual(
      sessions().map(({ MountPoint, ProcessID }) => [MountPoint, ProcessID]),
      [[volume.mountPoint, volume.pid()]],
    )
    volume.unmount()
    assert.deepEqual(sessions(), [])
  })

  it('is unmounted only when everything is stored and its process has ended', () => {
    volume.mount()
    const pid = volume.pid()
    writeFileSync(join(volume.mountPoint, 'last'), 'x'.repeat(100_000))
    volume.unmount()
    assert.ok(!isAlive(pid))
    const end =
      /flush buffered data in \S+ .*\n.*close session \d+: <nil> .*\n.*The juicefs mount process exit successfully, mountpoint: "[^"]*" \[\S+\]\n$/
    assert.match(log(), end)
    volume.mount()
    assert.equal(readFileSync(join(volume.mountPoint, 'last'), 'latin1').length, 100_000)
  })

  it('stays while a file is open, unless it is forced', async () => {
    volume.mount()
    const pid = volume.pid()
    const fd = openSync(join(volume.mountPoint, 'open'), 'w')
    const busy = cli(['umount', volume.mountPoint])
    assert.equal(busy.status, 1)
    assert.match(busy.stderr, /<FATAL>: .*busy/i)
    const start = performance.now()
    const forced = cli(['umount', '--force', volume.mountPoint])
    assert.equal(forced.status, 0)
    assert.match(forced.stderr, /<WARNING>: .* is unmounted, but process \d+ has not ended yet: files are still open/)
    assert.ok(performance.now() - start < 10_000, 'nobody waits long for somebody else to close a file')
    assert.equal(inTable(), undefined)
    assert.ok(isAlive(pid))
    closeSync(fd)
    await until(() => !isAlive(pid))
  })

  it('that is bound elsewhere too is unmounted in one place, and umount does not wait for its end', () => {
    volume.mount()
    const pid = volume.pid()
    const bound = join(volume.dir, 'bound')
    mkdirSync(bound)
    assert.equal(spawnSync('mount', ['--bind', volume.mountPoint, bound]).status, 0)
    const start = performance.now()
    const ran = cli(['umount', bound])
    assert.deepEqual([ran.status, ran.stderr], [0, ''])
    assert.ok(performance.now() - start < 10_000)
    assert.ok(isAlive(pid) && existsSync(join(volume.mountPoint, '.config')))
  })

  it('without transparent huge pages when asked', () => {
    volume.mount(['--disable-transparent-hugepage'])
    assert.match(readFileSync(`/proc/${volume.pid()}/status`, 'latin1'), /^THP_enabled:\t0$/m)
  })

  it('is mounted by mount(8), with the options of its entry', () => {
    const helper = join(volume.dir, 'mount.juicefs')
    symlinkSync(launcher, helper)
    const list = `rw,_netdev,nofail,no-syslog,log=${volume.logFile},cache-dir=${volume.cacheDir},metrics=127.0.0.1:0,attr-cache=7,noexec`
    const ran = spawnSync(helper, [volume.metaUrl, volume.mountPoint, '-o', list], { encoding: 'utf8' })
    assert.match(`${ran.stderr}`, /OK.*test-volume is ready at/)
    assert.equal(ran.status, 0)
    const config = JSON.parse(readFileSync(join(volume.mountPoint, '.config'), 'utf8')) as { AttrTimeout: number }
    assert.equal(config.AttrTimeout, 7e9)
    // `mount -a` asks again; the same volume is there. A remount, or another volume, is something else.
    const pid = volume.pid()
    const again = spawnSync(helper, [volume.metaUrl, volume.mountPoint, '-o', list], { encoding: 'utf8' })
    assert.match(again.stderr, /the volume is mounted at ".*" already/)
    assert.deepEqual([again.status, volume.pid()], [0, pid])
    const remount = spawnSync(helper, [volume.metaUrl, volume.mountPoint, '-o', `${list},remount`], {
      encoding: 'utf8',
    })
    assert.match(remount.stderr, /is already mounted by JuiceFS:test-volume: umount it first/)
    assert.equal(remount.status, 1)
    const other = newVolume()
    const elsewhere = spawnSync(helper, [other.metaUrl, volume.mountPoint, '-o', list], { encoding: 'utf8' })
    other.remove()
    assert.match(elsewhere.stderr, /is already mounted by JuiceFS:test-volume: umount it first/)
    const nothing = spawnSync(helper, ['one'], { encoding: 'utf8' })
    assert.deepEqual([nothing.status, nothing.stdout.includes('COMMANDS:')], [0, true])
  })

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`ends by ${signal}: unmounted, flushed`, async () => {
      volume.mount()
      const pid = volume.pid()
      writeFileSync(join(volume.mountPoint, signal), 'kept')
      process.kill(pid, signal)
      await until(() => !isAlive(pid))
      assert.equal(inTable(), undefined)
      assert.match(log(), new RegExp(`Received signal ${signal}, exiting`))
      volume.mount()
      assert.equal(readFileSync(join(volume.mountPoint, signal), 'utf8'), 'kept')
    })
  }

  it('in foreground ends with 0 when it is unmounted', async () => {
    const child = spawn(
      launcher,
      ['mount', ...flags(), '--metrics', '127.0.0.1:0', volume.metaUrl, volume.mountPoint],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    let err = ''
    child.stderr.setEncoding('utf8').on('data', piece => {
      err += piece
    })
    const ended = new Promise<number | null>(resolve => child.on('exit', resolve))
    await until(() => err.includes('is ready at'))
    volume.unmount()
    assert.equal(await ended, 0, err)
    assert.match(err, /exit successfully/)
  })

  it('takes away what a killed process left mounted, its session too', async () => {
    volume.mount()
    const pid = volume.pid()
    process.kill(pid, 'SIGKILL')
    await until(() => !isAlive(pid))
    assert.throws(() => readdirSync(volume.mountPoint), /ENOTCONN|ECONNABORTED/)
    const ran = cli(['mount', '-d', ...flags(), '--metrics', '127.0.0.1:0', volume.metaUrl, volume.mountPoint])
    assert.equal(ran.status, 0, ran.stderr)
    assert.match(ran.stderr, /mountpoint "[^"]*" is broken \(\w+\), umount it/)
    assert.ok(readdirSync(volume.mountPoint).includes('last'))
    await until(() => log().includes('clean up stale session'))
    assert.deepEqual(
      sessions().map(({ ProcessID }) => ProcessID),
      [volume.pid()],
    )
  })

  it('that hangs is refused as a mount point, and taken away by force, in seconds', async () => {
    volume.mount()
    const pid = volume.pid()
    process.kill(pid, 'SIGSTOP')
    try {
      const again = await run(launcher, ['mount', volume.metaUrl, volume.mountPoint], { timeoutMs: 20_000 })
      assert.match(again.stderr, /does not answer: umount -l it first/)
      assert.equal(again.status, 1)
      const forced = await run(launcher, ['umount', '-f', volume.mountPoint], { timeoutMs: 20_000 })
      assert.equal(forced.status, 0, forced.stderr)
      assert.equal(inTable(), undefined)
    } finally {
      spawnSync('umount', ['-l', volume.mountPoint])
      process.kill(pid, 'SIGCONT')
    }
    await until(() => !isAlive(pid))
  })

  it('is taken away by umount also when its process was killed', async () => {
    volume.mount()
    const pid = volume.pid()
    process.kill(pid, 'SIGKILL')
    await until(() => !isAlive(pid))
    assert.equal(cli(['umount', volume.mountPoint]).status, 0)
    assert.equal(inTable(), undefined)
  })

  it('serves its metrics with labels, on another port when the default is taken', async () => {
    volume.mount(['--custom-labels', 'team:core'])
    const address = /Prometheus metrics listening on "([^"]+)"/.exec(log().split('Create session').at(-1)!)![1]!
    const text = await fetchText(`http://${address}/metrics`)
    const labels = /^juicefs_uptime\{(.*)\} [\d.]+$/m.exec(text)?.[1] ?? ''
    for (const label of ['mp="/', 'vol_name="test-volume"', 'juicefs_version="1.4.1', 'instance="', 'team="core"']) {
      assert.ok(labels.includes(label), `${label} in ${labels}`)
    }
    assert.match(text, /juicefs_fuse_ops_durations_histogram_seconds_bucket\{/)
  })

  it('shows a part of the volume with --subdir, and makes it where it is missing', () => {
    volume.mount(['--subdir', 'part/of'])
    writeFileSync(join(volume.mountPoint, 'inside'), 'x')
    volume.unmount()
    volume.mount()
    assert.ok(existsSync(join(volume.mountPoint, 'part/of/inside')))
    volume.unmount()
    const ran = cli([
      'mount',
      '-d',
      ...flags(),
      '--read-only',
      '--metrics',
      '127.0.0.1:0',
      '--subdir',
      'nowhere',
      volume.metaUrl,
      volume.mountPoint,
    ])
    assert.equal(ran.status, 1)
    assert.match(ran.stderr, /--subdir nowhere.*read-only file system/)
  })

  it('refuses every change when it is read-only, and has no session', () => {
    volume.mount(['--read-only'])
    assert.throws(() => writeFileSync(join(volume.mountPoint, 'no'), 'x'), { code: 'EROFS' })
    assert.equal(readFileSync(join(volume.mountPoint, 'last'), 'latin1').length, 100_000)
    assert.deepEqual(sessions(), [])
  })

  it('is inspected by info, also by inode, and a path elsewhere fails', () => {
    volume.mount()
    const path = join(volume.mountPoint, 'last')
    const told = cli(['info', path])
    assert.equal(told.status, 0, told.stderr)
    assert.match(
      told.stdout,
      /^.*last :\n {2}inode: \d+\n {2}files: 1\n {3}dirs: 0\n length: 97\.66 KiB \(100000 Bytes\)\n.*\n {3}path: \/last\n/,
    )
    const elsewhere = cli(['info', '/etc/passwd', path])
    assert.equal(elsewhere.status, 1)
    assert.match(elsewhere.stderr, /<ERROR>: info: \/etc\/passwd: \/etc is not inside a JuiceFS mount point/)
    assert.match(elsewhere.stdout, /path: \/last/)
  })

  it('is the same by a symbolic link: mounted, inspected, not mounted twice, unmounted', () => {
    const link = join(volume.dir, 'link')
    symlinkSync('mnt', link)
    const mount = () => cli(['mount', '-d', ...flags(), '--metrics', '127.0.0.1:0', volume.metaUrl, link])
    const mounted = mount()
    assert.match(mounted.stderr, new RegExp(`test-volume is ready at "${volume.mountPoint}"`))
    writeFileSync(join(link, 'behind'), 'x')
    symlinkSync(join(link, 'behind'), join(volume.dir, 'to-file'))
    for (const words of [
      ['info', link],
      ['info', join(volume.dir, 'to-file')],
      ['summary', join(volume.dir, 'to-file')],
    ])
      assert.equal(cli(words).status, 0, words.join(' '))
    for (const command of ['warmup', 'compact'])
      assert.equal(cli([command, link, join(volume.dir, 'to-file')]).status, 0, command)
    assert.match(mount().stderr, /is already mounted by JuiceFS:test-volume/)
    assert.equal(cli(['umount', link]).status, 0)
    assert.equal(inTable(), undefined)
  })

  it('is summed up by summary', () => {
    volume.mount()
    writeFileSync(join(volume.mountPoint, 'last'), 'x'.repeat(100_000))
    const told = cli(['summary', volume.mountPoint, '--csv', '-d', '1'])
    assert.equal(told.status, 0, told.stderr)
    assert.match(told.stdout, /^PATH,SIZE,DIRS,FILES\n\/,\d+,\d+,\d+\n(.*\n)*last,102400,0,1\n/)
    assert.match(cli(['summary', join(volume.mountPoint, 'last')]).stdout, /^\| \. +\| 100 KiB \| +0 \| +1 \|$/m)
    const elsewhere = cli(['summary', '/tmp'])
    assert.deepEqual([elsewhere.status, elsewhere.stdout], [1, ''])
  })

  it('shows what it did in bench', () => {
    volume.mount()
    const ran = cli(['bench', '--big-file-size', '4M', '--small-file-count', '3', volume.mountPoint], {
      SKIP_DROP_CACHES: 'true',
    })
    assert.equal(ran.status, 0, ran.stderr)
    assert.match(ran.stdout, /\nTime used: [\d.]+ s, CPU: [\d.]+%, Memory: [\d.]+ MiB\n/)
    const operations = Number(/FUSE operation \| +(\d+) operations/.exec(ran.stdout)?.[1])
    assert.ok(operations > 20, ran.stdout)
    assert.match(ran.stdout, /Put object \| +[4-9] operations/)
  })

  it('of what this client does not understand is refused by the name of the feature', () => {
    const other = newVolume({ name: 'newer' })
    try {
      assert.equal(cli(['config', '--max-client-version', '1.3.0', '--force', other.metaUrl]).status, 0)
      const ran = cli(['mount', '-d', ...flags(), '--metrics', '127.0.0.1:0', other.metaUrl, other.mountPoint])
      assert.equal(ran.status, 1)
      assert.match(ran.stderr, /<FATAL>: allowed maximum version: 1\.3\.0/)
    } finally {
      other.remove()
    }
  })

  it('that is not ready in time is ended, and nothing stays mounted', () => {
    const ran = cli(['mount', '-d', ...flags(), '--metrics', '127.0.0.1:0', volume.metaUrl, volume.mountPoint], {
      JFS_MOUNT_TIMEOUT: '0.01',
    })
    assert.equal(ran.status, 1)
    assert.match(
      ran.stderr,
      /The mount point is not ready in 0\.01 seconds \(tried to kill mount process \d+\), please check the log/,
    )
    assert.equal(inTable(), undefined)
  })
})
