/** A PostgreSQL server a test file, a database a volume. */

import { after, before } from 'node:test'
import type { Client } from 'pg'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { PostgresEngine, type PostgresOptions } from '../../../src/meta/engine/postgres/engine.ts'
import type { Engine, Guard, Outcome, ScanKind, Scans, Strength } from '../../../src/meta/engine.ts'
import type { Change, Fact, FactOf, Read } from '../../../src/meta/facts.ts'
import { directory } from '../../conformance/engine/harness.ts'
import { PostgresServer, postgresSkip } from '../../servers/postgres.ts'

export { directory, file, inoOf } from '../../conformance/engine/harness.ts'
export { postgresSkip } from '../../servers/postgres.ts'

/** Starts the server before the tests of this file, stops it afterwards, and closes what they opened. */
export class TestServer {
  #server: PostgresServer | undefined
  readonly #engines: PostgresEngine[] = []
  readonly #sessions: Client[] = []

  constructor(options: readonly string[] = []) {
    before(async () => {
      if (!postgresSkip) this.#server = await PostgresServer.start(options)
    })
    after(async () => {
      await Promise.all(this.#sessions.map(session => session.end()))
      await Promise.all(this.#engines.map(engine => engine.close()))
      await this.#server?.stop()
    })
  }

  get server(): PostgresServer {
    return this.#server!
  }

  async open(database: string, options: PostgresOptions & { readonly url?: string } = {}): Promise<PostgresEngine> {
    const engine = await PostgresEngine.open(options.url ?? this.server.url(database), { env: {}, ...options })
    this.#engines.push(engine)
    return engine
  }

  /** Another program's connection: statements one by one, as the test says. */
  async session(database: string): Promise<Client> {
    const { default: pg } = await import('pg')
    const session = new pg.Client(this.server.url(database))
    session.on('error', () => undefined)
    await session.connect()
    this.#sessions.push(session)
    return session
  }

  /** An engine on a database of its own, with a root directory. */
  async volume(options: PostgresOptions = {}): Promise<{ engine: PostgresEngine; database: string }> {
    const database = this.server.newDatabase()
    const engine = await this.open(database, options)
    await engine.prepare()
    await write(
      engine,
      { kind: 'putFormat', json: '{"Name": "test"}' },
      { kind: 'putNode', ino: ROOT_INO, attr: directory({ mode: 0o777 }) },
    )
    return { engine, database }
  }
}

export const write = (engine: Engine, ...changes: Change[]): Promise<Outcome> =>
  Promise.resolve(engine.commit([], changes))

export async function read<R extends Read>(engine: Engine, read: R): Promise<FactOf<R>> {
  const [fact] = await engine.gather([read], 'look')
  return fact as FactOf<R>
}

/** Gathers as an operation does and returns what its commit guards. */
export async function guard(engine: Engine, strength: Strength, ...reads: Read[]): Promise<Guard[]> {
  const facts = await engine.gather(reads, 'change')
  return reads.map((each, i) => ({ read: each, fact: facts[i] as Fact, strength }))
}

export async function all<K extends ScanKind>(
  engine: Engine,
  kind: K,
  args: Scans[K]['args'],
): Promise<Scans[K]['row'][]> {
  const rows: Scans[K]['row'][] = []
  let cursor: string | number | null = null
  do {
    const page: Awaited<ReturnType<typeof engine.scan<K>>> = await engine.scan(kind, args, cursor, 100)
    rows.push(...page.rows)
    cursor = page.next
  } while (cursor !== null)
  return rows
}
