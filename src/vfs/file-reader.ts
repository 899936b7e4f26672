/** File bytes from slices (spec vfs section 2.5): the chunk's view from meta, blocks from chunk, zeros for holes. Keeps
 *  nothing itself: views are cached in meta, blocks in chunk. Answers at once when both do; copies nothing. */

import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { AssertionFailure } from '../base/assert.ts'
import { EBADF, EINTR, ENOENT, type Errno, isErrno } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'
import { type Ino, inoToString } from '../base/ino.ts'
import { chain, isPromise, type Maybe } from '../base/maybe.ts'
import type { ChunkStore } from '../chunk/chunk-store.ts'
import type { Cancel, Meta } from '../meta/meta.ts'
import { CHUNK_BYTES, firstEndingAfter, type SliceRecord } from '../meta/model/slice.ts'

/** Never written to: holes of every file are views of it. */
const ZEROS = Buffer.alloc(1 << 20)
/** A reply of more pieces is joined: writev(2) takes 1024, and each piece costs more than copying its few bytes. */
const MAX_PIECES = 256
/** of the lists within one read, for which a failure does not count */
const MAX_RENEWALS = 10

type Bytes = readonly Buffer[]
/** of the chunks that a read touches */
type Lists = readonly (readonly SliceRecord[] | Errno)[]

export interface FileReaderOptions {
  readonly meta: Meta
  readonly chunks: ChunkStore
  /** attempts, the first one included */
  readonly ioRetries: number
}

export class FileReader {
  readonly #o: FileReaderOptions

  constructor(options: FileReaderOptions) {
    this.#o = options
  }

  /** Bytes [from, to), which lie within the file. EBADF: the file is gone; EINTR: given up while waiting to try again.
   *  After the last attempt: Fault. */
  read(cancel: Cancel, ino: Ino, from: number, to: number): Maybe<Bytes | Errno> {
    let bytes: Maybe<Bytes | Errno>
    try {
      bytes = this.#attempt(ino, from, to)
    } catch (error) {
      return this.#tryAgain(cancel, ino, from, to, error)
    }
    return isPromise(bytes) ? bytes.catch(error => this.#tryAgain(cancel, ino, from, to, error)) : bytes
  }

  /** Starts fetching the blocks that hold [from, to). Never fails: whoever reads them will. */
  prefetch(ino: Ino, from: number, to: number): void {
    for (let at = from; at < to; ) {
      const index = Math.floor(at / CHUNK_BYTES)
      const start = at - index * CHUNK_BYTES
      const end = Math.min(CHUNK_BYTES, start + to - at)
      try {
        const view = this.#o.meta.readChunk(ino, index)
        if (isPromise(view)) view.then(known => this.#prefetchView(known, start, end)).catch(() => {})
        else this.#prefetchView(view, start, end)
      } catch {
        return
      }
      at += end - start
    }
  }

  #prefetchView(view: readonly SliceRecord[] | Errno, from: number, to: number): void {
    if (isErrno(view)) return
    for (let i = firstEndingAfter(view, from); i < view.length && view[i]!.pos < to; i++) {
      const s = view[i]!
      if (s.id === 0) continue
      const start = Math.max(from, s.pos)
      const end = Math.min(to, s.pos + s.len)
      this.#o.chunks.prefetch({ id: s.id, size: s.size }, s.off + start - s.pos, end - start)
    }
  }

  /** Counted are attempts with lists that were still so afterwards. Where another client has compacted meanwhile, what the old list named
   *  may be deleted already, which says nothing of the store. */
  async #tryAgain(cancel: Cancel, ino: Ino, from: number, to: number, first: unknown): Promise<Bytes | Errno> {
    let failure = first
    let tried: Lists | null = null
    for (let failures = 1, renewals = 0; ; ) {
      if (failure instanceof AssertionFailure) throw failure
      if (failure instanceof Fault && failure.isPermanent) break
      if (cancel.cancelled) return EINTR
      try {
        const lists: Lists = await this.#listAnew(ino, from, to)
        const isNews = renewals < MAX_RENEWALS && !isDeepStrictEqual(lists, tried)
        if (isNews) renewals++
        else if (++failures >= this.#o.ioRetries) break
        tried = lists
      } catch (error) {
        failure = error
        if (++failures >= this.#o.ioRetries) break
      }
      await sleep(retryDelayMs(failures))
      try {
        return await this.#attempt(ino, from, to)
      } catch (error) {
        failure = error
      }
    }
    throw new Fault(`read inode ${inoToString(ino)} at ${from} + ${to - from}`, { cause: failure })
  }

  async #listAnew(ino: Ino, from: number, to: number): Promise<Lists> {
    const indexes: number[] = []
    for (let i = Math.floor(from / CHUNK_BYTES); i * CHUNK_BYTES < to; i++) indexes.push(i)
    for (const index of indexes) this.#o.meta.forgetChunks(ino, index)
    return await Promise.all(indexes.map(index => this.#o.meta.readChunk(ino, index)))
  }

  #attempt(ino: Ino, from: number, to: number): Maybe<Bytes | Errno> {
    const index = Math.floor(from / CHUNK_BYTES)
    const start = from - index * CHUNK_BYTES
    if (to <= (index + 1) * CHUNK_BYTES) return this.#part(ino, index, start, start + to - from)
    const parts: Maybe<Bytes | Errno>[] = [this.#part(ino, index, start, CHUNK_BYTES)]
    for (let i = index + 1; i * CHUNK_BYTES < to; i++) {
      parts.push(this.#part(ino, i, 0, Math.min(CHUNK_BYTES, to - i * CHUNK_BYTES)))
    }
    return whenAll(parts, known => {
      for (const part of known) if (isErrno(part)) return part
      return joinMany((known as Bytes[]).flat())
    })
  }

  /** Bytes [from, to) of a chunk. */
  #part(ino: Ino, index: number, from: number, to: number): Maybe<Bytes | Errno> {
    return chain(this.#o.meta.readChunk(ino, index), view => {
      if (isErrno(view)) return view === ENOENT ? EBADF : view
      return this.#fromView(view, from, to)
    })
  }

  #fromView(view: readonly SliceRecord[], from: number, to: number): Maybe<Bytes> {
    const parts: Maybe<Bytes>[] = []
    let at = from
    for (let i = firstEndingAfter(view, from); i < view.length && at < to; i++) {
      const s = view[i]!
      const end = Math.min(to, s.pos + s.len)
      parts.push(
        s.id === 0 ? zeros(end - at) : this.#o.chunks.read({ id: s.id, size: s.size }, s.off + at - s.pos, end - at),
      )
      at = end
    }
    if (at < to) parts.push(zeros(to - at))
    if (parts.length === 1) return parts[0]!
    return whenAll(parts, known => joinMany(known.flat()))
  }
}

function zeros(length: number): Buffer[] {
  const pieces: Buffer[] = []
  for (let left = length; left > 0; left -= ZEROS.length) pieces.push(ZEROS.subarray(0, Math.min(left, ZEROS.length)))
  return pieces
}

const joinMany = (pieces: Buffer[]): Buffer[] => (pieces.length > MAX_PIECES ? [Buffer.concat(pieces)] : pieces)

function whenAll<T, U>(parts: Maybe<T>[], next: (known: T[]) => U): Maybe<U> {
  return parts.some(isPromise) ? Promise.all(parts).then(next) : next(parts as T[])
}

/** Spec section 2.2: 1, 301, 601, … ms, and ten seconds when it goes on. */
const retryDelayMs = (attempt: number): number => (attempt < 30 ? 1 + 300 * (attempt - 1) : 10_000)
