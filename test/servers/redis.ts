/** A real redis-server for tests: on a free loopback port and a socket, in a directory of its own, gone afterwards. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, skipWithout } from './programs.ts'

/** Why tests with this server cannot run here; false where they can. */
export const redisSkip: string | false = skipWithout('redis-server', 'redis-cli')

export interface RedisServerOptions {
  /** further arguments: `['--requirepass', 'x']` */
  readonly args?: readonly string[]
  /** prepares the directory before the first start (a snapshot) */
  readonly prepare?: (dir: string) => void
  /** instead of a server on TCP and a socket: `sentinel` */
  readonly mode?: 'sentinel'
}

export class RedisServer {
  readonly dir: string
  readonly port: number
  readonly socket: string
  readonly #args: readonly string[]
  #process: ChildProcess | null = null

  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-redis-'))
    options.prepare?.(dir)
    // A port that was free may be taken by the time the server asks for it.
    for (let attempt = 0; ; attempt++) {
      const server = new RedisServer(dir, await freePort(), options)
      try {
        await server.start()
        return server
      } catch (error) {
        if (attempt === 3) {
          rmSync(dir, { recursive: true, force: true })
          throw error
        }
      }
    }
  }

  private constructor(dir: string, port: number, options: RedisServerOptions) {
    this.dir = dir
    this.port = port
    this.socket = join(dir, 'redis.sock')
    const config = join(dir, 'sentinel.conf')
    if (options.mode === 'sentinel') writeFileSync(config, '') // it writes down there what it learns
    this.#args = [
      ...(options.mode === 'sentinel' ? [config] : []),
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--daemonize', 'no', '--logfile', ''],
      ...['--unixsocket', this.socket],
      ...(options.mode === 'sentinel' ? [] : ['--save', '']),
      ...(options.args ?? []),
      ...(options.mode === 'sentinel' ? ['--sentinel'] : []),
    ]
  }

  /** `redis://127.0.0.1:port/db` */
  url(db: number): string {
    return `redis://127.0.0.1:${this.port}/${db}`
  }

  get pid(): number {
    return this.#process!.pid!
  }

  /** Again, after a stop: what the append-only file or the snapshot holds is there. */
  async start(): Promise<void> {
    const child = spawn('redis-server', this.#args as string[], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#process = child
    // A test that crashes must not leave its servers behind.
    const kill = (): void => void child.kill('SIGKILL')
    process.once('exit', kill)
    child.once('exit', () => process.off('exit', kill))
    await new Promise<void>((resolve, reject) => {
      let output = ''
      const timer = setTimeout(() => reject(new Error(`redis-server does not start: ${output}`)), 10_000)
      const listen = (chunk: Buffer): void => {
        output += chunk.toString()
        if (!/Ready to accept connections|Sentinel ID is/.test(output)) return
        clearTimeout(timer)
        resolve()
      }
      child.stdout.on('data', listen)
      child.stderr.on('data', listen)
      child.once('exit', code => {
        clearTimeout(timer)
        reject(new Error(`redis-server ended with ${code}: ${output}`))
      })
    })
  }

  /** As a crash does it, unless told otherwise. */
  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#process
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise(resolve => child.once('exit', resolve))
    child.kill(signal)
    await ended
  }

  async remove(): Promise<void> {
    await this.stop()
    rmSync(this.dir, { recursive: true, force: true })
  }

  /** One command by redis-cli; its output. */
  cli(...args: readonly string[]): string {
    return execFileSync('redis-cli', ['-p', String(this.port), ...args], { encoding: 'utf8' }).trim()
  }
}
