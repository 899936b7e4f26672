/** Unlocks that failed because the database did not answer. Whoever held the lock has closed the file, or is dead: nobody asks
 *  again, and the lock would stand for as long as this client lives. They are made up for at each heartbeat, and before their owner
 *  locks the same file again. */

import type { Maybe } from '../../base/maybe.ts'

type Unlock = () => Maybe<unknown>

export class OwedUnlocks {
  /** by file and owner */
  readonly #owed = new Map<string, Unlock[]>()
  /** being made up for: an unlock that came late would take away the next lock */
  readonly #settling = new Map<string, Promise<void>>()

  has(key: string): boolean {
    return this.#owed.size > 0 && this.#owed.has(key)
  }

  owe(key: string, unlock: Unlock): void {
    const owed = this.#owed.get(key)
    if (owed) owed.push(unlock)
    else this.#owed.set(key, [unlock])
  }

  /** Fails as the unlock does, which then is owed still. Whoever comes meanwhile waits for the same. */
  settle(key: string): Promise<void> {
    const underWay = this.#settling.get(key)
    if (underWay !== undefined) return underWay
    const settling = this.#settle(key).finally(() => this.#settling.delete(key))
    this.#settling.set(key, settling)
    return settling
  }

  /** All of them; fails as the first that does. */
  async settleAll(): Promise<void> {
    const results = await Promise.allSettled([...this.#owed.keys()].map(key => this.settle(key)))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }

  async #settle(key: string): Promise<void> {
    for (const owed = this.#owed.get(key); owed?.[0]; owed.shift()) await owed[0]()
    this.#owed.delete(key)
  }
}
