/** A volume whose metadata is in MariaDB, mounted twice by the real command line. */

import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { link, rename, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { MariadbServer, mariadbSkip } from '../servers/mariadb.ts'
import { cli, mountSkip, run } from './harness.ts'

describe('a mount on MariaDB', { skip: mountSkip || mariadbSkip }, () => {
  let server: MariadbServer
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
    if (mountSkip || mariadbSkip) return
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-mysql-'))
    chmodSync(dir, 0o755)
    for (const point of points) mkdirSync(join(dir, point))
    server = await MariadbServer.start()
    url = server.url(server.newDatabase())
    const formatted = cli(['format', '--no-update', '--bucket', join(dir, 'objects'), url, 'vol'])
    assert.equal(formatted.status, 0, formatted.stderr)
    assert.ok(!formatted.stderr.includes('se cret'), 'the password is not shown')
    for (const which of points.keys()) mount(which)
  })
  after(async () => {
    if (!dir) return
    for (const which of points.keys()) cli(['umount', at(which)])
    await server?.stop()
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
  })

  it('of two mounts that make the same name, one makes it', async () => {
    const both = await Promise.all(points.map((_, which) => run('mkdir', [at(which, 'same')])))
    assert.deepEqual(both.map(({ status }) => status).sort(), [0, 1])
  })

  it('goes on where it was when the server was restarted', async () => {
    writeFileSync(at(0, 'before'), 'x')
    const reading = run('cat', [at(1, 'before')])
    await server.down('SIGKILL')
    const writing = run('touch', [at(0, 'meanwhile')])
    await server.up()
    assert.equal((await writing).status, 0)
    assert.equal((await reading).stdout, 'x')
    assert.deepEqual(names(1), ['before', 'd', 'meanwhile', 'same', 'second'])
  })

  it('lists its sessions, and none after unmounting', () => {
    const sessions = () => (JSON.parse(cli(['status', url]).stdout) as { Sessions: unknown[] }).Sessions
    assert.equal(sessions().length, 2)
    assert.equal(cli(['umount', at(1)]).status, 0)
    assert.equal(sessions().length, 1)
    mount(1)
    assert.ok(readdirSync(at(1)).includes('second'))
  })
})
