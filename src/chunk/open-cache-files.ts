/** Cache files kept open, the least recently used closed first: a small random read is then one call instead of three.
 *
 *  Not for long, since a file that another client evicts still takes its place on the disk while it is open. */

import { CacheFile } from './cache-file.ts'
import type { BlockKey } from './keys.ts'

const MOST_OPEN = 400
const TICK_MS = 5000

interface Open {
  readonly file: Promise<CacheFile>
  /** null while it is being opened */
  opened: CacheFile | null
  tick: number
}

export class OpenCacheFiles {
  /** least recently used first */
  readonly #open = new Map<BlockKey, Open>()
  #newest: Open | null = null
  #tick = 0
  #ticker: NodeJS.Timeout | undefined

  /** Runs `work` with the file open. After a failure the file is closed, so that the next read opens it anew. */
  async read<T>(key: BlockKey, path: string, blockBytes: number, work: (file: CacheFile) => Promise<T>): Promise<T> {
    const open = this.#open.get(key) ?? this.#opening(path, blockBytes)
    this.#keep(key, open)
    try {
      return await work(await open.file)
    } catch (error) {
      if (this.#open.get(key) === open) this.forget(key)
      throw error
    }
  }

  /** The file, if it is open or can be opened without waiting. */
  now(key: BlockKey, path: () => string, blockBytes: number): CacheFile | null {
    let open = this.#open.get(key)
    if (open === undefined) {
      const opened = CacheFile.openNow(path(), blockBytes)
      if (opened === null) return null
      open = { file: Promise.resolve(opened), opened, tick: this.#tick }
    }
    this.#keep(key, open)
    return open.opened
  }

  has(key: BlockKey): boolean {
    return this.#open.has(key)
  }

  /** Takes over a file that was just written. */
  adopt(key: BlockKey, file: CacheFile): void {
    this.forget(key)
    this.#keep(key, { file: Promise.resolve(file), opened: file, tick: this.#tick })
  }

  /** Closes the file, once nobody reads it any more. */
  forget(key: BlockKey): void {
    const open = this.#open.get(key)
    if (open === undefined) return
    this.#open.delete(key)
    if (this.#newest === open) this.#newest = null
    open.file.then(
      file => file.close(),
      () => {}, // it was never open
    )
  }

  close(): void {
    for (const key of [...this.#open.keys()]) this.forget(key)
    clearInterval(this.#ticker)
    this.#ticker = undefined
  }

  #opening(path: string, blockBytes: number): Open {
    const open: Open = { file: CacheFile.open(path, blockBytes), opened: null, tick: this.#tick }
    open.file.then(
      file => {
        open.opened = file
      },
      () => {}, // whoever reads hears of it
    )
    return open
  }

  #keep(key: BlockKey, open: Open): void {
    open.tick = this.#tick
    if (this.#newest === open) return
    this.#newest = open
    this.#open.delete(key)
    this.#open.set(key, open)
    this.#ticker ??= setInterval(() => this.#closeIdle(), TICK_MS).unref()
    if (this.#open.size > MOST_OPEN) this.forget(this.#open.keys().next().value as BlockKey)
  }

  #closeIdle(): void {
    this.#tick++
    for (const [key, open] of this.#open) {
      if (this.#tick - open.tick <= 1) break
      this.forget(key)
    }
    if (this.#open.size === 0) this.close()
  }
}
