/** A real PostgreSQL for tests: made in a temporary directory, on a free loopback port, gone afterwards. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from './programs.ts'

const ROOT = '/usr/lib/postgresql'
const READY_MS = 20_000

/** The folder with the server's programs; undefined where there is none. */
function findBinaries(): string | undefined {
  const versions = existsSync(ROOT) ? readdirSync(ROOT).sort((a, b) => Number(b) - Number(a)) : []
  return versions.map(version => join(ROOT, version, 'bin')).find(dir => existsSync(join(dir, 'initdb')))
}
const binaries = findBinaries()

/** Why the tests of PostgreSQL are skipped; false where they are not. */
export const postgresSkip: string | false = binaries === undefined ? `no PostgreSQL server (${ROOT})` : false

/** Servers refuse to run as root. */
const asServer = (file: string, args: readonly string[]): [string, string[]] =>
  process.getuid?.() === 0 ? ['runuser', ['-u', 'postgres', '--', file, ...args]] : [file, [...args]]

export class PostgresServer {
  readonly dir: string
  readonly port: number
  readonly #settings: readonly string[]
  #process: ChildProcess | null = null
  #databases = 0

  /** `options`: settings of the server, `name=value`. Commits are not flushed to the disk: tests need no durability. */
  static async start(options: readonly string[] = []): Promise<PostgresServer> {
    const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-postgres-'))
    try {
      if (process.getuid?.() === 0) {
        const uid = Number(spawnSync('id', ['-u', 'postgres'], { encoding: 'utf8' }).stdout)
        chownSync(dir, uid, -1)
      }
      const passwordFile = join(dir, 'password')
      writeFileSync(passwordFile, 'secret\n', { mode: 0o644 })
      const [file, args] = asServer(join(binaries!, 'initdb'), [
        ...['-D', join(dir, 'data'), '-U', 'postgres', '-A', 'scram-sha-256', '-E', 'UTF8', '--no-sync', '--no-locale'],
        ...['--pwfile', passwordFile],
      ])
      const made = spawnSync(file, args, { encoding: 'utf8', cwd: dir })
      if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`)
      const server = new PostgresServer(dir, await freePort(), options)
      await server.up()
      return server
    } catch (error) {
      rmSync(dir, { recursive: true, force: true })
      throw error
    }
  }

  private constructor(dir: string, port: number, options: readonly string[]) {
    this.dir = dir
    this.port = port
    this.#settings = options
    process.once('exit', () => this.#process?.kill('SIGKILL'))
  }

  /** Starts the server process and waits until it answers. */
  async up(): Promise<void> {
    const settings = [
      ...[`port=${this.port}`, 'listen_addresses=127.0.0.1', `unix_socket_directories=${this.dir}`, 'fsync=off'],
      ...['full_page_writes=off', 'max_connections=200', 'shared_buffers=16MB', 'log_min_messages=fatal'],
      ...this.#settings,
    ]
    const [file, args] = asServer(join(binaries!, 'postgres'), [
      '-D',
      join(this.dir, 'data'),
      ...settings.flatMap(setting => ['-c', setting]),
    ])
    const child = spawn(file, args, { stdio: 'ignore', cwd: this.dir })
    this.#process = child
    const deadline = performance.now() + READY_MS
    while (spawnSync(join(binaries!, 'pg_isready'), ['-q', '-h', '127.0.0.1', '-p', String(this.port)]).status !== 0) {
      if (child.exitCode !== null) throw new Error(`postgres ended with ${child.exitCode}`)
      if (performance.now() > deadline) throw new Error('postgres does not answer')
      await sleep(20)
    }
  }

  /** `fast`: orderly; `immediate`: as by a crash. The data stay. */
  async down(mode: 'fast' | 'immediate' = 'immediate'): Promise<void> {
    const child = this.#process
    if (child === null) return
    this.#process = null
    const [file, args] = asServer(join(binaries!, 'pg_ctl'), ['-D', join(this.dir, 'data'), '-m', mode, '-W', 'stop'])
    const ended = child.exitCode === null ? new Promise(resolve => child.once('exit', resolve)) : undefined
    spawnSync(file, args, { cwd: this.dir })
    await ended
  }

  async stop(): Promise<void> {
    await this.down()
    rmSync(this.dir, { recursive: true, force: true })
  }

  /** Runs SQL as the superuser; returns what psql prints, columns with `|` between. */
  sql(text: string, database = 'postgres'): string {
    const args = [
      '-h',
      '127.0.0.1',
      '-p',
      String(this.port),
      '-U',
      'postgres',
      '-X',
      '-q',
      '-A',
      '-t',
      '-v',
      'ON_ERROR_STOP=1',
    ]
    const ran = spawnSync(join(binaries!, 'psql'), [...args, '-d', database, '-f', '-'], {
      input: text,
      encoding: 'utf8',
      env: { ...process.env, PGPASSWORD: 'secret' },
      maxBuffer: 1 << 28,
    })
    if (ran.status !== 0) throw new Error(`psql: ${ran.stderr}`)
    return ran.stdout.trim()
  }

  /** A new, empty database. */
  newDatabase(): string {
    const name = `test_${++this.#databases}`
    this.sql(`CREATE DATABASE ${name}`)
    return name
  }

  url(database: string, options = ''): string {
    return `postgres://postgres:secret@127.0.0.1:${this.port}/${database}?sslmode=disable${options}`
  }
}
