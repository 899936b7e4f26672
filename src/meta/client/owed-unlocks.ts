/** Unlocks that failed because the database did not answer. Whoever held the lock has closed the file, or is dead: nobody asks
 *  again, and the lock would stand for as long as this client lives. They are made up for at each heartbeat, and before their owner
 *  locks the same file again. */

import type { Maybe } from '../../base/maybe.ts'

type Unlock = () => Maybe<unknown>

export class OwedUnlocks {
  /** by file and owner */
  readonly #owed = new Map<string, Unlock[]>()

  has(key: string): boolean {
    return this.#owed.size > 0 && this.#owed.has(key)
  }

  owe(key: string, unlock: Unlock): void {
    const owed = this.#owed.get(key)
    if (owed) owed.push(unlock)
    else this.#owed.set(key, [unlock])
  }

  /** Fails as the unlock does, which then is owed still. */
  async settle(key: string): Promise<void> {
    for (const owed = this.#owed.get(key); owed?.[0]; owed.shift()) await owed[0]()
    this.#owed.delete(key)
  }

  async settleAll(): Promise<void> {
    for (const key of [...this.#owed.keys()]) await this.settle(key)
  }
}
