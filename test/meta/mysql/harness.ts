/** A MariaDB server a test file, a database a volume. */

import { after, before } from 'node:test'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { MysqlEngine, type MysqlOptions } from '../../../src/meta/engine/mysql/engine.ts'
import type { Engine, Guard, Outcome, ScanKind, Scans, Strength } from '../../../src/meta/engine.ts'
import type { Change, Fact, FactOf, Read } from '../../../src/meta/facts.ts'
import { directory } from '../../conformance/engine/harness.ts'
import { MariadbServer, mariadbSkip } from '../../servers/mariadb.ts'

export { directory, file, inoOf } from '../../conformance/engine/harness.ts'
export { mariadbSkip } from '../../servers/mariadb.ts'

/** Starts the server before the tests of this file, stops it afterwards, and closes what they opened. */
export class TestServer {
  #server: MariadbServer | undefined
  readonly #engines: MysqlEngine[] = []

  constructor(options: readonly string[] = []) {
    before(async () => {
      if (!mariadbSkip) this.#server = await MariadbServer.start(options)
    })
    after(async () => {
      await Promise.all(this.#engines.map(engine => engine.close()))
      await this.#server?.stop()
    })
  }

  get server(): MariadbServer {
    return this.#server!
  }

  async open(database: string, options: MysqlOptions & { readonly url?: string } = {}): Promise<MysqlEngine> {
    const engine = await MysqlEngine.open(options.url ?? this.server.url(database), { env: {}, ...options })
    this.#engines.push(engine)
    return engine
  }

  /** An engine on a database of its own, with a root directory. */
  async volume(options: MysqlOptions = {}): Promise<{ engine: MysqlEngine; database: string }> {
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
