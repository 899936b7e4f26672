/** Which bytes will be asked for next (spec vfs section 2.3): two sessions a handle, so that two readers of one descriptor,
 *  or a reader of data and its index, do not spoil each other's stream. It only plans; who asks fetches.
 *
 *  How much must be on its way is what the store delivers within its latency, which nobody knows beforehand. A stream that still
 *  waits for blocks which were asked for a whole window ago has too small a window: it grows, a block each time (not in the
 *  reference, which stops at eight blocks: 320 MiB/s where a block takes 100 ms). */

export interface ReadAheadLimits {
  readonly blockBytes: number
  /** of one session */
  readonly maxBytes: number
  /** of one session that waits for the store all the same; absent: no more than that */
  readonly mostBytes?: number
  /** of all sessions of the mount together */
  readonly totalBytes: number
}

/** What all sessions of a mount have claimed: never more than the total. */
export class ReadAheadBudget {
  readonly limits: Required<ReadAheadLimits>
  usedBytes = 0

  constructor(limits: ReadAheadLimits) {
    const { maxBytes, mostBytes = maxBytes, totalBytes } = limits
    this.limits = { ...limits, maxBytes: Math.min(maxBytes, totalBytes), mostBytes: Math.min(mostBytes, totalBytes) }
  }
}

export interface Range {
  readonly from: number
  readonly to: number
}

interface Session {
  lastOffset: number
  /** bytes read in this stream */
  total: number
  window: number
  /** everything before this was asked for already */
  plannedTo: number
  usedAt: number
}

export class ReadAhead {
  readonly #budget: ReadAheadBudget
  readonly #sessions: Session[] = []
  #uses = 0

  constructor(budget: ReadAheadBudget) {
    this.#budget = budget
  }

  /** Tells of a read of [offset, end) of a file of `fileLength` bytes; returns what should be fetched now, or null. `waits`: it could not
   *  be answered at once. */
  plan(offset: number, end: number, fileLength: number, waits = false): Range | null {
    const session = this.#sessionFor(offset, end)
    this.#resize(session, offset, end - offset)
    if (waits) this.#grow(session, end)
    session.lastOffset = Math.max(session.lastOffset, end)
    session.usedAt = ++this.#uses
    const { blockBytes } = this.#budget.limits
    if (session.window < blockBytes) return null
    const from = Math.max(end, session.plannedTo)
    const to = Math.min(Math.ceil((end + session.window) / blockBytes) * blockBytes, fileLength)
    if (to <= from) return null
    session.plannedTo = to
    return { from, to }
  }

  /** Gives the claimed budget back. */
  close(): void {
    for (const session of this.#sessions) this.#budget.usedBytes -= session.window
    this.#sessions.length = 0
  }

  #sessionFor(offset: number, end: number): Session {
    const { blockBytes } = this.#budget.limits
    let forward: Session | undefined
    let backward: Session | undefined
    for (const s of this.#sessions) {
      if (s.lastOffset <= offset) {
        if (s.lastOffset > 0 && offset <= s.lastOffset + s.window + blockBytes) {
          if (forward === undefined || s.lastOffset > forward.lastOffset) forward = s
        }
      } else if (offset >= s.lastOffset - Math.max(s.window / 8, blockBytes)) {
        if (backward === undefined || s.lastOffset < backward.lastOffset) backward = s
      }
    }
    const found = forward ?? backward
    if (found) {
      found.total += Math.max(0, end - found.lastOffset)
      return found
    }
    return this.#freshSession(offset, end)
  }

  #freshSession(offset: number, end: number): Session {
    const fresh = { lastOffset: offset, total: end - offset, window: 0, plannedTo: 0, usedAt: 0 }
    const [a, b] = this.#sessions
    if (b === undefined) {
      this.#sessions.push(fresh)
      return fresh
    }
    const oldest = a!.usedAt < b.usedAt ? a! : b
    this.#budget.usedBytes -= oldest.window
    return Object.assign(oldest, fresh)
  }

  #resize(session: Session, offset: number, length: number): void {
    const { limits, usedBytes } = this.#budget
    const { blockBytes, maxBytes, totalBytes } = limits
    const before = session.window
    if (before === 0) {
      const looksSequential = offset === 0 || session.total > length
      if (looksSequential && blockBytes <= maxBytes && usedBytes + blockBytes <= totalBytes) session.window = blockBytes
    } else if (before < maxBytes && session.total >= before && totalBytes > usedBytes + 4 * before) {
      session.window = Math.min(before * 2, maxBytes)
    } else if (before >= blockBytes && (totalBytes < usedBytes + before / 2 || session.total < before / 4)) {
      session.window = Math.floor(before / 2)
    }
    this.#budget.usedBytes += session.window - before
  }
  /** Beyond the usual, where what was asked for in time is not there, and half of the total stays for others. */
  #grow(session: Session, end: number): void {
    const { blockBytes, maxBytes, mostBytes, totalBytes } = this.#budget.limits
    const { window } = session
    const wasAskedFor = end <= session.plannedTo
    const isFull = window >= maxBytes && session.total >= 2 * window
    if (!wasAskedFor || !isFull || window >= mostBytes || this.#budget.usedBytes + blockBytes > totalBytes / 2) return
    const grown = Math.min(window + blockBytes, mostBytes)
    this.#budget.usedBytes += grown - window
    session.window = grown
  }
}
