/** What this client has open, and what it may therefore keep (spec meta-model sections 8 and 17).
 *
 *      counted ──► opened ──► … ──► count 0 ──► remembered (mtime only, bounded)
 *                    └─ chunk lists are cached while the count is above 0
 *  An opening counts before its attributes are asked for, and so does a file that is being made: whoever removes the name
 *  meanwhile must find it open. `removed` marks a node that lost its last name while open here: the last close lets it go. */

import type { Time } from '../base/clock.ts'
import { type Ino, SPECIAL_INO } from '../base/ino.ts'
import type { Attr } from './model/attr.ts'
import type { SliceRecord } from './model/slice.ts'

interface OpenFile {
  count: number
  /** as the last open saw it; null before the first one */
  mtime: Time | null
  removed: boolean
  /** somebody else's write was noticed, and the kernel may not have been told: the next open must not trust pages */
  foreign: boolean
  /** by which change of mtime it was noticed; perhaps it is a commit of our own of which we have not heard yet */
  noticed: { readonly from: Time; readonly to: Time } | null
  readonly chunks: Map<number, readonly SliceRecord[]>
  /** changes with each drop: a list that was asked for before one must not be kept after it */
  drops: number
}

const sameTime = (a: Time | null, b: Time): boolean => a !== null && a.sec === b.sec && a.nsec === b.nsec

export class OpenFiles {
  readonly #open = new Map<Ino, OpenFile>()
  /** mtime as the last open saw it; insertion order = age */
  readonly #remembered = new Map<Ino, Time>()
  readonly #limit: number
  #drops = 0

  constructor(limit: number) {
    this.#limit = limit > 0 ? limit : Number.MAX_SAFE_INTEGER
  }

  get size(): number {
    return this.#open.size
  }

  isOpen(ino: Ino): boolean {
    return this.#open.has(ino)
  }

  /** Somebody is about to open it: from now on it is open here. Ends with `closed`, also where the opening fails. */
  counted(ino: Ino): void {
    const file = this.#open.get(ino)
    if (file) {
      file.count++
      return
    }
    const mtime = this.#remembered.get(ino) ?? null
    if (mtime) this.#remembered.delete(ino)
    const drops = ++this.#drops // never a number of an earlier time that it was open
    this.#open.set(ino, { count: 1, mtime, removed: false, foreign: false, noticed: null, chunks: new Map(), drops })
  }

  /** An open that was counted has its attributes; true if nothing changed since the last open that this client saw. */
  confirmed(ino: Ino, attr: Attr): boolean {
    const file = this.#open.get(ino)!
    const unchanged = sameTime(file.mtime, attr.mtime) && !file.foreign
    file.foreign = false
    file.noticed = null
    if (!unchanged) {
      this.#dropAll(file)
      file.mtime = attr.mtime
    }
    return unchanged
  }

  /** Counts and confirms. */
  opened(ino: Ino, attr: Attr): boolean {
    this.counted(ino)
    return this.confirmed(ino, attr)
  }

  /** Counts a close; true if it was the last one of a removed node. */
  closed(ino: Ino): boolean {
    const file = this.#open.get(ino)
    if (!file || --file.count > 0) return false
    this.#open.delete(ino)
    if (file.removed || file.foreign || file.mtime === null || ino >= SPECIAL_INO) return file.removed
    this.#remembered.set(ino, file.mtime)
    if (this.#remembered.size > this.#limit) this.#remembered.delete(this.#remembered.keys().next().value as Ino)
    return false
  }

  /** The node has no name any more. False if it is not open here: then nobody will close it. */
  removed(ino: Ino): boolean {
    const file = this.#open.get(ino)
    if (!file) return false
    file.removed = true
    return true
  }

  /** It was given a name again (linkat of an unnamed file). */
  named(ino: Ino): void {
    const file = this.#open.get(ino)
    if (file) file.removed = false
  }

  /** Attributes were refreshed: a changed mtime means somebody else wrote. The kernel may not have been told, so the next
   *  open must not trust its pages. */
  seen(ino: Ino, attr: Attr): void {
    const file = this.#open.get(ino)
    if (file === undefined || file.mtime === null || sameTime(file.mtime, attr.mtime)) return
    this.#dropAll(file)
    file.noticed = file.foreign ? null : { from: file.mtime, to: attr.mtime }
    file.foreign = true
    file.mtime = attr.mtime
  }

  /** Our own commit changed this chunk (all: `index` undefined): `before` is the mtime it found, null where that is not
   *  certain. If it is not the one we knew, somebody else wrote in between, and what we keep (and the kernel's pages) is not
   *  to be trusted. */
  wrote(ino: Ino, before: Time | null, attr: Attr, index?: number): void {
    const isForeign = this.#moved(ino, before, attr)
    const file = this.#open.get(ino)
    if (file === undefined) return
    if (index === undefined || isForeign) this.#dropAll(file)
    else this.#dropOne(file, index)
  }

  /** Our own setattr moved the mtime from `before` and changed no data. */
  retimed(ino: Ino, before: Time, attr: Attr): void {
    const isForeign = this.#moved(ino, before, attr)
    const file = this.#open.get(ino)
    if (file !== undefined && isForeign) this.#dropAll(file)
  }

  /** Has anybody else written since we last knew the mtime? */
  #moved(ino: Ino, before: Time | null, attr: Attr): boolean {
    const file = this.#open.get(ino)
    if (file === undefined) {
      const known = this.#remembered.get(ino)
      if (known === undefined) return false
      if (before !== null && sameTime(known, before)) this.#remembered.set(ino, attr.mtime)
      else this.#remembered.delete(ino)
      return true
    }
    const { mtime, noticed } = file
    file.mtime = attr.mtime
    file.noticed = null
    if (noticed !== null && before !== null && sameTime(noticed.from, before) && sameTime(noticed.to, attr.mtime)) {
      file.foreign = false // it was this change that was noticed
      return false
    }
    // An open may have seen our change before we heard of it.
    const isForeign = before === null || !(sameTime(mtime, before) || sameTime(mtime, attr.mtime))
    file.foreign ||= isForeign
    return isForeign
  }

  chunk(ino: Ino, index: number): readonly SliceRecord[] | undefined {
    return this.#open.get(ino)?.chunks.get(index)
  }

  /** To be asked before a list is fetched, and given back with it. */
  drops(ino: Ino): number {
    return this.#open.get(ino)?.drops ?? -1
  }

  /** Keeps a fetched list, unless something was dropped since `drops` was asked. */
  keepChunk(ino: Ino, index: number, view: readonly SliceRecord[], drops: number): void {
    const file = this.#open.get(ino)
    if (file?.drops === drops) file.chunks.set(index, view)
  }

  dropChunks(ino: Ino, index?: number): void {
    const file = this.#open.get(ino)
    if (file === undefined) return
    if (index === undefined) this.#dropAll(file)
    else this.#dropOne(file, index)
  }

  #dropAll(file: OpenFile): void {
    file.chunks.clear()
    file.drops = ++this.#drops
  }

  #dropOne(file: OpenFile, index: number): void {
    file.chunks.delete(index)
    file.drops = ++this.#drops
  }
}
