/** The attempts to put one block, of which the first that ends well counts, also one that was given up. */
export class PutAttempts {
  /** whose ends are still to come */
  readonly running = new Set<Promise<void>>()
  readonly #put: () => Promise<void>
  readonly #stored = Promise.withResolvers<void>()
  isStored = false

  constructor(put: () => Promise<void>) {
    this.#put = put
  }

  readonly start = (): Promise<void> => {
    const attempt = this.#put()
    this.running.add(attempt)
    attempt.then(
      () => {
        this.running.delete(attempt)
        this.isStored = true
        this.#stored.resolve()
      },
      () => this.running.delete(attempt),
    )
    return attempt
  }

  /** Waits for the work, or for an attempt of before that ends well meanwhile; then the end of the work concerns nobody. */
  async orEarlier(work: Promise<unknown>): Promise<void> {
    if (this.running.size === 0) await work
    else await Promise.race([work, this.#stored.promise])
  }
}
