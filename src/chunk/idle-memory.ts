/** Makes an idle client small.
 *
 *  Blocks that were read belong to the collector, since views of them are shared without a count. V8 collects when something
 *  is allocated; a mount that has just become idle allocates nothing and would keep a quarter of a gigabyte of dropped
 *  blocks for hours. So a few seconds after the last read or write the collector is run once: 5 ms with the small heap of
 *  most mounts (measured; a buffer cache of 300 MiB shrinks to nothing). A large heap is left alone, as the pause grows
 *  with it (100 ms for 170 MiB).
 *
 *  What the collector frees, malloc keeps in its arenas, since it lies between what is still in use: a second after it, the
 *  owner of the process is asked to give it back (`trim`). */

import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const TICK_MS = 2000
/** 6 to 8 seconds: after `block-cache.ts` has dropped what nobody read, else the collector would find it in use */
const IDLE_TICKS = 4
const MOST_HEAP_BYTES = 64 << 20
/** V8 frees buffers on another thread after the collection */
const TRIM_AFTER_MS = 1000

export class IdleMemory {
  readonly #trim: () => void
  readonly #collect: () => void
  #ticksIdle = 0
  #ticker: NodeJS.Timeout | undefined
  #trimmer: NodeJS.Timeout | undefined

  /** `collect` is the collector; the tests' is another. */
  constructor(trim: () => void, collect: () => void = collectGarbage) {
    this.#trim = trim
    this.#collect = collect
  }

  /** Something was read or written. */
  touch(): void {
    this.#ticksIdle = 0
    this.#ticker ??= setInterval(() => this.#tick(), TICK_MS).unref()
  }

  close(): void {
    clearInterval(this.#ticker)
    clearTimeout(this.#trimmer)
    this.#ticker = undefined
  }

  #tick(): void {
    if (++this.#ticksIdle < IDLE_TICKS) return
    this.close()
    this.#collect()
    this.#trimmer = setTimeout(this.#trim, TRIM_AFTER_MS).unref()
  }
}

let exposed: (() => void) | undefined

function collectGarbage(): void {
  if (getHeapStatistics().used_heap_size > MOST_HEAP_BYTES) return
  if (exposed === undefined) {
    setFlagsFromString('--expose-gc')
    exposed = runInNewContext('gc') as () => void
  }
  exposed()
}
