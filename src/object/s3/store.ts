/** Objects in a bucket of Amazon S3 or of a server that speaks its protocol (storage `s3` and the names in vendors.ts).
 *
 *  Its own small client: the few verbs that blocks need, a body in one buffer, nothing repeated but what only the server could tell
 *  (connection.ts). The AWS SDK costs four to six times the CPU for the same request (docs/dependencies.md). */

import { Fault } from '../../base/fault.ts'
import { CHECKSUM_NAME, checksumOf, verifyChecksum } from '../checksum.ts'
import { cutRange } from '../http/range.ts'
import { type ByteRange, type ObjectInfo, ObjectMissing, type ObjectStore } from '../store.ts'
import { faultOf, isMissingObject } from './answers.ts'
import { type ConnectionOptions, type S3Answer, S3Connection, type S3Request } from './connection.ts'
import { FIRST_REGION } from './place.ts'

const CHECKSUM_HEADER = `x-amz-meta-${CHECKSUM_NAME.toLowerCase()}`
const MAX_LIST_PAGE = 1000

export interface S3Options extends ConnectionOptions {
  /** `s3`, `minio` …, for messages */
  readonly kind: string
  readonly storageClass: string
  /** `key=value`, or empty */
  readonly tag: string
  /** Are checksums kept with the objects, and checked? */
  readonly checksum: boolean
}

export class S3Store implements ObjectStore {
  readonly description: string
  readonly limits = { rangeReads: true, maxListPage: MAX_LIST_PAGE }
  readonly #o: S3Options
  readonly #connection: S3Connection
  readonly #putHeaders: Readonly<Record<string, string>>
  /** Version 2 until a server turns out not to know it. */
  #listVersion: 1 | 2 = 2

  constructor(options: S3Options) {
    const { kind, place, storageClass, tag } = options
    this.#o = options
    this.description = `${kind}://${place.bucket}/`
    this.#connection = new S3Connection(options)
    this.#putHeaders = {
      ...(storageClass && { 'x-amz-storage-class': storageClass }),
      ...(tag && { 'x-amz-tagging': tagText(tag) }),
    }
  }

  async get(key: string, range?: ByteRange): Promise<Buffer> {
    const doing = `get object ${key}`
    const headers: Record<string, string> = {}
    if (range) headers.range = `bytes=${range.offset}-${range.offset + Math.max(range.length, 1) - 1}`
    const answer = await this.#send(doing, { method: 'GET', key, headers })
    const { problem } = answer
    if (problem) {
      if (range && problem.status === 416) return Buffer.alloc(0)
      if (isMissingObject(answer, problem)) throw new ObjectMissing(key, problem.code)
      throw faultOf(doing, problem)
    }
    if (range) return cutRange(doing, answer, range)
    if (this.#o.checksum) verifyChecksum(key, answer.body, answer.headers[CHECKSUM_HEADER])
    return answer.body
  }

  async put(key: string, body: Buffer): Promise<void> {
    const doing = `put object ${key}`
    const request = { method: 'PUT', key, headers: this.#putHeaders, body } as const
    const { problem } = await this.#send(doing, this.#o.checksum ? withChecksum(request) : request)
    if (problem) throw faultOf(doing, problem)
  }

  async delete(key: string): Promise<void> {
    const doing = `delete object ${key}`
    const answer = await this.#send(doing, { method: 'DELETE', key })
    const { problem } = answer
    if (problem && !isMissingObject(answer, problem)) throw faultOf(doing, problem)
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const doing = `head object ${key}`
    const { problem, headers } = await this.#send(doing, { method: 'HEAD', key })
    // A HEAD has no body that could tell a missing bucket from a missing object.
    if (problem?.status === 404) return null
    if (problem) throw faultOf(doing, problem)
    return {
      key,
      size: Number(headers['content-length'] ?? 0),
      mtimeMs: Date.parse(headers['last-modified'] ?? ''),
      isDirectory: key.endsWith('/'),
    }
  }

  async list(prefix: string, marker: string, limit: number): Promise<ObjectInfo[]> {
    const found: ObjectInfo[] = []
    let token: string | undefined
    while (found.length < limit) {
      const after = found.at(-1)?.key ?? marker
      const page = await this.#listPage(prefix, after, token, Math.min(limit - found.length, MAX_LIST_PAGE))
      const isOldServer = this.#listVersion === 2 && page.infos.some(({ key }) => key <= after)
      if (isOldServer) {
        // It knows no version 2 and has listed from the beginning again.
        this.#listVersion = 1
        token = undefined
        continue
      }
      found.push(...page.infos)
      // A page may be short, even empty, with more behind it.
      if (!page.isTruncated || (page.infos.length === 0 && !page.continuationToken)) break
      token = page.continuationToken
    }
    refuseDisorder(prefix, marker, found)
    return found
  }

  async create(): Promise<void> {
    const doing = `create bucket ${this.#o.place.bucket}`
    const region = await this.#connection.region()
    const body = region === FIRST_REGION ? undefined : Buffer.from(locationXml(region))
    const { problem } = await this.#send(doing, { method: 'PUT', key: null, ...(body && { body }) })
    if (problem && !/^BucketAlready(OwnedByYou|Exists)$/.test(problem.code)) throw faultOf(doing, problem)
  }

  async close(): Promise<void> {
    this.#connection.close()
  }

  async #listPage(prefix: string, after: string, token: string | undefined, limit: number) {
    const doing = `list objects ${prefix}`
    const query: Record<string, string> = { prefix, 'max-keys': String(limit), 'encoding-type': 'url' }
    if (this.#listVersion === 1) query.marker = after
    else Object.assign(query, { 'list-type': '2' }, token ? { 'continuation-token': token } : { 'start-after': after })
    const { problem, body } = await this.#send(doing, { method: 'GET', key: null, query })
    if (problem) throw faultOf(doing, problem)
    const { parseListing } = await import('./listing.ts')
    return parseListing(body)
  }

  async #send(doing: string, request: S3Request): Promise<S3Answer> {
    try {
      return await this.#connection.send(request)
    } catch (error) {
      throw new Fault(doing, { cause: error })
    }
  }
}

/** For readers, as the reference client keeps it, and for the server, which compares it with what has come. */
function withChecksum(request: S3Request & { readonly body: Buffer }): S3Request {
  const checksum = checksumOf(request.body)
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(Number(checksum))
  const headers = { ...request.headers, [CHECKSUM_HEADER]: checksum }
  return { ...request, headers, checksum: bytes.toString('base64') }
}

function refuseDisorder(prefix: string, marker: string, found: readonly ObjectInfo[]): void {
  let last = marker
  for (const { key } of found) {
    if (key <= last) throw new Fault(`list objects ${prefix}: keys are out of order: ${key} after ${last}`)
    last = key
  }
}

const locationXml = (region: string): string =>
  `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>${region}</LocationConstraint></CreateBucketConfiguration>`

function tagText(tag: string): string {
  const at = tag.indexOf('=')
  return `${encodeURIComponent(tag.slice(0, at))}=${encodeURIComponent(tag.slice(at + 1))}`
}
