/** A volume's metadata as the other rooms see it: operations driven over an engine, plus what belongs to this client alone:
 *  id ranges, open files, the hour's trash directory, limits, lock waits, session and heartbeat.
 *
 *  Hot methods stay synchronous where the engine is: no promise is made for a lookup on SQLite. */

import type { Name } from '../base/bytes.ts'
import type { Clock, Time } from '../base/clock.ts'
import { ENOENT, EPERM, type Errno, isErrno } from '../base/errno.ts'
import { causeText, Fault } from '../base/fault.ts'
import { type Ino, isSpecial, isTrash, NO_INO, ROOT_INO, TRASH_INO } from '../base/ino.ts'
import type { Log } from '../base/log.ts'
import { chain, isPromise, type Maybe } from '../base/maybe.ts'
import { Driver } from './driver.ts'
import type { Cursor, DirEntry, Engine, Intent, Page, ScanKind, Scans } from './engine.ts'
import { ancestors as ancestorsOf, type Effect, type Operation, QUOTA_DIR } from './facts.ts'
import { IdRange } from './id-range.ts'
import { KnownLimits } from './limits.ts'
import { LockWaits } from './lock-waits.ts'
import type { Cancel, Entry, LockOwner, Meta, NewNode, Plock, SetAttr, Usage } from './meta.ts'
import type { AclRule } from './model/acl.ts'
import { type Attr, TYPE_DIRECTORY } from './model/attr.ts'
import { type Caller, systemCaller } from './model/caller.ts'
import { type Format, parseFormat } from './model/format.ts'
import { buildView, type Slice, type SliceRecord } from './model/slice.ts'
import type { Volume } from './model/volume.ts'
import { OpenFiles } from './open-files.ts'
import { getAcl, setAcl } from './ops/acl.ts'
import { access, getattr, setattr, touchAtime } from './ops/attributes.ts'
import { copyRange } from './ops/copy-range.ts'
import { elect } from './ops/counters.ts'
import { fallocate } from './ops/fallocate.ts'
import { flock } from './ops/flock.ts'
import { link } from './ops/link.ts'
import { lookup } from './ops/lookup.ts'
import { make } from './ops/make.ts'
import { openNode } from './ops/open.ts'
import { getPlock, setPlock } from './ops/plock.ts'
import { readChunk, readlink } from './ops/read.ts'
import type { Removal } from './ops/remove.ts'
import { rename } from './ops/rename.ts'
import { rmdir } from './ops/rmdir.ts'
import { dropSession, putSession, releaseSustained } from './ops/session.ts'
import { truncate } from './ops/truncate.ts'
import { unlink } from './ops/unlink.ts'
import { writeSlice } from './ops/write-slice.ts'
import { getXattr, listXattr, removeXattr, setXattr } from './ops/xattr.ts'
import { describeSession, processIsGone } from './session.ts'
import { TrashHour } from './trash-hour.ts'
import { pathsOf, summarizeTree, type TreeTotals } from './tree.ts'

const INODE_BATCH = 1024
const SLICE_BATCH = 4096
const SESSION_HEARTBEATS = 5
/** heartbeat 0: the record stays for a year */
const NEVER_SEC = 365 * 86400

export interface MetaConfig {
  readonly readOnly: boolean
  readonly noBackgroundJobs: boolean
  /** 0 = no heartbeat */
  readonly heartbeatMs: number
  readonly skipDirMtimeNs: number
  readonly atimeMode: 'noatime' | 'relatime' | 'strictatime'
  readonly openCacheLimit: number
  readonly mountPoint: string
  /** ours, `0.1.0` */
  readonly version: string
  readonly networkInterfaces?: readonly string[]
}

/** What the client reports to whoever runs it. All are optional hooks set by cmd (jobs, metrics, the daemon's end). */
export interface MetaHooks {
  onEffect?: (effect: Effect) => void
  /** A chunk's list grew long: worth compacting. `records` is its length now. */
  onLongChunk?: (ino: Ino, index: number, records: number) => void
  /** The volume is gone, replaced or too new: this client must end (exit code 11). */
  onFatal?: (reason: string) => void
  onFormatChanged?: (format: Format) => void
  /** an operation that may change something took this long */
  onTransaction?: (micros: number) => void
  onConflict?: (operation: string) => void
}

export class MetaClient implements Meta {
  readonly engine: Engine
  readonly config: MetaConfig
  readonly hooks: MetaHooks = {}
  readonly limits = new KnownLimits()
  #format: Format
  #formatJson: string
  #volume: Volume
  #sid = 0
  #heartbeat: NodeJS.Timeout | undefined
  #stopped = false
  readonly #clock: Clock
  readonly #log: Log
  readonly #random: () => number
  readonly #driver: Driver
  readonly #open: OpenFiles
  readonly #locks = new LockWaits()
  readonly #inodes: IdRange
  readonly #slices: IdRange
  readonly #trash: TrashHour
  readonly #isOpen = (ino: Ino): boolean => this.#open.isOpen(ino)

  /** Loads the setting. Fault when the database holds no volume. */
  static async open(
    engine: Engine,
    options: { config: MetaConfig; clock: Clock; log: Log; random: () => number },
  ): Promise<MetaClient> {
    const [json] = (await engine.gather([{ kind: 'format' }], 'look')) as [string | null]
    if (!json) throw new Fault('database is not formatted, please run `juicefs-ts format ...` first')
    const client = new MetaClient(engine, json, options)
    await client.limits.refresh(engine, client.format)
    return client
  }

  private constructor(
    engine: Engine,
    json: string,
    options: { config: MetaConfig; clock: Clock; log: Log; random: () => number },
  ) {
    this.engine = engine
    this.config = options.config
    this.#clock = options.clock
    this.#log = options.log
    this.#random = options.random
    this.#formatJson = json
    this.#format = parseFormat(json)
    this.#volume = this.#volumeOf(this.#format)
    this.#driver = new Driver(engine, {
      random: options.random,
      onEffect: effect => this.#effect(effect),
      onCommit: changes => this.limits.applied(changes),
      onConflict: operation => this.hooks.onConflict?.(operation),
    })
    this.#open = new OpenFiles(options.config.openCacheLimit)
    this.#inodes = new IdRange(count => engine.allocate('nextInode', count), INODE_BATCH, 2)
    this.#slices = new IdRange(count => engine.allocate('nextChunk', count), SLICE_BATCH, 1)
    this.#trash = new TrashHour(
      name => this.run('look', () => lookup(this.#system(), TRASH_INO, name)),
      name => this.#makeHour(name),
    )
  }

  get format(): Format {
    return this.#format
  }
  get sid(): number {
    return this.#sid
  }
  get openFileCount(): number {
    return this.#open.size
  }
  get volume(): Volume {
    return this.#volume
  }

  /** Drives any operation of meta/ops; jobs and cmd use it for what has no method here. */
  run<T>(intent: Intent, make: () => Operation<T>, key?: Ino): Maybe<T | Errno> {
    if (intent === 'look' || this.hooks.onTransaction === undefined) return this.#driver.run(intent, make, key)
    const start = performance.now()
    const result = this.#driver.run(intent, make, key)
    if (!isPromise(result)) {
      this.hooks.onTransaction((performance.now() - start) * 1000)
      return result
    }
    return result.then(value => {
      this.hooks.onTransaction?.((performance.now() - start) * 1000)
      return value
    })
  }

  /** All rows of a scan, page by page. */
  async *scan<K extends ScanKind>(kind: K, args: Scans[K]['args'], pageSize = 1000): AsyncGenerator<Scans[K]['row']> {
    let cursor: Cursor | null = null
    do {
      const page: Page<Scans[K]['row']> = await this.engine.scan(kind, args, cursor, pageSize)
      yield* page.rows
      cursor = page.next
    } while (cursor !== null)
  }

  // ── names ───────────────────────────────────────────────────────────────────────────────────────────────────────

  lookup(caller: Caller, parent: Ino, name: Name): Maybe<Entry | Errno> {
    if (parent === ROOT_INO && name === '.trash')
      return chain(this.getattr(TRASH_INO), attr => (isErrno(attr) ? attr : { ino: TRASH_INO, attr }))
    return this.#driver.run('look', () => lookup(caller, parent, name))
  }

  getattr(ino: Ino): Maybe<Attr | Errno> {
    const found = this.#driver.run('look', () => getattr(ino))
    if (isPromise(found)) return found.then(attr => this.#seen(ino, attr))
    return this.#seen(ino, found)
  }

  make(caller: Caller, parent: Ino, name: Name, what: NewNode): Maybe<Entry | Errno> {
    return this.#make(caller, parent, name, what, false)
  }

  create(
    caller: Caller,
    parent: Ino,
    name: Name,
    what: NewNode,
    flags: number,
    exclusive: boolean,
  ): Maybe<(Entry & { readonly created: boolean }) | Errno> {
    return chain(this.#make(caller, parent, name, what, !exclusive), made => {
      if (isErrno(made)) return made
      if (made.created) {
        this.#open.opened(made.ino, made.attr)
        return made
      }
      return chain(this.open(caller, made.ino, flags), opened =>
        isErrno(opened) ? opened : { ...made, attr: opened.attr },
      )
    })
  }

  createUnnamed(caller: Caller, parent: Ino, what: NewNode): Maybe<Entry | Errno> {
    const name = `tmpfile_${this.#randomHex(32)}`
    return chain(this.create(caller, parent, name, what, 2, true), made => {
      if (isErrno(made)) return made
      return chain(this.#unlink(systemCaller(caller.now), parent, name, NO_INO), gone => {
        if (!isErrno(gone)) return { ino: made.ino, attr: gone.attr }
        return chain(this.close(made.ino), () => gone)
      })
    })
  }

  link(caller: Caller, ino: Ino, parent: Ino, name: Name): Maybe<Entry | Errno> {
    if (parent === ROOT_INO && name === '.trash') return EPERM
    const result = this.run('change', () => link(this.#volume, caller, ino, parent, name, { sid: this.#sid }), parent)
    return chain(result, entry => {
      if (!isErrno(entry)) this.#open.named(ino)
      return entry
    })
  }

  unlink(caller: Caller, parent: Ino, name: Name, options?: { readonly skipTrash?: boolean }): Maybe<Entry | Errno> {
    if (parent === ROOT_INO && name === '.trash') return EPERM
    return chain(this.#trashFor(parent, options), trash => this.#unlink(caller, parent, name, trash))
  }

  rmdir(caller: Caller, parent: Ino, name: Name, options?: { readonly skipTrash?: boolean }): Maybe<Entry | Errno> {
    if (parent === ROOT_INO && name === '.trash') return EPERM
    return chain(this.#trashFor(parent, options), trash =>
      this.run('change', () => rmdir(this.#volume, caller, parent, name, this.#removal(trash)), parent),
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
      chain(this.#movedSubtree(caller, from, to), subtree =>
        chain(
          this.run(
            'change',
            () => rename(this.#volume, caller, from, to, flags, { ...this.#removal(trash), subtree }),
            to.parent,
          ),
          result => {
            if (isErrno(result) || !result.replacedIsGone) return result
            return chain(this.#nameless(result.replaced), () => result)
          },
        ),
      ),
    )
  }

  readlink(caller: Caller, ino: Ino): Maybe<Name | Errno> {
    return chain(
      this.#driver.run('look', () => readlink(ino)),
      found => {
        if (isErrno(found)) return found
        if (this.config.atimeMode !== 'noatime') this.#touch(ino, caller.now)
        return found.target
      },
    )
  }

  readdir(caller: Caller, ino: Ino, after: Name, limit: number, attrs: boolean): Maybe<readonly DirEntry[] | Errno> {
    if (caller.check && caller.uid !== 0) {
      return chain(this.access(caller, ino, attrs ? 5 : 4), refused =>
        refused === undefined ? this.#entries(ino, after, limit, attrs) : refused,
      )
    }
    return this.#entries(ino, after, limit, attrs)
  }

  // ── attributes ──────────────────────────────────────────────────────────────────────────────────────────────────

  access(caller: Caller, ino: Ino, mask: number): Maybe<undefined | Errno> {
    return this.#driver.run('look', () => access(caller, ino, mask))
  }

  setattr(caller: Caller, ino: Ino, set: SetAttr): Maybe<Attr | Errno> {
    if (isTrash(ino)) return EPERM
    return chain(
      this.run('change', () => setattr(this.#volume, caller, ino, set, this.#open.isOpen(ino)), ino),
      attr => {
        // A set mtime is our own doing: what is cached of the file stays true.
        if (!isErrno(attr) && set.mtime !== undefined) this.#open.retimed(ino, attr)
        return attr
      },
    )
  }

  getXattr(_caller: Caller, ino: Ino, name: Name): Maybe<Buffer | Errno> {
    return chain(
      this.#driver.run('look', () => getXattr(ino, name)),
      found => (isErrno(found) ? found : found.value),
    )
  }

  setXattr(_caller: Caller, ino: Ino, name: Name, value: Buffer, flags: number): Maybe<undefined | Errno> {
    return this.run('change', () => setXattr(this.#volume, ino, name, value, flags), ino)
  }

  listXattr(_caller: Caller, ino: Ino): Maybe<readonly Name[] | Errno> {
    return chain(
      this.#driver.run('look', () => listXattr(ino)),
      found => {
        if (isErrno(found) || !this.#volume.acl) return isErrno(found) ? found : found.names
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
    return this.run('change', () => removeXattr(this.#volume, ino, name), ino)
  }

  getAcl(_caller: Caller, ino: Ino, which: 'access' | 'default'): Maybe<AclRule | null | Errno> {
    return chain(
      this.#driver.run('look', () => getAcl(ino, which)),
      found => (isErrno(found) ? found : found.rule),
    )
  }

  setAcl(caller: Caller, ino: Ino, which: 'access' | 'default', rule: AclRule): Maybe<undefined | Errno> {
    return chain(
      this.run('change', () => setAcl(this.#volume, caller, ino, which, rule), ino),
      attr => (isErrno(attr) ? attr : undefined),
    )
  }

  // ── data ────────────────────────────────────────────────────────────────────────────────────────────────────────

  open(caller: Caller, ino: Ino, flags: number): Maybe<{ readonly attr: Attr; readonly unchanged: boolean } | Errno> {
    return chain(
      this.#driver.run('look', () => openNode(this.#volume, caller, ino, flags)),
      attr => {
        if (isErrno(attr)) return attr
        return { attr, unchanged: this.#open.opened(ino, attr) }
      },
    )
  }

  close(ino: Ino): Maybe<undefined> {
    if (!this.#open.closed(ino)) return undefined
    return chain(this.#releaseSustained(this.#sid, ino), () => undefined)
  }

  readChunk(ino: Ino, index: number): Maybe<readonly SliceRecord[] | Errno> {
    const kept = this.#open.chunk(ino, index)
    if (kept) return kept
    const drops = this.#open.drops(ino)
    return chain(
      this.#driver.run('look', () => readChunk(ino, index)),
      found => {
        if (isErrno(found)) return found
        const view = buildView(found.records)
        this.#open.keepChunk(ino, index, view, drops)
        if (found.records.length >= 5 || view.length >= 5) this.hooks.onLongChunk?.(ino, index, found.records.length)
        return view
      },
    )
  }

  forgetChunks(ino: Ino, index?: number): void {
    this.#open.dropChunks(ino, index)
  }

  newSliceId(): Maybe<number> {
    return this.#slices.take()
  }

  writeSlice(ino: Ino, index: number, pos: number, slice: Slice, mtime: Time): Maybe<Attr | Errno> {
    const commit = this.run(
      'change',
      () => writeSlice(this.#volume, this.#clock.now(), ino, index, pos, slice, mtime),
      ino,
    )
    return chain(commit, written => {
      if (isErrno(written)) return written
      this.#open.wrote(ino, written.before.mtime, written.attr, index)
      if (written.records % 100 === 99 || written.records > 350) this.hooks.onLongChunk?.(ino, index, written.records)
      return written.attr
    })
  }

  truncate(caller: Caller, ino: Ino, length: number, viaHandle: boolean): Maybe<Attr | Errno> {
    return chain(
      this.run('change', () => truncate(this.#volume, caller, ino, length, viaHandle), ino),
      result => {
        if (isErrno(result)) return result
        if (result.changed) this.#open.wrote(ino, result.before.mtime, result.attr)
        return result.attr
      },
    )
  }

  fallocate(caller: Caller, ino: Ino, mode: number, offset: number, length: number): Maybe<Attr | Errno> {
    return chain(
      this.run('change', () => fallocate(this.#volume, caller, ino, mode, offset, length), ino),
      result => {
        if (isErrno(result)) return result
        this.#open.wrote(ino, result.before.mtime, result.attr)
        return result.attr
      },
    )
  }

  copyRange(
    caller: Caller,
    source: { ino: Ino; offset: number },
    target: { ino: Ino; offset: number },
    length: number,
  ): Maybe<{ readonly copied: number; readonly target: Attr } | Errno> {
    return chain(
      this.run('change', () => copyRange(this.#volume, caller, source, target, length), target.ino),
      result => {
        if (isErrno(result)) return result
        this.#open.wrote(target.ino, result.before.mtime, result.target)
        return result
      },
    )
  }

  touch(ino: Ino, attr: Attr): void {
    if (this.config.atimeMode === 'noatime' || this.config.readOnly || isSpecial(ino)) return
    const now = this.#clock.now()
    const stale = attr.atime.sec + (this.config.atimeMode === 'strictatime' ? 1 : 86400) <= now.sec
    const behind = attr.atime.sec <= Math.max(attr.mtime.sec, attr.ctime.sec)
    if (stale || behind) this.#touch(ino, now)
  }

  // ── locks ───────────────────────────────────────────────────────────────────────────────────────────────────────

  flock(ino: Ino, owner: LockOwner, type: 'R' | 'W' | 'U', wait: Cancel | null): Maybe<undefined | Errno> {
    const attempt = (kind: 'R' | 'W' | 'U') => this.run('change', () => flock(ino, this.#sid, owner, kind), ino)
    const undo = () =>
      void Promise.resolve(attempt('U')).catch(error => this.#log.warn(`unlock of inode ${ino}: ${causeText(error)}`))
    const result = this.#locks.acquire(
      { space: 'flock', ino, fair: true, attempt: () => attempt(type), undo },
      type === 'U' ? null : wait,
    )
    // A downgrade, too, may let somebody in.
    return type === 'W' ? result : chain(result, got => this.#released('flock', ino, got))
  }

  setPlock(ino: Ino, owner: LockOwner, lock: Plock, wait: Cancel | null): Maybe<undefined | Errno> {
    const attempt = (wanted: Plock) => this.run('change', () => setPlock(ino, this.#sid, owner, wanted), ino)
    const undo = () =>
      void Promise.resolve(attempt({ ...lock, type: 'U' })).catch(error =>
        this.#log.warn(`unlock of inode ${ino}: ${causeText(error)}`),
      )
    const result = this.#locks.acquire(
      { space: 'plock', ino, fair: false, attempt: () => attempt(lock), undo },
      lock.type === 'U' ? null : wait,
    )
    return lock.type === 'W' ? result : chain(result, got => this.#released('plock', ino, got))
  }

  getPlock(ino: Ino, owner: LockOwner, lock: Plock): Maybe<Plock | Errno> {
    return this.#driver.run('look', () => getPlock(ino, this.#sid, owner, lock))
  }

  // ── the volume ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Spec section 4: counters, limits, and the quotas on the path of the asked inode. */
  statfs(ino: Ino): Maybe<Usage> {
    const facts = this.engine.gather(
      [
        { kind: 'counter', name: 'usedSpace' },
        { kind: 'counter', name: 'totalInodes' },
      ],
      'look',
    )
    const whole = chain(facts, values => {
      const [space, inodes] = values as [number, number]
      this.limits.usedSpace = space
      this.limits.usedInodes = inodes
      return volumeUsage(Math.max(0, space), Math.max(0, inodes), this.limits.capacity, this.limits.inodes)
    })
    if (!this.limits.hasDirQuotas) return whole
    return chain(whole, usage =>
      chain(this.engine.gather([ancestorsOf(ino)], 'look'), values => {
        let { total, available, usedInodes, availableInodes } = usage
        let nearest = true
        for (const dir of (values as [readonly Ino[]])[0]) {
          const quota = this.limits.quota(QUOTA_DIR, dir)
          if (quota === undefined) continue
          if (quota.maxSpace > 0) available = Math.min(available, Math.max(0, quota.maxSpace - quota.usedSpace))
          if (quota.maxInodes > 0)
            availableInodes = Math.min(availableInodes, Math.max(0, quota.maxInodes - quota.usedInodes))
          if (nearest) {
            total = quota.usedSpace
            usedInodes = quota.usedInodes
          }
          nearest = false
        }
        return nearest ? usage : { total: total + available, available, usedInodes, availableInodes }
      }),
    )
  }

  sync(): Promise<void> {
    return this.engine.sync()
  }

  paths(ino: Ino): Promise<Name[]> {
    return pathsOf(this, ino)
  }

  summarize(ino: Ino, _strict: boolean): Promise<TreeTotals> {
    return summarizeTree(this, ino)
  }

  // ── session ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Registers this client and starts its heartbeat. Read-only clients have no session. */
  async newSession(): Promise<void> {
    if (this.config.readOnly) {
      this.#beat()
      return
    }
    await this.engine.prepare()
    if (this.#format.TrashDays > 0) await this.#ensureTrashRoot()
    this.#sid = await this.engine.allocate('nextSession', 1)
    await this.#putSession(true)
    this.#log.info(`Create session ${this.#sid} OK with version: ${this.config.version}`)
    this.#beat()
  }

  /** Ends the session: its locks, its sustained nodes, its record. Safe to call without one. */
  async closeSession(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#heartbeat)
    if (this.#sid === 0) return
    await this.#cleanSession(this.#sid)
    this.#sid = 0
  }

  /** Sessions whose time is over, or whose process on this machine is gone. */
  async cleanStaleSessions(): Promise<void> {
    const now = this.#clock.now().sec
    for await (const session of this.scan('sessions', {})) {
      if (session.sid === this.#sid) continue
      if (session.expire >= now && !processIsGone(session.info)) continue
      this.#log.info(`clean up stale session ${session.sid}`)
      await this.#cleanSession(session.sid)
    }
  }

  /** May this client do a periodic job now? Only one client a period is told yes (spec section 16). */
  async elect(name: Parameters<typeof elect>[0], periodSec: number): Promise<boolean> {
    const result = await this.run('change', () => elect(name, this.#clock.now().sec, periodSec))
    return !isErrno(result) && result.elected
  }

  /** One heartbeat: expiry, setting, limits, stale sessions. */
  async refresh(): Promise<void> {
    if (this.#sid !== 0) await this.#putSession(false)
    const [json] = (await this.engine.gather([{ kind: 'format' }], 'look')) as [string | null]
    if (!json) return this.hooks.onFatal?.('the volume is gone: its setting does not exist any more')
    if (json !== this.#formatJson) {
      const format = parseFormat(json)
      if (format.UUID !== this.#format.UUID) return this.hooks.onFatal?.(`the volume was replaced: UUID ${format.UUID}`)
      if ((format.MetaVersion ?? 0) > 1)
        return this.hooks.onFatal?.(`the volume needs a newer client: MetaVersion ${format.MetaVersion}`)
      this.#formatJson = json
      this.#format = format
      this.#volume = this.#volumeOf(format)
      if (format.TrashDays > 0 && !this.config.readOnly) await this.#ensureTrashRoot()
      this.hooks.onFormatChanged?.(format)
    }
    await this.limits.refresh(this.engine, this.#format)
    if (!this.config.noBackgroundJobs && this.#sid !== 0 && this.config.heartbeatMs > 0) {
      const periodSec = Math.floor((this.config.heartbeatMs / 1000) * 0.9)
      if (await this.elect('lastCleanupSessions', periodSec)) await this.cleanStaleSessions()
    }
  }

  // ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #system(): Caller {
    return systemCaller(this.#clock.now())
  }

  #volumeOf(format: Format): Volume {
    return {
      readOnly: this.config.readOnly,
      acl: format.EnableACL,
      dirStats: format.DirStats === true,
      skipDirMtimeNs: this.config.skipDirMtimeNs,
      limits: this.limits,
    }
  }

  #seen(ino: Ino, attr: Attr | Errno): Attr | Errno {
    if (isErrno(attr)) {
      return attr === ENOENT && (ino === ROOT_INO || ino === TRASH_INO)
        ? syntheticDirectory(ino, this.#clock.now())
        : attr
    }
    this.#open.seen(ino, attr)
    return attr
  }

  #make(
    caller: Caller,
    parent: Ino,
    name: Name,
    what: NewNode,
    orExisting: boolean,
  ): Maybe<(Entry & { readonly created: boolean }) | Errno> {
    return chain(this.#inodes.take(), id => {
      const ino = id as Ino
      return this.run('change', () => make(this.#volume, caller, parent, name, ino, what, { orExisting }), parent)
    })
  }

  #entries(ino: Ino, after: Name, limit: number, attrs: boolean): Maybe<readonly DirEntry[] | Errno> {
    return chain(
      this.engine.scan('entries', { parent: ino, attrs }, after === '' ? null : after, limit),
      page => page.rows,
    )
  }

  #removal(trash: Ino): Removal {
    return { trash, isOpen: this.#isOpen, sid: this.#sid }
  }

  #trashFor(parent: Ino, options: { readonly skipTrash?: boolean } | undefined): Maybe<Ino> {
    if (this.#format.TrashDays <= 0 || options?.skipTrash || isTrash(parent) || this.config.readOnly) return NO_INO
    return this.#trash.at(this.#clock.now())
  }

  #makeHour(name: Name): Maybe<Entry | Errno> {
    return chain(this.engine.allocate('nextTrash', 1), n => {
      const what = { type: TYPE_DIRECTORY, mode: 0o555, umask: 0, rdev: 0, target: '' }
      return this.run(
        'change',
        () =>
          make(this.#volume, this.#system(), TRASH_INO, name, (TRASH_INO + n) as Ino, what, {
            orExisting: false,
            inTrash: true,
          }),
        TRASH_INO,
      )
    })
  }

  #unlink(caller: Caller, parent: Ino, name: Name, trash: Ino): Maybe<Entry | Errno> {
    const result = this.run('change', () => unlink(this.#volume, caller, parent, name, this.#removal(trash)), parent)
    return chain(result, gone => {
      if (isErrno(gone) || gone.attr.nlink > 0) return gone
      return chain(this.#nameless(gone.ino), () => gone)
    })
  }

  /** A node lost its last name: if it is open here, the last close lets it go; if it was closed meanwhile, now is the time. */
  #nameless(ino: Ino): Maybe<undefined> {
    if (this.#open.removed(ino)) return undefined
    return chain(this.engine.gather([{ kind: 'sustained', sid: this.#sid, ino }], 'look'), facts =>
      facts[0] === true ? chain(this.#releaseSustained(this.#sid, ino), () => undefined) : undefined,
    )
  }

  #releaseSustained(sid: number, ino: Ino): Maybe<unknown> {
    return this.run('change', () => releaseSustained(this.#volume, sid, ino, this.#clock.now()), ino)
  }

  #touch(ino: Ino, now: Time): void {
    const mode = this.config.atimeMode
    if (mode === 'noatime' || this.config.readOnly) return
    const warn = (error: unknown) => this.#log.warn(`update atime of inode ${ino}: ${causeText(error)}`)
    try {
      const result = this.run('change', () => touchAtime(mode, ino, now), ino)
      if (isPromise(result)) result.catch(warn)
    } catch (error) {
      warn(error)
    }
  }

  #released(space: 'flock' | 'plock', ino: Ino, result: undefined | Errno): undefined | Errno {
    if (result === undefined) this.#locks.released(space, ino)
    return result
  }

  /** Only a directory that moves between directories under different quotas is counted: its subtree is charged. */
  #movedSubtree(
    caller: Caller,
    from: { parent: Ino; name: Name },
    to: { parent: Ino },
  ): Maybe<{ space: number; inodes: number } | undefined> {
    if (!this.limits.hasDirQuotas || from.parent === to.parent) return undefined
    return chain(this.engine.gather([ancestorsOf(from.parent), ancestorsOf(to.parent)], 'look'), facts => {
      const [above, below] = facts as [readonly Ino[], readonly Ino[]]
      const quotas = (dirs: readonly Ino[]) => dirs.filter(dir => this.limits.isQuotaDir(dir)).join()
      if (quotas(above) === quotas(below)) return undefined
      return chain(this.lookup(systemCaller(caller.now), from.parent, from.name), async entry => {
        if (isErrno(entry) || entry.attr.type !== TYPE_DIRECTORY) return undefined
        const totals = await summarizeTree(this, entry.ino)
        return { space: totals.size, inodes: totals.files + totals.dirs }
      })
    })
  }

  #effect(effect: Effect): void {
    if (effect.kind === 'chunkChanged') this.#open.dropChunks(effect.ino, effect.index)
    else this.hooks.onEffect?.(effect)
  }

  async #ensureTrashRoot(): Promise<void> {
    const found = await this.#driver.run('look', () => getattr(TRASH_INO))
    if (found === ENOENT)
      this.#log.warn('the volume has trash enabled but no trash directory: run `config --trash-days` once to make it')
  }

  async #putSession(isNew: boolean): Promise<void> {
    const beats =
      this.config.heartbeatMs > 0 ? Math.ceil((this.config.heartbeatMs * SESSION_HEARTBEATS) / 1000) : NEVER_SEC
    const expire = this.#clock.now().sec + beats
    if (!isNew) {
      const [record] = (await this.engine.gather([{ kind: 'session', sid: this.#sid }], 'look')) as [object | null]
      if (record !== null) {
        await this.run('change', () => putSession(this.#sid, expire, null))
        return
      }
    }
    const { mountPoint, version, networkInterfaces } = this.config
    const info = describeSession({
      version,
      mountPoint,
      clock: this.#clock,
      ...(networkInterfaces ? { interfaces: networkInterfaces } : {}),
    })
    await this.run('change', () => putSession(this.#sid, expire, Buffer.from(JSON.stringify(info))))
  }

  async #cleanSession(sid: number): Promise<void> {
    for await (const { ino } of this.scan('sustained', { sid })) await this.#releaseSustained(sid, ino)
    await this.run('change', () => dropSession(sid))
  }

  #beat(): void {
    if (this.#stopped || this.config.heartbeatMs <= 0) return
    const pause = this.config.heartbeatMs * (0.95 + this.#random() * 0.1)
    this.#heartbeat = setTimeout(() => {
      this.refresh()
        .catch(error => this.#log.warn(`heartbeat: ${causeText(error)}`))
        .finally(() => this.#beat())
    }, pause)
    this.#heartbeat.unref()
  }

  #randomHex(digits: number): string {
    let text = ''
    while (text.length < digits)
      text += Math.floor(this.#random() * 0x1000000)
        .toString(16)
        .padStart(6, '0')
    return text.slice(0, digits)
  }
}

/** Totals of an unlimited volume grow with use, so that `df` looks sane: 1 PiB, 10 Mi inodes (spec section 4). */
function volumeUsage(used: number, usedInodes: number, capacity: number, inodes: number): Usage {
  let total = Math.max(capacity, used)
  if (capacity <= 0) {
    total = 2 ** 50
    while (total * 0.8 < used) total *= 2
  }
  let availableInodes = inodes - usedInodes
  if (inodes <= 0) {
    availableInodes = 10 * 2 ** 20
    while (availableInodes * 4 < usedInodes) availableInodes *= 2
  }
  return { total, available: total - used, usedInodes, availableInodes: Math.max(0, availableInodes) }
}

/** A root that the engine cannot show still mounts (spec section 18): an empty-looking directory instead of an error. */
function syntheticDirectory(ino: Ino, now: Time): Attr {
  const isRoot = ino === ROOT_INO
  return {
    type: TYPE_DIRECTORY,
    flags: 0,
    mode: isRoot ? 0o777 : 0o555,
    uid: 0,
    gid: 0,
    atime: now,
    mtime: now,
    ctime: now,
    nlink: 2,
    length: 4096,
    rdev: 0,
    parent: ROOT_INO,
    accessAcl: 0,
    defaultAcl: 0,
    tier: 0,
  }
}
