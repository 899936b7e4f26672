/** Deletes the data of removed files and of slices that nobody references (spec meta-model sections 8 and 11).
 *
 *  Order that survives a crash: the chunk list goes and the references with it, that is synced, then the objects go, then
 *  the reference record, last the dead-file record. Whatever is interrupted stands in a record and is found by the hourly sweep. */

import { isErrno } from '../base/errno.ts'
import { causeText } from '../base/fault.ts'
import type { Ino } from '../base/ino.ts'
import type { Log } from '../base/log.ts'
import type { ChunkStore, SliceName } from '../chunk/chunk-store.ts'
import type { MetaClient } from '../meta/client.ts'
import { dropChunk, forgetDeadFile, forgetSlice } from '../meta/ops/dead-file.ts'

/** removed files that wait here; more are left to the hourly sweep, their records stand */
const MAX_QUEUED = 100_000

export class Deletion {
  readonly #meta: MetaClient
  readonly #chunks: ChunkStore
  readonly #log: Log
  readonly #maxDeletes: number
  readonly #queue: (() => Promise<void>)[] = []
  #running = 0
  #stopped = false
  #idle: (() => void)[] = []

  /** `maxDeletes` 0 = this client deletes no objects (`--max-deletes 0`). */
  constructor(options: { meta: MetaClient; chunks: ChunkStore; log: Log; maxDeletes: number }) {
    this.#meta = options.meta
    this.#chunks = options.chunks
    this.#log = options.log
    this.#maxDeletes = options.maxDeletes
  }

  file(ino: Ino): void {
    this.#enqueue(`delete data of inode ${ino}`, () => this.#deleteFile(ino))
  }

  slice(slice: SliceName): void {
    this.#enqueue(`delete slice ${slice.id}`, () => this.#deleteSlice(slice))
  }

  /** Everything queued so far is done. */
  drained(): Promise<void> {
    if (this.#running === 0 && this.#queue.length === 0) return Promise.resolve()
    return new Promise(resolve => this.#idle.push(resolve))
  }

  /** Finishes what runs, forgets what waits (the records stand). */
  stop(): Promise<void> {
    this.#stopped = true
    this.#queue.length = 0
    return this.drained()
  }

  #enqueue(what: string, work: () => Promise<void>): void {
    if (this.#stopped || this.#maxDeletes === 0 || this.#queue.length >= MAX_QUEUED) return
    this.#queue.push(() => work().catch(error => this.#log.warn(`${what}: ${causeText(error)}`)))
    this.#next()
  }

  #next(): void {
    while (this.#running < this.#maxDeletes) {
      const work = this.#queue.shift()
      if (!work) break
      this.#running++
      void work().then(() => {
        this.#running--
        this.#next()
      })
    }
    if (this.#running === 0 && this.#queue.length === 0) for (const resolve of this.#idle.splice(0)) resolve()
  }

  async #deleteFile(ino: Ino): Promise<void> {
    for await (const { index } of this.#meta.scan('chunks', { ino })) {
      const dropped = await this.#meta.run('change', () => dropChunk(ino, index), ino)
      if (!isErrno(dropped)) for (const slice of dropped.unused) await this.#deleteSlice(slice)
    }
    await this.#meta.run('change', () => forgetDeadFile(ino), ino)
  }

  async #deleteSlice(slice: SliceName): Promise<void> {
    // Objects vanish at once and for good; a commit that a power cut undoes must not come back without them.
    await this.#meta.sync()
    await this.#chunks.remove(slice)
    await this.#meta.run('change', () => forgetSlice(slice.id, slice.size))
  }
}
