/** The clock over unsent data: slices that are old, or that nobody adds to, are sent off (spec vfs section 3.3). One
 *  interval for all files; it stops when nothing is dirty, so an idle mount sleeps. */

import type { Clock } from '../base/clock.ts'
import type { FileWriter } from './file-writer.ts'
import type { OpenSlice } from './open-slice.ts'

const TICK_MS = 100
const MAX_AGE_MS = 5000
const MAX_IDLE_MS = 1000

export class DirtyFiles {
  readonly #clock: Clock
  /** that many growing slices may hold half the write buffers, and none of them would go out by itself */
  readonly #manyGrowing: number
  readonly #files = new Set<FileWriter>()
  #timer: NodeJS.Timeout | undefined

  constructor(clock: Clock, options: { readonly bufferBytes: number; readonly blockBytes: number }) {
    this.#clock = clock
    this.#manyGrowing = Math.max(8, options.bufferBytes / options.blockBytes / 2)
  }

  add(file: FileWriter): void {
    this.#files.add(file)
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS).unref()
  }

  all(): FileWriter[] {
    return [...this.#files].filter(file => file.isDirty)
  }

  /** Somebody waits for buffers. If many slices hold a part each, the least recently written half is sent off now;
   *  a few cannot hold much, and cutting them would only make small objects. */
  relieve(): void {
    const growing: OpenSlice[] = []
    for (const file of this.#files) growing.push(...file.growing())
    if (growing.length < this.#manyGrowing) return
    growing.sort((a, b) => a.lastWriteMs - b.lastWriteMs)
    const due = new Set(growing.slice(0, Math.ceil(growing.length / 2)))
    for (const file of this.#files) file.freezeWhere(slice => due.has(slice))
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs()
    for (const file of this.#files) {
      if (!file.isDirty) this.#files.delete(file)
      else file.freezeWhere(slice => isDue(slice, nowMs))
    }
    if (this.#files.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

function isDue(slice: OpenSlice, nowMs: number): boolean {
  const ageMs = nowMs - slice.startedMs
  return ageMs > MAX_AGE_MS || (ageMs > MAX_IDLE_MS && nowMs - slice.lastWriteMs > MAX_IDLE_MS)
}
