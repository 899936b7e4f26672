/** Finds the server of a cluster that holds the volume. All keys carry the tag `{db}`, so they lie in one slot and one server
 *  has them all: the connection goes straight there, and after a move or a failover to whoever has the slot by then. */

import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { AbstractConnector, Redis } from 'ioredis'
import { causeText } from '../../../base/fault.ts'
import { type Address, addressText, type RedisUrl } from './url.ts'

interface ClusterOptions {
  readonly url: RedisUrl
  readonly seeds: readonly Address[]
  readonly prefix: string
  backOff(attempt: number): number
  onProblem(problem: string): void
}

const ASK_TIMEOUT_MS = 2000
const DISCONNECT_TIMEOUT_MS = 2000

/** A connector for the client library: it asks each known server in turn who has the slot, until one answers. */
export function clusterConnector(options: ClusterOptions): new () => AbstractConnector {
  /** where to ask, those who answered last first */
  let known = options.seeds
  return class extends AbstractConnector {
    constructor() {
      super(DISCONNECT_TIMEOUT_MS)
    }

    async connect(): Promise<Socket | TLSSocket> {
      this.connecting = true
      for (let attempt = 1; this.connecting; attempt++) {
        const problems = new Map<string, string>()
        for (const address of known) {
          try {
            const found = await askForSlot(address, options)
            known = [found.master, ...found.others, ...options.seeds]
            if (!this.connecting) break
            const stream = open(found.master, options.url)
            this.stream = stream
            return stream
          } catch (error) {
            problems.set(addressText(address), causeText(error))
            options.onProblem(Array.from(problems, ([server, problem]) => `${server}: ${problem}`).join('; '))
          }
        }
        await new Promise(resolve => setTimeout(resolve, options.backOff(attempt)))
      }
      throw new Error('Connection is closed.')
    }
  }
}

const open = ({ host, port }: Address, { tls }: RedisUrl): Socket | TLSSocket =>
  tls ? connectTls({ host, port, ...tls }) : connectTcp({ host, port })

interface SlotOwner {
  readonly master: Address
  readonly others: readonly Address[]
}

async function askForSlot(address: Address, { url, prefix }: ClusterOptions): Promise<SlotOwner> {
  const redis = new Redis({
    ...address,
    ...(url.username === undefined ? {} : { username: url.username }),
    ...(url.password === undefined ? {} : { password: url.password }),
    ...(url.tls ? { tls: url.tls } : {}),
    protocol: 2,
    lazyConnect: true,
    connectTimeout: ASK_TIMEOUT_MS,
    commandTimeout: ASK_TIMEOUT_MS,
    retryStrategy: null,
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    disableClientInfo: true,
  })
  let problem: Error | null = null
  redis.on('error', (error: Error) => {
    problem = error
  })
  try {
    await redis.connect()
    const [slot, ranges] = (await Promise.all([
      redis.call('CLUSTER', 'KEYSLOT', prefix),
      redis.call('CLUSTER', 'SLOTS'),
    ])) as [number, [from: number, to: number, ...nodes: [host: string, port: number][]][]]
    const range = ranges.find(([from, to]) => from <= slot && slot <= to)
    if (!range) throw new Error(`no server of the cluster has slot ${slot}`)
    // A server that does not know its own name is the one that was asked.
    const nodes = range.slice(2).map(node => {
      const [host, port] = node as [string, number]
      return { host: host || address.host, port }
    })
    return { master: nodes[0]!, others: nodes.slice(1) }
  } catch (error) {
    throw problem ?? error
  } finally {
    redis.disconnect()
  }
}
