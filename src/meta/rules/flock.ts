/** BSD locks: one mode a holder, readers share, a writer is alone (spec meta-model section 15). */

import type { FlockHolder } from '../facts.ts'

export const isHolder = (lock: FlockHolder, sid: number, owner: string): boolean =>
  lock.sid === sid && lock.owner === owner

/** Does anybody else's lock forbid this one? Our own is replaced, up or down. */
export const flockConflicts = (holders: readonly FlockHolder[], sid: number, owner: string, type: 'R' | 'W'): boolean =>
  holders.some(held => !isHolder(held, sid, owner) && (type === 'W' || held.type === 'W'))
