/** Where a bucket lies: from what `--bucket` says, the kind of store and the environment to server, bucket and region (spec
 *  data-objects section 4).
 *
 *      mybucket                                            AWS; the region is found out
 *      https://mybucket.s3.eu-west-1.amazonaws.com         AWS, the bucket in the host
 *      https://s3.eu-west-1.amazonaws.com/mybucket         AWS, the bucket in the path
 *      http://10.0.0.1:9000/mybucket                       any other server
 *      http://mybucket.store.example.com                   any other server, the bucket in the host */

import { EINVAL } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import { bucketUrl } from '../bucket-url.ts'
import { type Origin, originOf } from '../http/origin.ts'
import type { Environment } from './credentials.ts'
import { VENDORS } from './vendors.ts'

export const FIRST_REGION = 'us-east-1'

export interface Place {
  /** without the bucket's label; null: AWS, the region's own */
  readonly origin: Origin | null
  readonly bucket: string
  /** null: to be found out */
  readonly region: string | null
  /** The bucket is a label of the host of every request. */
  readonly virtualHost: boolean
}

/** `url` is what `schemeFor` made a URL of. Fault (EINVAL) where no bucket can be found in it. */
export function placeOf(kind: string, url: URL, env: Environment): Place {
  const found = kind === 's3' ? s3Place(url, env) : vendorPlace(kind, url, env)
  if (!isBucketName(found.bucket)) {
    throw new Fault(`no bucket in ${url.protocol}//${url.host}${url.pathname}`, { errno: EINVAL })
  }
  return found
}

/** The bucket's URL; `http` where the name has a dot and is not of AWS, since servers of one's own seldom have certificates. */
export function s3Url(kind: string, text: string): URL {
  return bucketUrl(text, rest => {
    const host = rest.split(/[/?]/)[0]!
    if (kind === 'minio') return 'http'
    if (kind !== 's3') return 'https'
    return (host.includes('.') || host.includes(':')) && !/\.amazonaws\.com(\.cn)?$/.test(host) ? 'http' : 'https'
  })
}

/** Hosts of AWS without the bucket: `s3.amazonaws.com`, `s3.eu-west-1…`, `s3-eu-west-1…`, `s3.dualstack.eu-west-1…`. */
const AWS_HOST = /^s3(?:[.-](?:dualstack\.)?([a-z0-9-]+))?\.amazonaws\.com(?:\.cn)?$/
const AWS_VPC_HOST = /(?:^|\.)(vpce-[^.]+(?:\.s3)?\.([a-z0-9-]+)\.vpce\.amazonaws\.com(?:\.cn)?)$/

function s3Place(url: URL, env: Environment): Place {
  const origin = originOf(url)
  const inPath = firstComponent(url)
  const { hostname } = origin
  const vpc = AWS_VPC_HOST.exec(hostname)
  if (vpc) {
    const [, host, region] = vpc
    if (inPath !== '') return { origin, bucket: inPath, region: region!, virtualHost: false }
    const bucket = hostname.slice(0, -host!.length - 1)
    return { origin: { ...origin, hostname: host! }, bucket, region: region!, virtualHost: true }
  }
  const aws = /^(?:(.+)\.)?(s3[.-].*amazonaws\.com(?:\.cn)?)$/.exec(hostname)
  if (aws) {
    const [, label, host] = aws
    const region = AWS_HOST.exec(host!)?.[1] ?? null
    const bucket = label ?? inPath
    return {
      origin: region === null ? null : { ...origin, hostname: host! },
      bucket,
      region,
      virtualHost: fitsTls(bucket),
    }
  }
  if (inPath === '' && !hostname.includes('.') && origin.port === undefined && url.protocol === 'https:') {
    const endpoint = env.AWS_ENDPOINT || env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL
    if (endpoint) {
      const there = originOf(bucketUrl(endpoint, () => 'https'))
      return { origin: there, bucket: hostname, region: regionOf(url, env), virtualHost: wantsVirtualHost(env) }
    }
    return { origin: null, bucket: hostname, region: null, virtualHost: fitsTls(hostname) }
  }
  return ownServer(url, regionOf(url, env), wantsVirtualHost(env))
}

function vendorPlace(kind: string, url: URL, env: Environment): Place {
  const vendor = VENDORS[kind]!
  const virtualHost = vendor.virtualHost || wantsVirtualHost(env)
  if (kind === 'minio') {
    const region = url.searchParams.get('region') || env.MINIO_REGION || FIRST_REGION
    const path = url.pathname.replace(/^\/minio\/(?=.)/, '/')
    return { ...ownServer(Object.assign(new URL(url), { pathname: path }), region, virtualHost), virtualHost }
  }
  const place = ownServer(url, regionOf(url, env), virtualHost)
  const origin = place.origin!
  const match = vendor.host?.exec(origin.hostname)
  if (!match) return place
  const region = url.searchParams.get('region') || match[1] || FIRST_REGION
  const hostname = vendor.s3Host?.(region) ?? origin.hostname
  return { ...place, origin: { ...origin, hostname }, region }
}

/** A server that is no known vendor's: the bucket is in the path, else the first label of the host. */
function ownServer(url: URL, region: string, virtualHost: boolean): Place {
  const origin = originOf(url)
  const inPath = firstComponent(url)
  if (inPath !== '') return { origin, bucket: inPath, region, virtualHost }
  const dot = /^[\d.]+$|:/.test(origin.hostname) ? -1 : origin.hostname.indexOf('.')
  if (dot < 0) return { origin, bucket: '', region, virtualHost }
  const bucket = origin.hostname.slice(0, dot)
  return { origin: { ...origin, hostname: origin.hostname.slice(dot + 1) }, bucket, region, virtualHost }
}

const firstComponent = (url: URL): string => decodeURIComponent(url.pathname.split('/')[1] ?? '')

const regionOf = (url: URL, env: Environment): string =>
  url.searchParams.get('region') || env.AWS_REGION || env.AWS_DEFAULT_REGION || FIRST_REGION

const wantsVirtualHost = (env: Environment): boolean => !['', '0', 'false'].includes(env.JFS_S3_VHOST_STYLE ?? '')

/** The certificate of AWS covers one label. */
const fitsTls = (bucket: string): boolean => !bucket.includes('.')

const isBucketName = (name: string): boolean => /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)

/** The server of a region of AWS. */
export function awsOrigin(region: string): Origin {
  const suffix = region.startsWith('cn-') ? '.cn' : ''
  return { protocol: 'https:', hostname: `s3.${region}.amazonaws.com${suffix}`, port: undefined }
}
