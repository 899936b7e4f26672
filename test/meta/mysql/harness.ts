/** A MariaDB server a test file, a database a volume. */

import type { Connection } from 'mysql2/promise'
import { MysqlEngine, type MysqlOptions } from '../../../src/meta/engine/mysql/engine.ts'
import { MariadbServer, mariadbSkip, PASSWORD } from '../../servers/mariadb.ts'
import { SqlTestServer } from '../sql/harness.ts'

export { all, directory, file, guard, inoOf, read, refusesToOpen, write } from '../../conformance/engine/harness.ts'
export { mariadbSkip } from '../../servers/mariadb.ts'

export class TestServer extends SqlTestServer<MariadbServer, MysqlEngine, MysqlOptions> {
  constructor(options: readonly string[] = []) {
    super({ skip: mariadbSkip, start: () => MariadbServer.start(options), open: MysqlEngine.open })
  }

  /** Another program's connection: statements one by one, as the test says. */
  async session(database: string): Promise<Connection> {
    const { default: mysql } = await import('mysql2/promise')
    const { port } = this.server
    const session = await mysql.createConnection({
      host: '127.0.0.1',
      port,
      user: 'juicefs',
      password: PASSWORD,
      database,
    })
    this.closeAfterwards(() => session.end())
    return session
  }
}
