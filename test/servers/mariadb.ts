/** A real MariaDB for tests: made in a temporary directory, on a free loopback port, gone afterwards. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort, programPath, skipWithout } from './programs.ts'

const READY_MS = 20_000
/** of the user `juicefs`, who may use the test's databases only */
export const PASSWORD = 'se cret:@/%41'

/** Why the tests of MariaDB are skipped; false where they are not. */
export const mariadbSkip: string | false = skipWithout('mariadbd', 'mariadb-install-db', 'mariadb')

export class MariadbServer {
  readonly dir: string
  readonly port: number
  readonly socket: string
  readonly #options: readonly string[]
  #process: ChildProcess | null = null
  #databases = 0

  /** `options`: arguments of the server. Commits are not flushed to the disk: tests need no durability. */
  static async start(options: readonly string[] = []): Promise<MariadbServer> {
    // A port that was free may be taken by the time the server asks for it; many servers at once may exhaust the kernel's AIO.
    for (let attempt = 0; ; attempt++) {
      try {
        return await MariadbServer.#startOnce(options)
      } catch (error) {
        if (attempt === 3) throw error
        await sleep(500)
      }
    }
  }

  static async #startOnce(options: readonly string[]): Promise<MariadbServer> {
    const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-mariadb-'))
    try {
      const made = spawnSync(
        programPath('mariadb-install-db')!,
        [
          ...['--no-defaults', `--datadir=${join(dir, 'data')}`, '--auth-root-authentication-method=normal'],
          ...['--skip-test-db', '--skip-name-resolve', '--innodb-log-file-size=8M', ...asRoot()],
        ],
        { encoding: 'utf8' },
      )
      if (made.status !== 0) throw new Error(`mariadb-install-db: ${made.stdout}${made.stderr}`)
      const server = new MariadbServer(dir, await freePort(), options)
      await server.up()
      server.sql(`CREATE USER 'juicefs'@'%' IDENTIFIED BY '${PASSWORD}'; GRANT ALL ON \`test\\_%\`.* TO 'juicefs'@'%'`)
      return server
    } catch (error) {
      rmSync(dir, { recursive: true, force: true })
      throw error
    }
  }

  private constructor(dir: string, port: number, options: readonly string[]) {
    this.dir = dir
    this.port = port
    this.socket = join(dir, 'mariadb.sock')
    this.#options = options
    process.once('exit', () => this.#process?.kill('SIGKILL'))
  }

  /** Starts the server process and waits until it answers. */
  async up(): Promise<void> {
    const child = spawn(
      programPath('mariadbd')!,
      [
        ...['--no-defaults', `--datadir=${join(this.dir, 'data')}`, `--socket=${this.socket}`, `--port=${this.port}`],
        ...['--bind-address=127.0.0.1', `--pid-file=${join(this.dir, 'pid')}`, '--skip-name-resolve', '--skip-log-bin'],
        ...['--innodb-buffer-pool-size=24M', '--innodb-log-file-size=8M', '--innodb-flush-log-at-trx-commit=2'],
        ...[
          '--innodb-flush-method=nosync',
          '--skip-innodb-file-per-table',
          '--skip-innodb-doublewrite',
          '--max-connections=300',
          '--performance-schema=OFF',
          ...asRoot(),
        ],
        ...this.#options,
      ],
      { stdio: 'ignore', cwd: this.dir },
    )
    this.#process = child
    const deadline = performance.now() + READY_MS
    while (spawnSync(programPath('mariadb')!, [...this.#login, '-e', 'SELECT 1']).status !== 0) {
      if (child.exitCode !== null) throw new Error(`mariadbd ended with ${child.exitCode}`)
      if (performance.now() > deadline) throw new Error('mariadbd does not answer')
      await sleep(20)
    }
  }

  /** `SIGTERM`: orderly; `SIGKILL`: as by a crash. The data stay. */
  async down(signal: 'SIGTERM' | 'SIGKILL' = 'SIGKILL'): Promise<void> {
    const child = this.#process
    this.#process = null
    if (child === null || child.exitCode !== null) return
    const ended = new Promise(resolve => child.once('exit', resolve))
    child.kill(signal)
    await ended
  }

  async stop(): Promise<void> {
    await this.down()
    rmSync(this.dir, { recursive: true, force: true })
  }

  /** Runs SQL as the superuser; returns what it prints, columns with a tab between. */
  sql(text: string, database = 'mysql'): string {
    const ran = spawnSync(programPath('mariadb')!, [...this.#login, '--batch', '--raw', '-N', database], {
      input: text,
      encoding: 'utf8',
      maxBuffer: 1 << 28,
    })
    if (ran.status !== 0) throw new Error(`mariadb: ${ran.stderr}`)
    return ran.stdout.replace(/\n$/, '')
  }

  /** A new, empty database. */
  newDatabase(options = ''): string {
    const name = `test_${++this.#databases}`
    this.sql(`CREATE DATABASE ${name} ${options}`)
    return name
  }

  url(database: string, options = '', port = this.port): string {
    return `mysql://juicefs:${PASSWORD}@(127.0.0.1:${port})/${database}${options}`
  }

  get #login(): string[] {
    return ['--no-defaults', `--socket=${this.socket}`, '-u', 'root', '--default-character-set=utf8mb4']
  }
}

const asRoot = (): string[] => (process.getuid?.() === 0 ? ['--user=root'] : [])
