/** Objects as files in HDFS (storage `hdfs`), over WebHDFS: `{path}{key}`, written beside and renamed into place.
 *
 *      [hdfs://]namenode[:port][,namenode[:port]][/path]
 *
 *  The reference client speaks Hadoop's RPC, and volumes carry its address; the name node answers HTTP on another port of the same
 *  host. Ports that are RPC's by custom (8020, 9000), and none, therefore mean 9870; any other port is taken for the one of HTTP, and
 *  `?http-port=` settles it. Without Kerberos: the user is who we say, as with `hadoop.security.authentication=simple`. */

import { randomInt } from 'node:crypto'
import { userInfo } from 'node:os'
import { EINVAL, ENOSPC } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import { bucketUrl } from './bucket-url.ts'
import { HttpClient } from './http/client.ts'
import type { HttpAnswer } from './http/message.ts'
import { type Origin, originOf } from './http/origin.ts'
import { SecureContextSetting } from './http/tls.ts'
import { type ByteRange, type ObjectInfo, ObjectMissing, type ObjectStore, Refused, Unreachable } from './store.ts'
import { type TreeEntry, walkTree } from './tree-walk.ts'

const RPC_PORTS = new Set(['', '8020', '9000'])
const HTTP_PORT = 9870

export interface HdfsSetting {
  readonly bucket: string
  readonly accessKey?: string | undefined
}

interface FileStatus {
  readonly pathSuffix: string
  readonly type: 'FILE' | 'DIRECTORY' | 'SYMLINK'
  readonly length: number
  readonly modificationTime: number
}

interface Remote {
  readonly exception: string
  readonly message: string
}

export class WebHdfsStore implements ObjectStore {
  readonly description: string
  readonly limits = { rangeReads: true, maxListPage: 10_000 }
  readonly #http: HttpClient
  readonly #nameNodes: readonly Origin[]
  readonly #root: string
  readonly #user: string
  /** the one that answered last: others may stand by */
  #active = 0

  /** Does no I/O. */
  constructor({ bucket, accessKey }: HdfsSetting, env: Readonly<Record<string, string | undefined>>) {
    const [, scheme, hosts, path, query = ''] = /^(?:(\w+):\/\/)?([^/?]+)(\/[^?]*)?(\?.*)?$/.exec(bucket) ?? []
    if (hosts === undefined) throw new Fault(`bucket ${bucket} is not namenode:port/path`, { errno: EINVAL })
    const options = bucketUrl(`http://x/${query}`, () => '')
    this.#http = new HttpClient(SecureContextSetting.takeFrom(options))
    const port = options.searchParams.get('http-port')
    this.#nameNodes = hosts.split(',').map(host => {
      const url = bucketUrl(host, () => (scheme === 'https' || scheme === 'swebhdfs' ? 'https' : 'http'))
      if (port) url.port = port
      else if (RPC_PORTS.has(url.port)) url.port = String(HTTP_PORT)
      return originOf(url)
    })
    this.#root = path ?? '/'
    this.#user = accessKey || env.HADOOP_USER_NAME || userInfo().username
    this.description = `hdfs://${hosts}${this.#root}`
  }

  async get(key: string, range?: ByteRange): Promise<Buffer> {
    const part = range && { offset: String(range.offset), length: String(Math.max(range.length, 1)) }
    const doing = `get object ${key}`
    const answer = await this.#data(doing, 'GET', key, { op: 'OPEN', ...part })
    const remote = remoteOf(answer)
    if (remote?.exception === 'FileNotFoundException') throw new ObjectMissing(key)
    if (range && /out of the range/i.test(remote?.message ?? '')) return Buffer.alloc(0)
    if (answer.status !== 200) throw faultOf(doing, answer)
    return range ? answer.body.subarray(0, range.length) : answer.body
  }

  async put(key: string, body: Buffer): Promise<void> {
    const doing = `put object ${key}`
    if (key.endsWith('/')) return this.#makeDirectory(doing, key)
    const slash = key.lastIndexOf('/') + 1
    const temporary = `${key.slice(0, slash)}.jfs.${key.slice(slash, slash + 200)}.tmp.${randomInt(2 ** 47)}`
    try {
      const answer = await this.#data(doing, 'PUT', temporary, { op: 'CREATE', overwrite: 'true' }, body)
      if (answer.status !== 201) throw faultOf(doing, answer)
      const destination = this.#root + key
      await this.#ask(doing, 'PUT', temporary, { op: 'RENAME', destination, renameoptions: 'OVERWRITE' })
    } catch (error) {
      await this.delete(temporary).catch(() => {})
      throw error
    }
  }

  async delete(key: string): Promise<void> {
    await this.#ask(`delete object ${key}`, 'DELETE', key, { op: 'DELETE', recursive: 'false' })
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const found = await this.#ask<{ FileStatus: FileStatus }>(`head object ${key}`, 'GET', key, { op: 'GETFILESTATUS' })
    return found && infoOf(key, found.FileStatus)
  }

  async list(prefix: string, marker: string, limit: number): Promise<ObjectInfo[]> {
    const read = async (directory: string): Promise<TreeEntry[]> => {
      const found = await this.#ask<{ FileStatuses: { FileStatus: FileStatus[] } }>(
        `list objects ${directory}`,
        'GET',
        directory,
        { op: 'LISTSTATUS' },
      )
      return (found?.FileStatuses.FileStatus ?? []).map(status => {
        const key = directory + status.pathSuffix
        return { key: status.type === 'DIRECTORY' ? `${key}/` : key, describe: () => infoOf(key, status) }
      })
    }
    return walkTree(read, prefix, marker, limit)
  }

  async create(): Promise<void> {
    await this.#makeDirectory('make the bucket', '')
  }

  async close(): Promise<void> {
    this.#http.close()
  }

  async #makeDirectory(doing: string, key: string): Promise<void> {
    await this.#ask(doing, 'PUT', key, { op: 'MKDIRS', permission: '777' })
  }

  /** A request that the name node answers itself, as JSON; null: no such file. */
  async #ask<T>(doing: string, method: string, key: string, query: Record<string, string>): Promise<T | null> {
    const answer = await this.#nameNode(doing, method, key, query)
    if (remoteOf(answer)?.exception === 'FileNotFoundException' && query.op !== 'RENAME') return null
    if (answer.status !== 200) throw faultOf(doing, answer)
    return answer.body.length === 0 ? null : (JSON.parse(answer.body.toString()) as T)
  }

  /** A request with bytes: the name node says at which data node they are. */
  async #data(
    doing: string,
    method: string,
    key: string,
    query: Record<string, string>,
    body?: Buffer,
  ): Promise<HttpAnswer> {
    const answer = await this.#nameNode(doing, method, key, query)
    const { location } = answer.headers
    if (answer.status !== 307 || location === undefined) return answer
    const url = new URL(location)
    const headers = { 'content-type': 'application/octet-stream' }
    try {
      return await this.#http.send({ method, origin: originOf(url), path: url.pathname + url.search, headers, body })
    } catch (error) {
      throw new Fault(doing, { cause: error })
    }
  }

  async #nameNode(doing: string, method: string, key: string, query: Record<string, string>): Promise<HttpAnswer> {
    const search = new URLSearchParams({ ...query, 'user.name': this.#user })
    const path = `/webhdfs/v1${(this.#root + key).split('/').map(encodeURIComponent).join('/')}?${search}`
    const headers: Record<string, string> = method === 'PUT' ? { 'content-length': '0' } : {}
    let failure: unknown
    for (let i = 0; i < this.#nameNodes.length; i++) {
      const index = (this.#active + i) % this.#nameNodes.length
      try {
        const answer = await this.#http.send({ method, origin: this.#nameNodes[index]!, path, headers })
        if (remoteOf(answer)?.exception !== 'StandbyException') {
          this.#active = index
          return answer
        }
        failure ??= faultOf(doing, answer)
      } catch (error) {
        failure ??= error
        if (!(error instanceof Unreachable)) break
      }
    }
    throw new Fault(doing, { cause: failure })
  }
}

const infoOf = (key: string, { type, length, modificationTime }: FileStatus): ObjectInfo => ({
  key,
  size: length,
  mtimeMs: modificationTime,
  isDirectory: type === 'DIRECTORY',
})

/** What a failure says of itself. */
function remoteOf({ status, body }: HttpAnswer): Remote | null {
  if (status < 400) return null
  try {
    return (JSON.parse(body.toString()) as { RemoteException?: Remote }).RemoteException ?? null
  } catch {
    return null
  }
}

function faultOf(doing: string, answer: HttpAnswer): Fault {
  const { exception = '', message = '' } = remoteOf(answer) ?? {}
  const cause = `${exception} ${message.split('\n')[0]} (status ${answer.status})`.trim()
  if (exception === 'AccessControlException' || answer.status === 401) return new Refused(doing, cause)
  return new Fault(doing, { ...(/Quota/.test(exception) && { errno: ENOSPC }), cause })
}
