/** Blocks are acknowledged when they lie in the staging directory, and uploaded later (`--writeback`; spec disk-cache section 6).
 *
 *      put ─► staged on disk ─► acknowledged ─┬─ a worker is free: uploaded from memory ─┐
 *        │                                    └─ queue: delay, hours, order ─► from disk ┴─► stored ─► staging file removed
 *        └ no room, too many at once, too big, an upload a day late, an error: straight to the store
 *
 *  What was promised survives. A block whose fsync was answered is durable in the staging directory; its file is removed only when
 *  its object is durable too. Whatever a crash interrupts is found in the staging directory by the next client that uses it. */

import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, ignore } from '../base/call.ts'
import type { Clock } from '../base/clock.ts'
import { causeText } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import type { Metrics } from '../base/metrics.ts'
import { withinTime } from '../base/within-time.ts'
import type { BlockObjects, PutHooks } from './block-objects.ts'
import { CorruptCacheFile } from './cache-file.ts'
import type { CacheSet } from './cache-set.ts'
import type { DiskCache } from './disk-cache.ts'
import { type Block, type BlockKey, blockKey } from './keys.ts'
import type { BlockSink } from './slice-writer.ts'
import { StageCounters } from './stage-counters.ts'
import { isUploadHour, type UploadHours } from './upload-hours.ts'
import { type Staged, UploadQueue } from './upload-queue.ts'

export interface WritebackOptions {
  /** Stage new blocks; false: only upload what was left by earlier runs. */
  readonly isOn: boolean
  /** only blocks shorter than this are staged; 0 = all */
  readonly thresholdBytes: number
  readonly uploadDelayMs: number
  /** null = at any time */
  readonly uploadHours: UploadHours | null
  /** staged at the same time; more go straight to the store */
  readonly maxStageWrites: number
  /** Nothing is uploaded: a client that may not change the volume. */
  readonly readOnly: boolean
}

export interface WriteBackParts {
  readonly objects: BlockObjects
  readonly caches: CacheSet
  readonly maxUploads: number
  readonly putTimeoutMs: number
  /** memory for blocks that are being uploaded */
  readonly bufferBytes: number
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
}

/** of an upload; then it waits for a minute */
const ATTEMPTS = 3
const RETRY_MS = 60_000
const TOLD_A_MINUTE = 100
/** Outside the hours, and while nothing is due, the clock is looked at this often. */
const LONGEST_WAIT_MS = 60_000
const SHORTEST_WAIT_MS = 10
/** Of the blocks of a directory without room, so many at a time are uploaded at once. */
const URGENT = 100
/** Past its delay a block may wait so long for a store that is away, or for the hours; then no more are staged. */
const DEADLINE_MS = 24 * 3_600_000
/** at the end, for uploads that are under way */
const CLOSE_PATIENCE_MS = 10_000

export class WriteBack implements BlockSink {
  readonly #o: WritebackOptions & WriteBackParts
  readonly #counters: StageCounters
  /** everything that is staged and not uploaded yet */
  readonly #staged = new Map<BlockKey, Staged>()
  readonly #queue = new UploadQueue()
  /** cannot be uploaded, but the log tells */
  readonly #damaged = new Set<Staged>()
  readonly #running = new Set<Promise<void>>()
  #writing = 0
  /** memory of the blocks that are being uploaded */
  #heldBytes = 0
  #timer: NodeJS.Timeout | undefined
  /** failures that the log was told of */
  #told = { minute: 0, count: 0 }
  #overdue = { isSo: false, lookedMs: 0 }
  readonly #startedMs: number
  #closed = false

  constructor(options: WritebackOptions & WriteBackParts) {
    this.#o = options
    this.#startedMs = this.#nowMs
    const { caches, metrics } = options
    this.#counters = new StageCounters(metrics, () => ({ ...this.#waiting, writing: this.#writing }))
    caches.stagedIn = block => this.#staged.get(blockKey(block.id, block.index))?.cache
    caches.onPressure = cache => {
      this.#queue.hurry(cache, URGENT)
      this.#work()
    }
  }

  /** Looks for what earlier runs and other clients have left, in the background. */
  async recover(): Promise<void> {
    for (const cache of this.#o.caches.directories) {
      await cache.findStaged(({ block, mtimeMs }) => {
        const key = blockKey(block.id, block.index)
        if (this.#staged.has(key)) return false
        // Whether anybody was promised that it is durable is not known.
        const staged = { block, key, cache, addedMs: mtimeMs, isDurable: true, isRemoved: false }
        this.#staged.set(key, staged)
        this.#queue.add('found', staged, mtimeMs + this.#o.uploadDelayMs)
        return true
      })
    }
    if (this.#o.readOnly && this.#staged.size > 0) {
      this.#o.log.warn(`${this.#staged.size} staging blocks are not uploaded: this mount is read-only`)
    }
    this.#work()
  }

  // ── writing ─────────────────────────────────────────────────────────────────────────────────────────────────────

  async put(block: Block, bytes: Buffer, hooks: PutHooks): Promise<void> {
    const { objects, putTimeoutMs, uploadDelayMs, log } = this.#o
    const cache = this.#placeFor(block)
    if (cache === null) {
      this.#work()
      return objects.put(block, bytes, hooks)
    }
    this.#writing++
    const staging = cache.stage(block, bytes).finally(() => {
      this.#writing--
    })
    try {
      await withinTime(staging, putTimeoutMs)
    } catch (error) {
      this.#counters.errors.add(1)
      log.warn(`write ${objects.key(block)} to disk: ${causeText(error)}, upload it directly`)
      // A late success is undone; until then the bytes are looked at.
      const ended = staging.then(() => cache.unstage(block, false)).catch(ignore)
      const release = (stored: boolean): void => void ended.then(() => hooks.release(stored))
      return objects.put(block, bytes, { ...hooks, release })
    }
    this.#counters.writeBytes.add(block.length)
    const staged = this.#add(block, cache)
    if (uploadDelayMs === 0 && this.#queue.isEmpty && this.#mayUpload) {
      this.#run(staged, () => this.#upload(staged, bytes, () => hooks.release(false)))
      return
    }
    hooks.release(false)
    this.#queue.add('fresh', staged, staged.addedMs + uploadDelayMs)
    this.#work()
  }

  /** Deletes a block wherever it is; an upload that is under way is undone when it ends. */
  async delete(block: Block): Promise<void> {
    const staged = this.#staged.get(blockKey(block.id, block.index))
    if (staged) {
      staged.isRemoved = true
      await this.#forget(staged, false)
    }
    await this.#o.objects.delete(block)
  }

  /** Resolves when these blocks survive a power cut, staged or stored. */
  async sync(blocks: readonly Block[]): Promise<void> {
    const stored: Block[] = []
    const byCache = new Map<DiskCache, Staged[]>()
    for (const block of blocks) {
      const staged = this.#staged.get(blockKey(block.id, block.index))
      if (staged === undefined) stored.push(block)
      else if (!byCache.get(staged.cache)?.push(staged)) byCache.set(staged.cache, [staged])
    }
    await Promise.all([
      this.#o.objects.sync(stored),
      ...[...byCache].map(([cache, staged]) => this.#syncStaged(cache, staged)),
    ])
  }

  /** Ends the uploads; what is not uploaded stays for the next client. */
  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await Promise.race([Promise.all(this.#running), sleep(CLOSE_PATIENCE_MS, undefined, { ref: false })])
    const { blocks, bytes } = this.#waiting
    if (blocks === 0) return
    const { caches, log } = this.#o
    const roots = caches.directories.filter(cache => cache.stagedBlocks > 0).map(cache => `${cache.root}rawstaging`)
    log.info(
      `${blocks} staging blocks (${bytes} bytes) are not uploaded yet, ` +
        `the next mount with this cache uploads them: ${roots.join(', ')}`,
    )
  }

  // ── durability ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** Marked before they are synced: an upload that ends meanwhile makes its object durable before it takes the file away. */
  async #syncStaged(cache: DiskCache, staged: readonly Staged[]): Promise<void> {
    for (const each of staged) each.isDurable = true
    const blocks = staged.map(({ block }) => block)
    const missing = await cache.syncStaged(blocks).catch(error => {
      this.#o.log.warn(`sync staging blocks in ${cache.root}: ${causeText(error)}, upload them directly`)
      return blocks
    })
    // Uploaded meanwhile; or the disk has failed, then the store must have them before this is answered.
    for (const block of missing) await this.#storeNow(block)
  }

  async #storeNow(block: Block): Promise<void> {
    const { objects } = this.#o
    const staged = this.#staged.get(blockKey(block.id, block.index))
    if (staged && !(await this.#isStoredByOthers(staged))) {
      const { data } = await staged.cache.readStaged(block)
      await objects.put(block, data, { stop: () => false, release: ignore, attempts: ATTEMPTS })
    }
    await objects.sync([block])
    if (staged && this.#isCurrent(staged)) await this.#forget(staged, true)
  }

  /** Its file is gone and its object is there: another client that shares the directory has uploaded it. */
  async #isStoredByOthers({ block, cache }: Staged): Promise<boolean> {
    return !(await cache.isStaged(block)) && (await this.#o.objects.exists(block))
  }

  // ── uploading ───────────────────────────────────────────────────────────────────────────────────────────────────

  get #mayUpload(): boolean {
    const { readOnly, maxUploads, uploadHours, bufferBytes, clock } = this.#o
    const hasRoom = this.#running.size === 0 || (this.#running.size < maxUploads && this.#heldBytes < bufferBytes)
    return hasRoom && !this.#closed && !readOnly && isUploadHour(uploadHours, clock.now())
  }

  /** Starts what is due as long as it may be started; sets the clock for what is due later. */
  #work(): void {
    clearTimeout(this.#timer)
    if (this.#closed || this.#o.readOnly || this.#queue.isEmpty) return
    const nowMs = this.#nowMs // one moment for all: what comes due while we look must not be taken for held up
    while (this.#mayUpload) {
      const staged = this.#queue.take(nowMs)
      if (staged === undefined) break
      this.#run(staged, () => this.#uploadFromDisk(staged))
    }
    // What is due is held up by the hours, or by running uploads: then the end of one of them leads here.
    const dueInMs = this.#queue.nextDueMs - nowMs
    const waitMs = dueInMs > 0 ? Math.max(SHORTEST_WAIT_MS, Math.min(dueInMs, LONGEST_WAIT_MS)) : LONGEST_WAIT_MS
    this.#timer = setTimeout(() => this.#work(), waitMs).unref()
  }

  #run(staged: Staged, upload: () => Promise<void>): void {
    this.#heldBytes += staged.block.length
    const running = upload().finally(() => {
      this.#heldBytes -= staged.block.length
      this.#running.delete(running)
      this.#work()
    })
    this.#running.add(running)
  }

  /** Never rejects. */
  async #uploadFromDisk(staged: Staged): Promise<void> {
    const { block, cache } = staged
    let read: Awaited<ReturnType<DiskCache['readStaged']>>
    try {
      read = await cache.readStaged(block)
    } catch (error) {
      if (this.#isCurrent(staged) && !this.#closed) await this.#unreadable(staged, error)
      return
    }
    if (read.tier !== 0) {
      const tier = read.tier ?? 'that its footer does not tell'
      this.#o.log.warn(`staging block ${this.#o.objects.key(block)} is stored in the default tier, not in tier ${tier}`)
    }
    await this.#upload(staged, read.data, ignore)
  }

  /** `release` is called once, when nobody looks at the bytes any more. Never rejects. */
  async #upload(staged: Staged, bytes: Buffer, release: () => void): Promise<void> {
    const { objects, log } = this.#o
    const { block } = staged
    if (!this.#isCurrent(staged)) return release()
    try {
      const stop = (): boolean => this.#closed || !this.#isCurrent(staged)
      await objects.put(block, bytes, { stop, release, attempts: ATTEMPTS })
      // What was promised to be durable must be so in the store before it is taken away here.
      if (staged.isDurable && this.#isCurrent(staged)) await objects.sync([block])
    } catch (error) {
      if (!this.#isCurrent(staged) || this.#closed) return
      this.#retryLater(staged, `upload staging block ${objects.key(block)}`, error)
      return
    }
    if (this.#isCurrent(staged)) {
      this.#counters.delaySeconds.add(Math.max(0, (this.#nowMs - staged.addedMs) / 1000))
      await this.#forget(staged, true)
    } else if (staged.isRemoved) {
      await objects.delete(block).catch(error => log.warn(`delete ${objects.key(block)}: ${causeText(error)}`))
    }
  }

  /** A staged block that cannot be read: it is the only copy, so the log tells what becomes of it. Never rejects. */
  async #unreadable(staged: Staged, error: unknown): Promise<void> {
    const { objects, log } = this.#o
    const name = `staging block ${objects.key(staged.block)}`
    const { root } = staged.cache
    if (error instanceof CorruptCacheFile) {
      this.#counters.errors.add(1)
      this.#damaged.add(staged)
      log.error(`${name} in ${root} is damaged (${error.message}) and not uploaded: reads of the damaged part fail`)
      return
    }
    if (codeOf(error) === 'ENOENT' && (await staged.cache.isThere())) {
      // Another client that shares the directory may have uploaded it.
      const isStored = await objects.exists(staged.block).catch(() => null)
      if (isStored !== null) {
        if (!isStored) {
          this.#counters.errors.add(1)
          log.error(
            `${name} has vanished from ${root} before it was uploaded: its ${staged.block.length} bytes are lost`,
          )
        }
        await this.#forget(staged, isStored)
        return
      }
    }
    this.#counters.errors.add(1)
    this.#retryLater(staged, `read ${name} in ${root}`, error)
  }

  /** A lost disk or a store that is away concerns many blocks: some of them are named. */
  #retryLater(staged: Staged, doing: string, error: unknown): void {
    const { log } = this.#o
    const minute = Math.floor(this.#nowMs / RETRY_MS)
    if (minute !== this.#told.minute) this.#told = { minute, count: 0 }
    this.#told.count++
    if (this.#told.count <= TOLD_A_MINUTE)
      log.warn(`${doing}: ${causeText(error)}, will try again in ${RETRY_MS / 1000}s`)
    else if (this.#told.count === TOLD_A_MINUTE + 1) log.warn('more staging blocks have failed in this minute')
    this.#queue.add('failed', staged, this.#nowMs + RETRY_MS)
  }

  // ── what is staged ──────────────────────────────────────────────────────────────────────────────────────────────

  /** What can still be uploaded. */
  get #waiting(): { readonly blocks: number; readonly bytes: number } {
    const { stagedBlocks, stagedBytes } = this.#o.caches
    const damagedBytes = [...this.#damaged].reduce((sum, { block }) => sum + block.length, 0)
    return { blocks: stagedBlocks - this.#damaged.size, bytes: stagedBytes - damagedBytes }
  }

  /** The directory to stage the block in; null: none. */
  #placeFor(block: Block): DiskCache | null {
    const { isOn, thresholdBytes, maxStageWrites, caches } = this.#o
    if (!isOn || this.#closed || this.#writing >= maxStageWrites || this.#isOverdue()) return null
    if (thresholdBytes > 0 && block.length >= thresholdBytes) return null
    const cache = caches.ownerOf(block)
    return cache?.canStage(block.length) ? cache : null
  }

  /** Has some block waited longer than a day past its delay? Looked at once a minute. Writers shall learn of a store that is away
   *  before the only copies of all their work pile up on one disk. */
  #isOverdue(): boolean {
    const nowMs = this.#nowMs
    if (Math.abs(nowMs - this.#overdue.lookedMs) < RETRY_MS) return this.#overdue.isSo
    const latestMs = nowMs - this.#o.uploadDelayMs - DEADLINE_MS
    if (this.#startedMs > latestMs) return false // what an earlier run has left has its chance first
    const late = this.#staged.values().find(staged => staged.addedMs < latestMs && !this.#damaged.has(staged))
    const isSo = late !== undefined
    if (isSo && !this.#overdue.isSo) {
      const since = new Date(late.addedMs).toISOString()
      this.#o.log.error(
        `staging blocks wait for their upload since ${since}: new blocks go straight to the object storage until those are there`,
      )
    }
    if (!isSo && this.#overdue.isSo)
      this.#o.log.info('no staging block is overdue any more: new blocks are staged again')
    this.#overdue = { isSo, lookedMs: nowMs }
    return isSo
  }

  #add(block: Block, cache: DiskCache): Staged {
    const key = blockKey(block.id, block.index)
    const staged = { block, key, cache, addedMs: this.#nowMs, isDurable: false, isRemoved: false }
    this.#queue.delete(key) // the scan may have found it already
    this.#staged.set(key, staged)
    return staged
  }

  /** False once it is stored, or its slice is gone. */
  #isCurrent(staged: Staged): boolean {
    return this.#staged.get(staged.key) === staged
  }

  async #forget(staged: Staged, isUploaded: boolean): Promise<void> {
    this.#staged.delete(staged.key)
    this.#queue.delete(staged.key)
    this.#damaged.delete(staged)
    await staged.cache.unstage(staged.block, isUploaded)
  }

  get #nowMs(): number {
    const { sec, nsec } = this.#o.clock.now()
    return sec * 1000 + nsec / 1e6
  }
}
