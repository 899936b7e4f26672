/** Our client and the AWS SDK on one bucket: each reads what the other wrote. */

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { checksumOf } from '../../../src/object/checksum.ts'
import { openStore } from '../../../src/object/open.ts'
import { ObjectMissing, type ObjectStore, Refused } from '../../../src/object/store.ts'
import type { RunningProgram } from '../../servers/programs.ts'
import { ACCESS_KEY, SECRET_KEY, skipVersity, startVersity } from '../../servers/s3.ts'

const Bucket = 'shared'

describe('the AWS SDK and our client', { skip: skipVersity }, () => {
  let server: RunningProgram
  let sdk: S3Client
  let store: ObjectStore
  before(async () => {
    server = await startVersity()
    const endpoint = `http://127.0.0.1:${server.port}`
    sdk = new S3Client({
      endpoint,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials: { accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY },
    })
    store = await openStore({ ...setting(), bucket: `${endpoint}/${Bucket}` })
    await store.create()
  })
  after(async () => {
    sdk.destroy()
    await store.close()
    await server.stop()
  })
  const setting = () => ({
    storage: 's3',
    bucket: `http://127.0.0.1:${server.port}/${Bucket}`,
    name: 'vol',
    accessKey: ACCESS_KEY,
    secretKey: SECRET_KEY,
  })

  it('an object of ours is whole for the SDK, with the checksum of the format in its metadata', async () => {
    const bytes = randomBytes(300_000)
    await store.put('chunks/0/0/1_0_300000', bytes)
    const { Body, Metadata, ContentLength } = await sdk.send(
      new GetObjectCommand({ Bucket, Key: 'vol/chunks/0/0/1_0_300000' }),
    )
    assert.ok(Buffer.from(await Body!.transformToByteArray()).equals(bytes))
    assert.equal(ContentLength, 300_000)
    assert.deepEqual(Metadata, { crc32c: checksumOf(bytes) })
  })

  it('an object of the SDK is whole for us: without a checksum, with the right one; a wrong one is found', async () => {
    const bytes = randomBytes(5000)
    const put = (Key: string, Metadata?: Record<string, string>) =>
      sdk.send(new PutObjectCommand({ Bucket, Key: `vol/${Key}`, Body: bytes, Metadata }))
    await put('none')
    await put('right', { Crc32c: checksumOf(bytes) })
    await put('wrong', { Crc32c: '1' })
    assert.ok((await store.get('none')).equals(bytes))
    assert.ok((await store.get('right')).equals(bytes))
    await assert.rejects(store.get('wrong'), /checksum/)
    assert.ok((await store.get('wrong', { offset: 10, length: 20 })).equals(bytes.subarray(10, 30)))
  })

  it('keys that need escaping are the same for both', async () => {
    for (const key of ["a b+c&d='e'(f)*!~", 'ünïcode/日本', '100%/x%20y', '$@:;,?#[]']) {
      await store.put(key, Buffer.from(key))
      const { Body } = await sdk.send(new GetObjectCommand({ Bucket, Key: `vol/${key}` }))
      assert.equal(await Body!.transformToString(), key)
      assert.equal((await store.get(key)).toString(), key)
      assert.deepEqual(
        (await store.list(key, '', 10)).map(info => info.key),
        [key],
      )
      await store.delete(key)
    }
  })

  it('head and listing agree', async () => {
    for (let i = 0; i < 12; i++) await store.put(`list/${i}`, Buffer.alloc(i + 1))
    const ours = await store.list('list/', 'list/10', 5)
    const theirs = await sdk.send(
      new ListObjectsV2Command({ Bucket, Prefix: 'vol/list/', StartAfter: 'vol/list/10', MaxKeys: 5 }),
    )
    assert.deepEqual(
      ours.map(({ key, size, mtimeMs }) => [`vol/${key}`, size, mtimeMs]),
      theirs.Contents!.map(({ Key, Size, LastModified }) => [Key, Size, LastModified!.getTime()]),
    )
    const head = await sdk.send(new HeadObjectCommand({ Bucket, Key: 'vol/list/3' }))
    const { size, mtimeMs } = (await store.head('list/3'))!
    assert.deepEqual([size, mtimeMs], [head.ContentLength, head.LastModified!.getTime()])
  })

  it('what the SDK deletes is missing for us', async () => {
    await store.put('gone', Buffer.from('x'))
    await sdk.send(new DeleteObjectCommand({ Bucket, Key: 'vol/gone' }))
    await assert.rejects(store.get('gone'), ObjectMissing)
  })

  it('a wrong secret, a wrong key and no signature are refused by a real server', async () => {
    for (const [accessKey, secretKey] of [
      [ACCESS_KEY, 'wrong'],
      ['nobody', SECRET_KEY],
      ['anonymous', ''],
    ] as const) {
      const stranger = await openStore({ ...setting(), accessKey, secretKey })
      const refusal = (error: unknown) => error instanceof Refused && !String(error).includes(SECRET_KEY)
      await assert.rejects(stranger.put('x', Buffer.from('x')), refusal, accessKey)
      await assert.rejects(stranger.get('vol'), refusal, accessKey)
      await stranger.close()
    }
  })
})
