/** What a commit asks of MySQL beside its statements (sql/committer.ts): the end of a session that broke, and why a server
 *  refuses what was not there. */

import { nameToText } from '../../../base/bytes.ts'
import { ENOTSUP } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import { inoToString } from '../../../base/ino.ts'
import type { Fact, Read } from '../../facts.ts'
import type { Again } from '../sql/again.ts'
import { Committer } from '../sql/committer.ts'
import { Applier } from './apply.ts'
import { faultOf, isChanged, isTaken, isXattrTaken, type Session } from './errors.ts'
import { Holder } from './hold.ts'
import type { MysqlPool } from './pool.ts'
import { characters, type Statement } from './statement.ts'
import type { Tables } from './tables.ts'

export type MysqlCommitter = Committer<Statement, Session>

export function committerOf(parts: {
  readonly pool: MysqlPool
  readonly again: Again
  readonly tables: Tables
  readonly ask: (reads: readonly Read[]) => Promise<readonly Fact[]>
  readonly patienceMs: number
}): MysqlCommitter {
  const { pool, tables, ask } = parts
  return new Committer<Statement, Session>({
    ...parts,
    holder: new Holder(tables),
    applier: new Applier(tables),
    isRefusal: error => isChanged(error) || isTaken(error),
    faultOf,

    /** A session shows by a lock that it holds as long as it lives. */
    async end({ lock, server }) {
      const text = `SELECT is_used_lock($1), concat_ws(':', @@hostname, @@port, @@server_id)`
      const [answer] = await pool.run([{ text, values: [characters(lock)] }], 'repeat')
      const [holder, answering] = answer!.rows[0]!
      if (answering !== server) return 'unseen'
      if (holder === null) return 'over'
      await pool.run([{ text: 'KILL $1', values: [Number(holder)] }], 'repeat').catch(() => undefined) // gone meanwhile
      return 'ending'
    },

    /** Tables of the reference may hold that two different names are one (`user.A` and `user.a`); then no repetition helps. */
    async explain(error, guards, changes) {
      if (!isXattrTaken(error)) return
      for (const { read, fact } of guards) {
        if (read.kind !== 'xattr' || fact !== null) continue
        if (!changes.some(change => change.kind === 'putXattr' && change.ino === read.ino)) continue
        const [now] = await ask([read])
        if (now !== null) continue
        const words = `store attribute ${nameToText(read.name)} of inode ${inoToString(read.ino)}`
        const cause = new Error(`the collation of table ${tables.prefix}xattr takes another name for the same`)
        throw new Fault(words, { errno: ENOTSUP, cause })
      }
    },
  })
}
