/** The client's session: registered, kept alive, cleaned up after; and what a heartbeat brings along: a changed setting, fresh
 *  limits (spec meta-model sections 15 and 16). */

import { EBUSY, ENOENT, isErrno } from '../../base/errno.ts'
import { causeText } from '../../base/fault.ts'
import { ROOT_INO, TRASH_INO } from '../../base/ino.ts'
import { xattr } from '../facts.ts'
import { parseFormat } from '../model/format.ts'
import { getattr } from '../ops/attributes.ts'
import { elect } from '../ops/counters.ts'
import { initVolume } from '../ops/init-volume.ts'
import { dropSession, putSession } from '../ops/session.ts'
import { setXattr } from '../ops/xattr.ts'
import { describeSession, processIsGone, sessionVersion } from '../session.ts'

import { ClientCore } from './core.ts'

const SESSION_HEARTBEATS = 5
/** heartbeats of ours for which a record must not have moved before we believe that its client is dead */
const WATCHED_HEARTBEATS = 2
/** so many heartbeats without one of ours: the database was away, or we were, and others had no chance either */
const GAP_HEARTBEATS = 2
/** attribute of the root directory, as the reference keeps the time of its last backup */
const RECOUNT_MARK = 'usageRecount'
const XATTR_CREATE = 1
/** heartbeat 0: the record stays for a year */
const NEVER_SEC = 365 * 86400

export class Sessions extends ClientCore {
  #heartbeat: NodeJS.Timeout | undefined
  #stopped = false
  /** the heartbeats that are on their way; never rejects */
  #refreshing: Promise<unknown> = Promise.resolve()
  #lastBeatMs = Number.NEGATIVE_INFINITY
  /** Sessions whose time is over by our clock: what their record says, and for how many heartbeats we have seen it say that. The
   *  database may have been away for everybody, and clocks differ: a record that moves belongs to somebody who lives. */
  readonly #suspects = new Map<number, { readonly expire: number; beats: number }>()

  /** Registers this client and starts its heartbeat. Read-only clients have no session. */
  async newSession(): Promise<void> {
    if (this.config.readOnly) {
      this.#beat()
      return
    }
    await this.engine.prepare()
    if (this.format.TrashDays > 0) await this.#ensureTrashRoot()
    this.sid = await this.#freeSid()
    await this.#putSession(true)
    this.log.info(`Create session ${this.sid} OK with version: ${sessionVersion(this.config.version)}`)
    if (!this.config.noBackgroundJobs) {
      // A process of this machine that was killed leaves its session to the next mount, not to the clock.
      this.cleanStaleSessions().catch(error => this.log.warn(`clean up stale sessions: ${causeText(error)}`))
    }
    this.#beat()
  }

  /** A number that nobody has. Where the counter went back (a server that lost its last seconds, an older copy of the database),
   *  it gives out those of living clients again, and two clients of one number would not see each other's locks. */
  async #freeSid(): Promise<number> {
    for (;;) {
      const sid = await this.engine.allocate('nextSession', 1)
      const [record] = await this.engine.gather([{ kind: 'session', sid }], 'look')
      if (record === null) return sid
    }
  }

  /** Ends the session: its locks, its sustained nodes, its record. Safe to call without one. */
  async closeSession(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#heartbeat)
    await this.#refreshing // it would write the record anew
    if (this.sid === 0) return
    await this.#cleanSession(this.sid)
    this.sid = 0
  }

  /** Ends the sessions of processes of this machine that are gone, and watches those whose time is over. */
  async cleanStaleSessions(): Promise<void> {
    const now = this.clock.now().sec
    for await (const { sid, expire, info } of this.scan('sessions', {})) {
      if (sid === this.sid) continue
      if (processIsGone(info)) await this.#cleanUp(sid, expire)
      else if (expire < now && this.#suspects.get(sid)?.expire !== expire) this.#suspects.set(sid, { expire, beats: 0 })
    }
  }

  /** Ends the sessions whose records have not moved while we and the database were there. */
  async #judgeSuspects(): Promise<void> {
    const nowMs = this.clock.monotonicMs()
    const isGap = nowMs - this.#lastBeatMs > this.config.heartbeatMs * GAP_HEARTBEATS
    this.#lastBeatMs = nowMs
    for (const [sid, suspect] of this.#suspects) {
      suspect.beats = isGap ? 0 : suspect.beats + 1
      if (suspect.beats < WATCHED_HEARTBEATS) continue
      this.#suspects.delete(sid)
      await this.#cleanUp(sid, suspect.expire)
    }
  }

  async #cleanUp(sid: number, expire: number): Promise<void> {
    const [record] = (await this.engine.gather([{ kind: 'session', sid }], 'look')) as [{ expire: number } | null]
    if (record === null || record.expire !== expire) return
    this.log.info(`clean up stale session ${sid}`)
    const isOver = await this.#cleanSession(sid, expire)
    if (isOver && this.engine.sumsUsage === true) await this.#markForRecount(sid)
  }

  /** When the usage of the volume became uncertain, RFC 3339; null where it is not. */
  async usageUncertainSince(): Promise<string | null> {
    const [mark] = (await this.engine.gather([xattr(ROOT_INO, RECOUNT_MARK)], 'look')) as [Buffer | null]
    return mark === null ? null : mark.toString('utf8')
  }

  /** Somebody died with usage that it had not written yet. The first time stands until somebody has counted. */
  async #markForRecount(sid: number): Promise<void> {
    this.log.warn(`session ${sid} may have lost usage of its last second: the volume should be recounted`)
    const now = Buffer.from(new Date(this.clock.now().sec * 1000).toISOString())
    await this.run('change', () => setXattr(this.volume, ROOT_INO, RECOUNT_MARK, now, XATTR_CREATE))
  }

  /** May this client do a periodic job now? Only one client a period is told yes (spec section 16). */
  async elect(name: Parameters<typeof elect>[0], periodSec: number): Promise<boolean> {
    const result = await this.run('change', () => elect(name, this.clock.now().sec, periodSec))
    return !isErrno(result) && result.elected
  }

  /** One heartbeat: expiry, setting, limits, stale sessions. */
  refresh(): Promise<void> {
    const beat = this.#refresh()
    const before = this.#refreshing
    this.#refreshing = beat.catch(() => undefined).then(() => before)
    return beat
  }

  async #refresh(): Promise<void> {
    if (this.sid !== 0) await this.#putSession(false)
    const [json] = (await this.engine.gather([{ kind: 'format' }], 'look')) as [string | null]
    if (!json) return this.hooks.onFatal?.('the volume is gone: its setting does not exist any more')
    if (json !== this.formatJson) {
      const format = parseFormat(json)
      if (format.UUID !== this.format.UUID) return this.hooks.onFatal?.(`the volume was replaced: UUID ${format.UUID}`)
      if ((format.MetaVersion ?? 0) > 1)
        return this.hooks.onFatal?.(`the volume needs a newer client: MetaVersion ${format.MetaVersion}`)
      this.formatJson = json
      this.format = format
      this.volume = this.volumeOf(format)
      if (format.TrashDays > 0 && !this.config.readOnly) await this.#ensureTrashRoot()
      this.hooks.onFormatChanged?.(format)
    }
    await this.limits.refresh(this.engine, this.format)
    if (!this.config.noBackgroundJobs && this.sid !== 0 && this.config.heartbeatMs > 0) {
      const periodSec = Math.floor((this.config.heartbeatMs / 1000) * 0.9)
      await this.#judgeSuspects()
      if (await this.elect('lastCleanupSessions', periodSec)) await this.cleanStaleSessions()
    }
  }

  /** A volume whose trash was switched on by somebody who did not make its directory. */
  async #ensureTrashRoot(): Promise<void> {
    const found = await this.driver.run('look', () => getattr(TRASH_INO))
    if (found !== ENOENT) return
    await this.run('change', () => initVolume(null, { isNew: false, trash: true, now: this.clock.now() }))
  }

  async #putSession(isNew: boolean): Promise<void> {
    const beats =
      this.config.heartbeatMs > 0 ? Math.ceil((this.config.heartbeatMs * SESSION_HEARTBEATS) / 1000) : NEVER_SEC
    const expire = this.clock.now().sec + beats
    if (!isNew) {
      const [record] = (await this.engine.gather([{ kind: 'session', sid: this.sid }], 'look')) as [object | null]
      if (record !== null) {
        await this.run('change', () => putSession(this.sid, expire, null))
        return
      }
      this.log.warn(`session ${this.sid} was ended by another client, as if this one were dead: its locks are lost`)
    }
    const { mountPoint, version, networkInterfaces } = this.config
    const info = describeSession({
      version,
      mountPoint,
      clock: this.clock,
      ...(networkInterfaces ? { interfaces: networkInterfaces } : {}),
    })
    await this.run('change', () => putSession(this.sid, expire, Buffer.from(JSON.stringify(info))))
  }

  /** False if its client turns out to live (`expire`, ops/session.ts). */
  async #cleanSession(sid: number, expire?: number): Promise<boolean> {
    for await (const { ino } of this.scan('sustained', { sid })) {
      if ((await this.releaseSustained(sid, ino, expire)) === EBUSY) return false
    }
    return (await this.run('change', () => dropSession(sid, expire))) !== EBUSY
  }

  #beat(): void {
    if (this.#stopped || this.config.heartbeatMs <= 0) return
    const pause = this.config.heartbeatMs * (0.95 + this.random() * 0.1)
    this.#heartbeat = setTimeout(() => {
      this.refresh()
        .catch(error => this.log.warn(`heartbeat: ${causeText(error)}`))
        .finally(() => this.#beat())
    }, pause)
    this.#heartbeat.unref()
  }
}
