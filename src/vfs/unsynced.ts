/** Slices that are stored and named but perhaps not durable, by inode: what an fsync(2) has to wait for, also when another
 *  handle wrote them and was closed long ago. Bounded: beyond the limit the oldest are made durable in the background. */

import type { Ino } from '../base/ino.ts'
import type { ChunkStore, SliceName } from '../chunk/chunk-store.ts'

const LIMIT = 8192

export class UnsyncedSlices {
  readonly #chunks: ChunkStore
  readonly #byFile = new Map<Ino, SliceName[]>()
  #count = 0
  /** the background sync that runs; never rejects (what fails comes back into the map) */
  #background: Promise<void> | null = null
  /** per inode, the sync that runs; never rejects either */
  readonly #running = new Map<Ino, Promise<void>>()

  constructor(chunks: ChunkStore) {
    this.#chunks = chunks
  }

  get count(): number {
    return this.#count
  }

  add(ino: Ino, slice: SliceName): void {
    this.#put(ino, [slice])
    if (this.#count > LIMIT) this.#background ??= this.#syncOldest()
  }

  /** The file is gone: nobody can ask for its data. */
  forget(ino: Ino): void {
    this.#take(ino)
  }

  /** Resolves when everything named so far of this inode is durable; rejects, and remembers, when it is not. */
  async sync(ino: Ino): Promise<void> {
    // Another fsync has taken slices that this one must wait for, too; if it fails they are here again.
    for (;;) {
      const other = this.#running.get(ino) ?? this.#background
      if (other === null) break
      await other
    }
    const slices = this.#take(ino)
    if (slices.length === 0) return
    const synced = this.#chunks.sync(slices)
    const over = synced.then(
      () => {},
      () => this.#put(ino, slices),
    )
    this.#running.set(
      ino,
      over.then(() => {
        this.#running.delete(ino)
      }),
    )
    await this.#running.get(ino)
    await synced
  }

  async #syncOldest(): Promise<void> {
    const taken: [Ino, SliceName[]][] = []
    for (const ino of [...this.#byFile.keys()]) {
      if (this.#count <= LIMIT / 2) break
      taken.push([ino, this.#take(ino)])
    }
    try {
      await this.#chunks.sync(taken.flatMap(([, slices]) => slices))
    } catch {
      for (const [ino, slices] of taken) this.#put(ino, slices) // the next fsync of the file tells
    }
    this.#background = null
  }

  #put(ino: Ino, slices: readonly SliceName[]): void {
    const known = this.#byFile.get(ino)
    if (known) known.push(...slices)
    else this.#byFile.set(ino, [...slices])
    this.#count += slices.length
  }

  #take(ino: Ino): SliceName[] {
    const slices = this.#byFile.get(ino) ?? []
    this.#byFile.delete(ino)
    this.#count -= slices.length
    return slices
  }
}
