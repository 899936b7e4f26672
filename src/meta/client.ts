/** A volume's metadata as the other rooms see it: operations driven over an engine, plus what belongs to this client alone.
 *
 *      ClientCore ◄ Sessions ◄ Names ◄ Files ◄ MetaClient (locks, the volume)
 *
 *  Hot methods stay synchronous where the engine is: no promise is made for a lookup on SQLite. */

import type { Name } from '../base/bytes.ts'
import { EROFS, type Errno, isErrno } from '../base/errno.ts'
import { causeText, Fault } from '../base/fault.ts'
import { type Ino, inoToString, ROOT_INO } from '../base/ino.ts'
import { chain, isPromise, type Maybe } from '../base/maybe.ts'
import type { ClientOptions } from './client/core.ts'
import { Files } from './client/files.ts'
import { OwedUnlocks } from './client/owed-unlocks.ts'
import type { Engine } from './engine.ts'
import { ancestors as ancestorsOf, QUOTA_DIR } from './facts.ts'
import { LockWaits } from './lock-waits.ts'
import type { Cancel, LockOwner, Meta, Plock, Usage } from './meta.ts'
import { flock, holdsFlock } from './ops/flock.ts'
import { getPlock, setPlock } from './ops/plock.ts'
import { pathsOf, summarizeTree, type TreeTotals } from './tree.ts'

export class MetaClient extends Files implements Meta {
  readonly #locks = new LockWaits()
  readonly #owed = new OwedUnlocks()

  /** Loads the setting. Fault when the database holds no volume. */
  static async open(engine: Engine, options: ClientOptions): Promise<MetaClient> {
    const [json] = (await engine.gather([{ kind: 'format' }], 'look')) as [string | null]
    if (!json) throw new Fault('database is not formatted, please run `juicefs-ts format ...` first')
    const client = new MetaClient(engine, json, options)
    await client.limits.refresh(engine, client.format)
    return client
  }

  // ── locks ───────────────────────────────────────────────────────────────────────────────────────────────────────

  flock(ino: Ino, owner: LockOwner, type: 'R' | 'W' | 'U', wait: Cancel | null): Maybe<undefined | Errno> {
    if (this.config.readOnly) return readOnlyVerdict(type)
    const key = `flock ${ino} ${owner}`
    if (this.#owed.has(key)) return this.#owed.settle(key).then(() => this.flock(ino, owner, type, wait))
    const attempt = (kind: 'R' | 'W' | 'U') => this.run('change', () => flock(ino, this.sid, owner, kind), ino)
    const unlock = () => this.#unlocking(key, 'flock', ino, () => attempt('U'))
    if (type === 'U') return unlock()
    const result = this.#locks.acquire(
      {
        space: 'flock',
        ino,
        fair: true,
        attempt: () => attempt(type),
        undo: () => settled(unlock),
        holds: () =>
          chain(
            this.driver.run('look', () => holdsFlock(ino, this.sid, owner)),
            found => !isErrno(found) && found.holds,
          ),
        // As Linux: who waits gives up the other kind of lock that they have, or two who share it would wait for each other for ever.
        beforeWaiting: unlock,
      },
      wait,
    )
    // A downgrade, too, may let somebody in.
    return type === 'W' ? result : chain(result, got => this.#released('flock', ino, got))
  }

  setPlock(ino: Ino, owner: LockOwner, lock: Plock, wait: Cancel | null): Maybe<undefined | Errno> {
    if (this.config.readOnly) return readOnlyVerdict(lock.type)
    const key = `plock ${ino} ${owner}`
    if (this.#owed.has(key)) return this.#owed.settle(key).then(() => this.setPlock(ino, owner, lock, wait))
    const attempt = (wanted: Plock) => this.run('change', () => setPlock(ino, this.sid, owner, wanted), ino)
    const unlock = () => this.#unlocking(key, 'plock', ino, () => attempt({ ...lock, type: 'U' }))
    if (lock.type === 'U') return unlock()
    const result = this.#locks.acquire(
      { space: 'plock', ino, fair: false, attempt: () => attempt(lock), undo: () => settled(unlock) },
      wait,
    )
    return lock.type === 'W' ? result : chain(result, got => this.#released('plock', ino, got))
  }

  getPlock(ino: Ino, owner: LockOwner, lock: Plock): Maybe<Plock | Errno> {
    return this.driver.run('look', () => getPlock(ino, this.sid, owner, lock))
  }

  // ── the volume ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Spec section 4: counters, limits, and the quotas on the path of the asked inode. */
  statfs(ino: Ino): Maybe<Usage> {
    const facts = this.engine.gather(
      [
        { kind: 'counter', name: 'usedSpace' },
        { kind: 'counter', name: 'totalInodes' },
      ],
      'look',
    )
    const whole = chain(facts, values => {
      const [space, inodes] = values as [number, number]
      this.limits.usedSpace = space
      this.limits.usedInodes = inodes
      return this.knownUsage()
    })
    if (!this.limits.hasDirQuotas) return whole
    return chain(whole, usage =>
      chain(this.engine.gather([ancestorsOf(ino)], 'look'), values => {
        let { total, available, usedInodes, availableInodes } = usage
        let nearest = true
        for (const dir of (values as [readonly Ino[]])[0]) {
          const quota = this.limits.quota(QUOTA_DIR, dir)
          if (quota === undefined) continue
          if (quota.maxSpace > 0) available = Math.min(available, Math.max(0, quota.maxSpace - quota.usedSpace))
          if (quota.maxInodes > 0)
            availableInodes = Math.min(availableInodes, Math.max(0, quota.maxInodes - quota.usedInodes))
          if (nearest) {
            total = quota.usedSpace
            usedInodes = quota.usedInodes
          }
          nearest = false
        }
        return nearest ? usage : { total: total + available, available, usedInodes, availableInodes }
      }),
    )
  }

  /** Of the whole volume, as this client knows it without asking: the last refresh and its own changes since. */
  knownUsage(): Usage {
    const { usedSpace, usedInodes, capacity, inodes } = this.limits
    return volumeUsage(Math.max(0, usedSpace), Math.max(0, usedInodes), capacity, inodes)
  }

  sync(): Promise<void> {
    return this.engine.sync()
  }

  /** `top`: of the mount, whose path is `/`; names outside it are left out. */
  paths(ino: Ino, top: Ino = ROOT_INO): Promise<Name[]> {
    return pathsOf(this, ino, top)
  }

  summarize(ino: Ino, _strict: boolean): Promise<TreeTotals> {
    return summarizeTree(this, ino)
  }

  /** One heartbeat, and what is owed. */
  override async refresh(): Promise<void> {
    await super.refresh()
    await this.#owed.settleAll()
  }

  /** Gives up a lock, later if it cannot be done now. */
  #unlocking(
    key: string,
    space: 'flock' | 'plock',
    ino: Ino,
    unlock: () => Maybe<undefined | Errno>,
  ): Maybe<undefined | Errno> {
    const unlockAndWake = () => chain(unlock(), got => this.#released(space, ino, got))
    const owe = (error: unknown): never => {
      this.log.warn(`unlock inode ${inoToString(ino)}, will try again: ${causeText(error)}`)
      this.#owed.owe(key, unlockAndWake)
      throw error
    }
    try {
      const result = unlockAndWake()
      return isPromise(result) ? result.catch(owe) : result
    } catch (error) {
      return owe(error)
    }
  }

  #released(space: 'flock' | 'plock', ino: Ino, result: undefined | Errno): undefined | Errno {
    if (result === undefined) this.#locks.released(space, ino)
    return result
  }
}

/** A read-only client has no session, with which a lock would go when the client dies. */
const readOnlyVerdict = (type: Plock['type']): undefined | Errno => (type === 'U' ? undefined : EROFS)

/** Runs what nobody waits for; who fails has said so. */
function settled(action: () => Maybe<unknown>): void {
  try {
    const result = action()
    if (isPromise(result)) result.catch(() => undefined)
  } catch {
    // the same
  }
}

/** Totals of an unlimited volume grow with use, so that `df` looks sane: 1 PiB, 10 Mi inodes (spec section 4). */
function volumeUsage(used: number, usedInodes: number, capacity: number, inodes: number): Usage {
  let total = Math.max(capacity, used)
  if (capacity <= 0) {
    total = 2 ** 50
    while (total * 0.8 < used) total *= 2
  }
  let availableInodes = inodes - usedInodes
  if (inodes <= 0) {
    availableInodes = 10 * 2 ** 20
    while (availableInodes * 4 < usedInodes) availableInodes *= 2
  }
  return { total, available: total - used, usedInodes, availableInodes: Math.max(0, availableInodes) }
}

export type { MetaConfig, MetaHooks } from './client/core.ts'
