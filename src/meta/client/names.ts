/** The name space: looking up, making, linking, removing, renaming, listing. */

import type { Name } from '../../base/bytes.ts'
import type { Time } from '../../base/clock.ts'
import { ENOENT, EPERM, type Errno, isErrno } from '../../base/errno.ts'
import { causeText } from '../../base/fault.ts'
import { type Ino, isSpecial, isTrash, NO_INO, ROOT_INO, TRASH_INO } from '../../base/ino.ts'
import { chain, isPromise, type Maybe } from '../../base/maybe.ts'
import type { Cursor, DirEntry, Page } from '../engine.ts'
import { ancestors as ancestorsOf, type Dentry, dentry } from '../facts.ts'
import { IdRange } from '../id-range.ts'
import type { Entry, NewNode } from '../meta.ts'
import { type Attr, TYPE_DIRECTORY } from '../model/attr.ts'
import { type Caller, systemCaller } from '../model/caller.ts'
import { access, getattr, touchAtime } from '../ops/attributes.ts'
import { topDirectory } from '../ops/init-volume.ts'
import { link } from '../ops/link.ts'
import { lookup } from '../ops/lookup.ts'
import { make } from '../ops/make.ts'
import { readlink } from '../ops/read.ts'
import type { Removal } from '../ops/remove.ts'
import { RENAME_EXCHANGE, rename } from '../ops/rename.ts'
import { rmdir } from '../ops/rmdir.ts'
import { unlink } from '../ops/unlink.ts'
import { TrashHour } from '../trash-hour.ts'
import { summarizeTree } from '../tree.ts'

import { Sessions } from './sessions.ts'

const INODE_BATCH = 1024

export class Names extends Sessions {
  readonly #inodes = new IdRange(
    count => this.engine.allocate('nextInode', count),
    INODE_BATCH,
    2,
    () => this.engine.generation,
  )
  readonly #trash = new TrashHour(
    name => this.run('look', () => lookup(this.system(), TRASH_INO, name)),
    name => this.#makeHour(name),
  )

  lookup(caller: Caller, parent: Ino, name: Name): Maybe<Entry | Errno> {
    if (parent === ROOT_INO && name === '.trash')
      return chain(this.getattr(TRASH_INO), attr => (isErrno(attr) ? attr : { ino: TRASH_INO, attr }))
    const found = this.driver.run('look', () => lookup(caller, parent, name))
    if (isPromise(found)) return found.then(entry => this.#seenEntry(entry))
    return this.#seenEntry(found)
  }

  getattr(ino: Ino): Maybe<Attr | Errno> {
    const trusted = this.openFiles.trusted(ino)
    return trusted ?? this.look(ino)
  }

  look(ino: Ino): Maybe<Attr | Errno> {
    const found = this.driver.run('look', () => getattr(ino))
    if (isPromise(found)) return found.then(attr => this.#seen(ino, attr))
    return this.#seen(ino, found)
  }

  make(caller: Caller, parent: Ino, name: Name, what: NewNode): Maybe<Entry | Errno> {
    return this.makeNode(caller, parent, name, what, false)
  }

  link(caller: Caller, ino: Ino, parent: Ino, name: Name): Maybe<Entry | Errno> {
    if (parent === ROOT_INO && name === '.trash') return EPERM
    const removals = this.openFiles.removalsOf(ino)
    const result = this.run('change', () => link(this.volume, caller, ino, parent, name, { sid: this.sid }), parent)
    return chain(result, entry => {
      if (!isErrno(entry)) this.openFiles.named(ino, removals)
      return entry
    })
  }

  unlink(caller: Caller, parent: Ino, name: Name, options?: { readonly skipTrash?: boolean }): Maybe<Entry | Errno> {
    if (parent === ROOT_INO && name === '.trash') return EPERM
    return chain(this.#trashFor(parent, options), trash => this.removeName(caller, parent, name, trash))
  }

  rmdir(caller: Caller, parent: Ino, name: Name, options?: { readonly skipTrash?: boolean }): Maybe<Entry | Errno> {
    if (parent === ROOT_INO && name === '.trash') return EPERM
    return chain(this.#trashFor(parent, options), trash =>
      this.run('change', () => rmdir(this.volume, caller, parent, name, this.#removalOf(trash)), parent),
    )
  }

  rename(
    caller: Caller,
    from: { parent: Ino; name: Name },
    to: { parent: Ino; name: Name },
    flags: number,
  ): Maybe<{ readonly moved: Entry; readonly replaced: Ino } | Errno> {
    if ((from.parent === ROOT_INO && from.name === '.trash') || (to.parent === ROOT_INO && to.name === '.trash'))
      return EPERM
    return chain(this.#trashFor(to.parent, undefined), trash =>
      chain(this.#movedSubtrees(caller, from, to, flags), subtrees =>
        chain(
          this.#removing(trash, removal =>
            this.run(
              'change',
              () => rename(this.volume, caller, from, to, flags, { ...removal, ...subtrees }),
              to.parent,
            ),
          ),
          result => {
            if (isErrno(result) || !result.replacedIsSustained) return result
            return chain(this.#nameless(result.replaced), () => result)
          },
        ),
      ),
    )
  }

  readlink(caller: Caller, ino: Ino): Maybe<Name | Errno> {
    return chain(
      this.driver.run('look', () => readlink(ino)),
      found => {
        if (isErrno(found)) return found
        if (this.config.atimeMode !== 'noatime') this.touchNow(ino, caller.now)
        return found.target
      },
    )
  }

  readdir(
    caller: Caller,
    ino: Ino,
    cursor: Cursor | null,
    limit: number,
    attrs: boolean,
  ): Maybe<Page<DirEntry> | Errno> {
    if (caller.check && caller.uid !== 0) {
      return chain(
        this.driver.run('look', () => access(caller, ino, attrs ? 5 : 4)),
        refused => (refused === undefined ? this.#entries(ino, cursor, limit, attrs) : refused),
      )
    }
    return this.#entries(ino, cursor, limit, attrs)
  }

  entriesOf(ino: Ino, names: readonly Name[]): Maybe<readonly (DirEntry | null)[]> {
    const reads = names.map(name => dentry(ino, name))
    const moment = this.known?.moment ?? 0
    return chain(this.engine.gather(reads, 'look'), facts => {
      this.known?.learn(reads, facts, moment)
      return (facts as readonly (Dentry | null)[]).map((found, i) => {
        if (found?.attr) this.openFiles.seen(found.ino, found.attr)
        return found && { name: names[i]!, ...found }
      })
    })
  }

  #seenEntry(entry: Entry | Errno): Entry | Errno {
    if (!isErrno(entry)) this.openFiles.seen(entry.ino, entry.attr)
    return entry
  }

  /** A root that the engine cannot show still mounts (spec section 18): an empty-looking directory instead of an error. */
  #seen(ino: Ino, attr: Attr | Errno): Attr | Errno {
    if (isErrno(attr)) {
      return attr === ENOENT && (ino === ROOT_INO || ino === TRASH_INO)
        ? topDirectory(ino === ROOT_INO ? 0o777 : 0o555, this.clock.now())
        : attr
    }
    this.openFiles.seen(ino, attr)
    return attr
  }

  protected makeNode(
    caller: Caller,
    parent: Ino,
    name: Name,
    what: NewNode,
    orExisting: boolean,
  ): Maybe<(Entry & { readonly created: boolean }) | Errno> {
    return chain(this.newInode(), ino => this.makeAs(ino, caller, parent, name, what, orExisting))
  }

  /** A read-only client gets its verdict without a number: the engine would not give it one. */
  protected newInode(): Maybe<Ino> {
    return this.config.readOnly ? NO_INO : (this.#inodes.take() as Maybe<Ino>)
  }

  protected makeAs(
    ino: Ino,
    caller: Caller,
    parent: Ino,
    name: Name,
    what: NewNode,
    orExisting: boolean,
  ): Maybe<(Entry & { readonly created: boolean }) | Errno> {
    return this.run('change', () => make(this.volume, caller, parent, name, ino, what, { orExisting }), parent)
  }

  #entries(ino: Ino, cursor: Cursor | null, limit: number, attrs: boolean): Maybe<Page<DirEntry>> {
    if (cursor === null && !isSpecial(ino)) this.touchNow(ino, this.clock.now())
    const moment = this.known?.moment ?? 0
    const page = this.engine.scan('entries', { parent: ino, attrs }, cursor, limit)
    if (!attrs || (this.known === undefined && this.openFiles.size === 0)) return page
    return chain(page, listed => {
      this.known?.learnListed(ino, listed.rows, moment)
      for (const row of listed.rows) if (row.attr) this.openFiles.seen(row.ino, row.attr)
      return listed
    })
  }

  #removalOf(trash: Ino): Removal {
    return { trash, isOpen: this.isOpen, sid: this.sid }
  }

  /** Runs what may take a file its last name. Nobody opens a file meanwhile that it found closed; where nobody knows whether
   *  it happened, a file that it found open may have lost its name: its last close asks. */
  #removing<T>(trash: Ino, remove: (removal: Removal) => Maybe<T>): Maybe<T> {
    const kept: Ino[] = []
    const forgotten = (error: unknown): never => {
      for (const ino of kept) this.openFiles.removed(ino)
      throw error
    }
    return this.removals.during(takes => {
      const isOpen = (ino: Ino): boolean => {
        const open = this.openFiles.isOpen(ino)
        if (open) kept.push(ino)
        else takes(ino)
        return open
      }
      const result = remove({ trash, isOpen, sid: this.sid })
      return isPromise(result) ? result.catch(forgotten) : result
    })
  }

  #trashFor(parent: Ino, options: { readonly skipTrash?: boolean } | undefined): Maybe<Ino> {
    if (this.format.TrashDays <= 0 || options?.skipTrash || isTrash(parent) || this.config.readOnly) return NO_INO
    return this.#trash.at(this.clock.now())
  }

  #makeHour(name: Name): Maybe<Entry | Errno> {
    return chain(this.engine.allocate('nextTrash', 1), n => {
      const what = { type: TYPE_DIRECTORY, mode: 0o555, umask: 0, rdev: 0, target: '' }
      return this.run(
        'change',
        () =>
          make(this.volume, this.system(), TRASH_INO, name, (TRASH_INO + n) as Ino, what, {
            orExisting: false,
            inTrash: true,
          }),
        TRASH_INO,
      )
    })
  }

  protected removeName(caller: Caller, parent: Ino, name: Name, trash: Ino): Maybe<Entry | Errno> {
    const result = this.#removing(trash, removal =>
      this.run('change', () => unlink(this.volume, caller, parent, name, removal), parent),
    )
    return chain(result, gone =>
      isErrno(gone) || !gone.isSustained ? gone : chain(this.#nameless(gone.ino), () => gone),
    )
  }

  /** A node lost its last name while it was open here: the last close lets it go, or now is the time if that was meanwhile. */
  #nameless(ino: Ino): Maybe<undefined> {
    if (this.openFiles.removed(ino)) return undefined
    return chain(this.releaseSustained(this.sid, ino), () => undefined)
  }

  protected touchNow(ino: Ino, now: Time): void {
    const mode = this.config.atimeMode
    if (mode === 'noatime' || this.config.readOnly) return
    const warn = (error: unknown) => this.log.warn(`update atime of inode ${ino}: ${causeText(error)}`)
    try {
      const result = this.run('change', () => touchAtime(mode, ino, now), ino)
      if (isPromise(result)) result.catch(warn)
    } catch (error) {
      warn(error)
    }
  }

  /** Only directories that move between directories under different quotas are counted: what lies below is charged. */
  #movedSubtrees(
    caller: Caller,
    from: { parent: Ino; name: Name },
    to: { parent: Ino; name: Name },
    flags: number,
  ): Maybe<{ subtree?: Subtree; backSubtree?: Subtree } | undefined> {
    if (!this.limits.hasDirQuotas || from.parent === to.parent) return undefined
    return chain(this.engine.gather([ancestorsOf(from.parent), ancestorsOf(to.parent)], 'look'), async facts => {
      const [above, below] = facts as [readonly Ino[], readonly Ino[]]
      const quotas = (dirs: readonly Ino[]) => dirs.filter(dir => this.limits.isQuotaDir(dir)).join()
      if (quotas(above) === quotas(below)) return undefined
      const subtree = await this.#subtreeOf(caller, from)
      return flags === RENAME_EXCHANGE ? { subtree, backSubtree: await this.#subtreeOf(caller, to) } : { subtree }
    })
  }

  async #subtreeOf(caller: Caller, place: { parent: Ino; name: Name }): Promise<Subtree> {
    const entry = await this.lookup(systemCaller(caller.now), place.parent, place.name)
    if (isErrno(entry) || entry.attr.type !== TYPE_DIRECTORY) return undefined
    const totals = await summarizeTree(this, entry.ino)
    return { space: totals.size, inodes: totals.files + totals.dirs }
  }
}

type Subtree = { readonly space: number; readonly inodes: number } | undefined
