/** The stores that speak the protocol of S3 under names of their own (spec data-objects section 4): how their buckets are written,
 *  where the S3 interface of each listens, and from which environment variables its keys come. Where a vendor has an interface of
 *  its own besides, the reference client speaks that; keys, bytes and metadata of the objects are the same over both. */

export interface Vendor {
  /** Hosts of the vendor behind the bucket's name; its first group is the region. Absent: any host, such as a server of one's own. */
  readonly host?: RegExp
  /** of the S3 interface, where it is not the host that is written in the bucket's URL */
  readonly s3Host?: (region: string) => string
  /** The bucket is the first label of the host, in the requests too; else the first component of the path. */
  readonly virtualHost: boolean
  /** checked before the setting's own keys are found missing: access key, secret key, session token */
  readonly keyVariables?: readonly string[]
  /** object checksums (spec section 2.3) unless the bucket's URL says otherwise; absent: yes */
  readonly checksum?: false
}

export const VENDORS: Readonly<Record<string, Vendor>> = {
  minio: { virtualHost: false, keyVariables: ['MINIO_ACCESS_KEY', 'MINIO_SECRET_KEY'] },
  storj: { virtualHost: false },
  wasabi: { host: /^s3(?:\.([\w-]+))?\.wasabisys\.com$/, virtualHost: false },
  scw: {
    host: /^s3\.([\w-]+)\.scw\.cloud$/,
    virtualHost: false,
    keyVariables: ['SCW_ACCESS_KEY', 'SCW_SECRET_KEY'],
  },
  space: { host: /^([\w-]+)\.digitaloceanspaces\.com$/, virtualHost: false },
  b2: { host: /^s3\.([\w-]+)\.backblazeb2\.com$/, virtualHost: false },
  eos: {
    host: /^eos-([\w-]+)\.cmecloud\.cn$/,
    virtualHost: false,
    keyVariables: ['EOS_ACCESS_KEY', 'EOS_SECRET_KEY', 'EOS_TOKEN'],
  },
  oos: { host: /^oos-([\w-]+)\.ctyunapi\.cn$/, virtualHost: false },
  ks3: { host: /^ks3-([\w-]+?)(?:-internal)?\.ksyun(?:cs)?\.com$/, virtualHost: true },
  qiniu: { host: /^s3-([\w-]+)\.qiniucs\.com$/, virtualHost: false },
  qingstor: {
    host: /^([\w-]+)\.qingstor\.com$/,
    s3Host: region => `s3.${region}.qingstor.com`,
    virtualHost: true,
  },
  oss: {
    host: /^oss-([\w-]+?)(?:-internal)?\.aliyuncs\.com$/,
    virtualHost: true,
    keyVariables: ['ALICLOUD_ACCESS_KEY_ID', 'ALICLOUD_ACCESS_KEY_SECRET', 'SECURITY_TOKEN'],
    checksum: false,
  },
  cos: {
    host: /^cos\.([\w-]+)\.myqcloud\.com$/,
    virtualHost: true,
    keyVariables: ['COS_SECRETID', 'COS_SECRETKEY'],
  },
  obs: {
    host: /^obs\.([\w-]+)\.myhuaweicloud\.com$/,
    virtualHost: true,
    keyVariables: ['HWCLOUD_ACCESS_KEY', 'HWCLOUD_SECRET_KEY'],
  },
  tos: {
    host: /^tos(?:-s3)?-([\w-]+)\.i?volces\.com$/,
    s3Host: region => `tos-s3-${region}.volces.com`,
    virtualHost: true,
  },
  bos: {
    host: /^(?:s3\.)?([\w-]+)\.bcebos\.com$/,
    s3Host: region => `s3.${region}.bcebos.com`,
    virtualHost: true,
    keyVariables: ['BDCLOUD_ACCESS_KEY', 'BDCLOUD_SECRET_KEY'],
  },
}
