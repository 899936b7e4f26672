/** An engine that is a network round trip away: every request travels, takes effect, and its answer travels back. It
 *  counts the trips, and can list directories in an order of its own, as hashes of Redis are listed. Several clients may share
 *  the same volume, each over an engine of its own. */

import type { Maybe } from '../../../src/base/maybe.ts'
import type {
  Cursor,
  DirEntry,
  Engine,
  Guard,
  Intent,
  Outcome,
  Page,
  ScanKind,
  Scans,
} from '../../../src/meta/engine.ts'
import type { Change, Fact, Read } from '../../../src/meta/facts.ts'

export type Trip = 'gather' | 'commit' | 'scan' | 'allocate'

export interface SlowOptions {
  /** of one way; called for each. A turn of the event loop unless given. */
  readonly travel?: () => Promise<void>
  /** Directories come in the order of a hash, and the cursor is a number. */
  readonly unordered?: boolean
}

export class SlowEngine implements Engine {
  readonly kind = 'slow'
  readonly #inner: Engine
  readonly #travel: () => Promise<void>
  readonly #unordered: boolean
  readonly trips: Record<Trip, number> = { gather: 0, commit: 0, scan: 0, allocate: 0 }
  /** commits that found a guard broken */
  refused = 0
  /** called before a request takes effect; what it throws is the answer, and nothing has happened */
  onRequest: (trip: Trip) => void | Promise<void> = () => {}
  /** called after it took effect; what it throws is the answer, although it has happened */
  onReply: (trip: Trip) => void | Promise<void> = () => {}

  constructor(inner: Engine, options: SlowOptions = {}) {
    this.#inner = inner
    this.#travel = options.travel ?? (() => new Promise(resolve => setImmediate(resolve)))
    this.#unordered = options.unordered ?? false
  }

  get total(): number {
    const { gather, commit, scan, allocate } = this.trips
    return gather + commit + scan + allocate
  }

  /** What `work` costs, in trips of each kind. */
  async count(work: () => Promise<unknown> | unknown): Promise<Record<Trip, number>> {
    const before = { ...this.trips }
    await work()
    const { gather, commit, scan, allocate } = this.trips
    return {
      gather: gather - before.gather,
      commit: commit - before.commit,
      scan: scan - before.scan,
      allocate: allocate - before.allocate,
    }
  }

  prepare(): Maybe<void> {
    return this.#inner.prepare()
  }

  gather(reads: readonly Read[], intent: Intent): Promise<readonly Fact[]> {
    return this.#trip('gather', () => this.#inner.gather(reads, intent))
  }

  async commit(guards: readonly Guard[], changes: readonly Change[]): Promise<Outcome> {
    const outcome = await this.#trip('commit', () => this.#inner.commit(guards, changes))
    if (!outcome.done) this.refused++
    return outcome
  }

  scan<K extends ScanKind>(
    kind: K,
    args: Scans[K]['args'],
    cursor: Cursor | null,
    limit: number,
  ): Promise<Page<Scans[K]['row']>> {
    return this.#trip('scan', () => {
      if (kind !== 'entries' || !this.#unordered) return this.#inner.scan(kind, args, cursor, limit)
      const page = this.#byHash(args as Scans['entries']['args'], cursor as number | null, limit)
      return page as Promise<Page<Scans[K]['row']>>
    })
  }

  allocate(counter: 'nextInode' | 'nextChunk' | 'nextSession' | 'nextTrash', count: number): Promise<number> {
    return this.#trip('allocate', () => this.#inner.allocate(counter, count))
  }

  sync(): Promise<void> {
    return this.#inner.sync()
  }
  close(): Maybe<void> {
    return this.#inner.close()
  }

  /** Entries whose hash is at least the cursor, the smallest first: removing and adding others moves none of them. */
  async #byHash(args: Scans['entries']['args'], cursor: number | null, limit: number): Promise<Page<DirEntry>> {
    const { rows } = await this.#inner.scan('entries', args, null, Number.MAX_SAFE_INTEGER)
    const hashed = rows.map(row => [hashOf(row.name), row] as const).filter(([hash]) => hash >= (cursor ?? 0))
    hashed.sort(([a], [b]) => a - b)
    return { rows: hashed.slice(0, limit).map(([, row]) => row), next: hashed[limit]?.[0] ?? null }
  }

  async #trip<T>(trip: Trip, work: () => Maybe<T>): Promise<T> {
    this.trips[trip]++
    await this.#travel()
    await this.onRequest(trip)
    const answer = await work()
    await this.onReply(trip)
    await this.#travel()
    return answer
  }
}

/** 0 … 2^40, with very few equal ones. */
function hashOf(name: string): number {
  let hash = 7
  for (let i = 0; i < name.length; i++) hash = (hash * 31 + name.charCodeAt(i) * 2654435761) % 2 ** 40
  return hash
}
