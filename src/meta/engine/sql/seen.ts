/** What an operation saw before it changes a record. An unseen one is inserted, and the unique index refuses what is there
 *  already; a seen one is replaced. */

import type { Name } from '../../../base/bytes.ts'
import type { Ino } from '../../../base/ino.ts'
import type { Guard } from '../../engine.ts'
import type { Dentry, Read } from '../../facts.ts'

/** Did the operation see this node? Then it is replaced; else it is new, and an insert never overwrites one unseen. */
export const hasNode = (guards: readonly Guard[], ino: Ino): boolean =>
  guards.some(({ read, fact }) => {
    if (fact === null) return false
    if (read.kind === 'node') return read.ino === ino
    return read.kind === 'dentry' && (fact as Dentry).ino === ino && (fact as Dentry).attr !== null
  })

/** The entry as the operation saw it; undefined where it saw none. */
export const seenDentry = (guards: readonly Guard[], parent: Ino, name: Name): Dentry | undefined =>
  guards.find(
    ({ read, fact }) => fact !== null && read.kind === 'dentry' && read.parent === parent && read.name === name,
  )?.fact as Dentry | undefined

/** Did the operation look for this record and find none? Then it is inserted, and a second one refused. */
export const sawAbsent = (guards: readonly Guard[], known: Read): boolean =>
  guards.some(({ read, fact }) => fact === null && isSameRead(read, known))

function isSameRead(a: Read, b: Read): boolean {
  const [x, y] = [a as Record<string, unknown>, b as Record<string, unknown>]
  return Object.keys(y).every(key => x[key] === y[key])
}
