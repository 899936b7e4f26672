/** How the pool (sql/pool.ts) speaks to PostgreSQL, also where a pooler stands in between. */

import { causeText } from '../../../base/fault.ts'
import { type Carrier, Pool, type PoolOptions } from '../sql/pool.ts'
import { PgConnection } from './connection.ts'
import { isOutage, isPoolersFault } from './errors.ts'
import type { Answer, Statement } from './flight.ts'
import type { PostgresUrl } from './url.ts'

export type PgPool = Pool<PgConnection, Statement, Answer>

/** Makes the first connection, or rejects with why not. */
export function openPool(url: PostgresUrl, options: PoolOptions): Promise<PgPool> {
  // Behind a pooler a transaction may meet any server process, and none that knows its statements.
  let isUnnamed = !url.prepared
  const carrier: Carrier<PgConnection, Statement, Answer> = {
    place: `PostgreSQL at ${url.address}`,
    maxConnections: url.maxConnections,
    maxIdleMs: url.maxIdleMs,
    isOutage,
    async connect(timeoutMs) {
      const connection = await PgConnection.open(url, timeoutMs)
      if (connection.server.backend === null) isUnnamed = true
      return connection
    },
    // Whatever its purpose: a flight is a transaction (flight.ts).
    fly: (connection, statements) =>
      connection.fly(isUnnamed ? statements.map(statement => ({ ...statement, name: '' })) : statements),
    mends(connection, error) {
      if (isUnnamed || !isPoolersFault(error)) return false
      options.log(`no prepared statements from now on, a pooler is in the way: ${causeText(error)}`)
      isUnnamed = true
      connection.forgetPrepared()
      return true
    },
  }
  return Pool.open(carrier, options)
}
