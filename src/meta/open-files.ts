/** What this client has open, and what it may therefore keep (spec meta-model sections 8 and 17).
 *
 *      open ──► count 1 ──► … ──► count 0 ──► remembered (mtime only, bounded)
 *                 └─ chunk lists are cached while the count is above 0
 *  `removed` marks a node that lost its last name while open here: the last close lets it go. */

import type { Time } from '../base/clock.ts'
import { type Ino, SPECIAL_INO } from '../base/ino.ts'
import type { Attr } from './model/attr.ts'
import type { SliceRecord } from './model/slice.ts'

interface OpenFile {
  count: number
  mtime: Time
  removed: boolean
  /** somebody else's write was noticed only after our own covered its mtime: the next open must not trust pages */
  foreign: boolean
  readonly chunks: Map<number, readonly SliceRecord[]>
  /** counts what was dropped: a list that was asked for before a drop must not be kept after it */
  drops: number
}

const sameTime = (a: Time, b: Time): boolean => a.sec === b.sec && a.nsec === b.nsec

export class OpenFiles {
  readonly #open = new Map<Ino, OpenFile>()
  /** mtime as the last open saw it; insertion order = age */
  readonly #remembered = new Map<Ino, Time>()
  readonly #limit: number

  constructor(limit: number) {
    this.#limit = limit > 0 ? limit : Number.MAX_SAFE_INTEGER
  }

  get size(): number {
    return this.#open.size
  }

  isOpen(ino: Ino): boolean {
    return this.#open.has(ino)
  }

  /** Counts an open; true if nothing changed since the last open that this client saw. */
  opened(ino: Ino, attr: Attr): boolean {
    const file = this.#open.get(ino)
    if (file) {
      file.count++
      const unchanged = sameTime(file.mtime, attr.mtime) && !file.foreign
      file.foreign = false
      if (!unchanged) {
        dropAll(file)
        file.mtime = attr.mtime
      }
      return unchanged
    }
    const before = this.#remembered.get(ino)
    if (before) this.#remembered.delete(ino)
    this.#open.set(ino, { count: 1, mtime: attr.mtime, removed: false, foreign: false, chunks: new Map(), drops: 0 })
    return before !== undefined && sameTime(before, attr.mtime)
  }

  /** Counts a close; true if it was the last one of a removed node. */
  closed(ino: Ino): boolean {
    const file = this.#open.get(ino)
    if (!file || --file.count > 0) return false
    this.#open.delete(ino)
    if (file.removed || file.foreign || ino >= SPECIAL_INO) return file.removed
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

  /** Attributes were refreshed: a changed mtime means somebody else wrote. */
  seen(ino: Ino, attr: Attr): void {
    const file = this.#open.get(ino)
    if (file && !sameTime(file.mtime, attr.mtime)) {
      dropAll(file)
      file.mtime = attr.mtime
    }
  }

  /** Our own commit changed this chunk (all: `index` undefined): `before` is the mtime it found. If that is not the one
   *  we knew, somebody else wrote in between, and what we keep (and the kernel's pages) is not to be trusted. */
  wrote(ino: Ino, before: Time, attr: Attr, index?: number): void {
    const file = this.#open.get(ino)
    if (!file) {
      const known = this.#remembered.get(ino)
      if (known && sameTime(known, before)) this.#remembered.set(ino, attr.mtime)
      return
    }
    if (index === undefined || !sameTime(file.mtime, before)) dropAll(file)
    else dropOne(file, index)
    file.foreign ||= !sameTime(file.mtime, before)
    file.mtime = attr.mtime
  }

  /** Our own setattr moved the mtime and nothing else. */
  retimed(ino: Ino, attr: Attr): void {
    const file = this.#open.get(ino)
    if (file) file.mtime = attr.mtime
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
    if (index === undefined) dropAll(file)
    else dropOne(file, index)
  }
}

function dropAll(file: OpenFile): void {
  file.chunks.clear()
  file.drops++
}

function dropOne(file: OpenFile, index: number): void {
  file.chunks.delete(index)
  file.drops++
}
