/** Which listings the kernel may go on showing (`--readdir-cache`). It tells by a directory's mtime whether one is still true, but
 *  that may stand still while entries come and go (`--skip-dir-mtime`). So a listing is kept for as long as attributes are; then the
 *  next opendir makes the kernel read it anew. */

import type { Clock } from '../base/clock.ts'
import type { Ino } from '../base/ino.ts'

const MOST = 4096

export class KeptListings {
  readonly #clock: Clock
  readonly #livesMs: number
  /** when the kernel was made to begin anew; insertion order = age */
  readonly #begunMs = new Map<Ino, number>()

  constructor(clock: Clock, livesMs: number) {
    this.#clock = clock
    this.#livesMs = livesMs
  }

  /** A directory is being opened: may the kernel show what it has? */
  mayKeep(ino: Ino): boolean {
    const nowMs = this.#clock.monotonicMs()
    const begunMs = this.#begunMs.get(ino)
    if (begunMs !== undefined && nowMs - begunMs < this.#livesMs) return true
    this.#begunMs.delete(ino)
    this.#begunMs.set(ino, nowMs)
    if (this.#begunMs.size > MOST) this.#begunMs.delete(this.#begunMs.keys().next().value as Ino)
    return false
  }
}
