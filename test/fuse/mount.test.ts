import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  existsSync,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const hasAddon = existsSync(join(here, '..', '..', 'native', `juicefs_fuse-${process.arch}.node`))
const skip: string | false = !existsSync('/dev/fuse')
  ? '/dev/fuse is missing'
  : process.getuid?.() !== 0
    ? 'mounting for tests needs root'
    : false

class Served {
  readonly dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-fuse-'))
  readonly mountPoint = join(this.dir, 'mnt')
  readonly child: ChildProcess
  output = ''
  errors = ''
  readonly #ended: Promise<number | null>

  constructor(env: Record<string, string>) {
    chmodSync(this.dir, 0o755)
    mkdirSync(this.mountPoint)
    this.child = spawn(process.execPath, [join(here, 'tiny-server.ts'), this.mountPoint], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.child.stdout!.setEncoding('utf8').on('data', text => {
      this.output += text
    })
    this.child.stderr!.setEncoding('utf8').on('data', text => {
      this.errors += text
    })
    this.#ended = new Promise(resolve => this.child.on('close', resolve))
  }
  async ready(): Promise<void> {
    const until = Date.now() + 10_000
    while (!this.output.includes('ready')) {
      if (Date.now() > until || this.child.exitCode !== null) throw new Error(`not mounted: ${this.errors}`)
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
  /** Waits for a line in the log, 2 s at most. */
  async said(pattern: RegExp): Promise<void> {
    for (let i = 0; i < 100 && !pattern.test(this.errors); i++) await new Promise(resolve => setTimeout(resolve, 20))
  }
  /** The exit status; null when it had to be killed. */
  async ended(): Promise<number | null> {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 5000)
    const status = await this.#ended
    clearTimeout(timer)
    return status
  }
  async remove(): Promise<void> {
    spawnSync('umount', ['-l', this.mountPoint], { stdio: 'ignore' })
    await this.ended()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

const run = (command: string, args: readonly string[]): Promise<number> =>
  new Promise(resolve => {
    const child = execFile(command, args, { timeout: 10_000 }, () => resolve(child.exitCode ?? -1))
  })
const code = (work: () => unknown): string | undefined => {
  try {
    work()
    return undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code
  }
}

for (const { title, env, without } of [
  { title: 'native transport', env: {}, without: hasAddon ? false : 'the addon is not built' },
  { title: 'thread pool transport', env: { JUICEFS_TS_NO_ADDON: '1', UV_THREADPOOL_SIZE: '8' }, without: false },
] as const) {
  describe(`a mount over the ${title}`, { skip: skip || without }, () => {
    let served: Served
    const at = (...parts: string[]): string => join(served.mountPoint, ...parts)
    before(async () => {
      served = new Served(env)
      await served.ready()
    })
    after(() => served.remove())

    test('it is served by the transport meant', () => {
      assert.match(served.output, new RegExp(`ready ${title.startsWith('native') ? 'native' : 'thread-pool'}`))
    })
    test('the mount table shows source, type and options', () => {
      const line = readFileSync('/proc/mounts', 'utf8')
        .split('\n')
        .find(entry => entry.includes(served.mountPoint))!
      assert.match(
        line,
        /^JuiceFS:tiny \S+ fuse\.juicefs rw,nosuid,nodev,\S*default_permissions,allow_other,max_read=262144/,
      )
    })
    test('read-ahead is raised beyond the 128 KiB of the kernel', async () => {
      const device = readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .find(entry => entry.includes(served.mountPoint))!
        .split(' ')[2]
      await new Promise(resolve => setTimeout(resolve, 50))
      assert.equal(readFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, 'utf8'), '1024\n')
    })
    test('what is written at any size and place is read back', () => {
      const path = at('data')
      const fd = openSync(path, 'w+')
      const bytes = Buffer.from(Array.from({ length: 700_001 }, (_, i) => (i * 7919) >> 3))
      writeSync(fd, bytes, 0, bytes.length, 0)
      for (const [offset, length] of [
        [0, 1],
        [4095, 2],
        [262_143, 262_146],
        [1_000_000, 300_000],
      ] as const) {
        const piece = Buffer.alloc(length, offset % 251)
        writeSync(fd, piece, 0, length, offset)
        const back = Buffer.alloc(length)
        assert.equal(readSync(fd, back, 0, length, offset), length)
        assert.ok(back.equals(piece), `${length} bytes at ${offset}`)
      }
      assert.equal(fstatSync(fd).size, 1_300_000)
      closeSync(fd)
      assert.equal(readFileSync(path).length, 1_300_000)
    })
    test('many writers at once keep their bytes apart', async () => {
      const script =
        'import{writeFileSync}from"node:fs";const[d,n]=process.argv.slice(1);for(let i=0;i<40;i++)writeFileSync(d+"/w"+n+"_"+i,Buffer.alloc(200000,+n*40+i))'
      const writers = [0, 1, 2, 3].map(n =>
        run(process.execPath, ['--input-type=module', '-e', script, served.mountPoint, String(n)]),
      )
      assert.deepEqual(await Promise.all(writers), [0, 0, 0, 0])
      for (let n = 0; n < 4; n++)
        for (let i = 0; i < 40; i++) {
          const bytes = readFileSync(at(`w${n}_${i}`))
          assert.ok(bytes.length === 200_000 && bytes.every(byte => byte === n * 40 + i), `file w${n}_${i}`)
          unlinkSync(at(`w${n}_${i}`))
        }
    })
    test('a directory of 10,000 entries lists each of them once, with and without attributes', () => {
      mkdirSync(at('many'))
      for (let i = 0; i < 10_000; i++) closeSync(openSync(at('many', `name-${i}`), 'wx'))
      const names = readdirSync(at('many'))
      assert.equal(names.length, 10_000)
      assert.equal(new Set(names).size, 10_000)
      const listed = spawnSync('ls', ['-lU', at('many')], { encoding: 'utf8', maxBuffer: 1 << 24 })
      assert.equal(listed.stdout.trim().split('\n').length, 10_001)
    })
    test('names are bytes', () => {
      const name = Buffer.concat([Buffer.from(`${served.mountPoint}/`), Buffer.from([0xff, 0x41, 0xc3, 0xa9, 0x80])])
      writeFileSync(name, 'x')
      assert.ok(
        readdirSync(served.mountPoint, { encoding: 'buffer' }).some(entry => entry[0] === 0xff && entry.length === 5),
      )
      unlinkSync(name)
    })
    test('stat shows mode, links, owner, times with nanoseconds and sizes', () => {
      writeFileSync(at('stat'), 'hello')
      chmodSync(at('stat'), 0o640)
      utimesSync(at('stat'), 1_000_000_000.5, 0)
      spawnSync('touch', ['-m', '-d', '@-1.5', at('stat')])
      const stat = statSync(at('stat'), { bigint: true })
      assert.equal(stat.mode, 0o100640n)
      assert.equal(stat.nlink, 1n)
      assert.equal(stat.size, 5n)
      assert.equal(stat.blocks, 1n)
      assert.equal(stat.blksize, 65536n)
      assert.equal(stat.atimeNs, 1_000_000_000_500_000_000n)
      assert.equal(stat.mtimeNs, -1_500_000_000n)
      assert.equal(stat.ctimeNs % 1_000_000_000n, 123_456_789n)
    })
    test('rename moves, replaces, and fails where the source is missing', () => {
      mkdirSync(at('dir'))
      writeFileSync(at('a'), 'a')
      writeFileSync(at('dir', 'b'), 'b')
      renameSync(at('a'), at('dir', 'b'))
      assert.equal(readFileSync(at('dir', 'b'), 'utf8'), 'a')
      assert.equal(
        code(() => statSync(at('a'))),
        'ENOENT',
      )
      assert.equal(
        code(() => renameSync(at('a'), at('c'))),
        'ENOENT',
      )
      assert.equal(
        code(() => rmdirSync(at('dir'))),
        'ENOTEMPTY',
      )
    })
    test('links, symbolic links and truncation', () => {
      writeFileSync(at('file'), 'contents')
      linkSync(at('file'), at('second'))
      symlinkSync('file', at('pointer'))
      truncateSync(at('second'), 3)
      assert.equal(statSync(at('second')).nlink, 2)
      assert.equal(readlinkSync(at('pointer')), 'file')
      assert.equal(lstatSync(at('pointer')).size, 4)
      assert.equal(readFileSync(at('pointer'), 'utf8'), 'con')
      truncateSync(at('file'), 0)
      assert.equal(statSync(at('file')).size, 0)
    })
    test('statfs shows the volume', () => {
      const fs = statfsSync(served.mountPoint)
      assert.equal(fs.bsize, 4096)
      assert.equal(fs.blocks, 2 ** 28)
      assert.equal(fs.bavail, 2 ** 27)
      assert.equal(fs.ffree, 1000)
    })
    test('a write by another user takes set-user-id away', async () => {
      writeFileSync(at('program'), 'x')
      chmodSync(at('program'), 0o6777)
      assert.equal(
        await run('setpriv', ['--reuid=1000', '--clear-groups', 'sh', '-c', `echo more >> ${at('program')}`]),
        0,
      )
      assert.equal(statSync(at('program')).mode & 0o7777, 0o777)
      chmodSync(at('program'), 0o4777)
      assert.equal(await run('setpriv', ['--reuid=1000', '--clear-groups', 'truncate', '-s', '0', at('program')]), 0)
      assert.equal(statSync(at('program')).mode & 0o7777, 0o777)
    })
    test('a fault is answered with EIO, logged once, and serving goes on', async () => {
      assert.equal(
        code(() => statSync(at('broken'))),
        'EIO',
      )
      assert.equal(
        code(() => statSync(at('buggy'))),
        'EIO',
      )
      assert.equal(statSync(served.mountPoint).isDirectory(), true)
      await served.said(/TypeError/)
      assert.match(served.errors, /lookup of inode 1: ask the database: gone \(EIO\)/)
      assert.match(served.errors, /lookup of inode 1: TypeError: undefined is not a function/)
    })
    test('a lock excludes others, and whoever waits gets it when it is free', async () => {
      writeFileSync(at('lock'), '')
      const holder = run('flock', [at('lock'), 'sleep', '0.5'])
      await new Promise(resolve => setTimeout(resolve, 150))
      assert.equal(await run('flock', ['-n', at('lock'), 'true']), 1)
      assert.equal(await run('flock', [at('lock'), 'true']), 0)
      assert.equal(await holder, 0)
    })
    test('a signal ends the wait for a lock', async () => {
      const holder = spawn('flock', ['-o', at('lock'), 'sleep', '2'])
      await new Promise(resolve => setTimeout(resolve, 150))
      const began = Date.now()
      const status = await run('timeout', ['-s', 'INT', '0.3', 'flock', at('lock'), 'true'])
      assert.equal(status, 124)
      assert.ok(Date.now() - began < 3000)
      holder.kill()
      assert.equal(await run('flock', ['-w', '3', at('lock'), 'true']), 0)
    })
    test('the kernel is told to forget without the mount standing still', () => {
      served.child.kill('SIGUSR2')
      for (let i = 0; i < 200; i++) {
        writeFileSync(at('stale'), 'x')
        unlinkSync(at('stale'))
      }
      assert.doesNotMatch(served.errors, /refused an invalidation/)
    })
    test('at SIGTERM an open file goes on working until it is closed, then the server ends with nothing left', async () => {
      const fd = openSync(at('open'), 'w+')
      served.child.kill('SIGTERM')
      await new Promise(resolve => setTimeout(resolve, 200))
      assert.equal(readdirSync(served.mountPoint).length, 0)
      assert.equal(writeSync(fd, 'still here'), 10)
      closeSync(fd)
      assert.equal(await served.ended(), 0)
      assert.match(served.output, /closed, in flight 0, held 0/)
      // Timers went on under all the load above.
      assert.ok(Number(/longest pause (\d+) ms/.exec(served.output)?.[1]) < 500, served.output)
      assert.doesNotMatch(served.errors, /refused the answer/)
    })
  })
}

test('a mount that a killed server left behind is replaced', {
  skip: skip || (hasAddon ? false : 'the addon is not built'),
}, async () => {
  const first = new Served({})
  try {
    await first.ready()
    first.child.kill('SIGKILL')
    await first.ended()
    assert.equal(
      code(() => statSync(first.mountPoint)),
      'ENOTCONN',
    )
    const again = spawn(process.execPath, [join(here, 'tiny-server.ts'), first.mountPoint], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await new Promise(resolve => again.stdout.once('data', resolve))
    assert.equal(statSync(first.mountPoint).isDirectory(), true)
    again.kill('SIGTERM')
    await new Promise(resolve => again.once('close', resolve))
  } finally {
    await first.remove()
  }
})

test('a place that cannot be mounted on is refused in one line', { skip }, async () => {
  const { mountFuse } = await import('../../src/fuse/mount.ts')
  const { silentLog } = await import('../../src/base/log.ts')
  await assert.rejects(
    mountFuse({
      mountPoint: '/nonexistent/place',
      source: 'x',
      options: [],
      allowOther: false,
      defaultPermissions: true,
      maxWrite: 131072,
      log: silentLog,
    }),
    { name: 'Fault', errno: 2, message: /^mount point \/nonexistent\/place: [^\n]*$/ },
  )
})

test('fusermount3 hands the descriptor over a socket', {
  skip: skip || (spawnSync('fusermount3', ['-V']).error ? 'fusermount3 is missing' : false),
}, async () => {
  const { nativeFuse } = await import('../../src/fuse/native-addon.ts')
  const addon = nativeFuse()
  if (!addon) return
  const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-fuse-'))
  const pair = addon.socketPair()
  assert.ok(Array.isArray(pair))
  try {
    const ran = spawnSync('fusermount3', ['-o', 'fsname=helper', '--', dir], {
      env: { ...process.env, _FUSE_COMMFD: '3' },
      stdio: ['ignore', 'ignore', 'pipe', pair[1]],
    })
    assert.equal(ran.status, 0, String(ran.stderr))
    const fd = addon.receiveDescriptor(pair[0])
    assert.ok(fd > 2)
    assert.equal(addon.prepareDescriptor(fd), 0)
    closeSync(fd)
  } finally {
    spawnSync('umount', ['-l', dir], { stdio: 'ignore' })
    closeSync(pair[0])
    closeSync(pair[1])
    rmdirSync(dir)
  }
})
