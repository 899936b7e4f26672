/** Objects in a container of OpenStack Swift (storage `swift`). */

import { ENOSPC } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import { HttpClient } from '../http/client.ts'
import type { HttpAnswer } from '../http/message.ts'
import { cutRange } from '../http/range.ts'
import { SecureContextSetting } from '../http/tls.ts'
import { type ByteRange, type ObjectInfo, ObjectMissing, type ObjectStore, Refused } from '../store.ts'
import { type Account, type LoginPlace, logIn, loginPlace, type SwiftSetting } from './login.ts'

const MAX_LIST_PAGE = 10_000

interface SwiftRequest {
  readonly method: string
  /** null: the container itself */
  readonly key: string | null
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer
}

interface Listed {
  readonly name: string
  readonly bytes: number
  /** UTC, without saying so */
  readonly last_modified: string
}

export class SwiftStore implements ObjectStore {
  readonly description: string
  readonly limits = { rangeReads: true, maxListPage: MAX_LIST_PAGE }
  readonly #http: HttpClient
  readonly #place: LoginPlace
  #account: Promise<Account> | null = null

  /** Does no I/O. */
  constructor(setting: SwiftSetting, env: Readonly<Record<string, string | undefined>>) {
    this.#place = loginPlace(setting, env)
    this.#http = new HttpClient(SecureContextSetting.takeFrom(this.#place.url))
    this.description = `swift://${this.#place.container}/`
  }

  async get(key: string, range?: ByteRange): Promise<Buffer> {
    const headers = range && { range: `bytes=${range.offset}-${range.offset + Math.max(range.length, 1) - 1}` }
    const doing = `get object ${key}`
    const answer = await this.#send(doing, { method: 'GET', key, ...(headers && { headers }) })
    if (range && answer.status === 416) return Buffer.alloc(0)
    if (answer.status === 404) throw await this.#missing(doing, key)
    if (!isDone(answer)) throw faultOf(doing, answer)
    return range ? cutRange(doing, answer, range) : answer.body
  }

  async put(key: string, body: Buffer): Promise<void> {
    const doing = `put object ${key}`
    const headers = { 'content-type': 'application/octet-stream' }
    const answer = await this.#send(doing, { method: 'PUT', key, headers, body })
    if (!isDone(answer)) throw faultOf(doing, answer)
  }

  async delete(key: string): Promise<void> {
    const doing = `delete object ${key}`
    const answer = await this.#send(doing, { method: 'DELETE', key })
    if (!isDone(answer) && answer.status !== 404) throw faultOf(doing, answer)
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const doing = `head object ${key}`
    const answer = await this.#send(doing, { method: 'HEAD', key })
    if (answer.status === 404) return null
    if (!isDone(answer)) throw faultOf(doing, answer)
    const { 'content-length': length, 'last-modified': modified } = answer.headers
    return { key, size: Number(length), mtimeMs: Date.parse(modified ?? ''), isDirectory: false }
  }

  async list(prefix: string, marker: string, limit: number): Promise<ObjectInfo[]> {
    const doing = `list objects ${prefix}`
    const query = { format: 'json', prefix, marker, limit: String(Math.min(limit, MAX_LIST_PAGE)) }
    const answer = await this.#send(doing, { method: 'GET', key: null, query })
    if (!isDone(answer)) throw faultOf(doing, answer)
    const listed = answer.status === 204 ? [] : (JSON.parse(answer.body.toString()) as Listed[])
    return listed.map(({ name, bytes, last_modified }) => ({
      key: name,
      size: bytes,
      mtimeMs: Date.parse(`${last_modified.replace(/Z$/, '')}Z`),
      isDirectory: name.endsWith('/'),
    }))
  }

  async create(): Promise<void> {
    const doing = `create container ${this.#place.container}`
    const answer = await this.#send(doing, { method: 'PUT', key: null })
    if (!isDone(answer)) throw faultOf(doing, answer)
  }

  async close(): Promise<void> {
    this.#http.close()
  }

  /** A container that is gone has the same status as an object that is, and the object may be there when it is back. */
  async #missing(doing: string, key: string): Promise<Fault> {
    const answer = await this.#send(doing, { method: 'HEAD', key: null })
    return isDone(answer) ? new ObjectMissing(key) : faultOf(`${doing}: container ${this.#place.container}`, answer)
  }

  /** Tokens end after hours: then a new one is asked for, once. */
  async #send(doing: string, request: SwiftRequest): Promise<HttpAnswer> {
    try {
      const used = (this.#account ??= this.#logIn())
      const answer = await this.#sendTo(await used, request)
      if (answer.status !== 401) return answer
      if (this.#account === used) this.#account = this.#logIn()
      return await this.#sendTo(await this.#account!, request)
    } catch (error) {
      throw error instanceof Refused ? error : new Fault(doing, { cause: error })
    }
  }

  #logIn(): Promise<Account> {
    const account = logIn(this.#http, this.#place)
    account.catch(() => {
      if (this.#account === account) this.#account = null
    })
    return account
  }

  #sendTo({ token, origin, path }: Account, { method, key, query, headers, body }: SwiftRequest): Promise<HttpAnswer> {
    const place = key === null ? [this.#place.container] : [this.#place.container, ...key.split('/')]
    const full = `${path}/${place.map(encodeURIComponent).join('/')}${query ? `?${new URLSearchParams(query)}` : ''}`
    const all = { ...(method === 'PUT' && !body && { 'content-length': '0' }), ...headers, 'x-auth-token': token }
    return this.#http.send({ method, origin, path: full, headers: all, body })
  }
}

const isDone = ({ status }: HttpAnswer): boolean => status >= 200 && status < 300

function faultOf(doing: string, { status, headers }: HttpAnswer): Fault {
  const id = headers['x-trans-id']
  const cause = `status ${status}${id ? `, request ${id}` : ''}`
  if (status === 401 || status === 403) return new Refused(doing, `access denied (${cause})`)
  return new Fault(doing, { ...((status === 413 || status === 507) && { errno: ENOSPC }), cause })
}
