/** One open directory (spec vfs section 6): a sequence of entries with offsets, read page by page.
 *
 *      offset   0   1   2 … heads−1   heads …
 *               .   ..  virtual files  entries by name, a page at a time
 *
 *  An offset is an entry's place in the sequence of this handle and stays what it is. Only the last few pages are kept,
 *  so a million entries cost no more than a thousand; of the others only where they began. A page that is no longer true,
 *  because we changed the directory or a while has passed, is read again behind the last name that was handed out:
 *  entries removed meanwhile do not appear, and none is skipped or repeated. */

import type { Name } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { type Errno, isErrno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import { chain, isPromise, type Maybe } from '../base/maybe.ts'
import type { DirEntry } from '../meta/engine.ts'
import type { Attr } from '../meta/model/attr.ts'
import type { AddEntry } from './file-system.ts'
import type { RecentChanges } from './recent-changes.ts'

/** A page is read in one stretch, which stalls every other request: below a millisecond. */
const PAGE_WITH_ATTRS = 256
const PAGE_WITHOUT_ATTRS = 1024
const KEPT_PAGES = 4
/** an older page is read again: attributes told to the kernel would be too old */
const PAGE_LIVES_MS = 1000
const MARK_EVERY = 256

export interface DirectoryOptions {
  readonly ino: Ino
  readonly clock: Clock
  readonly changes: RecentChanges
  /** a page of entries by name after `after` */
  list(after: Name, limit: number, attrs: boolean): Maybe<readonly DirEntry[] | Errno>
  /** `.`, `..` and the virtual files */
  heads(): Maybe<readonly DirEntry[] | Errno>
  /** attributes as they are to be told, null where they would have to be waited for */
  fresh(ino: Ino): Attr | null
  /** with what this process has written and not yet named */
  shown(ino: Ino, attr: Attr): Attr
  /** the kernel was told these */
  told(ino: Ino, attr: Attr): void
}

interface Page {
  /** place of its first entry among the entries (heads not counted) */
  readonly base: number
  /** name of the entry before it */
  readonly after: Name
  readonly entries: readonly DirEntry[]
  readonly isLast: boolean
  readonly hasAttrs: boolean
  /** moment of RecentChanges, and time, before it was asked for */
  readonly moment: number
  readonly readMs: number
}
interface Mark {
  readonly index: number
  readonly after: Name
}

export class DirectoryStream {
  readonly #o: DirectoryOptions
  #heads: readonly DirEntry[] | null = null
  /** newest last */
  readonly #pages: Page[] = []
  readonly #marks: Mark[] = [{ index: 0, after: '' }]

  constructor(options: DirectoryOptions) {
    this.#o = options
  }

  /** Adds entries from `offset` on until `add` says no or there are no more. All are added in one stretch without an
   *  await: where the next page must be waited for, the reply ends before it. */
  read(offset: number, attrs: boolean, add: AddEntry): Maybe<undefined | Errno> {
    if (offset === 0) this.#rewind()
    if (this.#heads === null) {
      return chain(this.#o.heads(), heads => {
        if (isErrno(heads)) return heads
        this.#heads = heads
        return this.#readFrom(offset, attrs, add)
      })
    }
    return this.#readFrom(offset, attrs, add)
  }

  #rewind(): void {
    this.#heads = null
    this.#pages.length = 0
    this.#marks.length = 1
  }

  #readFrom(offset: number, attrs: boolean, add: AddEntry): Maybe<undefined | Errno> {
    const heads = this.#heads!
    const wanted = Math.max(0, offset - heads.length)
    return chain(this.#pageAt(wanted, attrs), first => {
      if (isErrno(first)) return first
      for (let i = offset; i < heads.length; i++) {
        const { name, ino, type } = heads[i]!
        if (!add(name, ino, type, null, i + 1)) return undefined
      }
      return this.#addFrom(first, wanted, attrs, add, offset < heads.length)
    })
  }

  #addFrom(first: Page, wanted: number, attrs: boolean, add: AddEntry, hasAdded: boolean): Maybe<undefined | Errno> {
    const heads = this.#heads!.length
    let page = first
    for (let index = wanted; ; ) {
      for (; index < page.base + page.entries.length; index++) {
        const { name, ino, type, attr } = page.entries[index - page.base]!
        const shown = attrs ? this.#current(page, ino, attr) : null
        if (!add(name, ino, type, shown, heads + index + 1)) return undefined
        if (shown !== null) this.#o.told(ino, shown)
        hasAdded = true
      }
      if (page.isLast) return undefined
      const next = this.#pageAt(index, attrs)
      if (isPromise(next)) {
        if (hasAdded) {
          next.catch(() => {}) // it is read ahead for the next request, which tells of failures
          return undefined
        }
        const from = index
        return next.then(known => (isErrno(known) ? known : this.#addFrom(known, from, attrs, add, false)))
      }
      if (isErrno(next)) return hasAdded ? undefined : next
      page = next
    }
  }

  /** An attribute older than a change of ours must not reach the kernel: it would believe it. */
  #current(page: Page, ino: Ino, attr: Attr | null): Attr | null {
    const current = attr !== null && this.#o.changes.since(ino, page.moment) ? this.#o.fresh(ino) : attr
    return current === null ? null : this.#o.shown(ino, current)
  }

  /** A page that is true now and has the entry at `index`, or begins or ends there. */
  #pageAt(index: number, attrs: boolean): Maybe<Page | Errno> {
    const known = this.#pages.findLast(page => page.base <= index && index <= page.base + page.entries.length)
    if (known === undefined) return this.#walkTo(index, attrs)
    const isEnd = index === known.base + known.entries.length
    if (isEnd ? known.isLast && this.#isTrue(known) : this.#isTrue(known) && (known.hasAttrs || !attrs)) return known
    const after = index === known.base ? known.after : known.entries[index - known.base - 1]!.name
    return this.#load(index, after, attrs)
  }

  #isTrue(page: Page): boolean {
    const { changes, clock, ino } = this.#o
    return !changes.since(ino, page.moment) && clock.monotonicMs() - page.readMs < PAGE_LIVES_MS
  }

  /** Far back (or forward, by a client that kept an offset of another handle): counts entries from the nearest mark. */
  #walkTo(index: number, attrs: boolean): Maybe<Page | Errno> {
    const mark = this.#marks.findLast(each => each.index <= index)!
    const step = (page: Page | Errno): Maybe<Page | Errno> => {
      if (isErrno(page)) return page
      const end = page.base + page.entries.length
      if (index < end || page.isLast) return page
      return chain(this.#load(end, page.entries[page.entries.length - 1]!.name, attrs), step)
    }
    return chain(this.#load(mark.index, mark.after, attrs), step)
  }

  #load(base: number, after: Name, attrs: boolean): Maybe<Page | Errno> {
    const { changes, clock, list } = this.#o
    const moment = changes.now
    const readMs = clock.monotonicMs()
    const limit = attrs ? PAGE_WITH_ATTRS : PAGE_WITHOUT_ATTRS
    return chain(list(after, limit, attrs), entries => {
      if (isErrno(entries)) return entries
      const page = { base, after, entries, isLast: entries.length === 0, hasAttrs: attrs, moment, readMs }
      this.#keep(page)
      return page
    })
  }

  #keep(page: Page): void {
    const pages = this.#pages
    const older = pages.findIndex(each => each.base === page.base)
    if (older >= 0) pages.splice(older, 1)
    pages.push(page)
    if (pages.length > KEPT_PAGES) pages.shift()
    const lastMark = this.#marks[this.#marks.length - 1]!
    if (page.base >= lastMark.index + MARK_EVERY) this.#marks.push({ index: page.base, after: page.after })
  }
}
