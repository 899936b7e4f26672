import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { originText } from '../../../src/object/http/origin.ts'
import { type Place, placeOf, s3Url } from '../../../src/object/s3/place.ts'

const place = (kind: string, bucket: string, env: Record<string, string> = {}): Place =>
  placeOf(kind, s3Url(kind, bucket), env)
/** server, bucket, region, and whether the bucket is part of the host */
const text = (kind: string, bucket: string, env: Record<string, string> = {}): string => {
  const { origin, bucket: name, region, virtualHost } = place(kind, bucket, env)
  return [origin ? originText(origin) : 'AWS', name, region ?? '?', virtualHost ? 'host' : 'path'].join(' ')
}

describe('the place of a bucket of AWS', () => {
  const cases = [
    ['mybucket', 'AWS mybucket ? host'],
    ['https://mybucket', 'AWS mybucket ? host'],
    ['https://mybucket.s3.us-west-2.amazonaws.com', 'https://s3.us-west-2.amazonaws.com mybucket us-west-2 host'],
    ['mybucket.s3.us-west-2.amazonaws.com', 'https://s3.us-west-2.amazonaws.com mybucket us-west-2 host'],
    ['https://mybucket.s3-us-west-2.amazonaws.com', 'https://s3-us-west-2.amazonaws.com mybucket us-west-2 host'],
    ['https://s3.us-west-2.amazonaws.com/mybucket', 'https://s3.us-west-2.amazonaws.com mybucket us-west-2 host'],
    ['https://mybucket.s3.amazonaws.com', 'AWS mybucket ? host'],
    [
      'https://my.dotted.bucket.s3.eu-west-1.amazonaws.com',
      'https://s3.eu-west-1.amazonaws.com my.dotted.bucket eu-west-1 path',
    ],
    [
      'https://mybucket.s3.cn-north-1.amazonaws.com.cn',
      'https://s3.cn-north-1.amazonaws.com.cn mybucket cn-north-1 host',
    ],
    [
      'https://mybucket.s3.dualstack.us-east-2.amazonaws.com',
      'https://s3.dualstack.us-east-2.amazonaws.com mybucket us-east-2 host',
    ],
    [
      'https://mybucket.vpce-0a1b2c3d-4e5f.s3.us-east-1.vpce.amazonaws.com',
      'https://vpce-0a1b2c3d-4e5f.s3.us-east-1.vpce.amazonaws.com mybucket us-east-1 host',
    ],
  ] as const
  for (const [bucket, expected] of cases) it(bucket, () => assert.equal(text('s3', bucket), expected))

  it('a region of the environment does not stand in for that of a bucket, which is asked for', () => {
    assert.equal(text('s3', 'mybucket', { AWS_REGION: 'eu-west-1' }), 'AWS mybucket ? host')
  })

  it('AWS_ENDPOINT takes a bare bucket elsewhere', () => {
    const env = { AWS_ENDPOINT: 'http://10.0.0.1:9000', AWS_REGION: 'here-1' }
    assert.equal(text('s3', 'mybucket', env), 'http://10.0.0.1:9000 mybucket here-1 path')
  })
})

describe('the place of a bucket of another server', () => {
  const cases = [
    ['http://10.0.0.1:9000/mybucket', 'http://10.0.0.1:9000 mybucket us-east-1 path'],
    ['http://localhost:9000/mybucket/', 'http://localhost:9000 mybucket us-east-1 path'],
    ['http://[::1]:9000/mybucket', 'http://[::1]:9000 mybucket us-east-1 path'],
    ['https://store.example.com/mybucket', 'https://store.example.com mybucket us-east-1 path'],
    ['http://mybucket.store.example.com', 'http://store.example.com mybucket us-east-1 path'],
    ['mybucket.store.example.com:8080', 'http://store.example.com:8080 mybucket us-east-1 path'],
    ['https://store.example.com/mybucket?region=mars', 'https://store.example.com mybucket mars path'],
  ] as const
  for (const [bucket, expected] of cases) it(bucket, () => assert.equal(text('s3', bucket), expected))

  it('the region comes from AWS_REGION, then AWS_DEFAULT_REGION', () => {
    const region = (env: Record<string, string>) => place('s3', 'http://10.0.0.1/b', env).region
    assert.equal(region({ AWS_REGION: 'a', AWS_DEFAULT_REGION: 'b' }), 'a')
    assert.equal(region({ AWS_DEFAULT_REGION: 'b' }), 'b')
  })

  it('JFS_S3_VHOST_STYLE puts the bucket into the host of every request', () => {
    const style = (value: string) =>
      place('s3', 'http://store.example.com/b', { JFS_S3_VHOST_STYLE: value }).virtualHost
    assert.deepEqual(['', '0', 'false', '1', 'true'].map(style), [false, false, false, true, true])
  })

  it('an address without a bucket is refused', () => {
    for (const bucket of ['http://10.0.0.1:9000', 'http://10.0.0.1:9000/', 'https://s3.us-west-2.amazonaws.com/']) {
      assert.throws(() => place('s3', bucket), /^Fault: no bucket in http/, bucket)
    }
  })

  it('what is no URL is refused without showing a password', () => {
    assert.throws(
      () => place('s3', 'https://user:geheim@ho st/b'),
      error => !/geheim/.test(String(error)),
    )
  })
})

describe('the place of a bucket of a vendor', () => {
  const cases = [
    ['minio', '10.0.0.1:9000/mybucket/more', 'http://10.0.0.1:9000 mybucket us-east-1 path'],
    ['minio', 'http://10.0.0.1:9000/minio/mybucket?region=x-1', 'http://10.0.0.1:9000 mybucket x-1 path'],
    ['minio', 'http://10.0.0.1:9000/minio', 'http://10.0.0.1:9000 minio us-east-1 path'],
    [
      'wasabi',
      'https://b1.s3.eu-central-1.wasabisys.com',
      'https://s3.eu-central-1.wasabisys.com b1 eu-central-1 path',
    ],
    ['scw', 'b1.s3.fr-par.scw.cloud', 'https://s3.fr-par.scw.cloud b1 fr-par path'],
    ['space', 'https://b1.nyc3.digitaloceanspaces.com', 'https://nyc3.digitaloceanspaces.com b1 nyc3 path'],
    ['b2', 'https://b1.s3.us-west-004.backblazeb2.com', 'https://s3.us-west-004.backblazeb2.com b1 us-west-004 path'],
    ['ks3', 'https://b1.ks3-cn-beijing.ksyuncs.com', 'https://ks3-cn-beijing.ksyuncs.com b1 cn-beijing host'],
    [
      'oss',
      'https://b1.oss-cn-hangzhou-internal.aliyuncs.com',
      'https://oss-cn-hangzhou-internal.aliyuncs.com b1 cn-hangzhou host',
    ],
    [
      'cos',
      'https://b1-1250000000.cos.ap-beijing.myqcloud.com',
      'https://cos.ap-beijing.myqcloud.com b1-1250000000 ap-beijing host',
    ],
    ['obs', 'https://b1.obs.cn-east-1.myhuaweicloud.com', 'https://obs.cn-east-1.myhuaweicloud.com b1 cn-east-1 host'],
    ['tos', 'https://b1.tos-cn-beijing.volces.com', 'https://tos-s3-cn-beijing.volces.com b1 cn-beijing host'],
    ['bos', 'https://b1.bj.bcebos.com', 'https://s3.bj.bcebos.com b1 bj host'],
    ['qingstor', 'https://b1.pek3a.qingstor.com', 'https://s3.pek3a.qingstor.com b1 pek3a host'],
    ['qiniu', 'https://b1.s3-cn-east-1.qiniucs.com', 'https://s3-cn-east-1.qiniucs.com b1 cn-east-1 path'],
    ['storj', 'https://gateway.storjshare.io/b1', 'https://gateway.storjshare.io b1 us-east-1 path'],
    ['oss', 'https://b1.oss.private.example.com', 'https://oss.private.example.com b1 us-east-1 host'],
  ] as const
  for (const [kind, bucket, expected] of cases)
    it(`${kind} ${bucket}`, () => assert.equal(text(kind, bucket), expected))
})
