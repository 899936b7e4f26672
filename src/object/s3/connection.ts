/** One bucket on one server of S3: finds the bucket's region, signs, sends, and says what came back.
 *
 *      request ─► region known? ─► sign ─► send ─► 301 / wrong region ─► that region, once more
 *                                             ├──► checksum unknown    ─► without it, once more
 *                                             ├──► keys too old        ─► new keys, once more
 *                                             ├──► clocks differ       ─► the server's time, once more
 *                                             └──► answer, problem */

import { hash } from 'node:crypto'
import { SignatureV4 } from '@smithy/signature-v4'
import type { Clock } from '../../base/clock.ts'
import { HttpClient, type HttpTimes } from '../http/client.ts'
import { ConnectionLost } from '../http/connection.ts'
import type { HttpAnswer } from '../http/message.ts'
import { hostText, type Origin } from '../http/origin.ts'
import type { SecureContextSetting } from '../http/tls.ts'
import { type Problem, problemOf } from './answers.ts'
import type { CredentialSource } from './credentials.ts'
import { awsOrigin, FIRST_REGION, type Place } from './place.ts'
import { NodeSha256 } from './sha256.ts'

/** SHA-256 of nothing */
const EMPTY_HASH = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
/** Bodies are not signed, as by the reference client: TLS or the checksum of the object guards them, and SHA-256 of 4 MiB takes 2 ms. */
const UNSIGNED = 'UNSIGNED-PAYLOAD'
const CHINA = 'cn-north-1'
const ATTEMPTS = 3

export interface S3Request {
  readonly method: 'GET' | 'PUT' | 'HEAD' | 'DELETE'
  /** null: the bucket itself */
  readonly key: string | null
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer
  /** CRC-32C of the body in Base64: a server that knows it stores nothing else than that */
  readonly checksum?: string
}

export interface S3Answer extends HttpAnswer {
  /** null: done */
  readonly problem: Problem | null
}

export interface ConnectionOptions {
  readonly place: Place
  readonly credentials: CredentialSource
  readonly tls: SecureContextSetting
  readonly clock: Clock
  /** where to look for the region of a bucket of AWS first */
  readonly defaultRegion: string
  /** absent: those of the reference client */
  readonly times?: HttpTimes
}

export class S3Connection {
  readonly #o: ConnectionOptions
  readonly #http: HttpClient
  readonly #signer: SignatureV4
  #region: string | Promise<string> | null
  #signsBodies = false
  #takesChecksums: boolean | 'unknown' = 'unknown'
  /** of the server against ours */
  #clockSkewMs = 0

  constructor(options: ConnectionOptions) {
    this.#o = options
    this.#http = new HttpClient(options.tls, options.times)
    this.#region = options.place.region
    this.#signer = new SignatureV4({
      service: 's3',
      region: FIRST_REGION,
      credentials: async () => (await options.credentials(false))!,
      sha256: NodeSha256,
      uriEscapePath: false,
      applyChecksum: false,
    })
  }

  /** of the bucket; asks the server where it is not known yet */
  async region(): Promise<string> {
    this.#region ??= this.#findRegion().then(
      region => (this.#region = region),
      error => {
        this.#region = null
        throw error
      },
    )
    return this.#region
  }

  async send(request: S3Request): Promise<S3Answer> {
    for (let attempt = 1; ; attempt++) {
      const region = await this.region()
      const { checksum } = request
      const isChecked = checksum !== undefined && this.#takesChecksums !== false
      try {
        const answer = await this.#sendTo(region, isChecked ? withChecksum(request, checksum) : request)
        const { problem } = answer
        if (isChecked && !problem && this.#takesChecksums === 'unknown') this.#takesChecksums = true
        const isBlamed = isChecked && problem !== null && blamesChecksum(problem)
        if (isBlamed) this.#takesChecksums = false
        if (attempt === ATTEMPTS || !problem) return answer
        if (!isBlamed && !(await this.#adapt(answer, problem, region))) return answer
      } catch (error) {
        // A server that refuses a header may be gone before it has read the body, and its answer with it.
        const isCut = error instanceof ConnectionLost && /^(EPIPE|ECONNRESET)$/.test(codeOf(error.cause))
        if (!isChecked || this.#takesChecksums === true || !isCut || attempt === ATTEMPTS) throw error
        this.#takesChecksums = false
      }
    }
  }

  close(): void {
    this.#http.close()
  }

  /** Can a repetition do better, now that the server has told what was wrong? */
  async #adapt(answer: HttpAnswer, { code, message, status, region }: Problem, used: string): Promise<boolean> {
    if (region !== undefined && region !== used && REGION.test(region) && WRONG_REGION.has(status)) {
      this.#region = region
      return true
    }
    if (code === 'ExpiredToken' || code === 'TokenRefreshRequired') {
      const before = await this.#o.credentials(false)
      const now = await this.#o.credentials(true)
      return before?.accessKeyId !== now?.accessKeyId || before?.sessionToken !== now?.sessionToken
    }
    if (code === 'RequestTimeTooSkewed') {
      const theirs = Date.parse(answer.headers.date ?? '')
      if (Number.isNaN(theirs)) return false
      this.#clockSkewMs = theirs - this.#o.clock.now().sec * 1000
      return true
    }
    if (!this.#signsBodies && status === 400 && /UNSIGNED-PAYLOAD|content-sha256/i.test(`${code} ${message}`)) {
      this.#signsBodies = true
      return true
    }
    return false
  }

  async #sendTo(region: string, request: S3Request): Promise<S3Answer> {
    const { place } = this.#o
    const server = place.origin === null || this.#isMoved(region) ? awsOrigin(region) : place.origin
    const origin = place.virtualHost ? { ...server, hostname: `${place.bucket}.${server.hostname}` } : server
    const { method, query = {}, body } = request
    const path = `${place.virtualHost ? '' : `/${place.bucket}`}/${request.key === null ? '' : escapeKey(request.key)}`
    const headers = { host: hostText(origin), ...request.headers }
    const signed = await this.#sign(region, { method, origin, path, query, headers, body })
    const answer = await this.#http.send({ method, origin, path: path + queryText(query), headers: signed, body })
    return { ...answer, problem: problemOf(answer) }
  }

  async #sign(region: string, request: Unsigned): Promise<Record<string, string>> {
    if ((await this.#o.credentials(false)) === null) return request.headers
    const { method, origin, path, query, headers, body } = request
    const bodyHash = !body?.length ? EMPTY_HASH : this.#signsBodies ? hash('sha256', body) : UNSIGNED
    const signed = await this.#signer.sign(
      {
        method,
        protocol: origin.protocol,
        hostname: origin.hostname,
        path,
        query: { ...query },
        headers: { ...headers, 'x-amz-content-sha256': bodyHash },
      },
      { signingRegion: region, signingDate: new Date(this.#o.clock.now().sec * 1000 + this.#clockSkewMs) },
    )
    return signed.headers
  }

  /** A host of AWS names one region; a bucket that turns out to lie in another is asked for there. */
  #isMoved(region: string): boolean {
    const { origin, region: stated } = this.#o.place
    return stated !== null && region !== stated && /\.amazonaws\.com(\.cn)?$/.test(origin?.hostname ?? '')
  }

  /** Every answer about a bucket names its region, also a refusal. */
  async #findRegion(): Promise<string> {
    let failure: unknown
    for (const guess of new Set([this.#o.defaultRegion, CHINA])) {
      try {
        const answer = await this.#sendTo(guess, { method: 'GET', key: null, query: { location: '' } })
        if (answer.problem?.region) return answer.problem.region
        const named = answer.headers['x-amz-bucket-region']
        if (named) return named
        const text = /<LocationConstraint[^>]*>([^<]*)</.exec(answer.body.toString('utf8'))?.[1]
        if (!answer.problem) return text === 'EU' ? 'eu-west-1' : text || FIRST_REGION
        // A bucket that is not there yet is made where we looked first; keys of the other partition are unknown here.
        if (answer.problem.code !== 'InvalidAccessKeyId') return guess
      } catch (error) {
        failure ??= error
      }
    }
    if (failure) throw failure
    return this.#o.defaultRegion
  }
}

interface Unsigned {
  readonly method: string
  readonly origin: Origin
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly headers: Record<string, string>
  readonly body: Buffer | undefined
}

const codeOf = (error: unknown): string => String((error as { code?: unknown } | undefined)?.code)

const withChecksum = (request: S3Request, checksum: string): S3Request => ({
  ...request,
  headers: { ...request.headers, 'x-amz-checksum-crc32c': checksum },
})

/** Did the server not understand the header, rather than find other bytes than it says? Servers say it in many ways: `NotImplemented`
 *  (R2, S3Proxy), `Unsupported header 'x-amz-checksum-crc32c'` (B2). */
const blamesChecksum = ({ status, code, message }: Problem): boolean =>
  status === 501 ||
  (status === 400 && /checksum|header/i.test(message) && !/digest|mismatch|did not match/i.test(`${code} ${message}`))

const WRONG_REGION = new Set([301, 307, 400])
const REGION = /^[a-z0-9-]+$/

/** As SigV4 wants it: everything but unreserved characters and the slash. */
const escapeKey = (key: string): string => (PLAIN_KEY.test(key) ? key : key.split('/').map(escapeText).join('/'))
const PLAIN_KEY = /^[\w.~/-]*$/

const escapeText = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

function queryText(query: Readonly<Record<string, string>>): string {
  const parts = Object.entries(query).map(([name, value]) => `${escapeText(name)}=${escapeText(value)}`)
  return parts.length === 0 ? '' : `?${parts.join('&')}`
}
