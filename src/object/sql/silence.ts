/** A database that does not answer: neither library notices one that is gone without a word, or that is stopped. */

import type { Socket } from 'node:net'

export const SILENCE_MS = 30_000

/** Runs a statement, and ends its connection where not a byte has passed in either direction for so long: then the library fails the
 *  statement, and nobody looks at its values any more. */
export async function whileHeard<T>(socket: Socket, silenceMs: number, statement: () => Promise<T>): Promise<T> {
  const end = (): void => void socket.destroy(new Error(`the server is silent for ${silenceMs} ms`))
  socket.setTimeout(silenceMs, end)
  try {
    return await statement()
  } finally {
    socket.setTimeout(0, end)
  }
}
