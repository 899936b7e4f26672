/** The background work of a mount: what its own operations leave behind at once, and the hourly sweeps that only one
 *  client does at a time (spec meta-model section 16). */

import type { Name } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { EIO, ENOENT, EROFS, type Errno, isErrno } from '../base/errno.ts'
import { causeText } from '../base/fault.ts'
import { inParallel } from '../base/in-parallel.ts'
import { type Ino, inoToString, TRASH_INO } from '../base/ino.ts'
import type { Log } from '../base/log.ts'
import { type Counter, exponentialBuckets, type Histogram, type Metrics } from '../base/metrics.ts'
import type { ChunkStore } from '../chunk/chunk-store.ts'
import type { MetaClient } from '../meta/client.ts'
import { node } from '../meta/facts.ts'
import { type Attr, TYPE_DIRECTORY, TYPE_FILE } from '../meta/model/attr.ts'
import { type Caller, systemCaller } from '../meta/model/caller.ts'
import { dropTrashedSlices } from '../meta/ops/dead-file.ts'
import { hourOfName } from '../meta/trash-hour.ts'
import { Compaction } from './compaction.ts'
import { Deletion } from './deletion.ts'
import { emptyDirectory, type RemoveOptions, removeTree } from './remove-tree.ts'

const HOUR_MS = 3_600_000
/** an election lasts a little less than the period, so that a client that is late by a beat still takes part */
const ELECTION_SEC = 3240
/** records younger than this belong to clients that are still at it */
const LEFT_OVER_SEC = 3600
const DAY_SEC = 86_400
/** at a time; each holds a slice of at most 64 MiB back until it is stored */
const MOST_COMPACTIONS = 100

export class BackgroundJobs {
  readonly deletion: Deletion
  readonly compaction: Compaction
  readonly #meta: MetaClient
  readonly #clock: Clock
  readonly #log: Log
  readonly #sweeps: boolean
  readonly #deletes: boolean
  readonly #random: () => number
  readonly #seconds: Histogram
  readonly #deletions: Counter
  #timer: NodeJS.Timeout | undefined
  #sweeping: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(options: {
    meta: MetaClient
    chunks: ChunkStore
    clock: Clock
    log: Log
    random: () => number
    metrics: Metrics
    maxDeletes: number
    /** false with `--no-bgjob` and on read-only mounts */
    sweeps: boolean
  }) {
    this.#meta = options.meta
    this.#clock = options.clock
    this.#log = options.log
    this.#random = options.random
    this.#sweeps = options.sweeps
    this.#deletes = options.maxDeletes > 0
    // Their names begin with the prefix that they get once more on the way out: so they are called in JuiceFS.
    this.#seconds = options.metrics.histogram(
      'juicefs_bgjob_duration_seconds',
      'Duration of background jobs.',
      exponentialBuckets(1, 2, 13),
      ['job', 'status'],
    )
    this.#deletions = options.metrics.counter(
      'juicefs_bgjob_deletions_total',
      'Number of things that background jobs deleted, or handed over to be deleted.',
      ['job'],
    )
    this.deletion = new Deletion(options)
    this.compaction = new Compaction({ ...options, deletion: this.deletion })
  }

  /** Hooks into the metadata client and starts the clock of the sweeps. */
  start(): void {
    this.#meta.hooks.onEffect = effect => {
      if (effect.kind === 'deadFile') this.deletion.file(effect.ino)
      else if (effect.kind === 'unusedSlice') this.deletion.slice(effect)
    }
    if (!this.#meta.config.readOnly) this.#meta.hooks.onLongChunk = (ino, index) => this.compaction.offer(ino, index)
    if (this.#sweeps) this.#arm(this.#random() * HOUR_MS * 0.1)
  }

  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#timer)
    await this.#sweeping
    await this.compaction.stop()
    await this.deletion.stop()
  }

  /** One round of every sweep this client is elected for. It does not stand for those that only delete objects if it deletes none:
   *  others would do nothing, either. */
  async sweep(): Promise<void> {
    if (this.#deletes && (await this.#meta.elect('lastCleanupFiles', ELECTION_SEC)))
      await this.#timed('files', () => this.#deadFiles())
    if (this.#deletes && (await this.#meta.elect('nextCleanupSlices', ELECTION_SEC)))
      await this.#timed('slices', () => this.#unusedSlices())
    if (await this.#meta.elect('lastCleanupTrash', ELECTION_SEC)) await this.#timed('trash', () => this.emptyTrash())
  }

  async #timed(job: string, work: () => Promise<void>): Promise<void> {
    const startMs = this.#clock.monotonicMs()
    let status = 'failed'
    try {
      await work()
      status = 'succeeded'
    } finally {
      this.#seconds.observe((this.#clock.monotonicMs() - startMs) / 1000, `${job},${status}`)
    }
  }

  /** Removes the hours that are older than the trash keeps them, and replaced slices of the same age. */
  async emptyTrash(): Promise<void> {
    const days = this.#meta.format.TrashDays
    const now = this.#clock.now().sec
    const caller = () => systemCaller(this.#clock.now())
    const onRemoved = (): void => this.#deletions.add(1, 'trash')
    const options: RemoveOptions = { skipTrash: true, onRemoved, isCancelled: () => this.#stopped }
    const edge = now - (24 * days + 2) * 3600
    for await (const hour of this.#meta.scan('entries', { parent: TRASH_INO, attrs: false })) {
      const start = hourOfName(hour.name)
      if (this.#stopped) break
      if (start === null || start >= edge) continue // not every engine lists them in order
      const failed = await emptyDirectory(this.#meta, caller, hour.ino, options)
      const removed = failed ?? (await this.#meta.rmdir(caller(), TRASH_INO, hour.name, options))
      if (isErrno(removed)) this.#log.warn(`empty trash ${hour.name}: errno ${removed}`)
    }
    for await (const { id, at } of this.#meta.scan('trashedSlices', { before: now - days * DAY_SEC })) {
      if (this.#stopped) break
      const dropped = await this.#meta.run('change', () => dropTrashedSlices(id, at))
      // Those that this client does not delete, another finds by their records.
      if (!isErrno(dropped)) for (const slice of dropped.unused) this.deletion.slice(slice)
    }
  }

  /** Removes a tree for `.control`. */
  removeTree(caller: () => Caller, parent: Ino, name: Name, options: RemoveOptions): Promise<Errno | undefined> {
    return removeTree(this.#meta, caller, parent, name, options)
  }

  /** Compacts every chunk of a file, or of all files below a directory, so many at a time; `a` chunks found, `b` chunks done. EROFS,
   *  ENOENT; EIO where some could not be, which the log names. */
  async compactTree(
    ino: Ino,
    threads: number,
    progress: { a: number; b: number },
    isCancelled: () => boolean,
  ): Promise<Errno | undefined> {
    if (this.#meta.config.readOnly) return EROFS
    const [attr] = (await this.#meta.engine.gather([node(ino)], 'look')) as [Attr | null]
    if (attr === null) return ENOENT
    const count = Math.max(1, Math.min(threads, MOST_COMPACTIONS))
    let failed: Errno | undefined
    await inParallel(this.#chunksBelow({ ino, type: attr.type }, isCancelled), count, async chunk => {
      if (isCancelled()) return
      progress.a++
      try {
        await this.compaction.compact(chunk.ino, chunk.index)
        progress.b++
      } catch (error) {
        failed = EIO
        this.#log.warn(`compact chunk ${chunk.index} of inode ${inoToString(chunk.ino)}: ${causeText(error)}`)
      }
    })
    return failed
  }

  async *#chunksBelow(
    top: { ino: Ino; type: number },
    isCancelled: () => boolean,
  ): AsyncGenerator<{ ino: Ino; index: number }, void> {
    const pending = [top]
    for (let at = pending.pop(); at !== undefined && !isCancelled(); at = pending.pop()) {
      if (at.type === TYPE_DIRECTORY) {
        for await (const entry of this.#meta.scan('entries', { parent: at.ino, attrs: false })) {
          if (entry.type === TYPE_DIRECTORY || entry.type === TYPE_FILE) pending.push(entry)
        }
      } else if (at.type === TYPE_FILE) {
        for await (const { index } of this.#meta.scan('chunks', { ino: at.ino })) yield { ino: at.ino, index }
      }
    }
  }

  async #deadFiles(): Promise<void> {
    const before = this.#clock.now().sec - LEFT_OVER_SEC
    for await (const { ino } of this.#meta.scan('deadFiles', { before })) {
      this.deletion.file(ino)
      this.#deletions.add(1, 'files')
    }
  }

  async #unusedSlices(): Promise<void> {
    for await (const slice of this.#meta.scan('unusedSlices', {})) {
      this.deletion.slice(slice)
      this.#deletions.add(1, 'slices')
    }
  }

  #arm(pauseMs: number): void {
    if (this.#stopped) return
    this.#timer = setTimeout(() => {
      this.#sweeping = this.sweep()
        .catch(error => this.#log.warn(`background clean-up: ${causeText(error)}`))
        .then(() => this.#arm(HOUR_MS * (0.95 + this.#random() * 0.1)))
    }, pauseMs)
    this.#timer.unref()
  }
}
