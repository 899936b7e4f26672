/** Makes an idle client small.
 *
 *  What a busy mount drops belongs to the collector: blocks that were read, since views of them are shared without a count,
 *  and the attributes of a hundred thousand files that were listed or made. V8 collects when something is allocated; a mount
 *  that has just become idle allocates nothing and would keep a quarter of a gigabyte for hours. So a few seconds after the
 *  last request the collector is run once: 5 ms with the small heap of most mounts (measured; a buffer cache of 300 MiB
 *  shrinks to nothing). Where a load has left V8 with much room for new objects, it is run in the mode that gives it back:
 *  0.2 s of CPU after 100,000 creates, when nobody has asked for anything for seconds (320 → 135 MiB). A heap that is larger still
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
/** three times what the heap of a mount takes that has little to do */
const MOST_ROOM_BYTES = 96 << 20
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

/** Runs the collector, unless the heap is so large that the pause would be felt. */
export function collectGarbage(): void {
  const { used_heap_size: used, total_heap_size: total } = getHeapStatistics()
  if (used > MOST_HEAP_BYTES) return
  if (exposed === undefined) {
    setFlagsFromString('--expose-gc')
    exposed = runInNewContext('gc') as (how: Collection) => void
  }
  // An ordinary collection keeps the room for new objects, which grew under load, for the next ones.
  exposed({ type: 'major', execution: 'sync', flavor: total > MOST_ROOM_BYTES ? 'last-resort' : 'regular' })
}
