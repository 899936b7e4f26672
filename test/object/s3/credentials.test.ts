import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { SystemClock } from '../../../src/base/clock.ts'
import { SecureContextSetting } from '../../../src/object/http/tls.ts'
import { credentialSource, type KeySetting } from '../../../src/object/s3/credentials.ts'
import { placeOf, s3Url } from '../../../src/object/s3/place.ts'
import { S3Store } from '../../../src/object/s3/store.ts'
import { errorXml, startScripted } from '../../servers/scripted.ts'

const clock = new SystemClock()
const keysOf = (kind: string, setting: KeySetting, env: Record<string, string> = {}) =>
  credentialSource(kind, setting, { env, clock })(false)

describe('the keys of an S3 store', () => {
  it('are those of the setting, whatever the environment holds', async () => {
    const env = { MINIO_ACCESS_KEY: 'other', MINIO_SECRET_KEY: 'other' }
    assert.deepEqual(await keysOf('minio', { accessKey: 'a', secretKey: 'b', sessionToken: 'c' }, env), {
      accessKeyId: 'a',
      secretAccessKey: 'b',
      sessionToken: 'c',
    })
  })

  it('else those of the vendor’s variables', async () => {
    const env = {
      MINIO_ACCESS_KEY: 'a',
      MINIO_SECRET_KEY: 'b',
      SECURITY_TOKEN: 'd',
      ALICLOUD_ACCESS_KEY_ID: 'e',
      ALICLOUD_ACCESS_KEY_SECRET: 'f',
    }
    assert.deepEqual(await keysOf('minio', {}, env), { accessKeyId: 'a', secretAccessKey: 'b' })
    assert.deepEqual(await keysOf('oss', {}, env), { accessKeyId: 'e', secretAccessKey: 'f', sessionToken: 'd' })
  })

  it('anonymous signs nothing', async () => {
    assert.equal(await keysOf('s3', { accessKey: 'anonymous' }), null)
  })

  it('half a pair, or none where there is nobody to ask, is refused at once, saying what is missing', () => {
    assert.throws(() => keysOf('s3', { accessKey: 'a' }), /the secret key of storage s3 is missing/)
    assert.throws(() => keysOf('s3', { secretKey: 'a' }), /the access key of storage s3 is missing/)
    assert.throws(() => keysOf('cos', {}), /storage cos has no keys.*COS_SECRETID and COS_SECRETKEY/)
  })

  it('of s3 come from where the tools of AWS look, when none are given', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'aws-'))
    const saved = { ...process.env }
    try {
      await writeFile(join(dir, 'credentials'), '[trial]\naws_access_key_id = fromfile\naws_secret_access_key = s\n')
      for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name]
      Object.assign(process.env, { AWS_SHARED_CREDENTIALS_FILE: join(dir, 'credentials'), AWS_PROFILE: 'trial' })
      Object.assign(process.env, { AWS_CONFIG_FILE: join(dir, 'config'), AWS_EC2_METADATA_DISABLED: 'true' })
      assert.equal((await keysOf('s3', {}))?.accessKeyId, 'fromfile')
      delete process.env.AWS_PROFILE
      Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'fromenv', AWS_SECRET_ACCESS_KEY: 's' })
      assert.equal((await keysOf('s3', {}))?.accessKeyId, 'fromenv')
    } finally {
      for (const name of Object.keys(process.env)) if (!(name in saved)) delete process.env[name]
      Object.assign(process.env, saved)
      await rm(dir, { recursive: true })
    }
  })

  it('are fetched anew, and the request repeated, when the server finds them expired', async () => {
    const server = await startScripted(({ headers }, response) => {
      if (headers['x-amz-security-token'] === 'new') response.end('data')
      else response.writeHead(400).end(errorXml('ExpiredToken', 'The provided token has expired.'))
    })
    let token = 'old'
    const url = s3Url('s3', `http://127.0.0.1:${server.port}/b`)
    const store = new S3Store({
      kind: 's3',
      place: placeOf('s3', url, {}),
      credentials: async isExpired => {
        if (isExpired) token = 'new'
        return { accessKeyId: 'a', secretAccessKey: 'b', sessionToken: token }
      },
      tls: SecureContextSetting.takeFrom(url),
      clock,
      defaultRegion: 'us-east-1',
      storageClass: 'STANDARD_IA',
      tag: 'team=a b',
      checksum: true,
    })
    assert.equal((await store.get('k')).toString(), 'data')
    assert.equal(server.requests.length, 2)
    await store.put('k', Buffer.from('x'))
    assert.equal(server.requests[2]!.headers['x-amz-storage-class'], 'STANDARD_IA')
    assert.equal(server.requests[2]!.headers['x-amz-tagging'], 'team=a%20b')
    await store.close()
    await server.close()
  })
})
