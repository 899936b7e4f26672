/** What the tests of the Redis engine share: a server, engines on it that are closed afterwards, and the raw keys. */

import { Redis } from 'ioredis'
import { RedisEngine, type RedisOptions } from '../../../src/meta/engine/redis/engine.ts'
import { RedisServer, type RedisServerOptions } from '../../servers/redis.ts'

export { all, guard, inoOf, read, refusesToOpen, write } from '../../conformance/engine/harness.ts'

/** Keeps what was logged. */
export class Journal {
  readonly lines: string[] = []
  info(message: string): void {
    this.lines.push(`INFO ${message}`)
  }
  warn(message: string): void {
    this.lines.push(`WARN ${message}`)
  }
  get warnings(): string[] {
    return this.lines.filter(line => line.startsWith('WARN ')).map(line => line.slice(5))
  }
}

export class World {
  readonly server: RedisServer
  readonly #closers: (() => Promise<void> | void)[] = []

  static async start(options: RedisServerOptions = {}): Promise<World> {
    return new World(await RedisServer.start(options))
  }

  private constructor(server: RedisServer) {
    this.server = server
  }

  async open(options: RedisOptions = {}, url = this.server.url(3)): Promise<RedisEngine> {
    const engine = await RedisEngine.open(url, { env: {}, ...options })
    this.#closers.push(() => engine.close())
    return engine
  }

  /** A plain client of database 3. */
  raw(): Redis {
    const redis = new Redis({ port: this.server.port, host: '127.0.0.1', db: 3, protocol: 2, retryStrategy: () => 20 })
    redis.on('error', () => undefined)
    this.#closers.push(() => redis.disconnect())
    return redis
  }

  /** Closes what was opened, and empties the server. */
  async reset(): Promise<void> {
    for (const close of this.#closers.splice(0)) await close()
    this.server.cli('FLUSHALL')
  }

  async remove(): Promise<void> {
    for (const close of this.#closers.splice(0)) await close()
    await this.server.remove()
  }
}
