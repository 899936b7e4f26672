/** A PostgreSQL server a test file, a database a volume. */

import type { Client } from 'pg'
import { PostgresEngine, type PostgresOptions } from '../../../src/meta/engine/postgres/engine.ts'
import { PostgresServer, postgresSkip } from '../../servers/postgres.ts'
import { SqlTestServer } from '../sql/harness.ts'

export { all, directory, file, guard, inoOf, read, refusesToOpen, write } from '../../conformance/engine/harness.ts'
export { postgresSkip } from '../../servers/postgres.ts'

export class TestServer extends SqlTestServer<PostgresServer, PostgresEngine, PostgresOptions> {
  constructor(options: readonly string[] = []) {
    super({ skip: postgresSkip, start: () => PostgresServer.start(options), open: PostgresEngine.open })
  }

  /** Another program's connection: statements one by one, as the test says. */
  async session(database: string): Promise<Client> {
    const { default: pg } = await import('pg')
    const session = new pg.Client(this.server.url(database))
    session.on('error', () => undefined)
    await session.connect()
    this.closeAfterwards(() => session.end())
    return session
  }
}
