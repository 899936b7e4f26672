/** SQLite's errors: which mean "wait", which mean "taken", and what the rest say to a user. */

import { EACCES, EIO, ENOENT, ENOSPC, EROFS, type Errno } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import type { Maybe } from '../../../base/maybe.ts'
import { jitter } from '../sql/jitter.ts'

/** how long another process may keep the database locked before the operation fails */
const PATIENCE_MS = 30_000
const LONGEST_PAUSE_MS = 20

const codeOf = (error: unknown): string => {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : ''
}

/** Another connection holds the lock that is needed. */
export const isBusy = (error: unknown): boolean => /^SQLITE_(BUSY|LOCKED)/.test(codeOf(error))

/** A key is taken. Other constraints are never broken by what this engine writes: those are faults. */
export const isTaken = (error: unknown): boolean => /^SQLITE_CONSTRAINT_(UNIQUE|PRIMARYKEY|ROWID)$/.test(codeOf(error))

/** A table that the schema sync of a newer client would have made: old volumes, databases without a volume. */
export const isNoTable = (error: unknown): boolean =>
  error instanceof Error && error.message.startsWith('no such table')

/** SQLite's error as a Fault; a Fault stays what it is, and so does a bug, whose stack the log wants. */
export function faultOf(error: unknown, doing: string): unknown {
  if (!codeOf(error).startsWith('SQLITE_')) return error
  return new Fault(doing, { errno: errnoOfSqlite(codeOf(error)), cause: explain(error) })
}

function errnoOfSqlite(code: string): Errno {
  if (code === 'SQLITE_FULL') return ENOSPC
  if (code.startsWith('SQLITE_READONLY')) return EROFS
  if (code === 'SQLITE_PERM') return EACCES
  if (code === 'SQLITE_CANTOPEN') return ENOENT
  return EIO
}

function explain(error: unknown): unknown {
  const code = codeOf(error)
  if (code === 'SQLITE_FULL') return new Error('no space left for the database file', { cause: error })
  if (code === 'SQLITE_NOTADB') return new Error('the file is not a SQLite database', { cause: error })
  if (code.startsWith('SQLITE_CORRUPT')) {
    return new Error('the database file is damaged or truncated (SQLite: malformed)', { cause: error })
  }
  return error
}

/** Runs `attempt` now; while another process holds the lock, again after 1, 2, 4 … 20 ms. Fault (EIO) after 30 s.
 *  SQLite's own busy timeout would sleep on the event loop's thread and stop every request. */
export function whileBusy<T>(attempt: () => Maybe<T>): Maybe<T> {
  try {
    return attempt()
  } catch (error) {
    if (!isBusy(error)) throw error
    return retry(attempt)
  }
}

async function retry<T>(attempt: () => Maybe<T>): Promise<T> {
  let waitedMs = 0
  for (let n = 0; ; n++) {
    const pauseMs = Math.min(LONGEST_PAUSE_MS, 2 ** n) * (0.5 + jitter() / 2)
    await new Promise(resolve => setTimeout(resolve, pauseMs))
    waitedMs += Math.max(1, pauseMs)
    try {
      return await attempt()
    } catch (error) {
      if (!isBusy(error)) throw error
      if (waitedMs > PATIENCE_MS) {
        throw new Fault('the metadata database was locked by another process for 30 s', { cause: error })
      }
    }
  }
}
