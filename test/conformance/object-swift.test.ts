import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { withPrefix } from '../../src/object/prefix.ts'
import { ObjectMissing, Refused } from '../../src/object/store.ts'
import { SwiftStore } from '../../src/object/swift/store.ts'
import type { RunningProgram } from '../servers/programs.ts'
import { startScripted } from '../servers/scripted.ts'
import { SWIFT_KEY, SWIFT_USER, skipSwift, startSwift } from '../servers/swift.ts'
import { objectSuite } from './object-suite.ts'

describe('swift', { skip: skipSwift }, () => {
  let server: RunningProgram
  let trials = 0
  before(async () => {
    server = await startSwift()
  })
  after(() => server?.stop())
  const open = (container: string, secretKey = SWIFT_KEY): SwiftStore =>
    new SwiftStore({ bucket: `http://${container}.localhost:${server.port}`, accessKey: SWIFT_USER, secretKey }, {})

  objectSuite('swift, version 1', async () => {
    const backend = open(`trial-${++trials}`)
    await backend.create()
    return { store: withPrefix(backend, 'vol/'), cleanUp: async () => {} }
  })

  it('a container that is missing is not taken for an object that is', async () => {
    const store = open('none')
    await assert.rejects(
      store.get('k'),
      error => !(error instanceof ObjectMissing) && /container none/.test(String(error)),
    )
    await assert.rejects(store.put('k', Buffer.from('x')), /status 404/)
    await store.close()
  })

  it('a wrong key is refused', async () => {
    const store = open('x', 'geheim')
    await assert.rejects(store.get('k'), error => error instanceof Refused && !/geheim/.test(String(error)))
    await store.close()
  })
})

describe('swift by Keystone', () => {
  it('asks for a token of the project, finds the account in the catalogue, and asks again when the token has ended', async () => {
    let tokens = 0
    const server = await startScripted((received, response) => {
      const endpoint = (name: string, region: string, path: string) => ({
        interface: name,
        region,
        url: `http://127.0.0.1:${server.port}${path}`,
      })
      if (received.path === '/identity/v3/auth/tokens') {
        const { auth } = JSON.parse(received.body.toString())
        assert.deepEqual(auth.identity.password.user, { name: 'u', password: 'p', domain: { name: 'people' } })
        assert.deepEqual(auth.scope, { project: { name: 'proj', domain: { name: 'Default' } } })
        const endpoints = [
          endpoint('internal', 'R', '/no'),
          endpoint('public', 'Q', '/no'),
          endpoint('public', 'R', '/v1/AUTH_a'),
        ]
        response.writeHead(201, { 'x-subject-token': `token-${++tokens}` })
        response.end(JSON.stringify({ token: { catalog: [{ type: 'object-store', endpoints }] } }))
      } else if (received.headers['x-auth-token'] === 'token-1') response.writeHead(401).end()
      else response.end(received.path)
    })
    const env = { OS_PROJECT_NAME: 'proj', OS_USER_DOMAIN_NAME: 'people', OS_REGION_NAME: 'R' }
    const bucket = `http://box.localhost:${server.port}/identity/v3`
    const store = new SwiftStore({ bucket, accessKey: 'u', secretKey: 'p' }, env)
    assert.equal((await store.get('a b/c')).toString(), '/v1/AUTH_a/box/a%20b/c')
    assert.equal(tokens, 2)
    await store.close()
    await server.close()
  })
})
