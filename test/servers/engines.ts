/** The metadata engines as tests of the whole product meet them: a server of their own, an empty database a volume, an address
 *  that may lead through a proxy. SQLite takes part as a server that cannot go away. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MariadbServer, mariadbSkip } from './mariadb.ts'
import { PostgresServer, postgresSkip } from './postgres.ts'
import { RedisServer, redisSkip } from './redis.ts'

export type EngineKind = 'redis' | 'postgres' | 'mysql' | 'sqlite3'
export type ServerKind = Exclude<EngineKind, 'sqlite3'>

/** The address of a database; `port`: of a proxy in front of the server. */
export type Address = (port?: number) => string

export interface EngineServer {
  readonly kind: EngineKind
  /** 0 where there is no server */
  readonly port: number
  /** an empty database, used by nobody else */
  newDatabase(): Address
  /** `crash`: as by kill -9. What was answered before is there after `up`. */
  down(how: 'crash' | 'orderly'): Promise<void>
  up(): Promise<void>
  /** Stopped, its directory removed. */
  stop(): Promise<void>
}

export interface TestedEngine {
  readonly kind: EngineKind
  /** Why its tests are skipped; false where they are not. */
  readonly skip: string | false
  start(): Promise<EngineServer>
}

export const serverEngines: readonly (TestedEngine & { readonly kind: ServerKind })[] = [
  { kind: 'redis', skip: redisSkip, start: startRedis },
  { kind: 'postgres', skip: postgresSkip, start: startPostgres },
  { kind: 'mysql', skip: mariadbSkip, start: startMariadb },
]
export const allEngines: readonly TestedEngine[] = [
  ...serverEngines,
  { kind: 'sqlite3', skip: false, start: startSqlite },
]

/** Engines that sum usage in the client and write it every second: that second is lost with the client, and a change of which the
 *  client does not know whether it was made is not counted. */
export const SUMS_IN_CLIENT: ReadonlySet<EngineKind> = new Set(['postgres', 'mysql'])
/** Of the lines of checkVolume: only that is concerned. */
export const isAboutUsage = (line: string): boolean =>
  /usedSpace|totalInodes|children's|the quota of directory|is charged/.test(line)

const REDIS_DATABASES = 500

async function startRedis(): Promise<EngineServer> {
  const server = await RedisServer.start({
    // With `no`, what was answered is always in the file, if not on the disk: enough for a server that is killed.
    args: ['--databases', String(REDIS_DATABASES), '--appendonly', 'yes', '--appendfsync', 'no'],
  })
  let databases = 0
  return {
    kind: 'redis',
    port: server.port,
    newDatabase: () => {
      const database = databases++
      return (port = server.port) => `redis://127.0.0.1:${port}/${database}`
    },
    down: how => server.stop(how === 'crash' ? 'SIGKILL' : 'SIGTERM'),
    up: () => server.start(),
    stop: () => server.remove(),
  }
}

async function startPostgres(): Promise<EngineServer> {
  const server = await PostgresServer.start()
  return {
    kind: 'postgres',
    port: server.port,
    newDatabase: () => {
      const url = server.url(server.newDatabase())
      return (port = server.port) => url.replace(`:${server.port}/`, `:${port}/`)
    },
    down: how => server.down(how === 'crash' ? 'immediate' : 'fast'),
    up: () => server.up(),
    stop: () => server.stop(),
  }
}

async function startMariadb(): Promise<EngineServer> {
  const server = await MariadbServer.start()
  return {
    kind: 'mysql',
    port: server.port,
    newDatabase: () => {
      const database = server.newDatabase()
      return port => server.url(database, '', port)
    },
    down: how => server.down(how === 'crash' ? 'SIGKILL' : 'SIGTERM'),
    up: () => server.up(),
    stop: () => server.stop(),
  }
}

async function startSqlite(): Promise<EngineServer> {
  const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-sqlite-'))
  let databases = 0
  return {
    kind: 'sqlite3',
    port: 0,
    newDatabase: () => {
      const path = join(dir, `volume${databases++}.db`)
      return () => `sqlite3://${path}`
    },
    down: async () => undefined,
    up: async () => undefined,
    stop: async () => rmSync(dir, { recursive: true, force: true }),
  }
}
