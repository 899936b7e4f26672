import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { openStore } from '../../src/object/open.ts'
import { Refused } from '../../src/object/store.ts'
import type { RunningProgram } from '../servers/programs.ts'
import { PASSWORD, skipApache, skipRclone, startApache, startRcloneWebdav, USER } from '../servers/webdav.ts'
import { objectSuite } from './object-suite.ts'

function suiteOver(name: string, skip: string | false, start: () => Promise<RunningProgram>): void {
  describe(name, { skip }, () => {
    let server: RunningProgram
    let trials = 0
    before(async () => {
      server = await start()
    })
    after(() => server?.stop())
    const setting = (password = PASSWORD) => ({
      storage: 'webdav',
      bucket: `http://127.0.0.1:${server.port}/deep/trial-${++trials}/`,
      name: 'vol',
      accessKey: USER,
      secretKey: password,
    })
    objectSuite(`webdav on ${name}`, async () => {
      const store = await openStore(setting())
      await store.create()
      return { store, cleanUp: async () => {} }
    })

    it('a directory is removed when it is empty only', async () => {
      const store = await openStore(setting())
      await store.create()
      await store.put('dir/', Buffer.alloc(0))
      await store.put('dir/inner', Buffer.from('x'))
      assert.equal((await store.head('dir/'))?.isDirectory, true)
      await assert.rejects(store.delete('dir/'), /not empty/)
      await assert.rejects(store.delete('dir'), /not empty/)
      await store.delete('dir/inner')
      await store.delete('dir/')
      assert.equal(await store.head('dir/'), null)
      await store.close()
    })

    it('keys that need escaping come back as they are', async () => {
      const store = await openStore(setting())
      await store.create()
      const keys = ["a b+c&d='e'(f)*!~", 'ü%/x%20y', 'z#?']
      for (const key of keys) await store.put(key, Buffer.from(key))
      for (const key of keys) assert.equal((await store.get(key)).toString(), key)
      assert.deepEqual(
        (await store.list('', '', 10)).map(({ key }) => key),
        [...keys].sort(),
      )
      await store.close()
    })

    if (name !== 'rclone') {
      it('a wrong password is refused', async () => {
        const store = await openStore(setting('wrong'))
        await assert.rejects(store.put('k', Buffer.from('x')), Refused)
        await assert.rejects(store.get('k'), Refused)
        await store.close()
      })
    }
  })
}

suiteOver('Apache, Basic', skipApache, () => startApache('Basic'))
suiteOver('Apache, Digest', skipApache, () => startApache('Digest'))
suiteOver('rclone', skipRclone, startRcloneWebdav)
