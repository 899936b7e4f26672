/** The connection broke, or was given up, before the outcome of a flight was known. */

export class LostReply<Session = unknown> extends Error {
  /** by which another connection can see whether the server is done with that one; null where none can */
  readonly session: Session | null

  constructor(session: Session | null, cause: unknown) {
    super(wordsOf(cause), { cause })
    this.session = session
  }
}

/** An error in one line. Node has no words of its own for an address of which every reading failed. */
export function wordsOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return wordsOf(error.errors[0])
  const { message, code } = (error ?? {}) as { message?: string; code?: string }
  return message || code || String(error)
}
