/** One sync at a time, shared by all who wait: one runs, the next collects. */

export class SharedSync {
  readonly #sync: () => Promise<void>
  #running: Promise<void> | null = null
  #next: Promise<void> | null = null

  constructor(sync: () => Promise<void>) {
    this.#sync = sync
  }

  /** Resolves when a sync that began after this call has ended; rejects with what that one failed of. */
  run(): Promise<void> {
    if (this.#next) return this.#next
    if (this.#running === null) return this.#start()
    // The one that runs may have begun before our commit.
    this.#next = this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = null
        return this.#start()
      })
    return this.#next
  }

  /** Resolves when nobody waits any more. */
  async settled(): Promise<void> {
    await this.#next?.catch(() => undefined)
    await this.#running?.catch(() => undefined)
  }

  #start(): Promise<void> {
    const running = this.#sync().finally(() => {
      this.#running = null
    })
    this.#running = running
    return running
  }
}
