import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { withPrefix } from '../../src/object/prefix.ts'
import { Refused } from '../../src/object/store.ts'
import { WebHdfsStore } from '../../src/object/webhdfs.ts'
import { skipHdfs, startHdfs } from '../servers/hdfs.ts'
import { freePort, type RunningProgram } from '../servers/programs.ts'
import { objectSuite } from './object-suite.ts'

describe('hdfs', { skip: skipHdfs }, () => {
  let server: RunningProgram
  let trials = 0
  before(async () => {
    server = await startHdfs()
  })
  after(() => server?.stop())
  // whoever started the server is its superuser
  const env = { HADOOP_USER_NAME: process.env.USER ?? 'root' }
  const open = (path: string, accessKey?: string): WebHdfsStore =>
    new WebHdfsStore({ bucket: `hdfs://127.0.0.1:${server.port}${path}`, accessKey }, env)

  objectSuite('hdfs over WebHDFS', async () => {
    const backend = open(`/deep/trial-${++trials}/`)
    await backend.create()
    return { store: withPrefix(backend, 'vol/'), cleanUp: async () => {} }
  })

  it('the second name node is asked where the first is away', async () => {
    const bucket = `127.0.0.1:${await freePort()},127.0.0.1:${server.port}/pair/`
    const store = new WebHdfsStore({ bucket }, env)
    await store.put('k', Buffer.from('x'))
    assert.equal((await store.get('k')).toString(), 'x')
    await store.close()
  })

  it('another user is refused, by name of the right', async () => {
    const owner = open('/private/')
    await owner.put('k', Buffer.from('x'))
    const stranger = open('/private/', 'stranger')
    await assert.rejects(stranger.put('mine', Buffer.from('x')), error => {
      return error instanceof Refused && /Permission denied/.test(error.message)
    })
    await owner.close()
    await stranger.close()
  })

  it('keys that need escaping come back as they are', async () => {
    const store = open('/strange/')
    const keys = ["a b+c&d='e'(f)*!~", 'ü%/x%20y', 'z#?']
    for (const key of keys) await store.put(key, Buffer.from(key))
    for (const key of keys) assert.equal((await store.get(key)).toString(), key)
    assert.deepEqual(
      (await store.list('', '', 10)).map(({ key }) => key),
      [...keys].sort(),
    )
    await store.close()
  })
})
