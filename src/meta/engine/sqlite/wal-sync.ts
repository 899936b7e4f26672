/** fdatasync of the -wal file, off the event loop and shared by all who wait.
 *  The -wal file carries no locks, so a descriptor of our own does no harm; it stays open. SQLite never replaces the file
 *  while a connection is open, it only begins anew inside it. */

import { close, fdatasync, fsync, open, realpathSync } from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { errnoOf } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import { SharedSync } from '../shared-sync.ts'

const fdatasyncAsync = promisify(fdatasync)
const fsyncAsync = promisify(fsync)
const openAsync = promisify(open)
const closeAsync = promisify(close)

export class WalSync {
  readonly #path: string
  #descriptor: number | null = null
  readonly #syncs = new SharedSync(() => this.#syncNow())
  /** A sync failed. The kernel tells that once and takes the pages for clean: a later sync would succeed over a log with a
   *  hole, behind which a power cut loses everything. So from then on nothing is called durable. */
  #lost: Fault | null = null

  /** of a database that exists */
  constructor(databasePath: string) {
    this.#path = `${realpathSync(databasePath)}-wal` // SQLite follows a symbolic link, too, and writes beside its target
  }

  /** Resolves when everything that was committed before the call survives a power cut. */
  sync(): Promise<void> {
    return this.#syncs.run()
  }

  async close(): Promise<void> {
    await this.#syncs.settled()
    if (this.#descriptor !== null) await closeAsync(this.#descriptor)
    this.#descriptor = null
  }

  async #syncNow(): Promise<void> {
    if (this.#lost) throw this.#lost
    try {
      this.#descriptor ??= await this.#open()
    } catch (error) {
      throw new Fault(`sync ${this.#path}`, { errno: errnoOf(error), cause: error })
    }
    try {
      await fdatasyncAsync(this.#descriptor)
    } catch (error) {
      this.#lost = new Fault(`sync ${this.#path} (nothing can be made durable until the next mount)`, { cause: error })
      throw this.#lost
    }
  }

  /** The name of the file must be as durable as its bytes: SQLite syncs the directory only where it made the file itself. */
  async #open(): Promise<number> {
    const directory = await openAsync(dirname(this.#path), 'r')
    try {
      await fsyncAsync(directory)
    } finally {
      await closeAsync(directory)
    }
    return openAsync(this.#path, 'r')
  }
}
