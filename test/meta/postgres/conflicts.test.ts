/** Commits of two clients that meet on PostgreSQL. */

import assert from 'node:assert/strict'
import { describe } from 'node:test'
import type { PostgresEngine } from '../../../src/meta/engine/postgres/engine.ts'
import { conflictTests } from '../sql/conflicts.ts'
import { postgresSkip, TestServer } from './harness.ts'

describe('conflicts on PostgreSQL', { skip: postgresSkip }, () => {
  const test = new TestServer()
  conflictTests<PostgresEngine>({
    test,
    async connect(database) {
      const session = await test.session(database)
      return (sql, values) => session.query(sql, values)
    },
    share: 'FOR SHARE',
    assertCounts(engines) {
      const again = engines.flatMap(engine => [...engine.counts.retries])
      assert.deepEqual(again, [], 'deadlocks and serialization failures')
    },
  })
})
