/** What the parts of vfs share: the rooms below, the tables of this mount, and the rule of what the kernel is told. */

import type { Clock } from '../base/clock.ts'
import { type Errno, isErrno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import type { Log } from '../base/log.ts'
import { chain, isPromise, type Maybe } from '../base/maybe.ts'
import type { ChunkStore } from '../chunk/chunk-store.ts'
import type { Meta } from '../meta/meta.ts'
import { type Attr, TYPE_FILE } from '../meta/model/attr.ts'
import { Callers } from './callers.ts'
import type { VfsConfig } from './config.ts'
import type { Invalidator } from './file-system.ts'
import { Handles } from './handles.ts'
import { OpenDirectories } from './open-directories.ts'
import { type OpenFile, OpenFiles } from './open-file.ts'
import { RecentChanges } from './recent-changes.ts'
import { ToldAttrs } from './told.ts'
import { UnsyncedSlices } from './unsynced.ts'

/** a fresh answer is asked for so often; then what came is believed */
const FRESH_ATTEMPTS = 3

export interface CoreOptions {
  readonly meta: Meta
  readonly chunks: ChunkStore
  readonly clock: Clock
  readonly config: VfsConfig
  readonly log: Log
}

export class Core {
  readonly meta: Meta
  readonly chunks: ChunkStore
  readonly clock: Clock
  readonly config: VfsConfig
  readonly log: Log
  readonly callers: Callers
  readonly handles = new Handles()
  readonly files = new OpenFiles()
  readonly directories = new OpenDirectories()
  readonly changes = new RecentChanges()
  readonly told = new ToldAttrs()
  readonly unsynced: UnsyncedSlices
  invalidator: Invalidator = { inode: () => {}, entry: () => {} }

  constructor({ meta, chunks, clock, config, log }: CoreOptions) {
    this.meta = meta
    this.chunks = chunks
    this.clock = clock
    this.config = config
    this.log = log
    this.callers = new Callers(clock, config)
    this.unsynced = new UnsyncedSlices(chunks)
  }

  /** Fresh attributes on their way to the kernel: with what waits in the writer, and remembered. */
  tell(ino: Ino, attr: Attr): Attr {
    if (attr.type !== TYPE_FILE) return attr
    const file = this.files.get(ino)
    if (file) file.attr = attr
    const shown = file?.writer?.shown(attr) ?? attr
    this.told.tell(ino, shown)
    return shown
  }

  /** Attributes no older than our own last change of the inode, told. */
  attrOf(ino: Ino): Maybe<Attr | Errno> {
    return chain(this.#fresh(ino), attr => (isErrno(attr) ? attr : this.tell(ino, attr)))
  }

  /** The same for our own use: the kernel does not hear of them. Nothing is believed without asking, since by the length it is decided
   *  where appended bytes go. */
  refresh(file: OpenFile): Maybe<Attr | Errno> {
    return chain(this.#fresh(file.ino, true), attr => {
      if (!isErrno(attr)) file.attr = attr
      return attr
    })
  }

  #fresh(ino: Ino, ask = false): Maybe<Attr | Errno> {
    const attr = this.#ask(ino, ask)
    return isPromise(attr) ? this.#waitFresh(ino, attr, this.changes.now, ask) : attr
  }

  /** An answer that was asked for at `moment`: asked for again if we changed the inode since. */
  fresh(ino: Ino, attr: Attr, moment: number): Maybe<Attr | Errno> {
    return this.changes.since(ino, moment) ? this.attrOf(ino) : this.tell(ino, attr)
  }

  /** A change of ours was committed. */
  changed(ino: Ino, attr: Attr): void {
    this.changes.note(ino)
    const file = this.files.get(ino)
    if (file) file.attr = attr
  }

  #ask(ino: Ino, ask: boolean): Maybe<Attr | Errno> {
    return ask ? this.meta.look(ino) : this.meta.getattr(ino)
  }

  async #waitFresh(ino: Ino, asked: Promise<Attr | Errno>, since: number, ask: boolean): Promise<Attr | Errno> {
    let attr = await asked
    for (let moment = since, n = 1; this.changes.since(ino, moment) && n < FRESH_ATTEMPTS; n++) {
      moment = this.changes.now
      attr = await this.#ask(ino, ask)
    }
    return attr
  }
}
