import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { withPrefix } from '../../src/object/prefix.ts'
import { RedisStore } from '../../src/object/redis.ts'
import { Refused } from '../../src/object/store.ts'
import { RedisServer, redisSkip } from '../servers/redis.ts'
import { objectSuite } from './object-suite.ts'

const PASSWORD = 'se:cret@1'

describe('redis', { skip: redisSkip }, () => {
  let server: RedisServer
  before(async () => {
    server = await RedisServer.start({ args: ['--requirepass', PASSWORD] })
  })
  after(() => server?.remove())

  const open = (db: number, secretKey = PASSWORD): RedisStore =>
    new RedisStore({ bucket: `redis://127.0.0.1:${server.port}/${db}`, secretKey }, {}, () => Date.now())
  const cli = (...args: string[]): string => server.cli('--no-auth-warning', '-a', PASSWORD, ...args)

  objectSuite('redis', async () => {
    cli('FLUSHALL')
    return { store: withPrefix(open(1), 'vol/'), cleanUp: async () => {} }
  })

  it('an object is a plain string under its whole key', async () => {
    cli('FLUSHALL')
    const store = withPrefix(open(1), 'vol/')
    await store.put('chunks/0/0/1_0_5', Buffer.from('hello'))
    assert.equal(cli('-n', '1', 'GET', 'vol/chunks/0/0/1_0_5'), 'hello')
    assert.equal(cli('-n', '1', 'TTL', 'vol/chunks/0/0/1_0_5'), '-1')
    await store.close()
  })

  it('a prefix with characters of patterns means itself', async () => {
    cli('FLUSHALL')
    const store = open(1)
    for (const key of ['a*b/1', 'axb/1', 'a[b/1', 'a?b/1', 'a\\b/1']) await store.put(key, Buffer.from('x'))
    for (const prefix of ['a*b/', 'a[b/', 'a?b/', 'a\\b/']) {
      assert.deepEqual(
        (await store.list(prefix, '', 10)).map(({ key }) => key),
        [`${prefix}1`],
      )
    }
    await store.close()
  })

  it('user and password may stand in the bucket’s URL, and are not shown', async () => {
    const bucket = `redis://:${encodeURIComponent(PASSWORD)}@127.0.0.1:${server.port}/2`
    const store = new RedisStore({ bucket }, {}, () => 0)
    await store.put('k', Buffer.from('x'))
    assert.equal(cli('-n', '2', 'GET', 'k'), 'x')
    assert.equal(store.description, `redis://127.0.0.1:${server.port}/2/`)
    await store.close()
  })

  it('a wrong password is refused', async () => {
    const store = open(1, 'wrong')
    await assert.rejects(store.put('k', Buffer.from('x')), Refused)
    await store.close()
  })

  it('a server that went away and came back is used again', async () => {
    const store = open(3)
    await store.put('k', Buffer.from('x'))
    await server.stop()
    await assert.rejects(store.get('k'))
    await server.start()
    await store.put('k', Buffer.from('y'))
    assert.equal((await store.get('k')).toString(), 'y')
    await store.close()
  })
})
