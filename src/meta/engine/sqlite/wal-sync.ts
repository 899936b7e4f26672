/** fdatasync of the -wal file, off the event loop and shared by all who wait: one runs, the next collects.
 *  The -wal file carries no locks, so a descriptor of our own does no harm; it stays open. SQLite never replaces the file
 *  while a connection is open, it only begins anew inside it. */

import { close, fdatasync, open } from 'node:fs'
import { promisify } from 'node:util'
import { errnoOf } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'

const fdatasyncAsync = promisify(fdatasync)
const openAsync = promisify(open)
const closeAsync = promisify(close)

export class WalSync {
  readonly #path: string
  #descriptor: number | null = null
  #running: Promise<void> | null = null
  #next: Promise<void> | null = null

  constructor(databasePath: string) {
    this.#path = `${databasePath}-wal`
  }

  /** Resolves when everything that was committed before the call survives a power cut. */
  sync(): Promise<void> {
    if (this.#next) return this.#next
    if (this.#running === null) return this.#start()
    // The one that runs may have begun before our commit.
    this.#next = this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = null
        return this.#start()
      })
    return this.#next
  }

  async close(): Promise<void> {
    await this.#next?.catch(() => undefined)
    await this.#running?.catch(() => undefined)
    if (this.#descriptor !== null) await closeAsync(this.#descriptor)
    this.#descriptor = null
  }

  #start(): Promise<void> {
    const running = this.#syncNow().finally(() => {
      this.#running = null
    })
    this.#running = running
    return running
  }

  async #syncNow(): Promise<void> {
    try {
      this.#descriptor ??= await openAsync(this.#path, 'r')
      await fdatasyncAsync(this.#descriptor)
    } catch (error) {
      throw new Fault(`sync ${this.#path}`, { errno: errnoOf(error), cause: error })
    }
  }
}
