/** Everything written to one inode by this process and not yet named in the metadata, whatever handle it came through
 *  (spec vfs section 3).
 *
 *      write ─► chunk writers ─► slices ─► blocks stored ─► writeSlice ─► finished
 *                                               └ failure ─► sticky error, told by the next write, flush, fsync, close
 *
 *  Unlike the reference, a flush does not hold up writers: it waits for the slices that are there when it begins. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock, Time } from '../base/clock.ts'
import { timeIsLess } from '../base/clock.ts'
import { EDQUOT, EIO, ENOENT, ENOSPC, type Errno, isErrno } from '../base/errno.ts'
import { causeText, Fault } from '../base/fault.ts'
import { type Ino, inoToString } from '../base/ino.ts'
import type { Log } from '../base/log.ts'
import { isPromise } from '../base/maybe.ts'
import type { ChunkStore, SliceName } from '../chunk/chunk-store.ts'
import type { Meta } from '../meta/meta.ts'
import type { Attr } from '../meta/model/attr.ts'
import { CHUNK_BYTES } from '../meta/model/slice.ts'
import { ChunkWriter, type ChunkWriterOptions } from './chunk-writer.ts'
import { OpenSlice, type Stored } from './open-slice.ts'

/** more slices than this are too many: the older ones are sent off */
const MANY_SLICES = 800
/** with so many open slices a write waits */
const MAX_SLICES = 1000
const ID_RETRY_MS = 100
/** An id is asked for this long, then the data is given up: the engine may be down for minutes. */
const ID_PATIENCE_MS = 5 * 60_000

export interface FileWriterOptions {
  readonly ino: Ino
  readonly meta: Meta
  readonly chunks: ChunkStore
  readonly clock: Clock
  readonly log: Log
  /** the first slice was begun, so the timers must look here */
  readonly onDirty: (file: FileWriter) => void
  /** a slice was named: its record is stored, its blocks may not be durable yet */
  readonly onCommitted: (ino: Ino, slice: SliceName, attr: Attr) => void
}

export class FileWriter {
  readonly #o: FileWriterOptions
  readonly #chunks = new Map<number, ChunkWriter>()
  #sliceCount = 0
  /** end of the written bytes while any wait here */
  #end = 0
  /** length without them, as last known */
  #storedLength = 0
  /** time of the last write, or what utimens set since */
  #mtime: Time | undefined
  /** mtime of the last commit that was not pinned */
  #committedMtime: Time | undefined
  #lastGrowing: OpenSlice | null = null
  #lastGrowingChunk = 0
  #failure: Errno | undefined

  constructor(options: FileWriterOptions) {
    this.#o = options
  }

  /** What became of earlier writes; stays for as long as the file is open for writing. */
  get failure(): Errno | undefined {
    return this.#failure
  }
  get isDirty(): boolean {
    return this.#sliceCount > 0
  }
  /** end of what waits here; 0 where nothing does */
  get end(): number {
    return this.isDirty ? this.#end : 0
  }

  /** Attributes as a reader of this process must see them: with what waits here. */
  shown(attr: Attr): Attr {
    if (!this.isDirty || this.#mtime === undefined) return attr
    const mtime = this.#mtime
    const ctime = timeIsLess(attr.ctime, mtime) ? mtime : attr.ctime
    return { ...attr, length: Math.max(attr.length, this.#end), mtime, ctime }
  }

  /** undefined, or what a write must wait for before `write`: buffers or slices are used up. */
  room(): Promise<void> | undefined {
    if (this.#sliceCount >= MAX_SLICES) return this.#anyHead()
    return this.#o.chunks.roomToWrite()
  }

  /** Copies `data`. `storedLength`: of the file as the metadata knows it. */
  write(offset: number, data: Buffer, storedLength: number): void {
    const { clock } = this.#o
    const nowMs = clock.monotonicMs()
    const mtime = clock.now()
    if (!this.isDirty) this.#end = 0
    this.#storedLength = storedLength
    for (let at = 0; at < data.length; ) {
      const index = Math.floor((offset + at) / CHUNK_BYTES)
      const pos = offset + at - index * CHUNK_BYTES
      const count = Math.min(data.length - at, CHUNK_BYTES - pos)
      this.#chunk(index).write(pos, count === data.length ? data : data.subarray(at, at + count), nowMs, mtime)
      at += count
      this.#end = Math.max(this.#end, offset + at)
    }
    this.#mtime = mtime
    if (this.#sliceCount > MANY_SLICES) this.#freezeOlderHalf()
  }

  /** Bytes that were accepted could not be kept: whoever flushes or closes is told. */
  lost(): void {
    this.#fail(EIO)
  }

  /** utimens: the data written so far was written at that time. */
  setMtime(mtime: Time): void {
    this.#mtime = mtime
    this.#committedMtime = undefined
    for (const chunk of this.#chunks.values()) {
      for (const slice of chunk.slices) {
        slice.mtime = mtime
        slice.pinned = true
      }
    }
  }

  /** Sends off everything and waits until it is named; then the sticky error. Writers may go on meanwhile. */
  flush(): Promise<Errno | undefined> | Errno | undefined {
    if (!this.isDirty) return this.#failure
    const waiting: Promise<void>[] = []
    for (const chunk of this.#chunks.values()) {
      chunk.freezeAll()
      const last = chunk.slices[chunk.slices.length - 1]
      if (last) waiting.push(last.finished) // the earlier ones of the chunk are finished before it
    }
    return Promise.all(waiting).then(() => this.#failure)
  }

  /** Does data of [from, to) wait here? What does not, the metadata knows already. */
  overlaps(from: number, to: number): boolean {
    for (const chunk of this.#chunks.values()) {
      const start = chunk.index * CHUNK_BYTES
      if (chunk.overlaps(from - start, to - start)) return true
    }
    return false
  }

  /** Freezes the growing slices for which `isDue` says yes. */
  freezeWhere(isDue: (slice: OpenSlice) => boolean): void {
    for (const chunk of this.#chunks.values()) {
      for (const slice of chunk.slices) if (!slice.isFrozen && isDue(slice)) chunk.freeze(slice)
    }
  }

  *growing(): Generator<OpenSlice> {
    for (const chunk of this.#chunks.values()) for (const slice of chunk.slices) if (!slice.isFrozen) yield slice
  }

  #chunk(index: number): ChunkWriter {
    let chunk = this.#chunks.get(index)
    if (chunk === undefined) {
      chunk = new ChunkWriter(this.#chunkOptions(index))
      this.#chunks.set(index, chunk)
    }
    return chunk
  }

  #chunkOptions(index: number): ChunkWriterOptions {
    return {
      index,
      newSlice: (pos, endInFile, nowMs, mtime) => this.#newSlice(index, pos, endInFile, nowMs, mtime),
      store: slice => this.#store(slice),
      commit: (_index, slice, stored) => this.#commit(index, slice, stored),
      finished: chunk => {
        this.#sliceCount--
        if (chunk.slices.length === 0) this.#chunks.delete(index)
        if (this.#sliceCount === 0) this.#lastGrowing = null
      },
    }
  }

  #newSlice(index: number, pos: number, endInFile: number, nowMs: number, mtime: Time): OpenSlice {
    const grows = endInFile > Math.max(this.#end, this.#storedLength)
    const after = grows && index > this.#lastGrowingChunk ? this.#lastGrowing : null
    const writer = this.#o.chunks.newWriter()
    const slice = new OpenSlice({ pos, writer, nowMs, mtime, after })
    if (grows) {
      this.#lastGrowing = slice
      this.#lastGrowingChunk = index
    }
    if (this.#sliceCount++ === 0) this.#o.onDirty(this)
    this.#identify(slice)
    return slice
  }

  /** The id is asked for at once, so that full blocks can leave while writing goes on. */
  #identify(slice: OpenSlice): void {
    try {
      const id = this.#o.meta.newSliceId()
      if (isPromise(id)) slice.identified = id.then(known => slice.writer.setId(known))
      else slice.writer.setId(id)
    } catch (error) {
      slice.identified = Promise.reject(error)
    }
    slice.identified?.catch(() => {}) // looked at when it is frozen
  }

  async #store(slice: OpenSlice): Promise<Stored> {
    try {
      if (slice.identified) await slice.identified.catch(error => this.#insistOnId(slice, error))
      return await slice.writer.finish()
    } catch (error) {
      const { log, ino } = this.#o
      log.error(`store data of inode ${inoToString(ino)}: ${causeText(error)}`)
      slice.writer.abort().catch(() => {}) // nothing names what is left: garbage that gc finds
      return errnoOfFailure(error)
    }
  }

  async #insistOnId(slice: OpenSlice, first: unknown): Promise<void> {
    const { meta, clock } = this.#o
    const giveUpMs = clock.monotonicMs() + ID_PATIENCE_MS
    for (let failure = first; ; ) {
      if (clock.monotonicMs() >= giveUpMs) throw new Fault('no id for a slice', { cause: failure })
      await sleep(ID_RETRY_MS)
      try {
        slice.writer.setId(await meta.newSliceId())
        return
      } catch (error) {
        failure = error
      }
    }
  }

  async #commit(index: number, slice: OpenSlice, stored: Stored): Promise<void> {
    if (isErrno(stored)) {
      this.#fail(stored)
      return
    }
    if (stored.size === 0) return
    const { ino, meta, log, onCommitted } = this.#o
    const { id, size } = stored
    try {
      const mtime = this.#mtimeOf(slice)
      const named = meta.writeSlice(ino, index, slice.pos, { id, size, off: 0, len: size }, mtime)
      const attr = isPromise(named) ? await named : named
      if (!isErrno(attr)) {
        onCommitted(ino, stored, attr)
        return
      }
      // A verdict is certain: nothing names these blocks.
      this.#o.chunks.remove(stored).catch(error => log.warn(`remove slice ${id}: ${causeText(error)}`))
      this.#fail(attr)
    } catch (error) {
      // The commit may have happened all the same: the blocks stay.
      log.error(`commit slice ${id} of inode ${inoToString(ino)}: ${causeText(error)}`)
      this.#fail(errnoOfFailure(error))
    }
  }

  #fail(errno: Errno): void {
    this.#failure ??= errno === ENOENT || errno === ENOSPC || errno === EDQUOT ? errno : EIO
  }

  /** The time of the slice's last write. Slices of several chunks may be named out of that order; then time goes on by a
   *  nanosecond instead of going back, since an equal or known mtime would tell other clients that nothing changed. */
  #mtimeOf(slice: OpenSlice): Time {
    if (slice.pinned) return slice.mtime
    const last = this.#committedMtime
    if (last !== undefined && !timeIsLess(last, slice.mtime)) {
      this.#committedMtime =
        last.nsec === 999_999_999 ? { sec: last.sec + 1, nsec: 0 } : { ...last, nsec: last.nsec + 1 }
    } else this.#committedMtime = slice.mtime
    return this.#committedMtime
  }

  #freezeOlderHalf(): void {
    for (const chunk of this.#chunks.values()) {
      for (const slice of chunk.slices.slice(0, Math.ceil(chunk.slices.length / 2))) chunk.freeze(slice)
    }
  }

  /** Until one of the oldest slices is finished. */
  #anyHead(): Promise<void> {
    this.#freezeOlderHalf()
    return Promise.race([...this.#chunks.values()].flatMap(chunk => chunk.slices[0]?.finished ?? []))
  }
}

/** A full disk below the object store or the metadata is the one failure that the writer should hear by its name. */
function errnoOfFailure(error: unknown): Errno {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof Fault && (cause.errno === ENOSPC || cause.errno === EDQUOT)) return cause.errno
    const code = (cause as { code?: unknown }).code
    if (code === 'ENOSPC') return ENOSPC
    if (code === 'EDQUOT') return EDQUOT
  }
  return EIO
}
