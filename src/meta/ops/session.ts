/** Sessions: the record of a mounted client, and what it leaves behind (spec meta-model sections 8 and 15). */

import type { Time } from '../../base/clock.ts'
import { EBUSY, EROFS } from '../../base/errno.ts'
import type { Ino } from '../../base/ino.ts'
import { type Change, done, type Effect, type FactOf, gather, node, type Operation } from '../facts.ts'
import { type Attr, spaceOf, TYPE_FILE, TYPE_SYMLINK } from '../model/attr.ts'
import type { Volume } from '../model/volume.ts'
import { chargeVolume } from '../rules/charge.ts'

/** Writes the record, or with `info` null only its expiry (unix seconds). */
export function* putSession(sid: number, expire: number, info: Buffer | null): Operation<undefined> {
  yield* gather({ kind: 'session', sid })
  return done(undefined, [{ kind: 'putSession', sid, expire, info }])
}

/** The record of a session that is being ended by somebody else. */
const recordOf = (sid: number, expire: number | undefined) =>
  expire === undefined ? ([] as const) : ([{ kind: 'session', sid }] as const)

/** Its client was alive after all. */
const hasBeaten = (
  session: FactOf<{ kind: 'session'; sid: number }> | undefined,
  expire: number | undefined,
): boolean => session != null && session.expire !== expire

/** The last close of a node without names, or the clean-up of the session that kept it: node and space go, its data waits
 *  for deletion. A node that was given a name again, or that this session does not sustain, stays. With `expire`, only if the
 *  session's record still says that. EROFS, EBUSY. */
export function* releaseSustained(
  volume: Volume,
  sid: number,
  ino: Ino,
  now: Time,
  expire?: number,
): Operation<{ readonly attr: Attr | null }> {
  if (volume.readOnly) return EROFS
  const [attr, isSustained, session] = yield* gather(
    node(ino),
    { kind: 'sustained', sid, ino },
    ...recordOf(sid, expire),
  )
  if (hasBeaten(session, expire)) return EBUSY
  if (!isSustained) return done({ attr })
  const changes: Change[] = [{ kind: 'unsustain', sid, ino }]
  const effects: Effect[] = []
  if (attr && attr.nlink === 0) {
    changes.push({ kind: 'delNode', ino }, { kind: 'delXattrs', ino }, { kind: 'delParents', ino })
    if (attr.type === TYPE_SYMLINK) changes.push({ kind: 'delSymlink', ino })
    if (attr.type === TYPE_FILE) {
      changes.push({ kind: 'deadFile', ino, length: attr.length, at: now.sec })
      effects.push({ kind: 'deadFile', ino, length: attr.length })
    }
    changes.push(...chargeVolume(volume, attr, -spaceOf(attr), -1))
  }
  return done({ attr }, changes, effects)
}

/** Forgets the session and its locks. Its sustained nodes have been released one by one before. With `expire`, only if its
 *  record still says that. EBUSY. */
export function* dropSession(sid: number, expire?: number): Operation<undefined> {
  const [session] = yield* gather({ kind: 'session', sid })
  if (expire !== undefined && hasBeaten(session, expire)) return EBUSY
  return done(undefined, [{ kind: 'delSession', sid }])
}
