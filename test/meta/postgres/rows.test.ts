/** Every record as columns, on PostgreSQL. */

import { describe } from 'node:test'
import { rowTests } from '../sql/rows.ts'
import { postgresSkip, TestServer } from './harness.ts'

describe('rows of the PostgreSQL engine', { skip: postgresSkip }, () => {
  const test = new TestServer()
  rowTests({
    test,
    query: (sql, database) => test.server.sql(sql, database),
    bytes: column => `encode(${column}, 'hex')`,
    text: column => `convert_from(${column}, 'UTF8')`,
    quoted: column => `"${column}"`,
  })
})
