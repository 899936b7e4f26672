/** Two mounts of one volume: two processes on one database, as two machines would be. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { checkVolume } from '../../src/meta/check.ts'
import { SqliteEngine } from '../../src/meta/engine/sqlite/engine.ts'
import { cli, lockThrough, mountSkip, newVolume, python, type TestVolume } from './harness.ts'

describe('two mounts of one volume', { skip: mountSkip }, () => {
  let volume: TestVolume
  let a: string
  let b: string
  before(() => {
    volume = newVolume({ format: ['--trash-days', '0', '--capacity', '1'] })
    a = volume.mountPoint
    b = join(volume.dir, 'other')
    mkdirSync(b)
    const options = ['--backup-meta', '0', '--heartbeat', '1']
    volume.mount(options)
    const args = ['--no-syslog', '--log', join(volume.dir, 'other.log'), '--cache-dir', join(volume.dir, 'cache2')]
    const mounted = cli(['mount', '-d', ...args, '--metrics', '127.0.0.1:0', ...options, volume.metaUrl, b])
    assert.equal(mounted.status, 0, mounted.stderr)
  })
  after(() => {
    spawnSync('umount', ['-l', b])
    volume.remove()
  })
  const rows = (sql: string): unknown[] =>
    JSON.parse(spawnSync('sqlite3', ['-json', join(volume.dir, 'meta.db'), sql], { encoding: 'utf8' }).stdout || '[]')

  const sessions = (): { Sid: number; MountPoint: string; ProcessID: number }[] =>
    JSON.parse(cli(['status', volume.metaUrl]).stdout).Sessions

  /** The last close of a file reaches its client after close(2) has returned. */
  const settled = async (read: () => unknown[]): Promise<unknown[]> => {
    for (let i = 0; i < 50 && read().length > 0; i++) await sleep(20)
    return read()
  }

  it('see what the other closed when they open', () => {
    for (const [writer, reader] of [
      [a, b],
      [b, a],
      [a, b],
    ] as const) {
      const text = `from ${writer}, ${performance.now()}`.repeat(1000)
      writeFileSync(join(writer, 'seen'), text)
      assert.equal(readFileSync(join(reader, 'seen'), 'utf8'), text)
    }
  })

  it('lose nothing when four processes create in one directory', async () => {
    mkdirSync(join(a, 'busy'))
    const script = `import sys
for i in range(100):
    with open(f'{sys.argv[1]}/busy/{sys.argv[2]}-{i}', 'x') as f: f.write(str(i))`
    const ran = await Promise.all([a, b, a, b].map((mount, i) => python(script, mount, `${i}`)))
    assert.deepEqual(
      ran.map(each => each.stderr),
      ['', '', '', ''],
    )
    for (const mount of [a, b]) assert.equal(readdirSync(join(mount, 'busy')).length, 400)
    assert.equal(readFileSync(join(a, 'busy/1-77'), 'utf8'), '77')
  })

  it('stay whole when they rename, link and unlink the same names', async () => {
    mkdirSync(join(a, 'race'))
    // ESTALE: a name that was replaced twice within one call (SEMANTICS.md).
    const script = `import errno, os, random, sys
where, seed = sys.argv[1:]
random.seed(int(seed))
for i in range(150):
    x, y = (f'{where}/race/{random.randrange(6)}' for _ in range(2))
    try:
        what = random.randrange(5)
        if what == 0:
            with open(x, 'w') as f: f.write('x' * random.randrange(9000))
        elif what == 1: os.rename(x, y)
        elif what == 2: os.unlink(x)
        elif what == 3: os.link(x, y)
        else: os.truncate(x, random.randrange(9000))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EEXIST, errno.ESTALE): raise`
    const ran = await Promise.all([a, b, a, b].map((mount, i) => python(script, mount, `${i + 1}`)))
    assert.deepEqual(
      ran.map(each => each.stderr),
      ['', '', '', ''],
    )
    await sleep(1500)
    const engine = SqliteEngine.open(volume.metaUrl, { mustExist: true })
    try {
      assert.deepEqual(await checkVolume(engine), [])
    } finally {
      await engine.close()
    }
  })

  for (const kind of ['flock', 'lockf'] as const) {
    it(`exclude each other by ${kind}, and wake the other within a second`, async () => {
      const { isExcluded, wokenAfterSec } = await lockThrough(kind, [a, b])
      assert.ok(isExcluded)
      assert.ok(wokenAfterSec > 0 && wokenAfterSec < 1, `${wokenAfterSec} s`)
    })
  }

  it('keep the data of a file that is unlinked where it is open, until it is closed', async () => {
    writeFileSync(join(a, 'open'), 'still here')
    const fd = openSync(join(a, 'open'), 'r')
    unlinkSync(join(a, 'open'))
    assert.equal(readdirSync(b).includes('open'), false)
    assert.equal(rows('select * from jfs_sustained').length, 1)
    const bytes = Buffer.alloc(10)
    assert.equal(readSync(fd, bytes, 0, 10, 0), 10)
    assert.equal(bytes.toString(), 'still here')
    closeSync(fd)
    assert.deepEqual(await settled(() => rows('select * from jfs_sustained')), [])
  })

  it('are both in status, and one that was killed is not after the next mount', () => {
    assert.deepEqual(
      sessions()
        .map(each => each.MountPoint)
        .sort(),
      [a, b].sort(),
    )
    const fd = openSync(join(a, 'left-open'), 'w')
    unlinkSync(join(a, 'left-open'))
    assert.equal(rows('select * from jfs_sustained').length, 1)
    process.kill(volume.pid(), 'SIGKILL')
    assert.throws(() => closeSync(fd), /ENOTCONN|ECONNABORTED/)
    volume.mount(['--backup-meta', '0', '--heartbeat', '1'])
    assert.deepEqual(
      sessions()
        .map(each => each.MountPoint)
        .sort(),
      [a, b].sort(),
    )
    assert.deepEqual(rows('select * from jfs_sustained'), [])
  })

  it('take a changed capacity, inode limit and trash up at their heartbeats', async () => {
    const changed = cli([
      'config',
      '--yes',
      '--capacity',
      '2',
      '--inodes',
      '10000',
      '--trash-days',
      '2',
      volume.metaUrl,
    ])
    assert.equal(changed.status, 0, changed.stderr)
    const size = (mount: string): string[] =>
      spawnSync('stat', ['-fc', '%b %S %c', mount], { encoding: 'utf8' }).stdout.trim().split(' ')
    for (let i = 0; i < 40; i++) {
      const sizes = [a, b].map(mount => {
        const [blocks, bytes, inodes] = size(mount)
        return `${Number(blocks) * Number(bytes)} ${inodes}`
      })
      if (sizes.every(text => text === `${2 * 2 ** 30} 10000`)) break
      await sleep(100)
      assert.ok(i < 39, sizes.join())
    }
    writeFileSync(join(b, 'trashed'), 'x')
    unlinkSync(join(b, 'trashed'))
    const [hour] = readdirSync(join(a, '.trash'))
    assert.match(readdirSync(join(a, '.trash', hour!)).join(), /^1-\d+-trashed$/)
  })

  it('say loudly when a newer client switches something on that they do not do', async () => {
    const db = new Database(volume.metaUrl.slice('sqlite3://'.length))
    const rename = (from: string, to: string): unknown =>
      db.prepare('UPDATE jfs_setting SET value = replace(value, ?, ?)').run(from, to)
    rename('"EnableACL"', '"ChangeLog": true,\n"EnableACL"')
    const said = (): boolean => /<ERROR>: .*not supported yet: .*ChangeLog/.test(readFileSync(volume.logFile, 'utf8'))
    for (let i = 0; i < 40 && !said(); i++) await sleep(100)
    rename('"ChangeLog": true,\n"EnableACL"', '"EnableACL"')
    db.close()
    assert.ok(said())
  })

  it('end cleanly', () => {
    for (const mount of [a, b]) assert.equal(cli(['umount', mount]).status, 0)
    assert.deepEqual(sessions(), [])
  })
})
