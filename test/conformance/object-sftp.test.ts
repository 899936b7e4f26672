import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { withPrefix } from '../../src/object/prefix.ts'
import { SftpStore } from '../../src/object/sftp/store.ts'
import { Refused } from '../../src/object/store.ts'
import type { RunningProgram } from '../servers/programs.ts'
import { TcpProxy } from '../servers/proxy.ts'
import { skipSshd, startSshd } from '../servers/sshd.ts'
import { objectSuite } from './object-suite.ts'

describe('sftp', { skip: skipSshd }, () => {
  let server: RunningProgram
  let trials = 0
  before(async () => {
    server = await startSshd()
  })
  after(() => server?.stop())

  const open = (path: string, env: Record<string, string> = {}): SftpStore =>
    new SftpStore(
      { bucket: `127.0.0.1:${server.port}:${join(server.dir, 'files')}/${path}` },
      { SSH_PRIVATE_KEY_PATH: join(server.dir, 'user'), ...env },
    )

  objectSuite('sftp on OpenSSH', async () => {
    const backend = open(`deep/trial-${++trials}/`)
    await backend.create()
    return { store: withPrefix(backend, 'vol/'), cleanUp: async () => {} }
  })

  it('a path without a slash at its end is the beginning of names', async () => {
    const store = open('begin-')
    await store.create()
    await store.put('vol/a', Buffer.from('x'))
    assert.equal(await readFile(join(server.dir, 'files', 'begin-vol', 'a'), 'utf8'), 'x')
    assert.deepEqual(
      (await store.list('vol/', '', 10)).map(({ key }) => key),
      ['vol/a'],
    )
    assert.deepEqual(
      (await store.list('', '', 10)).map(({ key }) => key),
      ['vol/a'],
    )
    await store.close()
  })

  it('a put leaves the object only', async () => {
    const store = open('clean/')
    await store.create()
    await store.put('a', Buffer.alloc(100_000, 1))
    await store.put('a', Buffer.alloc(50_000, 2))
    assert.deepEqual(await readdir(join(server.dir, 'files', 'clean')), ['a'])
    assert.deepEqual(await readFile(join(server.dir, 'files', 'clean', 'a')), Buffer.alloc(50_000, 2))
    await store.close()
  })

  it('a key that the server does not know is refused', async () => {
    const store = open('x/', { SSH_PRIVATE_KEY_PATH: join(server.dir, 'stranger') })
    await assert.rejects(store.put('k', Buffer.from('x')), error => {
      for (let at: unknown = error; at instanceof Error; at = at.cause) if (at instanceof Refused) return true
      return false
    })
    await store.close()
  })

  it('a host is checked where SSH_KNOWN_HOSTS names a file', async () => {
    const file = join(server.dir, 'known')
    const host = await readFile(join(server.dir, 'host.pub'), 'utf8')
    await writeFile(file, `# trial\n[127.0.0.1]:${server.port} ${host}`)
    const known = open('known/', { SSH_KNOWN_HOSTS: file })
    await known.create()
    await known.put('k', Buffer.from('x'))
    await known.close()
    await writeFile(file, `[127.0.0.1]:${server.port} ${await readFile(join(server.dir, 'user.pub'), 'utf8')}`)
    const unknown = open('known/', { SSH_KNOWN_HOSTS: file })
    await assert.rejects(unknown.get('k'), /its host key is not in/)
    await unknown.close()
  })

  it('a connection that was lost is made anew', async () => {
    const store = open('again/')
    await store.create()
    await store.put('k', Buffer.from('x'))
    const proxy = await TcpProxy.start(server.port)
    const lossy = new SftpStore(
      { bucket: `127.0.0.1:${proxy.port}:${join(server.dir, 'files')}/again/` },
      { SSH_PRIVATE_KEY_PATH: join(server.dir, 'user') },
    )
    assert.equal((await lossy.get('k')).toString(), 'x')
    const pending = lossy.get('k')
    proxy.cut()
    await assert.rejects(pending)
    assert.equal((await lossy.get('k')).toString(), 'x')
    await lossy.close()
    await proxy.stop()
    await store.close()
  })
})
