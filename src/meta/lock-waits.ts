/** Blocking locks (design: trap j). A refused waiter queues per inode, first in first out; a local unlock wakes the queue
 *  at once, holders on other clients are found by polling with a growing pause. The waiter holds nothing but its place. */

import { EAGAIN, EINTR, type Errno } from '../base/errno.ts'
import type { Ino } from '../base/ino.ts'
import { chain, isPromise, type Maybe } from '../base/maybe.ts'
import type { Cancel } from './meta.ts'

const FIRST_PAUSE_MS = 1
const LAST_PAUSE_MS = 200

interface Waiter {
  readonly fair: boolean
  readonly attempt: () => Maybe<undefined | Errno>
  /** gives the lock back that was granted after the waiter had gone */
  readonly undo: () => void
  readonly settle: (result: undefined | Errno) => void
  readonly fail: (error: unknown) => void
  done: boolean
}
interface Queue {
  readonly waiters: Waiter[]
  pauseMs: number
  timer: NodeJS.Timeout | undefined
  trying: boolean
  again: boolean
}

export interface LockWish {
  /** BSD locks and record locks wait apart */
  readonly space: 'flock' | 'plock'
  readonly ino: Ino
  /** do not try before those who wait already (whole-file locks; a byte range may be free while another is fought for) */
  readonly fair: boolean
  readonly attempt: () => Maybe<undefined | Errno>
  readonly undo: () => void
  /** Has it one already? Then it is tried at once: those who wait may wait for that one. */
  readonly holds?: () => Maybe<boolean>
  /** Ends before it queues. */
  readonly beforeWaiting?: () => Maybe<unknown>
}

export class LockWaits {
  readonly #queues = new Map<string, Queue>()
  /** somebody's first attempt is on its way: who comes later must not overtake it */
  readonly #trying = new Set<string>()

  /** Tries, and waits if it is refused (EAGAIN) and `cancel` is given. EINTR when cancelled. */
  acquire(wish: LockWish, cancel: Cancel | null): Maybe<undefined | Errno> {
    if (cancel === null) return wish.attempt()
    const key = wish.space + wish.ino
    const wait = (place?: 'first'): Maybe<undefined | Errno> =>
      chain<unknown, undefined | Errno>(wish.beforeWaiting?.(), () => this.#wait(key, wish, cancel, place))
    if (wish.fair && (this.#queues.has(key) || this.#trying.has(key))) {
      const tried = (result: undefined | Errno): Maybe<undefined | Errno> => (result === EAGAIN ? wait() : result)
      return chain(wish.holds?.() ?? false, holds => (holds ? chain(wish.attempt(), tried) : wait()))
    }
    const first = wish.attempt()
    if (!isPromise(first)) return first === EAGAIN ? wait() : first
    if (!wish.fair) return first.then(result => (result === EAGAIN ? wait() : result))
    this.#trying.add(key)
    return first.finally(() => this.#trying.delete(key)).then(result => (result === EAGAIN ? wait('first') : result))
  }

  /** A lock of this inode was given up here. */
  released(space: LockWish['space'], ino: Ino): void {
    const key = space + ino
    const queue = this.#queues.get(key)
    if (queue) {
      queue.pauseMs = FIRST_PAUSE_MS
      void this.#tryAll(key, queue)
    }
  }

  #wait(key: string, wish: LockWish, cancel: Cancel, place?: 'first'): Promise<undefined | Errno> {
    if (cancel.cancelled) return Promise.resolve(EINTR)
    return new Promise((settle, fail) => {
      const { attempt, undo, fair } = wish
      const waiter: Waiter = { fair, attempt, undo, settle, fail, done: false }
      let queue = this.#queues.get(key)
      if (!queue) {
        queue = { waiters: [], pauseMs: FIRST_PAUSE_MS, timer: undefined, trying: false, again: false }
        this.#queues.set(key, queue)
      }
      if (place === 'first') queue.waiters.unshift(waiter)
      else queue.waiters.push(waiter)
      this.#arm(key, queue)
      const joined = queue
      cancel.onCancel(() => {
        if (waiter.done) return
        waiter.done = true
        this.#leave(key, joined, waiter)
        settle(EINTR)
      })
    })
  }

  #arm(key: string, queue: Queue): void {
    if (queue.timer !== undefined) return
    queue.timer = setTimeout(() => {
      queue.timer = undefined
      queue.pauseMs = Math.min(queue.pauseMs * 2, LAST_PAUSE_MS)
      void this.#tryAll(key, queue)
    }, queue.pauseMs)
  }

  async #tryAll(key: string, queue: Queue): Promise<void> {
    if (queue.trying) {
      queue.again = true
      return
    }
    queue.trying = true
    do {
      queue.again = false
      for (const waiter of [...queue.waiters]) {
        if (waiter.done) continue
        try {
          const result = await waiter.attempt()
          if (result === EAGAIN) {
            // It may have become free by now: then it is for this one, not for the next.
            if (waiter.fair) break
            continue
          }
          if (!waiter.done) waiter.settle(result)
          else if (result === undefined) waiter.undo() // granted while the wait was being cancelled
        } catch (error) {
          if (!waiter.done) waiter.fail(error)
        }
        waiter.done = true
        this.#leave(key, queue, waiter)
      }
    } while (queue.again)
    queue.trying = false
    if (queue.waiters.length > 0) this.#arm(key, queue)
  }

  #leave(key: string, queue: Queue, waiter: Waiter): void {
    const at = queue.waiters.indexOf(waiter)
    if (at >= 0) queue.waiters.splice(at, 1)
    if (queue.waiters.length > 0) return
    clearTimeout(queue.timer)
    queue.timer = undefined
    if (this.#queues.get(key) === queue) this.#queues.delete(key)
  }
}
