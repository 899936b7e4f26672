/** A removed file is recorded as `<inode>:<length>`, so whoever knows only the inode must know the length too. It is
 *  remembered from when the record was written or listed; else the records are gone through. */

import type { Ino } from '../../../base/ino.ts'
import { inoToString } from '../../../base/ino.ts'
import type { Change, Read } from '../../facts.ts'
import { type Keys, parsePair } from './keys.ts'
import type { Link } from './link.ts'
import { buffersOf, listOf, textOf } from './values.ts'

/** as many removed files as a client queues for deletion */
const MAX_REMEMBERED = 100_000
const RECORDS_A_STEP = '10000'

export class DeadLengths {
  readonly known = new Map<Ino, number>()
  readonly #link: Link
  readonly #keys: Keys

  constructor(link: Link, keys: Keys) {
    this.#link = link
    this.#keys = keys
  }

  note(ino: Ino, length: number): void {
    this.known.set(ino, length)
    if (this.known.size > MAX_REMEMBERED) this.known.delete(this.known.keys().next().value!)
  }

  /** Looks up what these reads and changes will need. Nothing to wait for where everything is known. */
  async find(about: readonly (Read | Change)[]): Promise<void> {
    for (const each of about) {
      if ((each.kind === 'deadFile' && !('length' in each)) || each.kind === 'delDeadFile')
        await this.lengthOf(each.ino)
    }
  }

  /** Length in the record of this removed file; undefined where there is none. */
  async lengthOf(ino: Ino): Promise<number | undefined> {
    if (this.known.has(ino)) return this.known.get(ino)
    const args = ['MATCH', `${inoToString(ino)}:*`, 'COUNT', RECORDS_A_STEP]
    let cursor = '0'
    do {
      const reply = await this.#link.request('ZSCAN', [this.#keys.deadFiles, cursor, ...args], {
        doing: `look for the removed file ${inoToString(ino)}`,
        again: true,
      })
      const [next, members] = listOf(reply)
      for (const member of buffersOf(members)) {
        const pair = parsePair(textOf(member), ':')
        if (pair?.first === ino) {
          this.note(ino, pair.second)
          return pair.second
        }
      }
      cursor = textOf(next as Buffer)
    } while (cursor !== '0')
    return undefined
  }

  applied(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind === 'deadFile') this.note(change.ino, change.length)
      else if (change.kind === 'delDeadFile') this.known.delete(change.ino)
    }
  }
}
