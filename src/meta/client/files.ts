/** Attributes and data of one node: setattr, extended attributes, ACLs, open files, slices. */

import type { Name } from '../../base/bytes.ts'
import type { Time } from '../../base/clock.ts'
import { ENOENT, EPERM, type Errno, isErrno } from '../../base/errno.ts'
import { type Ino, isSpecial, isTrash } from '../../base/ino.ts'
import { chain, isPromise, type Maybe } from '../../base/maybe.ts'
import { withinTime } from '../../base/within-time.ts'
import { IdRange } from '../id-range.ts'
import type { Entry, NewNode, SetAttr } from '../meta.ts'
import type { AclRule } from '../model/acl.ts'
import type { Attr } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import { buildView, type Slice, type SliceRecord } from '../model/slice.ts'
import type { Volume } from '../model/volume.ts'
import { getAcl, setAcl } from '../ops/acl.ts'
import { access, setattr } from '../ops/attributes.ts'
import { copyRange } from '../ops/copy-range.ts'
import { fallocate } from '../ops/fallocate.ts'
import { makeUnnamed } from '../ops/make.ts'
import { openNode, openToRead } from '../ops/open.ts'
import { readChunk } from '../ops/read.ts'
import { truncate } from '../ops/truncate.ts'
import { writeSlice } from '../ops/write-slice.ts'
import { getXattr, listXattr, removeXattr, setXattr } from '../ops/xattr.ts'

import { Names } from './names.ts'

const SLICE_BATCH = 4096
const O_ACCMODE = 3
const O_WRONLY = 1
/** From here on whoever adds to a list waits until it is shorter: MySQL's column holds 2,730 records, and one copy_file_range adds 1,000. */
const TOO_MANY_RECORDS = 1500
/** and from here on each time, however long it took before */
const FAR_TOO_MANY_RECORDS = 2400
/** Not for ever: what compacts needs room in memory, which those who wait may have. */
const SHORTENING_MS = 10_000
/** one from what is known, one from what was read */
const EXACT_ATTEMPTS = 2

/** What truncate and fallocate tell of a step (meta/ops). */
interface Step {
  readonly attr: Attr
  readonly before: Attr
  readonly zeroedFrom?: number
}

export class Files extends Names {
  readonly #slices = new IdRange(
    count => this.engine.allocate('nextChunk', count),
    SLICE_BATCH,
    1,
    () => this.engine.generation,
  )

  /** compactions that took longer than anybody waits */
  readonly #slow = new WeakSet<Promise<void>>()

  // ── attributes ──────────────────────────────────────────────────────────────────────────────────────────────────

  access(caller: Caller, ino: Ino, mask: number): Maybe<undefined | Errno> {
    return this.driver.run('look', () => access(caller, ino, mask))
  }

  setattr(caller: Caller, ino: Ino, set: SetAttr): Maybe<Attr | Errno> {
    if (isTrash(ino)) return EPERM
    return chain(
      this.run('change', () => setattr(this.volume, caller, ino, set, this.openFiles.isOpen(ino)), ino),
      result => {
        if (isErrno(result)) return result
        // A set mtime is our own doing: what is cached of the file stays true.
        if (set.mtime !== undefined) this.openFiles.retimed(ino, result.before.mtime, result.attr)
        return result.attr
      },
    )
  }

  getXattr(_caller: Caller, ino: Ino, name: Name): Maybe<Buffer | Errno> {
    return chain(
      this.driver.run('look', () => getXattr(ino, name)),
      found => (isErrno(found) ? found : found.value),
    )
  }

  setXattr(_caller: Caller, ino: Ino, name: Name, value: Buffer, flags: number): Maybe<undefined | Errno> {
    return this.run('change', () => setXattr(this.volume, ino, name, value, flags), ino)
  }

  listXattr(_caller: Caller, ino: Ino): Maybe<readonly Name[] | Errno> {
    return chain(
      this.driver.run('look', () => listXattr(ino)),
      found => {
        if (isErrno(found) || !this.volume.acl) return isErrno(found) ? found : found.names
        return chain(this.getattr(ino), attr => {
          if (isErrno(attr)) return attr
          const names = [...found.names]
          if (attr.accessAcl !== 0) names.push('system.posix_acl_access')
          if (attr.defaultAcl !== 0) names.push('system.posix_acl_default')
          return names
        })
      },
    )
  }

  removeXattr(_caller: Caller, ino: Ino, name: Name): Maybe<undefined | Errno> {
    return this.run('change', () => removeXattr(this.volume, ino, name), ino)
  }

  getAcl(_caller: Caller, ino: Ino, which: 'access' | 'default'): Maybe<AclRule | null | Errno> {
    return chain(
      this.driver.run('look', () => getAcl(ino, which)),
      found => (isErrno(found) ? found : found.rule),
    )
  }

  setAcl(caller: Caller, ino: Ino, which: 'access' | 'default', rule: AclRule): Maybe<undefined | Errno> {
    return chain(
      this.run('change', () => setAcl(this.volume, caller, ino, which, rule), ino),
      attr => (isErrno(attr) ? attr : undefined),
    )
  }

  // ── data ────────────────────────────────────────────────────────────────────────────────────────────────────────

  create(
    caller: Caller,
    parent: Ino,
    name: Name,
    what: NewNode,
    flags: number,
    exclusive: boolean,
  ): Maybe<(Entry & { readonly created: boolean }) | Errno> {
    return chain(this.newInode(), ino => {
      // Somebody may find it and remove it before we hear that it was made.
      const made = this.#counting(ino, () => this.makeAs(ino, caller, parent, name, what, !exclusive))
      return chain(made, result => {
        if (!isErrno(result) && result.created) {
          this.openFiles.confirmed(ino, result.attr)
          return result
        }
        this.openFiles.closed(ino)
        if (isErrno(result)) return result
        return chain(this.open(caller, result.ino, flags), opened =>
          isErrno(opened) ? opened : { ...result, attr: opened.attr },
        )
      })
    })
  }

  createUnnamed(caller: Caller, parent: Ino, what: NewNode): Maybe<Entry | Errno> {
    return chain(this.newInode(), ino => {
      const made = this.#counting(ino, () =>
        this.run('change', () => makeUnnamed(this.volume, caller, parent, ino, what, this.sid), parent),
      )
      return chain(made, result => {
        if (isErrno(result)) this.openFiles.closed(ino)
        else {
          this.openFiles.confirmed(ino, result.attr)
          this.openFiles.removed(ino)
        }
        return result
      })
    })
  }

  open(caller: Caller, ino: Ino, flags: number): Maybe<{ readonly attr: Attr; readonly unchanged: boolean } | Errno> {
    const going = this.removals.of(ino)
    if (going !== undefined) return going.then(() => this.open(caller, ino, flags))
    const trusted = this.openFiles.trusted(ino)
    if (trusted !== null && mayOpen(this.volume, caller, ino, flags, trusted)) {
      this.openFiles.counted(ino)
      this.touch(ino, trusted)
      return { attr: trusted, unchanged: true }
    }
    if (this.known !== undefined && (flags & O_ACCMODE) !== O_WRONLY) return this.#openToRead(caller, ino, flags)
    const found = this.#counting(ino, () => this.driver.run('look', () => openNode(this.volume, caller, ino, flags)))
    return chain(found, attr => {
      const refused = isErrno(attr) ? attr : this.#gone(ino, attr)
      return refused === undefined ? this.#opened(ino, attr as Attr) : chain(this.close(ino), () => refused)
    })
  }

  /** A node without names that another client still has open is not to be opened here: whoever asks has found it by a name that the
   *  kernel should have forgotten. */
  #gone(ino: Ino, attr: Attr): Errno | undefined {
    return attr.nlink === 0 && !this.openFiles.isNameless(ino) ? ENOENT : undefined
  }

  /** Brings the list of the first chunk along, unless it is there and still true: most files have no other. */
  #openToRead(caller: Caller, ino: Ino, flags: number): Maybe<{ attr: Attr; unchanged: boolean } | Errno> {
    let drops = -1
    const found = this.#counting(ino, () => {
      drops = this.openFiles.drops(ino)
      return this.driver.run('look', () => openToRead(this.volume, caller, ino, flags))
    })
    return chain(found, result => {
      const refused = isErrno(result) ? result : this.#gone(ino, result.attr)
      if (refused !== undefined || isErrno(result)) return chain(this.close(ino), () => refused ?? ENOENT)
      const isCurrent = this.openFiles.drops(ino) === drops
      const opened = this.#opened(ino, result.attr)
      if (isCurrent) this.#keepChunk(ino, 0, result.records, this.openFiles.drops(ino))
      return opened
    })
  }

  #opened(ino: Ino, attr: Attr): { attr: Attr; unchanged: boolean } {
    // The kernel may serve every read from its pages: then the opening is all we see of a reader.
    this.touch(ino, attr)
    return { attr, unchanged: this.openFiles.confirmed(ino, attr) }
  }

  /** Counts the file as open before `work` asks for it; no more if that fails with a fault. */
  #counting<T>(ino: Ino, work: () => Maybe<T>): Maybe<T> {
    this.openFiles.counted(ino)
    let result: Maybe<T>
    try {
      result = work()
    } catch (error) {
      this.openFiles.closed(ino)
      throw error
    }
    if (!isPromise(result)) return result
    return result.catch(async error => {
      await this.close(ino)
      throw error
    })
  }

  close(ino: Ino): Maybe<undefined> {
    if (!this.openFiles.closed(ino)) return undefined
    return chain(this.releaseSustained(this.sid, ino), () => undefined)
  }

  readChunk(ino: Ino, index: number): Maybe<readonly SliceRecord[] | Errno> {
    const kept = this.openFiles.chunk(ino, index)
    if (kept) return kept
    const drops = this.openFiles.drops(ino)
    return chain(
      this.driver.run('look', () => readChunk(ino, index)),
      found => {
        return isErrno(found) ? found : this.#keepChunk(ino, index, found.records, drops)
      },
    )
  }

  #keepChunk(ino: Ino, index: number, records: readonly SliceRecord[], drops: number): readonly SliceRecord[] {
    const view = buildView(records)
    this.openFiles.keepChunk(ino, index, view, drops)
    if (records.length >= 5 || view.length >= 5) this.hooks.onLongChunk?.(ino, index, records.length)
    return view
  }

  forgetChunks(ino: Ino, index?: number): void {
    this.openFiles.dropChunks(ino, index)
  }

  newSliceId(): Maybe<number> {
    return this.#slices.take()
  }

  writeSlice(ino: Ino, index: number, pos: number, slice: Slice, mtime: Time): Maybe<Attr | Errno> {
    // Far away, gather and commit are apart: only an exact commit tells whether somebody else wrote in between. One that
    // collides is made without, and then we take it that somebody did.
    let exact = true
    let attempts = 0
    const operation = () => {
      exact = this.known !== undefined && ++attempts <= EXACT_ATTEMPTS && !this.known.isChanging(ino)
      return writeSlice(this.volume, this.clock.now(), ino, index, pos, slice, mtime, exact)
    }
    return chain(this.#dropOnFault(ino, this.run('change', operation, ino)), written => {
      if (isErrno(written)) return written
      const isCertain = exact || this.known === undefined
      this.openFiles.wrote(ino, isCertain ? written.before.mtime : null, written.attr, index)
      return chain(this.#grown(ino, index, written.records), () => written.attr)
    })
  }

  /** A chunk's list has so many records now. */
  #grown(ino: Ino, index: number, records: number): Maybe<undefined> {
    if (records % 100 !== 99 && records <= 350) return undefined
    const shortening = this.hooks.onLongChunk?.(ino, index, records)
    if (shortening === undefined || records < TOO_MANY_RECORDS) return undefined
    if (this.#slow.has(shortening) && records < FAR_TOO_MANY_RECORDS) return undefined
    return withinTime(shortening, SHORTENING_MS).then(
      () => undefined,
      () => void this.#slow.add(shortening),
    )
  }

  truncate(caller: Caller, ino: Ino, length: number, viaHandle: boolean): Maybe<Attr | Errno> {
    // What was granted once is not asked again between two steps.
    const step = (zeroedFrom?: number) => {
      const isGranted = viaHandle || zeroedFrom !== undefined
      return this.#dropOnFault(
        ino,
        this.run('change', () => truncate(this.volume, this.#stepOf(caller), ino, length, isGranted, zeroedFrom), ino),
      )
    }
    return this.#stepped(ino, step(), step)
  }

  fallocate(caller: Caller, ino: Ino, mode: number, offset: number, length: number): Maybe<Attr | Errno> {
    const step = (zeroedFrom?: number) =>
      this.#dropOnFault(
        ino,
        this.run(
          'change',
          () => fallocate(this.volume, this.#stepOf(caller), ino, mode, offset, length, zeroedFrom),
          ino,
        ),
      )
    return this.#stepped(ino, step(), step)
  }

  /** Goes on with an operation over more chunks than one commit takes; other requests have their turns in between. */
  #stepped(
    ino: Ino,
    first: Maybe<Step | Errno>,
    next: (zeroedFrom: number) => Maybe<Step | Errno>,
  ): Maybe<Attr | Errno> {
    return chain(first, result => {
      if (isErrno(result)) return result
      this.openFiles.wrote(ino, result.before.mtime, result.attr)
      const { zeroedFrom } = result
      if (zeroedFrom === undefined) return result.attr
      return new Promise(resolve => setImmediate(resolve)).then(() => this.#stepped(ino, next(zeroedFrom), next))
    })
  }

  copyRange(
    caller: Caller,
    source: { ino: Ino; offset: number },
    target: { ino: Ino; offset: number },
    length: number,
  ): Maybe<{ readonly copied: number; readonly target: Attr } | Errno> {
    return chain(
      this.#dropOnFault(
        target.ino,
        this.run('change', () => copyRange(this.volume, this.#stepOf(caller), source, target, length), target.ino),
      ),
      result => {
        if (isErrno(result)) return result
        this.openFiles.wrote(target.ino, this.known === undefined ? result.before.mtime : null, result.target)
        const longest = Math.max(0, ...result.records)
        const index = result.chunks[result.records.indexOf(longest)]
        return index === undefined ? result : chain(this.#grown(target.ino, index, longest), () => result)
      },
    )
  }

  /** Each step has a time of its own: others who have seen the file between two of them must see that it has changed again, and it is known
   *  by that time where its reply is lost. */
  #stepOf(caller: Caller): Caller {
    return { ...caller, now: this.clock.now() }
  }

  /** A change of a file's data that failed may have been made all the same. */
  #dropOnFault<T>(ino: Ino, result: Maybe<T>): Maybe<T> {
    if (!isPromise(result)) return result
    return result.catch(error => {
      this.openFiles.dropChunks(ino)
      throw error
    })
  }

  touch(ino: Ino, attr: Attr): void {
    if (this.config.atimeMode === 'noatime' || this.config.readOnly || isSpecial(ino)) return
    const now = this.clock.now()
    const stale = attr.atime.sec + (this.config.atimeMode === 'strictatime' ? 1 : 86400) <= now.sec
    const behind = attr.atime.sec <= Math.max(attr.mtime.sec, attr.ctime.sec)
    if (stale || behind) this.touchNow(ino, now)
  }
}

/** Would these attributes let the file be opened? If not, or if more must be asked, the engine decides. */
function mayOpen(volume: Volume, caller: Caller, ino: Ino, flags: number, attr: Attr): boolean {
  const operation = openNode(volume, caller, ino, flags)
  if (operation.next([]).done) return false
  const step = operation.next([attr])
  return step.done === true && !isErrno(step.value)
}
