/** Slices that are stored and named but perhaps not durable, by inode: what an fsync(2) has to wait for, also when another
 *  handle wrote them and was closed long ago. Bounded: beyond the limit the oldest are made durable in the background.
 *
 *  The kernel tells a failed write-back of a file once, then takes its pages for clean. So whoever waits for a sync hears
 *  that it failed, and a failure in the background is kept for the next fsync: a second attempt that succeeds proves nothing. */

import type { Ino } from '../base/ino.ts'
import type { ChunkStore, SliceName } from '../chunk/chunk-store.ts'

const LIMIT = 8192

interface Failure {
  readonly error: unknown
}
/** A sync that runs; what fails comes back into the map before it is over. */
interface Flight {
  readonly slices: readonly SliceName[]
  readonly over: Promise<Failure | undefined>
}

export class UnsyncedSlices {
  readonly #chunks: ChunkStore
  /** by inode, then by slice id */
  readonly #byFile = new Map<Ino, Map<number, SliceName>>()
  #count = 0
  readonly #flights = new Map<Ino, Flight>()
  readonly #failed = new Map<Ino, Failure>()
  #inBackground = false

  constructor(chunks: ChunkStore) {
    this.#chunks = chunks
  }

  get count(): number {
    return this.#count
  }

  add(ino: Ino, slice: SliceName): void {
    this.#put(ino, [slice])
    this.#relieve()
  }

  /** `target` now shows slices of `source` (copy_file_range): an fsync of it must wait for them as well. */
  share(source: Ino, target: Ino): void {
    if (source === target) return
    this.#put(target, [...(this.#byFile.get(source)?.values() ?? []), ...(this.#flights.get(source)?.slices ?? [])])
    const failure = this.#failed.get(source)
    if (failure) this.#failed.set(target, failure)
    this.#relieve()
  }

  /** The file is gone: nobody can ask for its data. */
  forget(ino: Ino): void {
    this.#take(ino)
    this.#failed.delete(ino)
  }

  /** Resolves when everything named so far of this inode is durable; rejects, and remembers, when it is not. */
  async sync(ino: Ino): Promise<void> {
    // Another fsync has taken slices that this one must wait for, too.
    for (let flight = this.#flights.get(ino); flight; flight = this.#flights.get(ino)) {
      const failure = await flight.over
      if (failure) throw failure.error
    }
    const earlier = this.#failed.get(ino)
    this.#failed.delete(ino)
    if (earlier) throw earlier.error
    if (!this.#byFile.has(ino)) return
    const failure = await this.#start([ino])
    if (failure) throw failure.error
  }

  /** Everything that was named so far, of all files. */
  async syncAll(): Promise<void> {
    const running = await Promise.all([...this.#flights.values()].map(flight => flight.over))
    const mine = await this.#start([...this.#byFile.keys()].filter(ino => !this.#flights.has(ino)))
    for (const failure of [...running, mine]) if (failure) throw failure.error
  }

  #start(inos: readonly Ino[]): Promise<Failure | undefined> {
    const taken = inos.map(ino => ({ ino, slices: this.#take(ino) }))
    const over = this.#chunks
      .sync(taken.flatMap(({ slices }) => slices))
      .then(
        () => undefined,
        (error): Failure => ({ error }),
      )
      .then(failure => {
        for (const { ino, slices } of taken) {
          this.#flights.delete(ino)
          if (failure) this.#put(ino, slices)
        }
        return failure
      })
    for (const { ino, slices } of taken) this.#flights.set(ino, { slices, over })
    return over
  }

  #relieve(): void {
    if (this.#inBackground || this.#count <= LIMIT) return
    const oldest: Ino[] = []
    let left = this.#count
    for (const [ino, slices] of this.#byFile) {
      if (left <= LIMIT / 2) break
      if (this.#flights.has(ino)) continue
      oldest.push(ino)
      left -= slices.size
    }
    if (oldest.length === 0) return
    this.#inBackground = true
    void this.#start(oldest).then(failure => {
      this.#inBackground = false
      if (failure) for (const ino of oldest) this.#failed.set(ino, failure)
    })
  }

  #put(ino: Ino, slices: readonly SliceName[]): void {
    if (slices.length === 0) return
    let known = this.#byFile.get(ino)
    if (known === undefined) {
      known = new Map()
      this.#byFile.set(ino, known)
    }
    this.#count -= known.size
    for (const slice of slices) known.set(slice.id, slice)
    this.#count += known.size
  }

  #take(ino: Ino): SliceName[] {
    const slices = [...(this.#byFile.get(ino)?.values() ?? [])]
    this.#byFile.delete(ino)
    this.#count -= slices.length
    return slices
  }
}
