/** Objects as files on a WebDAV server (storage `webdav`, RFC 4918): `{bucket path}/{key}`.
 *
 *  The few verbs that are needed, over the client that S3 uses. A put is one PUT, as by the reference client; whether a reader can see
 *  it half done is up to the server, and blocks are named to readers only after their put. */

import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { EINVAL, ENOSPC } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import { bucketUrl } from './bucket-url.ts'
import { basicHeader, type Challenge, digestChallenge, digestHeader, type Login } from './http/auth.ts'
import { HttpClient } from './http/client.ts'
import type { HttpAnswer } from './http/message.ts'
import { type Origin, originOf } from './http/origin.ts'
import { cutRange } from './http/range.ts'
import { SecureContextSetting } from './http/tls.ts'
import { type ByteRange, type ObjectInfo, ObjectMissing, type ObjectStore, Refused } from './store.ts'
import { type TreeEntry, walkTree } from './tree-walk.ts'

const PROPERTIES = Buffer.from(
  '<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>',
)

/** Some servers lock files and directories while they are made, and a put that was given up may still be under way. */
const LOCKED = 423
const LOCKED_RETRIES = 10
const LOCKED_PAUSE_MS = 50

interface WebdavRequest {
  readonly method: string
  readonly key: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer
}

export interface WebdavSetting {
  readonly bucket: string
  readonly accessKey?: string | undefined
  readonly secretKey?: string | undefined
}

export class WebdavStore implements ObjectStore {
  readonly description: string
  readonly limits = { rangeReads: true, maxListPage: 10_000 }
  readonly #http: HttpClient
  readonly #origin: Origin
  /** escaped, with a slash at both ends */
  readonly #root: string
  readonly #login: Login | null
  #challenge: Challenge | null = null
  /** under the nonce of the challenge */
  #requests = 0

  /** Does no I/O. */
  constructor({ bucket, accessKey, secretKey }: WebdavSetting) {
    const url = bucketUrl(bucket, () => 'http')
    this.#http = new HttpClient(SecureContextSetting.takeFrom(url))
    this.#origin = originOf(url)
    this.#root = url.pathname.endsWith('/') ? url.pathname : `${url.pathname}/`
    const user = accessKey || decodeURIComponent(url.username)
    const password = accessKey ? (secretKey ?? '') : decodeURIComponent(url.password)
    this.#login = user === '' ? null : { user, password }
    this.description = `webdav://${url.host}${this.#root}`
  }

  async get(key: string, range?: ByteRange): Promise<Buffer> {
    const headers = range && { range: `bytes=${range.offset}-${range.offset + Math.max(range.length, 1) - 1}` }
    const doing = `get object ${key}`
    const answer = await this.#send(doing, { method: 'GET', key, ...(headers && { headers }) })
    if (answer.status === 404) throw new ObjectMissing(key)
    if (range && answer.status === 416) return Buffer.alloc(0)
    if (!isDone(answer)) throw faultOf(doing, answer)
    return range ? cutRange(doing, answer, range) : answer.body
  }

  async put(key: string, body: Buffer): Promise<void> {
    const doing = `put object ${key}`
    if (key.endsWith('/')) return this.#makeDirectory(key)
    const request = { method: 'PUT', key, headers: { 'content-type': 'application/octet-stream' }, body }
    let answer = await this.#send(doing, request)
    // The RFC says 409 for a missing parent; servers also say 403 and 404.
    if ([403, 404, 409].includes(answer.status) && key.includes('/')) {
      await this.#makeDirectory(parentOf(key))
      answer = await this.#send(doing, request)
    }
    if (!isDone(answer)) throw faultOf(doing, answer)
  }

  /** Looks first, since DELETE takes a directory with everything below it. */
  async delete(key: string): Promise<void> {
    const doing = `delete object ${key}`
    const found = await this.#properties(doing, key, '1')
    if (found === null) return
    if (found.length > 1) throw new Fault(`${doing}: it is a directory that is not empty`, { errno: EINVAL })
    const answer = await this.#send(doing, { method: 'DELETE', key })
    if (!isDone(answer) && answer.status !== 404) throw faultOf(doing, answer)
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const found = await this.#properties(`head object ${key}`, key, '0')
    return found?.[0] ? { ...found[0], key } : null
  }

  async list(prefix: string, marker: string, limit: number): Promise<ObjectInfo[]> {
    const read = async (directory: string): Promise<TreeEntry[]> => {
      const found = await this.#properties(`list objects ${directory}`, directory, '1')
      const below = (found ?? []).filter(({ key }) => key !== directory && key.startsWith(directory))
      return below.map(info => ({ key: info.key, describe: () => info }))
    }
    return walkTree(read, prefix, marker, limit)
  }

  async create(): Promise<void> {
    await this.#makeDirectory('')
  }

  async close(): Promise<void> {
    this.#http.close()
  }

  /** null: nothing there. Else it, and with depth 1 what lies in it; keys of directories end with a slash. */
  async #properties(doing: string, key: string, depth: '0' | '1'): Promise<ObjectInfo[] | null> {
    const headers = { depth, 'content-type': 'application/xml; charset=utf-8' }
    const answer = await this.#send(doing, { method: 'PROPFIND', key, headers, body: PROPERTIES })
    if (answer.status === 404) return null
    if (answer.status !== 207) throw faultOf(doing, answer)
    const { parseMultistatus } = await import('./webdav-list.ts')
    return parseMultistatus(answer.body, this.#root)
  }

  /** `key` is empty or ends with a slash. From the top only where something is missing. */
  async #makeDirectory(key: string): Promise<void> {
    const doing = `make directory ${key}`
    let answer = await this.#send(doing, { method: 'MKCOL', key })
    if ((answer.status === 409 || answer.status === 404) && (key !== '' || this.#root !== '/')) {
      await (key === '' ? this.#makeAboveRoot() : this.#makeDirectory(parentOf(key)))
      answer = await this.#send(doing, { method: 'MKCOL', key })
    }
    // 405: it is there. Some servers answer so, others 409 or 301, to those who come second.
    if (isDone(answer) || answer.status === 405 || (await this.#properties(doing, key, '0')) !== null) return
    throw faultOf(doing, answer)
  }

  async #makeAboveRoot(): Promise<void> {
    const parts = this.#root.split('/').slice(1, -2)
    for (let i = 1; i <= parts.length; i++) {
      await this.#sendTo(`/${parts.slice(0, i).join('/')}/`, 'make the bucket', { method: 'MKCOL', key: '' })
    }
  }

  async #send(doing: string, request: WebdavRequest): Promise<HttpAnswer> {
    const path = this.#root + request.key.split('/').map(encodeURIComponent).join('/')
    for (let attempt = 1; ; attempt++) {
      const answer = await this.#sendTo(path, doing, request)
      if (answer.status !== LOCKED || attempt > LOCKED_RETRIES) return answer
      await sleep(attempt * randomInt(LOCKED_PAUSE_MS))
    }
  }

  async #sendTo(path: string, doing: string, { method, headers, body }: WebdavRequest): Promise<HttpAnswer> {
    const send = (): Promise<HttpAnswer> => {
      const authorization = this.#authorization(method, path)
      const all = { ...headers, ...(authorization && { authorization }) }
      return this.#http.send({ method, origin: this.#origin, path, headers: all, body })
    }
    try {
      const before = this.#challenge
      const answer = await send()
      if (answer.status !== 401 || !this.#login) return answer
      const challenge = digestChallenge(answer.headers['www-authenticate'])
      if (!challenge) return answer
      // A nonce of another request, got meanwhile, is as good.
      if (this.#challenge === before) {
        this.#challenge = challenge
        this.#requests = 0
      }
      return await send()
    } catch (error) {
      throw new Fault(doing, { cause: error })
    }
  }

  #authorization(method: string, path: string): string | undefined {
    if (!this.#login) return undefined
    if (!this.#challenge) return basicHeader(this.#login)
    return digestHeader(this.#challenge, this.#login, method, path, ++this.#requests)
  }
}

const isDone = ({ status }: HttpAnswer): boolean => status >= 200 && status < 300

const parentOf = (key: string): string => key.slice(0, key.lastIndexOf('/', key.length - 2) + 1)

function faultOf(doing: string, { status }: HttpAnswer): Fault {
  const cause = `status ${status}`
  if (status === 401 || status === 403) return new Refused(doing, `access denied (${cause})`)
  return new Fault(doing, { ...(status === 507 && { errno: ENOSPC }), cause })
}
