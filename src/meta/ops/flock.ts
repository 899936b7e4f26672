/** flock(2). */

import { EAGAIN, ENOENT } from '../../base/errno.ts'
import type { Ino } from '../../base/ino.ts'
import { done, gather, node, type Operation } from '../facts.ts'
import { flockConflicts, isHolder } from '../rules/flock.ts'

/** Takes, changes or (U) drops the lock of (sid, owner). EAGAIN on conflict, ENOENT where the node is gone; unlocking
 *  always succeeds. One gather, one commit; none where nothing changes. */
export function* flock(ino: Ino, sid: number, owner: string, type: 'R' | 'W' | 'U'): Operation<undefined> {
  const [attr, holders] = yield* gather(node(ino), { kind: 'flocks', ino })
  const own = holders.find(held => isHolder(held, sid, owner))
  if (type === 'U') return done(undefined, own ? [{ kind: 'putFlock', ino, sid, owner, type: null }] : [])
  if (!attr) return ENOENT
  if (flockConflicts(holders, sid, owner, type)) return EAGAIN
  return done(undefined, own?.type === type ? [] : [{ kind: 'putFlock', ino, sid, owner, type }])
}

/** Has (sid, owner) a lock of this file, of either kind? */
export function* holdsFlock(ino: Ino, sid: number, owner: string): Operation<{ readonly holds: boolean }> {
  const [holders] = yield* gather({ kind: 'flocks', ino })
  return done({ holds: holders.some(held => isHolder(held, sid, owner)) })
}
