/** How the pool (sql/pool.ts) speaks to MySQL: a flight is one packet, a commit is framed by BEGIN and COMMIT. */

import { type Carrier, Pool, type PoolOptions, type Purpose } from '../sql/pool.ts'
import { MysqlConnection, type Travel } from './connection.ts'
import { isOutage } from './errors.ts'
import type { Answer, Statement } from './statement.ts'
import type { MysqlUrl } from './url.ts'

const TRAVEL: Readonly<Record<Purpose, Travel>> = { repeat: 'alone', commit: 'transaction' }

export type MysqlPool = Pool<MysqlConnection, Statement, Answer>

/** Makes the first connection, or rejects with why not. */
export function openPool(url: MysqlUrl, options: PoolOptions): Promise<MysqlPool> {
  const carrier: Carrier<MysqlConnection, Statement, Answer> = {
    place: `MySQL at ${url.address}`,
    maxConnections: url.maxConnections,
    maxIdleMs: url.maxIdleMs,
    connect: timeoutMs => MysqlConnection.open(url, timeoutMs),
    fly: (connection, statements, purpose) => connection.fly(statements, TRAVEL[purpose]),
    isOutage,
  }
  return Pool.open(carrier, options)
}
