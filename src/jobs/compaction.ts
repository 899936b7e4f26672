/** Merges the many records of a chunk into one slice (spec meta-model section 11, vfs section 3.6).
 *
 *      read list ─► plan (pure) ─► read the old bytes, store them as one new slice ─► commit if the list still begins so
 *  Whoever appended meanwhile keeps their records behind the merged one. A lost race deletes the new slice again. */

import type { Clock } from '../base/clock.ts'
import { isErrno } from '../base/errno.ts'
import { causeText, Fault } from '../base/fault.ts'
import type { Ino } from '../base/ino.ts'
import type { Log } from '../base/log.ts'
import { exponentialBuckets, type Histogram, type Metrics } from '../base/metrics.ts'
import type { ChunkStore, SliceName } from '../chunk/chunk-store.ts'
import type { MetaClient } from '../meta/client.ts'
import { chunk } from '../meta/facts.ts'
import { decodeRecords, SLICE_RECORD_BYTES, type SliceRecord } from '../meta/model/slice.ts'
import { commitCompaction, planCompaction } from '../meta/ops/compact.ts'
import type { Deletion } from './deletion.ts'

const MAX_AT_ONCE = 2
const MAX_WAITING = 1000
/** records looked at in one go */
const MAX_RECORDS = 1000
/** one piece of old bytes in memory at a time */
const PIECE_BYTES = 1 << 20

interface Waiting {
  /** null while it runs */
  work: (() => Promise<unknown>) | null
  readonly over: Promise<void>
  readonly isOver: () => void
}

export class Compaction {
  readonly #meta: MetaClient
  readonly #chunks: ChunkStore
  readonly #deletion: Deletion
  readonly #clock: Clock
  readonly #log: Log
  readonly #sizes: Histogram
  /** chunks that wait or run, by `ino_index` */
  readonly #known = new Map<string, Waiting>()
  #running = 0
  #stopped = false

  constructor(options: {
    meta: MetaClient
    chunks: ChunkStore
    deletion: Deletion
    clock: Clock
    log: Log
    metrics: Metrics
  }) {
    this.#meta = options.meta
    this.#chunks = options.chunks
    this.#deletion = options.deletion
    this.#clock = options.clock
    this.#log = options.log
    const buckets = exponentialBuckets(1024, 2, 16)
    this.#sizes = options.metrics.histogram(
      'compact_size_histogram_bytes',
      'Distribution of size of compacted data.',
      buckets,
    )
  }

  /** Compacts the chunk some time soon; asked twice while it waits, it is done once. Resolves when it was done, or has failed. */
  offer(ino: Ino, index: number): Promise<void> | undefined {
    const key = `${ino}_${index}`
    const known = this.#known.get(key)
    if (known !== undefined) return known.over
    if (this.#stopped || this.#known.size >= MAX_WAITING) return undefined
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#known.set(key, { work: () => this.compact(ino, index), over: promise, isOver: resolve })
    this.#next()
    return promise
  }

  async stop(): Promise<void> {
    this.#stopped = true
    for (const { work, isOver } of this.#known.values()) if (work !== null) isOver()
    while (this.#running > 0) await new Promise(resolve => setTimeout(resolve, 10))
  }

  #next(): void {
    for (const [key, waiting] of this.#known) {
      if (this.#running >= MAX_AT_ONCE || this.#stopped) return
      const { work, isOver } = waiting
      if (work === null) continue
      waiting.work = null
      this.#running++
      void work()
        .catch(error => this.#log.warn(`compact chunk ${key}: ${causeText(error)}`))
        .then(() => {
          this.#known.delete(key)
          this.#running--
          isOver()
          this.#next()
        })
    }
  }

  /** Compacts one chunk now. False if there was nothing to merge, or somebody else changed the list. */
  async compact(ino: Ino, index: number): Promise<boolean> {
    const stored = await this.#list(ino, index)
    if (stored === null) return false
    const before = stored.subarray(0, MAX_RECORDS * SLICE_RECORD_BYTES)
    const plan = planCompaction(decodeRecords(before))
    if (plan === null) return false
    const id = await this.#meta.newSliceId()
    const merged = await this.#store(id, plan.view, plan.size).catch(async error => {
      // Removed or rewritten while we read it: its blocks may be gone, and nobody misses the merged slice.
      if ((await this.#list(ino, index))?.subarray(0, before.length).equals(before)) throw error
      return null
    })
    if (merged === null) return false
    // The merged slice replaces bytes that may have been fsynced: it must be as durable before it is named.
    await this.#chunks.sync([merged]).catch(async error => {
      await this.#chunks.remove(merged)
      throw error
    })
    const record: SliceRecord = { pos: plan.pos, id, size: merged.size, off: 0, len: merged.size }
    const done = await this.#meta.run(
      'change',
      () =>
        commitCompaction(this.#meta.volume, ino, index, before, plan.skipped * SLICE_RECORD_BYTES, record, {
          trash: this.#meta.format.TrashDays > 0,
          at: this.#clock.now().sec,
        }),
      ino,
    )
    if (isErrno(done)) {
      await this.#chunks.remove(merged)
      return false
    }
    this.#sizes.observe(merged.size)
    this.#meta.forgetChunks(ino, index)
    for (const slice of done.unused) this.#deletion.slice(slice)
    return true
  }

  async #list(ino: Ino, index: number): Promise<Buffer | null> {
    const [stored] = (await this.#meta.engine.gather([chunk(ino, index)], 'look')) as [Buffer | null]
    return stored
  }

  async #store(id: number, view: readonly SliceRecord[], size: number): Promise<SliceName> {
    const writer = this.#chunks.newWriter({ direct: true })
    writer.setId(id)
    try {
      for (const segment of view) await this.#copy(writer, segment)
      if (writer.length !== size) throw new Fault(`compaction wrote ${writer.length} bytes instead of ${size}`)
      return await writer.finish()
    } catch (error) {
      await writer.abort()
      throw error
    }
  }

  async #copy(writer: ReturnType<ChunkStore['newWriter']>, segment: SliceRecord): Promise<void> {
    for (let at = 0; at < segment.len; at += PIECE_BYTES) {
      const length = Math.min(PIECE_BYTES, segment.len - at)
      await this.#chunks.roomToWrite()
      if (segment.id === 0) writer.write(writer.length, Buffer.alloc(length))
      else
        for (const piece of await this.#chunks.read(segment, segment.off + at, length))
          writer.write(writer.length, piece)
    }
  }
}
