/** Counts what each user and group uses, for the quotas that are kept of it (spec meta-model section 12).
 *
 *  A node counts once, by its owner, whatever its type and how many names it has; so do nodes in the trash and removed ones that
 *  are still open. The two top directories belong to nobody. The clients keep the sums from then on (meta/rules/charge.ts). */

import { isErrno } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import { ROOT_INO, TRASH_INO } from '../base/ino.ts'
import { Driver } from '../meta/driver.ts'
import type { Engine } from '../meta/engine.ts'
import { type Change, done, gather, type Operation, QUOTA_GROUP, QUOTA_USER } from '../meta/facts.ts'
import { spaceOf } from '../meta/model/attr.ts'
import { pagesOf } from '../meta/scan.ts'

/** changes in one commit */
const BATCH = 500

interface Sum {
  space: number
  inodes: number
}

/** Forgets all records of users and groups, limits included, and writes fresh ones without limits. Exact while nobody changes the
 *  volume. Memory: an entry for each user and group. */
export async function recountOwners(
  engine: Engine,
  random: () => number,
): Promise<{ readonly inodes: number; readonly users: number; readonly groups: number }> {
  const driver = new Driver(engine, { random, onEffect: () => undefined })
  const commit = async (changes: readonly Change[]): Promise<void> => {
    const result = await driver.run('change', () => allOf(changes))
    if (isErrno(result)) throw new Fault('write the usage of users and groups', { errno: result })
  }
  for (const type of [QUOTA_USER, QUOTA_GROUP] as const) {
    for await (const rows of pagesOf(engine, 'quotas', { type }, BATCH))
      if (rows.length > 0) await commit(rows.map(({ key }): Change => ({ kind: 'delQuota', type, key })))
  }
  const users = new Map<number, Sum>()
  const groups = new Map<number, Sum>()
  let inodes = 0
  for await (const rows of pagesOf(engine, 'nodes', {})) {
    for (const { ino, attr } of rows) {
      if (ino === ROOT_INO || ino === TRASH_INO) continue
      add(users, attr.uid, spaceOf(attr))
      add(groups, attr.gid, spaceOf(attr))
      inodes++
    }
  }
  const records = [
    ...Array.from(users, ([key, sum]): Change => ({ kind: 'quotaUsage', type: QUOTA_USER, key, ...sum })),
    ...Array.from(groups, ([key, sum]): Change => ({ kind: 'quotaUsage', type: QUOTA_GROUP, key, ...sum })),
  ]
  for (let at = 0; at < records.length; at += BATCH) await commit(records.slice(at, at + BATCH))
  return { inodes, users: users.size, groups: groups.size }
}

function add(sums: Map<number, Sum>, key: number, space: number): void {
  const sum = sums.get(key)
  if (sum === undefined) sums.set(key, { space, inodes: 1 })
  else {
    sum.space += space
    sum.inodes++
  }
}

function* allOf(changes: readonly Change[]): Operation<undefined> {
  yield* gather({ kind: 'format' })
  return done(undefined, changes)
}
