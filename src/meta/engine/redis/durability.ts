/** When is a change safe from a power cut? As soon as the server's append-only file says so. From 7.2 on a client can wait for
 *  that (WAITAOF); it takes up to a second with `appendfsync everysec`. Older servers, and those without the file or with
 *  `appendfsync no`, give nothing to wait for: then a change is as durable as the server is configured to make it.
 *
 *  WAITAOF stops the connection that it is sent on and covers only what that connection wrote: so it has one of its own, and
 *  writes something that changes nothing first. Everything answered before lies before that in the file. */

import { Fault } from '../../../base/fault.ts'
import type { Log } from '../../../base/log.ts'
import { SharedSync } from '../shared-sync.ts'
import { faultOf, isReply, LostReply } from './errors.ts'
import type { Keys } from './keys.ts'
import { Link, type LinkOptions } from './link.ts'
import type { ServerInfo } from './server-info.ts'
import { buffersOf, listOf, textOf } from './values.ts'

const WAIT_MS = 10_000
/** connections that may break while one sync waits */
const MAX_ATTEMPTS = 10

export class Durability {
  readonly #main: Link
  readonly #options: LinkOptions
  readonly #keys: Keys
  readonly #log: Pick<Log, 'warn'>
  #own: Link | null = null
  /** of each start of a server that was asked: does it tell? */
  readonly #tells = new Map<string, boolean>()
  readonly #syncs = new SharedSync(() => this.#wait())

  constructor(main: Link, options: LinkOptions, keys: Keys, log: Pick<Log, 'warn'>) {
    this.#main = main
    this.#options = options
    this.#keys = keys
    this.#log = log
  }

  /** Resolves when everything that was committed before the call survives a power cut, as far as the server offers to tell.
   *  Those who come while one waits share the next wait. Fault (EIO). */
  sync(): Promise<void> {
    return this.#syncs.run()
  }

  close(): void {
    this.#own?.close()
  }

  async #wait(): Promise<void> {
    const doing = 'sync metadata'
    const { info } = this.#main.session ?? (await this.#main.ready(doing))
    if (!(await this.#isTold(info))) return
    if (this.#own === null) {
      this.#own = new Link(this.#options)
      await this.#own.open()
    }
    const link = this.#own
    for (let attempt = 1; ; attempt++) {
      await link.ready(doing)
      try {
        // Sent together: on a connection made in between there would be nothing to wait for.
        const written = link.send('INCRBY', [this.#keys.counter('usedSpace'), '0'])
        const [, reply] = await Promise.all([written, link.send('WAITAOF', ['1', '0', String(WAIT_MS)])])
        if (listOf(reply)[0] === 1) return
        throw new Fault(`${doing}: Redis did not write its append-only file within ${WAIT_MS / 1000} s`)
      } catch (error) {
        if (error instanceof LostReply && attempt < MAX_ATTEMPTS) continue
        if (!isReply(error)) throw faultOf(error, doing)
        this.#log.warn(`Redis does not tell what is durable: ${error.message}`)
        this.#tells.set(info.runId ?? '', false)
        return
      }
    }
  }

  /** With `appendfsync no` the server never knows; where its configuration may not be read, the first wait shows. */
  async #isTold(info: ServerInfo): Promise<boolean> {
    if (info.aofEnabled !== true || !isAtLeast72(info.version)) return false
    const start = info.runId ?? ''
    let tells = this.#tells.get(start)
    if (tells === undefined) {
      const reply = await this.#main
        .request('CONFIG', ['GET', 'appendfsync'], { doing: 'read appendfsync', again: true })
        .catch(() => null)
      tells = buffersOf(reply).map(textOf)[1] !== 'no'
      this.#tells.set(start, tells)
    }
    return tells
  }
}

const isAtLeast72 = (version: readonly [number, number] | null): boolean =>
  version !== null && (version[0] > 7 || (version[0] === 7 && version[1] >= 2))
