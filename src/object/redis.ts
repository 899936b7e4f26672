/** Objects as strings in Redis (storage `redis`, spec data-objects section 4): the whole key as it is, its bytes, no expiry.
 *
 *      redis[s]://[user:pw@]host[:port]/{db}                    one server; a cluster if it says that it is one
 *      redis://[user:pw@]master,sentinel1,sentinel2[:port]/{db} sentinels, which know where the master is
 *      redis://[user:pw@]host:port,host:port                    cluster */

import type { Cluster, Redis } from 'ioredis'
import { EINVAL } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import { SecureContextSetting } from './http/tls.ts'
import { type ByteRange, type ObjectInfo, ObjectMissing, type ObjectStore, Refused, Unreachable } from './store.ts'

const PORT = 6379
const SENTINEL_PORT = 26379
const SCAN_COUNT = 1000
const CONNECT_MS = 10_000
const SILENCE_MS = 30_000

export interface RedisSetting {
  readonly bucket: string
  readonly accessKey?: string | undefined
  readonly secretKey?: string | undefined
}

type Connection = Redis | Cluster

/** The keys of a prefix, sorted, as far as they are not listed yet: a scan goes through the whole database, so that one is made for a
 *  listing and not for each of its pages. */
interface Scan {
  readonly prefix: string
  readonly keys: readonly string[]
  readonly next: number
}

export class RedisStore implements ObjectStore {
  readonly description: string
  readonly limits = { rangeReads: true, maxListPage: 10_000 }
  readonly #place: Place
  readonly #nowMs: () => number
  #connection: Promise<Connection> | null = null
  /** by the last key that was listed */
  readonly #scans = new Map<string, Scan>()

  /** Does no I/O. `nowMs`: Redis keeps no times, so all objects are of now. */
  constructor(setting: RedisSetting, env: Readonly<Record<string, string | undefined>>, nowMs: () => number) {
    this.#place = placeOf(setting, env)
    this.#nowMs = nowMs
    this.description = `redis://${this.#place.hosts.map(({ host, port }) => `${host}:${port}`).join(',')}/${this.#place.db}/`
  }

  async get(key: string, range?: ByteRange): Promise<Buffer> {
    return this.#run(`get object ${key}`, async redis => {
      if (range) {
        const [part, isThere] = await Promise.all([
          redis.getrangeBuffer(key, range.offset, range.offset + range.length - 1),
          redis.exists(key),
        ])
        if (isThere === 0) throw new ObjectMissing(key)
        return range.length === 0 ? Buffer.alloc(0) : part
      }
      const bytes = await redis.getBuffer(key)
      if (bytes === null) throw new ObjectMissing(key)
      return bytes
    })
  }

  async put(key: string, body: Buffer): Promise<void> {
    await this.#run(`put object ${key}`, redis => redis.set(key, body))
  }

  async delete(key: string): Promise<void> {
    await this.#run(`delete object ${key}`, redis => redis.del(key))
  }

  async head(key: string): Promise<ObjectInfo | null> {
    return this.#run(`head object ${key}`, async redis => {
      const [size, isThere] = await Promise.all([redis.strlen(key), redis.exists(key)])
      return isThere === 0 ? null : { key, size, mtimeMs: this.#nowMs(), isDirectory: false }
    })
  }

  async list(prefix: string, marker: string, limit: number): Promise<ObjectInfo[]> {
    return this.#run(`list objects ${prefix}`, async redis => {
      const { keys, next } = await this.#scan(redis, prefix, marker)
      const page = keys.slice(next, next + limit)
      const last = page.at(-1)
      if (last !== undefined && next + limit < keys.length) this.#remember(last, { prefix, keys, next: next + limit })
      const sizes = await Promise.all(page.map(key => redis.strlen(key)))
      return page.map((key, i) => ({ key, size: sizes[i]!, mtimeMs: this.#nowMs(), isDirectory: false }))
    })
  }

  async create(): Promise<void> {}

  async close(): Promise<void> {
    const connection = await this.#connection?.catch(() => null)
    connection?.disconnect()
  }

  async #scan(redis: Connection, prefix: string, marker: string): Promise<Scan> {
    const earlier = this.#scans.get(marker)
    this.#scans.delete(marker)
    if (earlier?.prefix === prefix) return earlier
    const match = `${prefix.replace(/[*?[\]\\]/g, '\\$&')}*`
    const found = new Set<string>()
    for (const node of 'nodes' in redis ? redis.nodes('master') : [redis]) {
      let cursor = '0'
      do {
        const [next, keys] = await node.scan(cursor, 'MATCH', match, 'COUNT', SCAN_COUNT)
        for (const key of keys) if (key > marker) found.add(key)
        cursor = next
      } while (cursor !== '0')
    }
    return { prefix, keys: [...found].sort(), next: 0 }
  }

  /** of the last few listings; one that nobody goes on with is forgotten */
  #remember(marker: string, scan: Scan): void {
    for (const oldest of this.#scans.keys()) if (this.#scans.size >= 4) this.#scans.delete(oldest)
    this.#scans.set(marker, scan)
  }

  async #run<T>(doing: string, work: (redis: Connection) => Promise<T>): Promise<T> {
    try {
      return await work(await (this.#connection ??= this.#connect()))
    } catch (error) {
      if (error instanceof ObjectMissing) throw error
      if (/\b(NOAUTH|WRONGPASS|NOPERM|invalid password)\b/.test(String(error))) throw new Refused(doing, error)
      throw new Fault(doing, { cause: error })
    }
  }

  async #connect(): Promise<Connection> {
    const connection = await open(this.#place)
    try {
      await connection.ping()
      return connection
    } catch (error) {
      this.#connection = null
      connection.disconnect()
      const { host, port } = this.#place.hosts[0]!
      throw isRefusal(error) ? error : new Unreachable(`redis://${host}:${port}`, error)
    }
  }
}

const isRefusal = (error: unknown): boolean => /^ReplyError/.test(String(error))

interface Place {
  readonly hosts: readonly { readonly host: string; readonly port: number }[]
  readonly db: number
  readonly user: string | undefined
  readonly password: string | undefined
  /** of the master that the sentinels know; the hosts are theirs then */
  readonly master: string | undefined
  readonly sentinelPassword: string | undefined
  readonly tls: SecureContextSetting | null
}

function placeOf(
  { bucket, accessKey, secretKey }: RedisSetting,
  env: Readonly<Record<string, string | undefined>>,
): Place {
  const text = bucket.includes('://') ? bucket : `redis://${bucket}`
  const [, scheme, login, hostsText, path, query] =
    /^(rediss?):\/\/(?:([^@]*)@)?([^/?]+)(?:\/([^?]*))?(?:\?(.*))?$/.exec(text) ?? []
  if (hostsText === undefined || !/^\d*$/.test(path ?? '')) {
    throw new Fault(`bucket ${text.replace(/\/\/[^@]*@/, '//')} is not redis://host:port/db`, { errno: EINVAL })
  }
  const [user, password] = (login ?? '').split(/:(.*)/s, 2).map(decodeURIComponent)
  const names = hostsText.split(',')
  const isSentinel = names.length > 1 && !names[0]!.includes(':')
  const url = new URL(`tls://x?${query ?? ''}`)
  // One port at the end is meant for all.
  const lastPort = /:(\d+)$/.exec(names.at(-1)!)?.[1]
  const hosts = (isSentinel ? names.slice(1) : names).map(name => {
    const [, host, port] = /^(.*?)(?::(\d+))?$/.exec(name)!
    return {
      host: host!.replace(/^\[|\]$/g, ''),
      port: Number(port ?? lastPort ?? (isSentinel ? SENTINEL_PORT : PORT)),
    }
  })
  return {
    hosts,
    db: Number(path || 0),
    user: accessKey || user || undefined,
    password: secretKey || password || undefined,
    master: isSentinel ? names[0] : undefined,
    sentinelPassword: env.SENTINEL_PASSWORD_FOR_OBJ,
    tls: scheme === 'rediss' ? SecureContextSetting.takeFrom(url) : null,
  }
}

async function open({ hosts, db, user, password, master, sentinelPassword, tls }: Place): Promise<Connection> {
  const { Redis, Cluster } = await import('ioredis')
  const options = {
    db,
    ...(user && { username: user }),
    ...(password && { password }),
    ...(tls && { tls: tls.connectOptions() }),
    protocol: 2 as const,
    connectTimeout: CONNECT_MS,
    // A time-out of the command alone would give the bytes of a put back while they may still be sent.
    socketTimeout: SILENCE_MS,
    // The caller repeats; a request that waits for a server to come back would only hide that it is away.
    maxRetriesPerRequest: 1,
    enableReadyCheck: false,
  }
  const cluster = (): Cluster => new Cluster([...hosts], { redisOptions: options, slotsRefreshTimeout: CONNECT_MS })
  const quiet = <T extends Connection>(connection: T): T => {
    // Each request tells its own failure.
    connection.on('error', () => {})
    return connection
  }
  if (master !== undefined) {
    return quiet(
      new Redis({ ...options, name: master, sentinels: [...hosts], ...(sentinelPassword && { sentinelPassword }) }),
    )
  }
  if (hosts.length > 1) return quiet(cluster())
  const single = quiet(new Redis({ ...options, ...hosts[0]! }))
  const info = await single.cluster('INFO').catch(() => '')
  if (!String(info).includes('cluster_state:ok')) return single
  single.disconnect()
  return quiet(cluster())
}
