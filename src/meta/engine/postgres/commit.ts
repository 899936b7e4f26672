/** What a commit asks of PostgreSQL beside its statements (sql/committer.ts): the end of a server process whose connection broke.
 *  Behind a pooler it cannot be named. */

import type { Fact, Read } from '../../facts.ts'
import type { Again } from '../sql/again.ts'
import { Committer } from '../sql/committer.ts'
import { Applier } from './apply.ts'
import { type Backend, faultOf, isChanged, isTaken } from './errors.ts'
import type { Statement } from './flight.ts'
import { Holder } from './hold.ts'
import type { PgPool } from './pool.ts'
import type { Tables } from './tables.ts'

export type PgCommitter = Committer<Statement, Backend>

export function committerOf(parts: {
  readonly pool: PgPool
  readonly again: Again
  readonly tables: Tables
  readonly ask: (reads: readonly Read[]) => Promise<readonly Fact[]>
  readonly patienceMs: number
}): PgCommitter {
  const { pool, tables } = parts
  return new Committer<Statement, Backend>({
    ...parts,
    holder: new Holder(tables),
    applier: new Applier(tables),
    isRefusal: error => isChanged(error) || isTaken(error),
    faultOf,
    async end({ pid, startedAt }) {
      const text = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE pid = $1::int AND backend_start::text = $2::text`
      const [answer] = await pool.run([{ name: '', text, values: [String(pid), startedAt] }], 'repeat')
      return answer!.rows.length === 0 ? 'over' : 'ending'
    },
  })
}
