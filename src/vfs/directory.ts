/** One open directory (spec vfs section 6): a sequence of entries with offsets, read page by page.
 *
 *      offset   0   1   2 …           8192          8193 …              2 × 8192 …
 *               .   ..  virtual files  first entry of page 1, second …   first entry of page 2 …
 *
 *  An offset is a page and a place in it and stays what it is. Only the last few pages are kept, so a million entries cost no
 *  more than a thousand; of the others only the cursor at which the engine begins them, which leads back there. The cursor is
 *  opaque: on Redis there is no order in which a listing could go on behind a name.
 *
 *  Names that we make, move or remove ourselves are told to the open listings of the directory and put right in the pages
 *  that are kept or on their way. What others do is noticed when an entry is handed out later than a second after it was
 *  read: then it is asked for again, by its name. */

import type { Name } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { type Errno, isErrno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import { chain, isPromise, type Maybe } from '../base/maybe.ts'
import type { Cursor, DirEntry, Page } from '../meta/engine.ts'
import type { Attr } from '../meta/model/attr.ts'
import type { AddEntry } from './file-system.ts'
import type { RecentChanges } from './recent-changes.ts'
import { SeenEntries } from './seen-entries.ts'

/** Entries asked for at once. A page is decoded in one stretch, which stalls every other request: about a millisecond. With
 *  and without attributes it is the same, so that a page begins where it did whoever asks. */
const PAGE_ENTRIES = 512
/** offsets of one page; an engine that gives more entries at once fills several */
const PAGE_OFFSETS = 8192
const MAX_PAGE_ENTRIES = PAGE_OFFSETS - 1
const KEPT_PAGES = 4
/** an entry that was read longer ago is asked for again: attributes told to the kernel would be too old */
const PAGE_LIVES_MS = 1000
/** so many of them at once */
const RENEWED = 128

export interface DirectoryOptions {
  readonly ino: Ino
  readonly clock: Clock
  readonly changes: RecentChanges
  list(cursor: Cursor | null, limit: number, attrs: boolean): Maybe<Page<DirEntry> | Errno>
  /** the entries of these names as they are now, with attributes where `list` would bring them */
  again(names: readonly Name[]): Maybe<readonly (DirEntry | null)[]>
  /** `.`, `..` and the virtual files */
  heads(): Maybe<readonly DirEntry[] | Errno>
  /** attributes as they are to be told, null where they would have to be waited for */
  fresh(ino: Ino): Attr | null
  /** with what this process has written and not yet named */
  shown(ino: Ino, attr: Attr): Attr
  /** the kernel was told these */
  told(ino: Ino, attr: Attr): void
}

/** Where a page begins: what the engine gives from `cursor` on, without the first `skip` entries. */
interface Start {
  readonly cursor: Cursor | null
  readonly skip: number
}
interface KeptPage {
  readonly number: number
  /** null: it is gone */
  readonly entries: (DirEntry | null)[]
  readonly isLast: boolean
  /** entries with from ≤ place < to are as they were at this moment of RecentChanges and time */
  from: number
  to: number
  moment: number
  readMs: number
  hasAttrs: boolean
  /** place of each name; made when the first change of ours comes */
  places: Map<Name, number> | null
}
/** our changes while an answer was on its way; undefined: whatever it is now */
type Missed = ReadonlyMap<Name, DirEntry | null | undefined>
const NOTHING: Missed = new Map()
/** a page that is on its way */
interface Flight {
  readonly number: number
  readonly page: Promise<KeptPage | Errno>
}

export class DirectoryStream {
  readonly #o: DirectoryOptions
  #heads: readonly DirEntry[] | null = null
  /** newest last */
  #pages: KeptPage[] = []
  /** starts[n − 1] is that of page n */
  #starts: Start[] = [{ cursor: null, skip: 0 }]
  /** counts the rewinds: what was asked for before one is of no use after it */
  #pass = 0
  /** pages read since the last rewind */
  #passed = 0
  /** of the last entry of the last page; null where entries do not come by name */
  #lastName: Name | null = ''
  /** entries handed out, where the engine has no order: it may tell one twice */
  #seen: SeenEntries | null = null
  /** the metadata answers later: then the next page is asked for ahead of need */
  #isRemote = false
  #ahead: Flight | null = null
  readonly #waiting = new Set<Map<Name, DirEntry | null | undefined>>()

  constructor(options: DirectoryOptions) {
    this.#o = options
  }

  /** Adds entries from `offset` on until `add` says no or there are no more. All are added in one stretch without an
   *  await: where the next page must be waited for, the reply ends before it. */
  read(offset: number, attrs: boolean, add: AddEntry): Maybe<undefined | Errno> {
    if (offset === 0) this.#rewind()
    if (this.#heads !== null) return this.#readFrom(offset, this.#heads, attrs, add)
    const asked = this.#o.heads()
    // Both are on their way at the same time.
    const ahead = isPromise(asked) && offset < PAGE_OFFSETS ? this.#page(1, 0, attrs) : undefined
    if (isPromise(ahead)) ahead.catch(() => {}) // told by the read that waits for it
    return chain(asked, heads => {
      if (isErrno(heads)) return heads
      this.#heads = heads
      return this.#readFrom(offset, heads, attrs, add)
    })
  }

  /** We made this entry, or (null) removed it; undefined: something else became of the name. */
  changed(name: Name, entry: DirEntry | null | undefined): void {
    for (const page of this.#pages) correct(page, name, entry)
    for (const missed of this.#waiting) missed.set(name, entry)
  }

  #rewind(): void {
    this.#pass++
    this.#heads = null
    this.#pages = []
    this.#starts = [{ cursor: null, skip: 0 }]
    this.#passed = 0
    this.#lastName = ''
    this.#seen = null
    this.#ahead = null
  }

  #readFrom(offset: number, heads: readonly DirEntry[], attrs: boolean, add: AddEntry): Maybe<undefined | Errno> {
    const isHead = offset < PAGE_OFFSETS
    const number = isHead ? 1 : Math.floor(offset / PAGE_OFFSETS)
    const place = isHead ? 0 : offset % PAGE_OFFSETS
    return chain(this.#page(number, place, attrs), page => {
      if (isErrno(page)) return page
      for (let i = offset; i < heads.length; i++) {
        const { name, ino, type } = heads[i]!
        if (!add(name, ino, type, null, i + 1)) return undefined
      }
      return this.#addFrom(page, place, attrs, add, offset < heads.length)
    })
  }

  #addFrom(first: KeptPage, start: number, attrs: boolean, add: AddEntry, hasAdded: boolean): Maybe<undefined | Errno> {
    let page = first
    for (let place = start; ; ) {
      for (; place < page.to; place++) {
        const entry = page.entries[place]
        if (!entry) continue
        const shown = attrs ? this.#current(page, entry) : null
        const offset = page.number * PAGE_OFFSETS + place + 1
        if (!add(entry.name, entry.ino, entry.type, shown, offset)) return undefined
        if (shown !== null) this.#o.told(entry.ino, shown)
        hasAdded = true
      }
      const isEnd = place >= page.entries.length
      if (isEnd && page.isLast) return undefined
      const [number, next] = isEnd ? [page.number + 1, 0] : [page.number, place]
      const found = this.#page(number, next, attrs)
      if (isPromise(found)) {
        if (hasAdded) {
          found.catch(() => {}) // it is read ahead for the next request, which tells of failures
          return undefined
        }
        return found.then(known => (isErrno(known) ? known : this.#addFrom(known, next, attrs, add, false)))
      }
      if (isErrno(found)) return hasAdded ? undefined : found
      page = found
      place = next
    }
  }

  /** An attribute older than a change of ours must not reach the kernel: it would believe it. */
  #current(page: KeptPage, { ino, attr }: DirEntry): Attr | null {
    const isOld = attr === null || this.#o.changes.since(ino, page.moment)
    const current = isOld ? (this.#isRemote ? null : this.#o.fresh(ino)) : attr
    return current === null ? null : this.#o.shown(ino, current)
  }

  /** The page, with entries from `place` on that may be handed out, if it has any there. */
  #page(number: number, place: number, attrs: boolean): Maybe<KeptPage | Errno> {
    const known = this.#pages.find(page => page.number === number)
    const usable = known === undefined ? this.#fetch(number, attrs) : known
    if (isPromise(usable)) {
      return usable.then(page => (isErrno(page) ? page : this.#usable(page, place, attrs)))
    }
    return isErrno(usable) ? usable : this.#usable(usable, place, attrs)
  }

  #usable(page: KeptPage, place: number, attrs: boolean): Maybe<KeptPage> {
    if (this.#isRemote && !page.isLast) this.#readAhead(page.number + 1, attrs)
    if (place >= page.entries.length) return page
    const isTrue = page.from <= place && place < page.to
    if (isTrue && (page.hasAttrs || !attrs) && this.#o.clock.monotonicMs() - page.readMs < PAGE_LIVES_MS) return page
    return this.#renew(page, place)
  }

  /** Asks again for entries from `place` on: some are gone, all have attributes. */
  #renew(page: KeptPage, place: number): Maybe<KeptPage> {
    const to = Math.min(place + RENEWED, page.entries.length)
    const wanted = page.entries.slice(place, to).filter(entry => entry !== null)
    const [moment, readMs] = [this.#o.changes.now, this.#o.clock.monotonicMs()]
    const asked = this.#o.again(wanted.map(entry => entry.name))
    return this.#answer(asked, (found, missed) => {
      const places = placesOf(page)
      for (const [i, entry] of found.entries()) page.entries[places.get(wanted[i]!.name)!] = entry
      Object.assign(page, { from: place, to, moment, readMs, hasAttrs: true })
      for (const [name, entry] of missed) correct(page, name, entry)
      return page
    })
  }

  #readAhead(number: number, attrs: boolean): void {
    if (this.#ahead?.number === number || this.#pages.some(page => page.number === number)) return
    const page = this.#fetch(number, attrs)
    if (isPromise(page)) page.catch(() => {}) // asked for again when it is needed
  }

  /** Reads a page that is not kept. Pages that were never read before it are read as well: of a listing that goes on at an
   *  offset of an earlier one. */
  #fetch(number: number, attrs: boolean): Maybe<KeptPage | Errno> {
    if (this.#ahead?.number === number) return this.#ahead.page
    const known = Math.min(number, this.#starts.length)
    const page = this.#load(known, attrs)
    if (isPromise(page)) {
      const walk = page.then(each => this.#walk(each, number, attrs))
      const flight = { number, page: walk }
      const over = (): void => {
        if (this.#ahead === flight) this.#ahead = null
      }
      walk.then(over, over)
      this.#ahead = flight
      return walk
    }
    return this.#walk(page, number, attrs)
  }

  #walk(page: KeptPage | Errno, number: number, attrs: boolean): Maybe<KeptPage | Errno> {
    if (isErrno(page) || page.number >= number || page.isLast) return page
    return chain(this.#load(page.number + 1, attrs), next => this.#walk(next, number, attrs))
  }

  #load(number: number, attrs: boolean): Maybe<KeptPage | Errno> {
    const [moment, readMs, pass] = [this.#o.changes.now, this.#o.clock.monotonicMs(), this.#pass]
    const start = this.#starts[number - 1]!
    return this.#rowsFrom(start.cursor, attrs, ({ rows, next }, missed) => {
      const end = start.skip + MAX_PAGE_ENTRIES
      const isSplit = rows.length > end
      const isLast = !isSplit && next === null
      const isNew = pass === this.#pass && number > this.#passed
      const taken = start.skip > 0 || isSplit ? rows.slice(start.skip, end) : [...rows]
      const entries: (DirEntry | null)[] = isNew ? this.#withoutRepeated(taken, isLast) : taken
      const range = { from: 0, to: entries.length }
      const page: KeptPage = { number, entries, isLast, ...range, moment, readMs, hasAttrs: attrs, places: null }
      for (const [name, entry] of missed) correct(page, name, entry)
      if (pass !== this.#pass) return page // rewound meanwhile
      if (isNew) this.#passed = number
      if (!isLast) this.#starts[number] ??= isSplit ? { cursor: start.cursor, skip: end } : { cursor: next, skip: 0 }
      this.#keep(page)
      return page
    })
  }

  /** What the engine gives from there on; pages without a row are passed over. */
  #rowsFrom<T>(
    cursor: Cursor | null,
    attrs: boolean,
    use: (page: Page<DirEntry>, missed: Missed) => T,
  ): Maybe<T | Errno> {
    return this.#answer(this.#o.list(cursor, PAGE_ENTRIES, attrs), (page, missed) => {
      if (isErrno(page)) return page
      return page.rows.length > 0 || page.next === null ? use(page, missed) : this.#rowsFrom(page.next, attrs, use)
    })
  }

  /** As long as names ascend no engine can have told one before. */
  #withoutRepeated(rows: DirEntry[], isLast: boolean): DirEntry[] {
    if (this.#lastName !== null) {
      let last: Name = this.#lastName
      for (const { name } of rows) {
        if (name <= last) return this.#startSeeing(rows, isLast)
        last = name
      }
      this.#lastName = last
      return rows
    }
    const seen = this.#seen
    return seen === null ? rows : rows.filter(({ ino, name }) => seen.add(ino, name))
  }

  #startSeeing(rows: DirEntry[], isLast: boolean): DirEntry[] {
    this.#lastName = null
    if (isLast && this.#passed === 0) return rows // the only page
    const seen = new SeenEntries()
    this.#seen = seen
    for (const page of this.#pages) for (const entry of page.entries) if (entry) seen.add(entry.ino, entry.name)
    return rows.filter(({ ino, name }) => seen.add(ino, name))
  }

  #keep(page: KeptPage): void {
    this.#pages = this.#pages.filter(each => each.number !== page.number)
    this.#pages.push(page)
    if (this.#pages.length > KEPT_PAGES) this.#pages.shift()
  }

  /** Uses an answer together with what we changed since it was asked for. */
  #answer<T, R>(asked: Maybe<T>, use: (answer: T, missed: Missed) => Maybe<R>): Maybe<R> {
    if (!isPromise(asked)) return use(asked, NOTHING)
    this.#isRemote = true
    const missed = new Map<Name, DirEntry | null | undefined>()
    this.#waiting.add(missed)
    return asked.finally(() => this.#waiting.delete(missed)).then(answer => use(answer, missed))
  }
}

function placesOf(page: KeptPage): Map<Name, number> {
  page.places ??= new Map(page.entries.flatMap((entry, i): [Name, number][] => (entry ? [[entry.name, i]] : [])))
  return page.places
}

function correct(page: KeptPage, name: Name, entry: DirEntry | null | undefined): void {
  const place = placesOf(page).get(name)
  if (place === undefined) return
  if (entry === undefined) page.to = page.from
  else page.entries[place] = entry
}
