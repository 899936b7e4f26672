/** Blocks as objects: key, codec, time-out, retry, concurrency, bandwidth and metrics of every object request stand here once.
 *
 *  Retries: a put is repeated here (its repetition is harmless: same key, same bytes); a get is not, the reader of the file
 *  repeats it (spec data-objects section 5.1). A time-out abandons the attempt but cannot end it: an abandoned put may still end
 *  well, and counts then, and it looks at the bytes, therefore the caller learns by `release` when nobody does any more.
 *
 *  Bandwidth: an upload waits for its encoded length before each attempt, a download for the length asked for before the request,
 *  or, where objects are encoded and nobody knows it, for the received length after it (section 5.2). Time-outs do not count that. */

import { assert } from '../base/assert.ts'
import { ignore } from '../base/call.ts'
import type { Clock } from '../base/clock.ts'
import { EDQUOT, ENOENT, ENOSPC } from '../base/errno.ts'
import { causeText, Fault } from '../base/fault.ts'
import type { Log } from '../base/log.ts'
import { type Counter, exponentialBuckets, type Histogram, type Metrics } from '../base/metrics.ts'
import { drop } from '../base/own-memory.ts'
import type { RateLimit } from '../object/rate-limit.ts'
import { ObjectMissing, type ObjectStore } from '../object/store.ts'
import type { Codec } from './codec.ts'
import { type DownloadSize, Hedges, sizeOf } from './hedges.ts'
import { type Block, objectKey } from './keys.ts'
import { PutAttempts } from './put-attempts.ts'
import { Slots } from './slots.ts'

const SLOW_REQUEST_MS = 10_000
/** of a put to a store that is full; space may just be on its way */
const FULL_RETRIES = 2
/** of a sync while the store is away: a minute, since an unmount waits for it */
const AWAY_RETRIES = 5
type Method = 'GET' | 'PUT' | 'DELETE'

export interface PutHooks {
  /** Is it in vain to go on? */
  readonly stop: () => boolean
  /** Called once, when the bytes are borrowed no longer: just before the answer, or long after. */
  readonly release: (stored: boolean) => void
  /** the first one included; absent: as many as `ioRetries` says */
  readonly attempts?: number
}

export interface BlockObjectsOptions {
  readonly store: ObjectStore
  readonly codec: Codec
  readonly hashPrefix: boolean
  readonly maxUploads: number
  readonly maxDownloads: number
  readonly getTimeoutMs: number
  readonly putTimeoutMs: number
  readonly ioRetries: number
  readonly clock: Clock
  readonly log: Log
  readonly metrics: Metrics
  /** absent: unlimited */
  readonly uploadLimit?: RateLimit
  readonly downloadLimit?: RateLimit
  /** of new objects, for the labels of metrics; absent or empty: the bucket's own */
  readonly storageClass?: string
  /** between attempts; the tests' is shorter */
  readonly pause: (ms: number) => Promise<unknown>
}

export class BlockObjects {
  /** Can a part of a block be fetched alone? */
  readonly rangeReads: boolean
  readonly #o: BlockObjectsOptions
  readonly #uploads: Slots
  /** Encoded bytes are as large as the block may be: no more of them at a time than can be uploaded. */
  readonly #encodings: Slots
  readonly #downloads: Slots
  readonly #durations: Histogram
  readonly #bytes: Counter
  readonly #errors: Counter
  readonly #hedged: Counter
  readonly #hedges = new Hedges()
  readonly #labels: Readonly<Record<Method, string>>
  /** downloads of whole objects that took longer than their time-out and go on, by key */
  readonly #givenUp = new Map<string, Promise<Buffer>>()
  /** attempts to put that were given up and go on, by key */
  readonly #unended = new Map<string, Promise<unknown>>()
  #uploading = 0
  #encodedBytes = 0

  constructor(options: BlockObjectsOptions) {
    this.#o = options
    this.rangeReads = options.codec.plain && options.store.limits.rangeReads
    this.#uploads = new Slots(options.maxUploads)
    this.#encodings = new Slots(options.codec.plain ? Number.POSITIVE_INFINITY : options.maxUploads)
    this.#downloads = new Slots(options.maxDownloads)
    const { metrics } = options
    const labels = ['method', 'storage_class']
    this.#durations = metrics.histogram(
      'object_request_durations_histogram_seconds',
      'Object requests latency distributions.',
      exponentialBuckets(0.01, 1.5, 25),
      labels,
    )
    this.#bytes = metrics.counter('object_request_data_bytes', 'Object requests size in bytes.', labels)
    this.#errors = metrics.counter('object_request_errors', 'failed requests to object store')
    this.#hedged = metrics.counter('object_request_hedged', 'downloads that were slow and requested a second time')
    const storageClass = options.storageClass || 'STANDARD'
    this.#labels = { GET: `GET,${storageClass}`, PUT: `PUT,${storageClass}`, DELETE: 'DELETE,' }
    metrics.gauge('object_request_uploading', 'number of uploading requests to object store', () => this.#uploading)
  }

  /** memory that blocks on their way into the store take besides their own: what they were encoded into, and copies of that */
  get encodedBytes(): number {
    return this.#encodedBytes
  }

  key(block: Block): string {
    return objectKey(block, this.#o.hashPrefix)
  }

  /** The whole plain block, exactly its length, frozen. One attempt. */
  async get(block: Block): Promise<Buffer> {
    const key = this.key(block)
    const expected = this.#o.codec.plain ? block.length : undefined
    const get = (): Promise<Buffer> => this.#takeGivenUp(key) ?? this.#o.store.get(key, undefined, expected)
    const isJoined = this.#givenUp.has(key)
    const onGivenUp = isJoined ? undefined : (download: Promise<Buffer>) => this.#keepGivenUp(key, download)
    const body = await this.#download(key, block.length, get, onGivenUp)
    try {
      return await this.#o.codec.decompress(body, block.length)
    } catch (error) {
      throw new Fault(`object ${key}`, { cause: error })
    }
  }

  /** Plain bytes [offset, offset + length) of the block; only where `rangeReads`. One attempt. */
  async getRange(block: Block, offset: number, length: number): Promise<Buffer> {
    const key = this.key(block)
    const bytes = await this.#download(key, length, () => this.#o.store.get(key, { offset, length }))
    if (bytes.length !== length) {
      throw new Fault(`object ${key} is short: ${bytes.length} bytes at ${offset} instead of ${length}`)
    }
    return bytes
  }

  /** Stores a block. Repeats up to `ioRetries` times with pauses of 1, 4, 9 … seconds (a full store: twice), unless `stop` says that it is in
   *  vain. */
  async put(block: Block, bytes: Buffer, hooks: PutHooks): Promise<void> {
    let body: Buffer | undefined
    let bodyBytes = 0
    let attempts: PutAttempts | undefined
    let stored = false
    const release = (): void => {
      this.#encodedBytes -= bodyBytes
      if (body && body !== bytes) drop(body)
      hooks.release(stored)
    }
    await this.#encodings.enter()
    try {
      const encoded = await this.#o.codec.compress(bytes)
      body = encoded
      if (body !== bytes) bodyBytes = body.buffer.byteLength
      this.#encodedBytes += bodyBytes
      const key = this.key(block)
      attempts = new PutAttempts(() => this.#attempt(key, encoded))
      await this.#putWithRetries(key, encoded.length, hooks, attempts)
      stored = true
    } finally {
      this.#encodings.leave()
      if (attempts === undefined || attempts.running.size === 0) release()
      else void this.#awaitEnd(this.key(block), attempts).then(release)
    }
  }

  async #attempt(key: string, body: Buffer): Promise<void> {
    const { store } = this.#o
    // Memory that was freed too early has no length: better no object than an empty one.
    assert(body.length > 0, `object ${key} has bytes`)
    const copiedBytes = store.limits.copiesBodies ? body.length : 0
    this.#encodedBytes += copiedBytes
    try {
      await store.put(key, body)
    } finally {
      this.#encodedBytes -= copiedBytes
    }
  }

  /** Resolves when no attempt can change the object any more. */
  async #awaitEnd(key: string, attempts: PutAttempts): Promise<void> {
    const ended = Promise.allSettled(attempts.running)
    this.#unended.set(key, ended)
    await ended
    if (this.#unended.get(key) === ended) this.#unended.delete(key)
  }

  /** Is the block stored? */
  async exists(block: Block): Promise<boolean> {
    return (await this.#o.store.head(this.key(block))) !== null
  }

  async delete(block: Block): Promise<void> {
    const key = this.key(block)
    await this.#request('DELETE', key, this.#o.putTimeoutMs, () => this.#o.store.delete(key))
  }

  /** Makes stored blocks durable. Repeated, as a put is, only while the store is not there (ENOENT): of a failed write-back
   *  the kernel tells once, and a second attempt would prove nothing. */
  async sync(blocks: readonly Block[]): Promise<void> {
    const { store, ioRetries, pause, log } = this.#o
    const retries = Math.min(AWAY_RETRIES, ioRetries)
    if (blocks.length === 0 || store.sync === undefined) return
    const keys = blocks.map(block => this.key(block))
    // One of them may yet put an unsynced copy in the place of what is synced now.
    await Promise.all(keys.map(key => this.#unended.get(key)))
    for (let attempt = 0; ; attempt++) {
      if (attempt > 0) await pause(attempt * attempt * 1000)
      try {
        return await store.sync(keys)
      } catch (error) {
        if (attempt >= retries || !(error instanceof Fault) || error.errno !== ENOENT) throw error
        log.warn(`${error.message}, will try again`)
      }
    }
  }

  async #putWithRetries(
    key: string,
    bytes: number,
    { stop, attempts: limit }: PutHooks,
    attempts: PutAttempts,
  ): Promise<void> {
    const most = limit === undefined ? this.#o.ioRetries : limit - 1
    for (let attempt = 0; ; attempt++) {
      if (attempt > 0) await attempts.orEarlier(this.#o.pause(attempt * attempt * 1000))
      if (attempts.isStored) return
      await this.#uploads.enter()
      this.#uploading++
      try {
        await this.#o.uploadLimit?.pay(bytes)
        if (stop()) throw new Fault(`put object ${key}: given up`)
        await attempts.orEarlier(this.#request('PUT', key, this.#o.putTimeoutMs, attempts.start))
        this.#bytes.add(bytes, this.#labels.PUT)
        return
      } catch (error) {
        if (attempt >= Math.min(most, this.#retriesAfter(error)) || stop()) throw error
        this.#o.log.warn(`${causeText(error)}, will try again`)
      } finally {
        this.#uploading--
        this.#uploads.leave()
      }
    }
  }

  /** A full store is told to the writer soon: waiting for minutes does not make room. */
  #retriesAfter(error: unknown): number {
    const isFull = error instanceof Fault && (error.errno === ENOSPC || error.errno === EDQUOT)
    return isFull ? Math.min(FULL_RETRIES, this.#o.ioRetries) : this.#o.ioRetries
  }

  /** A slow line would never get through if each attempt began again; the next one waits for the rest, once. */
  #keepGivenUp(key: string, download: Promise<Buffer>): void {
    this.#givenUp.set(key, download)
    const forget = (): void => {
      if (this.#givenUp.get(key) === download) this.#givenUp.delete(key)
    }
    download.then(forget, forget)
  }

  #takeGivenUp(key: string): Promise<Buffer> | undefined {
    const download = this.#givenUp.get(key)
    this.#givenUp.delete(key)
    return download
  }

  /** `plainBytes`: what is asked for, before any encoding. */
  async #download(
    key: string,
    plainBytes: number,
    get: () => Promise<Buffer>,
    onGivenUp?: (download: Promise<Buffer>) => void,
  ): Promise<Buffer> {
    const { codec, downloadLimit, getTimeoutMs } = this.#o
    await this.#downloads.enter()
    try {
      if (codec.plain) await downloadLimit?.pay(plainBytes)
      const getFirst = (): Promise<Buffer> => this.#getFirst(sizeOf(plainBytes), get)
      const body = await this.#request('GET', key, getTimeoutMs, getFirst, onGivenUp)
      this.#bytes.add(body.length, this.#labels.GET)
      if (!codec.plain) await downloadLimit?.pay(body.length)
      return body
    } finally {
      this.#downloads.leave()
    }
  }

  /** The first answer to one request, or to two where the first is slow (hedges.ts). A failure is told at once while there is one
   *  request only. */
  async #getFirst(size: DownloadSize, get: () => Promise<Buffer>): Promise<Buffer> {
    const timed = async (): Promise<Buffer> => {
      const startedMs = this.#o.clock.monotonicMs()
      const body = await get()
      this.#hedges.observe(size, this.#o.clock.monotonicMs() - startedMs)
      return body
    }
    const slowMs = this.#hedges.begin(size)
    const first = timed()
    // Under a limit the wire is what is slow.
    if (slowMs === Number.POSITIVE_INFINITY || this.#o.downloadLimit?.isUnlimited === false) return first
    let timer: NodeJS.Timeout | undefined
    const slow = new Promise<null>(resolve => {
      timer = setTimeout(resolve, slowMs, null)
    })
    try {
      const body = await Promise.race([first, slow])
      if (body !== null) return body
    } finally {
      clearTimeout(timer)
    }
    if (!this.#downloads.tryEnter()) return first
    if (!this.#hedges.take()) {
      this.#downloads.leave()
      return first
    }
    this.#hedged.add(1)
    const second = timed().finally(() => this.#downloads.leave())
    try {
      const body = await Promise.any([first, second])
      for (const either of [first, second]) either.then(late => late === body || drop(late), ignore)
      return body
    } catch (error) {
      throw (error as AggregateError).errors[0]
    }
  }

  async #request<T>(
    method: Method,
    key: string,
    timeoutMs: number,
    start: () => Promise<T>,
    onGivenUp?: (running: Promise<T>) => void,
  ): Promise<T> {
    const { clock, log } = this.#o
    const startedMs = clock.monotonicMs()
    const running = start()
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        running.catch(() => {})
        onGivenUp?.(running)
        reject(new Fault(`no answer within ${timeoutMs} ms`))
      }, timeoutMs)
    })
    let failure: unknown
    try {
      return await Promise.race([running, timeout])
    } catch (error) {
      failure = error
      this.#errors.add(1)
      throw named(error, `${method} ${key} (${Math.round(clock.monotonicMs() - startedMs)} ms)`)
    } finally {
      clearTimeout(timer)
      const tookMs = clock.monotonicMs() - startedMs
      this.#durations.observe(tookMs / 1000, this.#labels[method])
      if (tookMs > SLOW_REQUEST_MS) log.warn(`slow request: ${method} ${key} (cost: ${(tookMs / 1000).toFixed(3)}s)`)
      const outcome = failure === undefined ? '<nil>' : causeText(failure)
      log.debug(`${method} ${key} (req_id: "", err: ${outcome}, cost: ${tookMs.toFixed(3)}ms)`)
    }
  }
}

/** With request, object and time before the cause. Whoever asks for a missing object is told its name already. */
function named(error: unknown, request: string): unknown {
  if (error instanceof ObjectMissing) return error
  const { errno, isPermanent } = error instanceof Fault ? error : new Fault('')
  return new Fault(request, { errno, isPermanent, cause: error })
}
