/** The face of the chunk room: slices as blocks, blocks as objects (spec data-objects section 1). It knows no files.
 *
 *  Bytes handed out are views of frozen blocks: nobody writes them while somebody holds one. Who tells `returnBuffers` (base/buffer-pool.ts) of a view
 *  has looked for the last time; who never does keeps its block alive. */

import type { Maybe } from '../base/maybe.ts'

/** What names the objects of a slice. */
export interface SliceName {
  readonly id: number
  /** bytes of the whole slice */
  readonly size: number
}

export interface ChunkStore {
  readonly blockBytes: number
  /** Bytes [off, off + len) of a slice, as views in order. Answers at once where the blocks are in memory. One fetch a
   *  block however many ask. Rejects with a Fault (EIO, or ObjectMissing) after one attempt: the reader retries. */
  read(slice: SliceName, off: number, len: number): Maybe<Buffer[]>
  /** Starts fetching the blocks of this range into memory; returns whether anything had to be started. Never throws. */
  prefetch(slice: SliceName, off: number, len: number): boolean
  /** `direct`: blocks are never staged (`--writeback`): stored is stored. */
  newWriter(options?: { readonly direct: boolean }): SliceWriter
  /** Back pressure: undefined, or a promise that resolves when the write buffers are below `--buffer-size` again. */
  roomToWrite(): Promise<void> | undefined
  /** Deletes every object (and cached block) of a slice; goes on after an error and throws the last one. */
  remove(slice: SliceName): Promise<void>
  /** Resolves when the blocks of these slices survive a power cut. */
  sync(slices: readonly SliceName[]): Promise<void>
  /** Fetches the blocks that are not cached into the cache, whatever waits there, until `isCancelled`. Rejects with the first Fault. */
  warm(slice: SliceName, isCancelled?: () => boolean): Promise<void>
  /** Forgets the cached blocks; what is staged stays. */
  evict(slice: SliceName): void
  /** For each block in order, in which cache directory (or `memory`) it is; null: in none. */
  places(slice: SliceName): Promise<{ place: string | null; bytes: number }[]>
  /** Object keys of a slice's blocks below the volume prefix, for `info`. */
  keys(slice: SliceName): { key: string; size: number }[]
  close(): Promise<void>
}

/** One slice being written: bytes are copied into pooled blocks; a full block goes out at once when the id is known. */
export interface SliceWriter {
  /** bytes so far */
  readonly length: number
  /** Can [off, off + len) be taken? Only at or behind the first byte that has not been sent, and without a gap. */
  accepts(off: number, len: number): boolean
  /** Copies `data` to `off`. The caller has asked `accepts`. */
  write(off: number, data: Buffer): void
  /** From now on full blocks are uploaded as they fill. */
  setId(id: number): void
  /** Uploads the rest and resolves when every block is stored; the writer takes no more bytes. Rejects after the configured
   *  retries; what was uploaded is then deleted. */
  finish(): Promise<SliceName>
  /** Gives up: buffers back to the pool, uploaded blocks deleted. */
  abort(): Promise<void>
}
