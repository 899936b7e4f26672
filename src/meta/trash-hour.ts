/** The trash directory of the hour: `.trash/YYYY-MM-DD-HH` in UTC (spec meta-model section 10), found or made once and
 *  remembered until the hour changes. */

import type { Name } from '../base/bytes.ts'
import type { Time } from '../base/clock.ts'
import { EEXIST, type Errno, isErrno } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import { type Ino, NO_INO } from '../base/ino.ts'
import { isPromise, type Maybe } from '../base/maybe.ts'
import type { Entry } from './meta.ts'
import { hourName } from './rules/trash.ts'

/** The start of the hour that such a name stands for, unix seconds; null where it is no such name. */
export function hourOfName(name: Name): number | null {
  const parts = /^(\d{4})-(\d{2})-(\d{2})-(\d{2})$/.exec(name)
  if (!parts) return null
  const ms = Date.UTC(Number(parts[1]), Number(parts[2]) - 1, Number(parts[3]), Number(parts[4]))
  return Number.isNaN(ms) ? null : ms / 1000
}

export class TrashHour {
  readonly #find: (name: Name) => Maybe<Entry | Errno>
  readonly #make: (name: Name) => Maybe<Entry | Errno>
  #hour = -1
  #ino: Ino = NO_INO
  #pending: Promise<Ino> | null = null

  constructor(find: (name: Name) => Maybe<Entry | Errno>, make: (name: Name) => Maybe<Entry | Errno>) {
    this.#find = find
    this.#make = make
  }

  at(now: Time): Maybe<Ino> {
    const hour = Math.floor(now.sec / 3600)
    if (hour === this.#hour) return this.#ino
    this.#pending ??= this.#resolve(hourName(now.sec), hour).finally(() => {
      this.#pending = null
    })
    return this.#pending
  }

  async #resolve(name: Name, hour: number): Promise<Ino> {
    for (let attempt = 0; attempt < 3; attempt++) {
      const found = this.#find(name)
      const entry = isPromise(found) ? await found : found
      if (!isErrno(entry)) return this.#keep(hour, entry.ino)
      const made = await this.#make(name)
      if (!isErrno(made)) return this.#keep(hour, made.ino)
      if (made !== EEXIST) throw new Fault(`make trash directory ${name}`, { errno: made })
    }
    throw new Fault(`find or make trash directory ${name}`)
  }

  #keep(hour: number, ino: Ino): Ino {
    this.#hour = hour
    this.#ino = ino
    return ino
  }
}
