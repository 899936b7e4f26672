/** A store that can be exchanged while it is used: `config` may change credentials, bucket or storage class of a volume, and a mount
 *  takes the change up without being told. Requests that are under way end on the store on which they began. */

import { assert } from '../base/assert.ts'
import type { ByteRange, ObjectFiles, ObjectInfo, ObjectStore } from './store.ts'

interface Used {
  readonly store: ObjectStore
  requests: number
  isReplaced: boolean
}

export class SwappableStore implements ObjectStore {
  #used: Used
  readonly #onCloseError: (error: unknown) => void

  /** `onCloseError` is told when a replaced store cannot be closed. */
  constructor(store: ObjectStore, onCloseError: (error: unknown) => void) {
    this.#used = { store, requests: 0, isReplaced: false }
    this.#onCloseError = onCloseError
  }

  /** From now on requests go to `store`; the old one is closed when its last request has ended. */
  replace(store: ObjectStore): void {
    const old = this.#used
    this.#used = { store, requests: 0, isReplaced: false }
    old.isReplaced = true
    this.#closeUnused(old)
  }

  get description(): string {
    return this.#used.store.description
  }
  get limits(): ObjectStore['limits'] {
    return this.#used.store.limits
  }
  /** Others after the store was exchanged. */
  get files(): ObjectFiles | undefined {
    return this.#used.store.files
  }
  get(key: string, range?: ByteRange, expectedBytes?: number): Promise<Buffer> {
    return this.#with(store => store.get(key, range, expectedBytes))
  }
  put(key: string, body: Buffer): Promise<void> {
    return this.#with(store => store.put(key, body))
  }
  delete(key: string): Promise<void> {
    return this.#with(store => store.delete(key))
  }
  head(key: string): Promise<ObjectInfo | null> {
    return this.#with(store => store.head(key))
  }
  list(prefix: string, marker: string, limit: number): Promise<ObjectInfo[]> {
    return this.#with(store => store.list(prefix, marker, limit))
  }
  create(): Promise<void> {
    return this.#with(store => store.create())
  }
  /** Absent while the store that is used now has nothing to sync. */
  get sync(): ObjectStore['sync'] {
    if (this.#used.store.sync === undefined) return undefined
    return keys => this.#with(async store => store.sync?.(keys))
  }
  close(): Promise<void> {
    return this.#used.store.close()
  }

  async #with<T>(request: (store: ObjectStore) => Promise<T>): Promise<T> {
    const used = this.#used
    used.requests++
    try {
      return await request(used.store)
    } finally {
      used.requests--
      assert(used.requests >= 0, 'a request ends once')
      this.#closeUnused(used)
    }
  }

  #closeUnused(used: Used): void {
    if (used.isReplaced && used.requests === 0) used.store.close().catch(this.#onCloseError)
  }
}
