/** The storage test of `format` over a store that denies one request: the message says which. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SystemClock } from '../../../src/base/clock.ts'
import { openS3 } from '../../../src/object/s3/open.ts'
import { isEmptyForFormat, testStorage } from '../../../src/object/storage-test.ts'
import type { ObjectStore } from '../../../src/object/store.ts'
import { errorXml, type Received, startScripted } from '../../servers/scripted.ts'

/** A bucket in memory, without listings, that denies what `denied` says. */
async function withBucket(
  denied: (received: Received) => boolean,
  body: (store: ObjectStore) => Promise<void>,
): Promise<void> {
  const objects = new Map<string, Buffer>()
  let isThere = false
  const server = await startScripted((received, response) => {
    const { method, path, body } = received
    const refuse = (status: number, code: string): void => void response.writeHead(status).end(errorXml(code, code))
    if (denied(received)) return refuse(403, 'AccessDenied')
    if (method === 'PUT' && /^\/bucket\/$/.test(path)) isThere = true
    else if (!isThere) return refuse(404, 'NoSuchBucket')
    if (path.includes('list-type')) return void response.end('<ListBucketResult></ListBucketResult>')
    if (method === 'PUT') objects.set(path, body)
    if (method === 'DELETE') objects.delete(path)
    if (method === 'GET' && !objects.has(path)) return refuse(404, 'NoSuchKey')
    response.end(method === 'GET' ? objects.get(path) : undefined)
  })
  const setting = { bucket: `http://127.0.0.1:${server.port}/bucket`, accessKey: 'AK', secretKey: 'SK' }
  const store = openS3('s3', setting, { env: {}, clock: new SystemClock() })
  try {
    await body(store)
  } finally {
    await store.close()
    await server.close()
  }
}

const proof = (store: ObjectStore, warn: (message: string) => void = () => {}): Promise<void> =>
  testStorage(store, Math.random, { warn, pause: async () => {} })
const isBucket = ({ path }: Received): boolean => path === '/bucket/'

describe('a store that denies', () => {
  it('nothing passes', async () => {
    await withBucket(
      () => false,
      async store => {
        await proof(store)
        assert.equal(await isEmptyForFormat(store), true)
      },
    )
  })

  it('PUT is told so, at the first try', async () => {
    const warnings: string[] = []
    await withBucket(
      received => received.method === 'PUT' && !isBucket(received),
      store =>
        assert.rejects(
          proof(store, warning => warnings.push(warning)),
          /put object testing\/\w+: AccessDenied/,
        ),
    )
    assert.equal(warnings.length, 1)
  })

  it('GET is told so', async () => {
    await withBucket(
      received => received.method === 'GET',
      store => assert.rejects(proof(store), /get object testing\/\w+: AccessDenied/),
    )
  })

  it('DELETE passes with a warning', async () => {
    const warnings: string[] = []
    await withBucket(
      received => received.method === 'DELETE',
      store => proof(store, warning => warnings.push(warning)),
    )
    assert.match(warnings[0]!, /delete object testing\/\w+: AccessDenied/)
  })

  it('listing is told so', async () => {
    await withBucket(
      received => received.path.includes('list-type'),
      async store => {
        await proof(store)
        await assert.rejects(isEmptyForFormat(store), /list objects .*: AccessDenied/)
      },
    )
  })

  it('making the bucket, which is missing, is told with both', async () => {
    await withBucket(isBucket, store =>
      assert.rejects(
        proof(store),
        /put object .*NoSuchBucket.*; the bucket cannot be made either, please create it: create bucket bucket: AccessDenied/,
      ),
    )
  })
})
