/** Makes an idle client small.
 *
 *  Blocks that were read belong to the collector, since views of them are shared without a count. V8 collects when something
 *  is allocated; a mount that has just become idle allocates nothing and would keep a quarter of a gigabyte of dropped
 *  blocks for hours. So a few seconds after the last read or write the collector is run once: 5 ms with the small heap of
 *  most mounts (measured; a buffer cache of 300 MiB shrinks to nothing). A large heap is left alone, as the pause grows
 *  with it (100 ms for 170 MiB). */

import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const TICK_MS = 2000
/** 6 to 8 seconds: after `block-cache.ts` has dropped what nobody read, else the collector would find it in use */
const IDLE_TICKS = 4
const MOST_HEAP_BYTES = 64 << 20

export class IdleMemory {
  readonly #collect: () => void
  #ticksIdle = 0
  #ticker: NodeJS.Timeout | undefined

  /** `collect` is the collector; the tests' is another. */
  constructor(collect: () => void = collectGarbage) {
    this.#collect = collect
  }

  /** Something was read or written. */
  touch(): void {
    this.#ticksIdle = 0
    this.#ticker ??= setInterval(() => this.#tick(), TICK_MS).unref()
  }

  close(): void {
    clearInterval(this.#ticker)
    this.#ticker = undefined
  }

  #tick(): void {
    if (++this.#ticksIdle < IDLE_TICKS) return
    this.close()
    this.#collect()
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
