/** Requests that are answered later, and what becomes of those whose asker loses patience (spec vfs section 11.3).
 *
 *      interrupted ──► cancelled: at once for a blocking lock, else when it has run for a second
 *      running for 15 minutes (not a blocking lock) ──► cancelled
 *      cancelled and running for 90 seconds ──► answered EINTR, whatever its handler still does
 *
 *  A signal that does not kill (SIGCHLD, a timer) interrupts too, and a read(2) of a file that fails with EINTR breaks
 *  programs; hence the second of patience. */

import { TWO_32 } from '../base/bytes.ts'
import type { Call } from './call.ts'
import { SETLKW } from './constants.ts'

const PATIENCE_MS = 1000
const GIVE_UP_MS = 90_000
const LONGEST_MS = 15 * 60_000

/** The kernel counts requests up by two: never near 2^53, so one number is the key. */
const keyOf = (low: number, high: number): number => low + high * TWO_32

export class InFlight {
  readonly #calls = new Map<number, Call>()
  readonly #onGivenUp: (call: Call) => void
  readonly #watchdog: NodeJS.Timeout
  #whenIdle: (() => void)[] = []
  /** requests whose handlers run, also those that were given up */
  #running = 0

  constructor(onGivenUp: (call: Call) => void) {
    this.#onGivenUp = onGivenUp
    this.#watchdog = setInterval(() => this.watch(performance.now()), PATIENCE_MS)
    this.#watchdog.unref()
  }

  get count(): number {
    return this.#running
  }

  add(call: Call): void {
    this.#running++
    if (call.startedMs === 0) call.startedMs = performance.now()
    this.#calls.set(keyOf(call.uniqueLow, call.uniqueHigh), call)
  }

  /** Its handler has settled. */
  remove(call: Call): void {
    this.#running--
    this.#calls.delete(keyOf(call.uniqueLow, call.uniqueHigh))
    if (this.#running === 0) for (const idle of this.#whenIdle.splice(0)) idle()
  }

  /** False when no such request is being served: it is answered, or not read yet. */
  interrupt(low: number, high: number): boolean {
    const call = this.#calls.get(keyOf(low, high))
    if (!call) return false
    call.isInterrupted = true
    if (call.opcode === SETLKW || performance.now() - call.startedMs >= PATIENCE_MS) call.cancel()
    return true
  }

  /** Once a second; `nowMs` of the monotonic clock. */
  watch(nowMs: number): void {
    for (const [key, call] of this.#calls) {
      const age = nowMs - call.startedMs
      if (call.isInterrupted ? age >= PATIENCE_MS : age >= LONGEST_MS && call.opcode !== SETLKW) call.cancel()
      if (call.cancelled && age >= GIVE_UP_MS) {
        this.#calls.delete(key)
        this.#onGivenUp(call)
      }
    }
  }

  cancelAll(): void {
    for (const call of this.#calls.values()) call.cancel()
  }

  /** Resolves when no handler runs. */
  idle(): Promise<void> {
    return this.#running === 0 ? Promise.resolve() : new Promise(resolve => this.#whenIdle.push(resolve))
  }

  close(): void {
    clearInterval(this.#watchdog)
  }
}
