/** The attributes of files last told to the kernel: open(2) must make it forget them exactly when they are no longer true.
 *
 *  Bounded by two generations: what was not told again for a whole generation is forgotten, and then counts as different. */

import type { Time } from '../base/clock.ts'
import type { Ino } from '../base/ino.ts'
import type { Attr } from '../meta/model/attr.ts'

const GENERATION = 32_768

export class ToldAttrs {
  #young = new Map<Ino, Attr>()
  #old = new Map<Ino, Attr>()

  tell(ino: Ino, attr: Attr): void {
    this.#young.set(ino, attr)
    if (this.#young.size < GENERATION) return
    this.#old = this.#young
    this.#young = new Map()
  }

  /** Was the kernel told of it in another directory? */
  isElsewhere(ino: Ino, { parent }: Attr): boolean {
    const told = this.#young.get(ino) ?? this.#old.get(ino)
    return told !== undefined && told.parent !== parent
  }

  /** May the kernel believe something else than `attr`? */
  differs(ino: Ino, attr: Attr): boolean {
    const told = this.#young.get(ino) ?? this.#old.get(ino)
    return told === undefined || !looksTheSame(told, attr)
  }
}

const sameTime = (a: Time, b: Time): boolean => a.sec === b.sec && a.nsec === b.nsec

/** Everything that stat(2) shows but the access time. */
const looksTheSame = (a: Attr, b: Attr): boolean =>
  a === b ||
  (a.length === b.length &&
    a.mode === b.mode &&
    a.uid === b.uid &&
    a.gid === b.gid &&
    a.nlink === b.nlink &&
    sameTime(a.mtime, b.mtime) &&
    sameTime(a.ctime, b.ctime))
