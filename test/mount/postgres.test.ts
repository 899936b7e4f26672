/** A volume on PostgreSQL, used as people use it: formatted, mounted twice, cut off from its server, unmounted. */

import assert from 'node:assert/strict'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { checkVolume } from '../../src/meta/check.ts'
import { PostgresEngine } from '../../src/meta/engine/postgres/engine.ts'
import { PostgresServer, postgresSkip } from '../servers/postgres.ts'
import { cli, mountSkip, run } from './harness.ts'

const code = (work: () => unknown): unknown => {
  try {
    work()
    return 'done'
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}

describe('mounts of a volume on PostgreSQL', { skip: mountSkip || postgresSkip }, () => {
  let dir: string
  let server: PostgresServer
  let url: string
  const at = (mount: 'a' | 'b', ...names: string[]): string => join(dir, mount, ...names)
  const mount = (name: 'a' | 'b'): void => {
    mkdirSync(at(name), { recursive: true })
    const args = ['--no-syslog', '--log', join(dir, `${name}.log`), '--cache-dir', join(dir, `cache-${name}`)]
    const uncached = ['attr', 'entry', 'dir-entry'].flatMap(what => [`--${what}-cache`, '0'])
    const mounted = cli(['mount', '-d', ...args, '--metrics', '127.0.0.1:0', ...uncached, url, at(name)])
    assert.equal(mounted.status, 0, mounted.stderr)
  }

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-postgres-mount-'))
    server = await PostgresServer.start()
    url = server.url(server.newDatabase())
    const formatted = cli(['format', '--storage', 'file', '--bucket', join(dir, 'bucket'), url, 'on-postgres'])
    assert.equal(formatted.status, 0, formatted.stderr)
    assert.ok(!formatted.stderr.includes('secret'), 'the password is not shown')
    mount('a')
    mount('b')
  })
  after(async () => {
    for (const name of ['a', 'b'] as const) cli(['umount', '--force', at(name)])
    await server?.stop()
    rmSync(dir, { recursive: true, force: true })
  })

  it('what one makes, the other sees: files, directories, moves and removals', () => {
    mkdirSync(at('a', 'd'))
    writeFileSync(at('a', 'd', 'f'), 'x'.repeat(100_000))
    assert.equal(readFileSync(at('b', 'd', 'f'), 'utf8').length, 100_000)
    renameSync(at('b', 'd', 'f'), at('b', 'g'))
    assert.deepEqual(readdirSync(at('a', 'd')), [])
    assert.equal(statSync(at('a', 'g')).size, 100_000)
    unlinkSync(at('a', 'g'))
    assert.equal(existsSync(at('b', 'g')), false)
    assert.equal(
      code(() => mkdirSync(at('b', 'd'))),
      'EEXIST',
    )
  })

  it('many processes on both mounts fill one directory', async () => {
    mkdirSync(at('a', 'many'))
    await Promise.all(
      Array.from({ length: 8 }, (_, i) => {
        const place = at(i % 2 ? 'a' : 'b', 'many')
        return run('sh', [
          '-c',
          `for n in 1 2 3 4 5 6 7 8 9; do echo $n > ${place}/p${i}_$n; done; mkdir ${place}/d${i}`,
        ])
      }),
    )
    assert.equal(readdirSync(at('a', 'many')).length, 80)
    assert.equal(statSync(at('b', 'many')).nlink, 10)
  })

  it('an owner that the columns cannot hold is refused with EOVERFLOW', { skip: process.getuid?.() !== 0 }, () => {
    writeFileSync(at('a', 'owned'), '')
    assert.equal(
      code(() => chownSync(at('a', 'owned'), 2 ** 31, 0)),
      'EOVERFLOW',
    )
    assert.equal(
      code(() => chownSync(at('a', 'owned'), 2 ** 31 - 1, 0)),
      'done',
    )
    assert.equal(statSync(at('b', 'owned')).uid, 2 ** 31 - 1)
  })

  it('a restart of the server is a pause', async () => {
    await server.down('immediate')
    const writing = run('sh', ['-c', `echo later > ${at('a', 'restarted')} && cat ${at('a', 'restarted')}`])
    await new Promise(resolve => setTimeout(resolve, 500))
    await server.up()
    const { status, stdout } = await writing
    assert.deepEqual([status, stdout], [0, 'later\n'])
    assert.equal(readFileSync(at('b', 'restarted'), 'utf8'), 'later\n')
  })

  it('after an unmount the records agree, usage included', async () => {
    for (const name of ['a', 'b'] as const) assert.equal(cli(['umount', at(name)]).status, 0)
    const engine = await PostgresEngine.open(url)
    try {
      assert.deepEqual(await checkVolume(engine), [])
      assert.deepEqual((await engine.scan('sessions', {}, null, 10)).rows, [])
    } finally {
      await engine.close()
    }
  })

  it('a wrong password, a missing database and a missing volume are told in one line', () => {
    const told = (address: string): string => {
      const ran = cli(['status', address])
      assert.equal(ran.status, 1)
      assert.ok(!ran.stderr.includes('secret'))
      return ran.stderr
    }
    assert.match(told(url.replace(':secret@', ':wrong@')), /<FATAL>.*password authentication failed/)
    assert.match(told(server.url('nowhere')), /<FATAL>.*database "nowhere" does not exist/)
    assert.match(told(server.url(server.newDatabase())), /<FATAL>.*database is not formatted/)
  })
})
