/** Who holds locks through this process, so that closing asks the metadata for nothing where nobody ever locked. */

import type { Ino } from '../base/ino.ts'
import type { LockOwner } from '../meta/meta.ts'

/** A BSD lock belongs to the open file description: the kernel's owner XOR the handle (spec meta-model section 15). */
export function flockOwner(owner: LockOwner, fh: number): LockOwner {
  const high = Number.parseInt(owner.slice(0, 8), 16) ^ Math.floor(fh / 2 ** 32)
  const low = Number.parseInt(owner.slice(8), 16) ^ (fh % 2 ** 32)
  return hex8(high) + hex8(low)
}

const hex8 = (word: number): string => (word >>> 0).toString(16).padStart(8, '0')

/** POSIX locks: all of a process's locks on a file go with its first close(2) of it, through whatever handle. */
export class PosixLockOwners {
  readonly #owners = new Map<Ino, Set<LockOwner>>()

  add(ino: Ino, owner: LockOwner): void {
    const owners = this.#owners.get(ino)
    if (owners) owners.add(owner)
    else this.#owners.set(ino, new Set([owner]))
  }

  /** Forgets the owner; whether it ever locked. */
  remove(ino: Ino, owner: LockOwner): boolean {
    const owners = this.#owners.get(ino)
    if (!owners?.delete(owner)) return false
    if (owners.size === 0) this.#owners.delete(ino)
    return true
  }
}
