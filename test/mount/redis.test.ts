/** A volume whose metadata is in Redis, mounted twice by the real command line, with the server going away and coming back. */

import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { link, rename, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkVolume } from '../../src/meta/check.ts'
import { RedisEngine } from '../../src/meta/engine/redis/engine.ts'
import { RedisServer, redisSkip } from '../servers/redis.ts'
import { cli, mountSkip, run } from './harness.ts'

const PASSWORD = 'se cret'

describe('a mount on Redis', { skip: mountSkip || redisSkip }, () => {
  let server: RedisServer
  let dir: string
  let url: string
  const points = ['one', 'two']
  const at = (mount: number, ...path: string[]): string => join(dir, points[mount]!, ...path)

  /** without the virtual files in the root */
  const names = (which: number): string[] =>
    readdirSync(at(which))
      .filter(name => !name.startsWith('.'))
      .sort()

  function mount(which: number): void {
    const place = ['--cache-dir', join(dir, `cache${which}`), '--log', join(dir, `log${which}`)]
    const options = ['--no-syslog', '--backup-meta', '0', '--metrics', '127.0.0.1:0', '--enable-xattr']
    const mounted = cli(['mount', '-d', ...options, ...place, url, at(which)])
    assert.equal(mounted.status, 0, mounted.stderr)
  }
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-mount-redis-'))
    chmodSync(dir, 0o755)
    for (const point of points) mkdirSync(join(dir, point))
    server = await RedisServer.start({
      args: ['--requirepass', PASSWORD, '--appendonly', 'yes', '--appendfsync', 'everysec'],
    })
    url = `redis://:${encodeURIComponent(PASSWORD)}@127.0.0.1:${server.port}/2`
    const formatted = cli(['format', '--bucket', join(dir, 'objects'), url, 'vol'])
    assert.equal(formatted.status, 0, formatted.stderr)
    assert.match(formatted.stderr, /Meta address: redis:\/\/:\*\*\*\*@127/)
    assert.doesNotMatch(formatted.stderr, /se(%20| )cret/)
    for (const which of points.keys()) mount(which)
  })
  after(async () => {
    if (!dir) return
    for (const which of points.keys()) cli(['umount', '--force', at(which)])
    await server?.remove()
    rmSync(dir, { recursive: true, force: true })
  })

  it('shows on one mount what was written, moved, linked and removed on the other', async () => {
    const bytes = Buffer.alloc(9 << 20, 'some bytes ')
    mkdirSync(at(0, 'd'))
    writeFileSync(at(0, 'd', 'file'), bytes)
    assert.ok(readFileSync(at(1, 'd', 'file')).equals(bytes))
    await rename(at(1, 'd', 'file'), at(1, 'd', 'näme'))
    await link(at(1, 'd', 'näme'), at(1, 'second'))
    assert.deepEqual(readdirSync(at(0, 'd')), ['näme'])
    assert.equal(statSync(at(0, 'second')).nlink, 2)
    await unlink(at(0, 'd', 'näme'))
    assert.ok(readFileSync(at(1, 'second')).equals(bytes))
    assert.deepEqual(names(1), ['d', 'second'])
    const [hour] = readdirSync(at(1, '.trash'))
    assert.ok(readdirSync(at(1, '.trash', hour!)).some(name => name.endsWith('-näme')))
  })

  it('of two mounts that make the same name, one makes it; a lock of one keeps the other out', async () => {
    const both = await Promise.all(points.map((_, which) => run('mkdir', [at(which, 'same')])))
    assert.deepEqual(both.map(({ status }) => status).sort(), [0, 1])
    writeFileSync(at(0, 'locked'), '')
    const holder = run('flock', ['-x', at(0, 'locked'), 'sleep', '0.7'])
    await sleep(300)
    assert.equal((await run('flock', ['-n', at(1, 'locked'), 'true'])).status, 1)
    assert.equal((await holder).status, 0)
    assert.equal((await run('flock', ['-w', '5', at(1, 'locked'), 'true'])).status, 0)
  })

  it('lists a directory that both mounts fill at once, whole and once', async () => {
    mkdirSync(at(0, 'many'))
    const script =
      'import os,sys\nfor i in range(200): os.close(os.open(f"{sys.argv[1]}/{sys.argv[2]}{i}", os.O_CREAT|os.O_EXCL))'
    await Promise.all(points.map((name, which) => run('python3', ['-c', script, at(which, 'many'), name])))
    const wanted = points.flatMap(name => Array.from({ length: 200 }, (_, i) => `${name}${i}`)).sort()
    for (const which of points.keys()) assert.deepEqual(readdirSync(at(which, 'many')).sort(), wanted)
    assert.equal((await run('rm', ['-rf', at(1, 'many')])).status, 0)
    assert.deepEqual(names(0), ['d', 'locked', 'same', 'second'])
  })

  it('goes on where it was when the server was killed and started again', async () => {
    writeFileSync(at(0, 'before'), 'x')
    await server.stop()
    const writing = run('sh', ['-c', `echo y > ${at(0, 'meanwhile')}`])
    const reading = run('cat', [at(1, 'before')])
    await sleep(500)
    await server.start()
    assert.equal((await writing).status, 0)
    assert.equal((await reading).stdout, 'x')
    assert.equal(readFileSync(at(1, 'meanwhile'), 'utf8'), 'y\n')
  })

  it('lists its sessions, and leaves a volume whose records agree', async () => {
    const sessions = () => (JSON.parse(cli(['status', url]).stdout) as { Sessions: unknown[] }).Sessions
    assert.equal(sessions().length, 2)
    for (const which of points.keys()) assert.equal(cli(['umount', at(which)]).status, 0)
    assert.equal(sessions().length, 0)
    const engine = await RedisEngine.open(url, { env: {} })
    assert.deepEqual(await checkVolume(engine), [])
    engine.close()
  })
})

describe('the command line on Redis', { skip: redisSkip }, () => {
  it('says in one line what is wrong, without the password', async () => {
    const server = await RedisServer.start({ args: ['--requirepass', PASSWORD] })
    try {
      const address = `127.0.0.1:${server.port}`
      for (const [metaUrl, message] of [
        [`redis://:hidden@${address}/1`, /FATAL.*connect to Redis at 127.0.0.1:\d+: WRONGPASS/],
        [`redis://${address}/1`, /FATAL.*NOAUTH/],
        [`redis://:se%20cret@${address}/99`, /FATAL.*DB index is out of range/],
        [`redis://:se%20cret@${address}/1`, /FATAL.*database is not formatted/],
        ['redis://127.0.0.1:1/1', /FATAL.*127.0.0.1:1.*ECONNREFUSED/],
      ] as const) {
        const ran = cli(['status', metaUrl])
        assert.equal(ran.status, 1)
        assert.match(ran.stderr, message)
        assert.doesNotMatch(ran.stderr, /hidden|se%20cret/)
      }
    } finally {
      await server.remove()
    }
  })
})
