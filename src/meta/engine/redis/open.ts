/** Finds out what kind of server an address leads to, connects, and says what is wrong or unwise before anything is changed. */

import { ENOTSUP } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import type { Log } from '../../../base/log.ts'
import { Tally } from '../tally.ts'
import { Keys } from './keys.ts'
import { Link, type LinkOptions, PATIENCE_MS } from './link.ts'
import type { ServerInfo } from './server-info.ts'
import { type Environment, parseRedisUrl, type RedisUrl } from './url.ts'

export interface OpenOptions {
  readonly readOnly: boolean
  readonly log: Pick<Log, 'info' | 'warn'>
  readonly env: Environment
  /** how long a request waits for a connection; 60 s unless given */
  readonly patienceMs?: number
}

export interface Opened {
  readonly link: Link
  readonly keys: Keys
  /** of further connections to the same server */
  readonly linkOptions: LinkOptions
}

const MIN_MAJOR_VERSION = 4

/** Faults: an address that is none, a server that cannot be reached within 5 s, refuses the password or the database number,
 *  is a replica, or is too old. */
export async function openLink(text: string, options: OpenOptions): Promise<Opened> {
  const url = parseRedisUrl(text, options.env)
  const { log, readOnly } = options
  if (url.ignored.length > 0) log.warn(`options of the Redis address without effect here: ${url.ignored.join(', ')}`)
  const base = { url, mayBeReplica: readOnly, patienceMs: options.patienceMs ?? PATIENCE_MS, tally: new Tally() }
  const isCluster =
    url.place.kind === 'cluster' || (url.place.kind !== 'sentinel' && (await isPartOfCluster(url, base)))
  if (isCluster && url.place.kind === 'socket') {
    // Of the other servers it knows addresses, and of itself none.
    throw new Fault(`Redis at ${url.place.path} is part of a cluster: name it by host and port, redis://…`)
  }
  const prefix = isCluster ? `{${url.db}}` : ''
  const place = isCluster && url.place.kind === 'server' ? { kind: 'cluster' as const, seeds: [url.place] } : url.place
  const linkOptions: LinkOptions = { ...base, place, prefix, db: isCluster ? 0 : url.db }
  const link = new Link(linkOptions)
  try {
    const { info } = await link.open()
    refuseOld(info, link.address)
    await adviseOn(link, info, readOnly, log)
    const startMs = performance.now()
    await link.request('PING', [], { doing: 'ping Redis', again: true })
    log.info(`Ping redis latency: ${(performance.now() - startMs).toFixed(3)}ms`)
    return { link, keys: new Keys(prefix), linkOptions }
  } catch (error) {
    link.close()
    throw error
  }
}

/** Asked before a database is chosen: a cluster has none. */
async function isPartOfCluster(
  url: RedisUrl,
  base: Pick<LinkOptions, 'url' | 'mayBeReplica' | 'patienceMs' | 'tally'>,
): Promise<boolean> {
  // A replica of a cluster knows its master.
  const probe = new Link({ ...base, place: url.place, prefix: '', db: 0, mayBeReplica: true })
  try {
    const { info } = await probe.open()
    if (info.isCluster !== null) return info.isCluster
    const reply = await probe.send('CLUSTER', ['INFO']).catch(() => '')
    return String(reply).includes('cluster_state:')
  } finally {
    probe.close()
  }
}

function refuseOld({ version }: ServerInfo, address: string): void {
  if (version !== null && version[0] < MIN_MAJOR_VERSION) {
    throw new Fault(`Redis at ${address} is version ${version.join('.')}; ${MIN_MAJOR_VERSION}.0 or newer is needed`, {
      errno: ENOTSUP,
    })
  }
}

/** A server that evicts keys when it is full would forget files; one without an append-only file forgets what it was told last. */
async function adviseOn(link: Link, info: ServerInfo, readOnly: boolean, log: Pick<Log, 'warn'>): Promise<void> {
  if (info.evictionPolicy !== null && info.evictionPolicy !== 'noeviction' && !readOnly) {
    try {
      await link.request('CONFIG', ['SET', 'maxmemory-policy', 'noeviction'], {
        doing: 'set maxmemory-policy',
        again: true,
      })
    } catch {
      log.warn(
        `maxmemory-policy is "${info.evictionPolicy}": when Redis is full it will drop keys, and files with them; set it to "noeviction"`,
      )
    }
  }
  if (info.aofEnabled === false) {
    log.warn('AOF is not enabled, you may lose data if Redis is not shutdown properly.')
  }
}
