/** Which servers will do, and what their settings mean for a volume. */

import type { Server } from './connection.ts'

const OLDEST = {
  MariaDB: { version: [10, 3, 0], collation: 'utf8mb4_nopad_bin' },
  MySQL: { version: [8, 0, 17], collation: 'utf8mb4_0900_bin' },
} as const

const productOf = (version: string): keyof typeof OLDEST => (/mariadb/i.test(version) ? 'MariaDB' : 'MySQL')

/** Compares byte by byte, trailing spaces included. */
export const collationOf = (version: string): string => OLDEST[productOf(version)].collation

/** Throws where the server is too old, speaks MySQL without being it, or writes a binary log that our transactions cannot enter. */
export function requireServer({ version, binlog }: Server): void {
  if (/tidb/i.test(version))
    throw new Error(`the server is ${version}: TiDB is not supported yet, it has no shared row locks`)
  const product = productOf(version)
  const oldest = OLDEST[product].version
  const parts = (/\d+\.\d+\.\d+/.exec(version)?.[0] ?? '0.0.0').split('.').map(Number)
  const at = parts.findIndex((part, i) => part !== oldest[i])
  if (at >= 0 && parts[at]! < oldest[at]!) {
    throw new Error(`the server is ${product} ${version}; ${oldest.join('.')} or newer is needed`)
  }
  if (binlog === 'STATEMENT') {
    throw new Error(
      'binlog_format is STATEMENT on the server; with READ COMMITTED transactions it must be MIXED or ROW',
    )
  }
}

/** What an operator should hear, or null. */
export function warningOf({ flushes }: Server): string | null {
  if (flushes === 1) return null
  return `innodb_flush_log_at_trx_commit is ${flushes} on the server: what fsync has promised may be lost when the server loses power`
}
