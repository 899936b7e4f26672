/** fcntl(2) record locks: F_SETLK and F_GETLK. */

import { EAGAIN, EINVAL, ENOENT } from '../../base/errno.ts'
import type { Ino } from '../../base/ino.ts'
import { done, gather, node, type Operation } from '../facts.ts'
import type { Plock } from '../meta.ts'
import { applyPlock, decodePlocks, encodePlocks, plockConflict } from '../rules/plock.ts'

const plocks = (ino: Ino) => ({ kind: 'plocks', ino }) as const

/** Sets or (type U) clears a range of (sid, owner). EINVAL (end before start), EAGAIN on conflict, ENOENT where the node is
 *  gone; unlocking always succeeds. One gather, one commit; none where nothing changes. */
export function* setPlock(ino: Ino, sid: number, owner: string, lock: Plock): Operation<undefined> {
  if (lock.start < 0 || lock.end < lock.start) return EINVAL
  const [attr, holders] = yield* gather(node(ino), plocks(ino))
  if (lock.type !== 'U') {
    if (!attr) return ENOENT
    if (plockConflict(holders, sid, owner, lock)) return EAGAIN
  }
  const held = holders.find(holder => holder.sid === sid && holder.owner === owner)?.records ?? Buffer.alloc(0)
  const records = encodePlocks(applyPlock(decodePlocks(held), lock))
  return done(undefined, records.equals(held) ? [] : [{ kind: 'putPlock', ino, sid, owner, records }])
}

/** The first conflicting lock, or type U. A holder of another session is on another machine, maybe: its pid reads as 0.
 *  EINVAL. */
export function* getPlock(ino: Ino, sid: number, owner: string, lock: Plock): Operation<Plock> {
  if (lock.start < 0 || lock.end < lock.start) return EINVAL
  const [holders] = yield* gather(plocks(ino))
  const conflict = plockConflict(holders, sid, owner, lock)
  if (!conflict) return done({ type: 'U', start: lock.start, end: lock.end, pid: 0 })
  return done({ ...conflict.range, pid: conflict.sid === sid ? conflict.range.pid : 0 })
}
