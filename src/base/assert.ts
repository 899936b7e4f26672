/** A bug announces itself: the request gets EIO, the log gets the stack, a test run fails. */

export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure'
}

export function assert(condition: unknown, claim: string): asserts condition {
  if (!condition) throw new AssertionFailure(claim)
}
