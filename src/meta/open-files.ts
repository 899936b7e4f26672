/** What this client has open, and what it may therefore keep (spec meta-model sections 8 and 17).
 *
 *      counted ──► opened ──► … ──► count 0 ──► remembered (attributes, a few lists; bounded)
 *                    └─ chunk lists are kept from now on; an open that finds other times drops them
 *  An opening counts before its attributes are asked for, and so does a file that is being made: whoever removes the name
 *  meanwhile must find it open. `removed` marks a node that lost its last name while open here: the last close lets it go. */

import type { Time } from '../base/clock.ts'
import { type Ino, SPECIAL_INO } from '../base/ino.ts'
import type { Change } from './facts.ts'
import type { Attr } from './model/attr.ts'
import type { SliceRecord } from './model/slice.ts'

/** Lists that a closed file keeps: chunks, and slices in all of them. */
const KEPT_CHUNKS = 4
const KEPT_SLICES = 256

export interface OpenFilesOptions {
  /** closed files that are remembered; 0 = without a limit */
  readonly limit: number
  /** `--open-cache`: so long attributes are believed without asking (0 = never) */
  readonly trustMs: number
  readonly nowMs: () => number
}

type View = readonly SliceRecord[]

interface KnownFile {
  /** as the last open, or a change of ours since, left it; null before the first open */
  last: Attr | null
  /** when that was so; -Infinity: it may be out of date already */
  checkedMs: number
  chunks: Map<number, View>
}
interface OpenFile extends KnownFile {
  count: number
  removed: boolean
  /** changes with each removal */
  removals: number
  /** somebody else's write was noticed, and the kernel may not have been told: the next open must not trust pages */
  foreign: boolean
  /** by which change of mtime it was noticed; perhaps it is a commit of our own of which we have not heard yet */
  noticed: { readonly from: Time; readonly to: Time } | null
  /** changes with each drop: a list that was asked for before one must not be kept after it */
  drops: number
}

export class OpenFiles {
  readonly #open = new Map<Ino, OpenFile>()
  /** insertion order = age */
  readonly #remembered = new Map<Ino, KnownFile>()
  readonly #limit: number
  readonly #trustMs: number
  readonly #nowMs: () => number
  #drops = 0
  #removals = 0

  constructor({ limit, trustMs, nowMs }: OpenFilesOptions) {
    this.#limit = limit > 0 ? limit : Number.MAX_SAFE_INTEGER
    this.#trustMs = trustMs
    this.#nowMs = nowMs
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
    const known = this.#remembered.get(ino)
    if (known) this.#remembered.delete(ino)
    this.#open.set(ino, {
      last: known?.last ?? null,
      checkedMs: known?.checkedMs ?? Number.NEGATIVE_INFINITY,
      chunks: known?.chunks ?? new Map(),
      count: 1,
      removed: false,
      removals: ++this.#removals, // as for drops
      foreign: false,
      noticed: null,
      drops: ++this.#drops, // never a number of an earlier time that it was open
    })
  }

  /** An open that was counted has its attributes; true if nothing changed since the last open that this client saw. The
   *  ctime counts, too: whoever writes may set the mtime back. */
  confirmed(ino: Ino, attr: Attr): boolean {
    const file = this.#open.get(ino)!
    const { last } = file
    const unchanged =
      last !== null && sameTime(last.mtime, attr.mtime) && sameTime(last.ctime, attr.ctime) && !file.foreign
    file.foreign = false
    file.noticed = null
    if (!unchanged) this.#dropAll(file)
    this.#learn(file, attr)
    return unchanged
  }

  /** Counts and confirms. */
  opened(ino: Ino, attr: Attr): boolean {
    this.counted(ino)
    return this.confirmed(ino, attr)
  }

  /** Attributes that an open, or a look, may believe without asking (`--open-cache`). */
  trusted(ino: Ino): Attr | null {
    if (this.#trustMs <= 0) return null
    const open = this.#open.get(ino)
    const file = open ?? this.#remembered.get(ino)
    if (file === undefined || open?.foreign === true) return null
    return this.#nowMs() - file.checkedMs < this.#trustMs ? file.last : null
  }

  /** Counts a close; true if it was the last one of a removed node. */
  closed(ino: Ino): boolean {
    const file = this.#open.get(ino)
    if (!file || --file.count > 0) return false
    this.#open.delete(ino)
    const { last, checkedMs, chunks } = file
    if (file.removed || file.foreign || last === null || ino >= SPECIAL_INO) return file.removed
    this.#remembered.set(ino, { last, checkedMs, chunks: isFew(chunks) ? chunks : new Map() })
    if (this.#remembered.size > this.#limit) this.#remembered.delete(this.#remembered.keys().next().value as Ino)
    return false
  }

  /** Did it lose its last name while it was open here, and goes on? */
  isNameless(ino: Ino): boolean {
    return this.#open.get(ino)?.removed === true
  }

  /** The node has no name any more. False if it is not open here: then nobody will close it. */
  removed(ino: Ino): boolean {
    const file = this.#open.get(ino)
    if (!file) return false
    file.removed = true
    file.removals = ++this.#removals
    return true
  }

  /** A mark for `named`, of the moment before the name is asked for. */
  removalsOf(ino: Ino): number {
    return this.#open.get(ino)?.removals ?? 0
  }

  /** It was given a name again (linkat of an unnamed file), unless it was removed while that was on its way: the answers of both may
   *  come in either order, and only the last close can tell. */
  named(ino: Ino, removals: number): void {
    const file = this.#open.get(ino)
    if (file?.removals === removals) file.removed = false
  }

  /** Attributes were refreshed: another mtime, or another ctime, since a mtime can be set back, means that somebody else may have written.
   *  The kernel may not have been told, so the next open must not trust its pages. */
  seen(ino: Ino, attr: Attr): void {
    const file = this.#open.get(ino)
    const last = (file ?? this.#remembered.get(ino))?.last
    if (!last) return
    const isSame = sameTime(last.mtime, attr.mtime) && sameTime(last.ctime, attr.ctime)
    if (file === undefined) {
      if (!isSame) this.#remembered.delete(ino)
      return
    }
    if (isSame) {
      file.checkedMs = this.#nowMs()
      return
    }
    this.#dropAll(file)
    file.noticed = file.foreign ? null : { from: last.mtime, to: attr.mtime }
    file.foreign = true
    this.#learn(file, attr)
  }

  /** Our own commit wrote these records: what it left of a node is known, but for the data. */
  committed(changes: readonly Change[]): void {
    if (this.#open.size === 0 && this.#remembered.size === 0) return
    for (const change of changes) {
      if (change.kind === 'delNode') this.#remembered.delete(change.ino)
      if (change.kind !== 'putNode' && change.kind !== 'extendNode') continue
      const file = this.#open.get(change.ino) ?? this.#remembered.get(change.ino)
      if (file === undefined || file.last === null) continue
      // A changed mtime is for `wrote` and `retimed`, which know what was before.
      if (change.kind === 'putNode' && sameTime(file.last.mtime, change.attr.mtime)) this.#learn(file, change.attr)
      else file.checkedMs = Number.NEGATIVE_INFINITY
    }
  }

  /** Our own commit changed this chunk (all: `index` undefined): `before` is the mtime it found, null where that is not
   *  certain. If it is not the one we knew, somebody else wrote in between, and what we keep (and the kernel's pages) is not
   *  to be trusted. */
  wrote(ino: Ino, before: Time | null, attr: Attr, index?: number): void {
    const isForeign = this.#moved(ino, before, attr)
    const open = this.#open.get(ino)
    const file = open ?? this.#remembered.get(ino)
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
      if (before !== null && known.last !== null && sameTime(known.last.mtime, before)) this.#learn(known, attr)
      else this.#remembered.delete(ino)
      return true
    }
    const { last, noticed } = file
    this.#learn(file, attr)
    file.noticed = null
    if (noticed !== null && before !== null && sameTime(noticed.from, before) && sameTime(noticed.to, attr.mtime)) {
      file.foreign = false // it was this change that was noticed
      return false
    }
    // An open may have seen our change before we heard of it.
    const isForeign =
      before === null || last === null || !(sameTime(last.mtime, before) || sameTime(last.mtime, attr.mtime))
    file.foreign ||= isForeign
    return isForeign
  }

  chunk(ino: Ino, index: number): View | undefined {
    return this.#open.get(ino)?.chunks.get(index)
  }

  /** To be asked before a list is fetched, and given back with it. */
  drops(ino: Ino): number {
    return this.#open.get(ino)?.drops ?? -1
  }

  /** Keeps a fetched list, unless something was dropped since `drops` was asked. */
  keepChunk(ino: Ino, index: number, view: View, drops: number): void {
    const file = this.#open.get(ino)
    if (file?.drops === drops) file.chunks.set(index, view)
  }

  dropChunks(ino: Ino, index?: number): void {
    const file = this.#open.get(ino) ?? this.#remembered.get(ino)
    if (file === undefined) return
    if (index === undefined) this.#dropAll(file)
    else this.#dropOne(file, index)
  }

  #learn(file: KnownFile, attr: Attr): void {
    file.last = attr
    file.checkedMs = this.#nowMs()
  }

  #dropAll(file: KnownFile | OpenFile): void {
    file.chunks.clear()
    if ('drops' in file) file.drops = ++this.#drops
  }

  #dropOne(file: KnownFile | OpenFile, index: number): void {
    file.chunks.delete(index)
    if ('drops' in file) file.drops = ++this.#drops
  }
}

const sameTime = (a: Time, b: Time): boolean => a.sec === b.sec && a.nsec === b.nsec

function isFew(chunks: ReadonlyMap<number, View>): boolean {
  if (chunks.size > KEPT_CHUNKS) return false
  let slices = 0
  for (const view of chunks.values()) slices += view.length
  return slices <= KEPT_SLICES
}
