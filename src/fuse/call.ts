/** One request while it is being served: who asks, whom to answer, and whether the asker has given up. Made anew for each
 *  request and small, so that it may be kept across an await; it is the Context that the file system sees. */

import type { Ino } from '../base/ino.ts'
import type { Context } from '../vfs/file-system.ts'
import type { DirentMemory, DirentPage } from './encode.ts'
import type { FuseRequest, ReplyTo, RequestMemory } from './wire.ts'

export class Call implements Context, ReplyTo {
  readonly uid: number
  readonly gid: number
  readonly pid: number
  readonly opcode: number
  readonly ino: Ino
  readonly uniqueLow: number
  readonly uniqueHigh: number
  /** bytes that the asker has room for (READ, GETXATTR, …) */
  size = 0
  /** milliseconds of the monotonic clock; 0 until somebody needs it */
  startedMs = 0
  /** request memory that is held, directory entries being collected, arguments for the access log: mostly none */
  held: RequestMemory | null = null
  page: DirentPage | null = null
  pageMemory: DirentMemory | null = null
  described: string | null = null
  isAnswered = false
  isInterrupted = false
  #isCancelled = false
  #whenCancelled: (() => void)[] | null = null

  constructor(request: FuseRequest) {
    this.uid = request.uid
    this.gid = request.gid
    this.pid = request.pid
    this.opcode = request.opcode
    this.ino = request.ino
    this.uniqueLow = request.uniqueLow
    this.uniqueHigh = request.uniqueHigh
  }

  get cancelled(): boolean {
    return this.#isCancelled
  }
  onCancel(notify: () => void): void {
    if (this.#isCancelled) notify()
    else (this.#whenCancelled ??= []).push(notify)
  }
  cancel(): void {
    if (this.#isCancelled) return
    this.#isCancelled = true
    const waiting = this.#whenCancelled
    this.#whenCancelled = null
    if (waiting) for (const notify of waiting) notify()
  }
}
