/** Makes an idle client small.
 *
 *  What a busy mount drops belongs to the collector: blocks that were read, since views of them are shared without a count,
 *  and the attributes of a hundred thousand files that were listed or made. V8 collects when something is allocated; a mount
 *  that has just become idle allocates nothing and would keep a quarter of a gigabyte for hours. So a few seconds after the
 *  last request the collector is run once: 5 ms with the small heap of most mounts (measured; a buffer cache of 300 MiB
 *  shrinks to nothing). Where a load has left V8 with much room for new objects, once more in the mode that gives it back:
 *  0.1 s after 100,000 creates, when nobody has asked for anything for seconds (320 → 140 MiB). A heap that is larger still
 *  is left alone, as the pause grows with it.
 *
 *  What the collector frees, malloc keeps in its arenas, since it lies between what is still in use: a second after it, the
 *  owner of the process is asked to give it back (`trim`). */

import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

const TICK_MS = 2000
/** 6 to 8 seconds: after the cache of blocks has dropped what nobody read, else the collector would find it in use */
const IDLE_TICKS = 4
const MOST_HEAP_BYTES = 256 << 20
const MOST_SPARE_BYTES = 64 << 20
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

  /** Somebody asked for something. */
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

interface Collection {
  readonly type: 'major'
  readonly execution: 'sync'
  readonly flavor: 'regular' | 'last-resort'
}
let exposed: ((how: Collection) => void) | undefined

function collectGarbage(): void {
  if (getHeapStatistics().used_heap_size > MOST_HEAP_BYTES) return
  if (exposed === undefined) {
    setFlagsFromString('--expose-gc')
    exposed = runInNewContext('gc') as (how: Collection) => void
  }
  exposed({ type: 'major', execution: 'sync', flavor: 'regular' })
  const { total_heap_size: total, used_heap_size: used } = getHeapStatistics()
  // The room for new objects, which grew under load, is only given back by a collection that means to.
  if (total - used > MOST_SPARE_BYTES) exposed({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}
