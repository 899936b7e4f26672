/** PostgreSQL's errors: which mean "changed meanwhile", which "again", and what the rest say to a user. */

import { EACCES, EINVAL, EIO, ENOSPC, EROFS, type Errno } from '../../../base/errno.ts'
import { causeText, Fault } from '../../../base/fault.ts'
import type { ServerError } from './flight.ts'

/** What a check says that does not hold (hold.ts). It shows in the server's log, so it says what it is. */
export const CHANGED = 'juicefs-ts: changed meanwhile, tried again: '

/** The server process behind a connection, so that another connection can see whether it is gone. Process ids come again:
 *  `startedAt` tells them apart. */
export interface Backend {
  readonly pid: number
  readonly startedAt: string
}

/** The SQLSTATE; '' for errors that are not the server's (of the socket: ECONNREFUSED, EPIPE, …). */
const codeOf = (error: unknown): string => {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && /\d/.test(code) ? code : ''
}

/** A guard did not hold. */
export const isChanged = (error: unknown): boolean => codeOf(error) === '22P02' && causeText(error).includes(CHANGED)

/** Somebody inserted the key first. */
export function isTaken(error: unknown): boolean {
  if (codeOf(error) !== '23505') return false
  const { constraint = '', table = '' } = error as ServerError
  const counted = /_(edge|chunk|xattr|flock|plock|sustained)$/.test(table)
  return !(counted && constraint === `${table}_pkey`) // a sequence that is behind its table would conflict forever
}

/** Serialization failures and deadlocks: rolled back, and as good as new the next time. Null: none of them. */
export const reasonOf = (error: unknown): string | null => TRANSIENT[codeOf(error)] ?? null
const TRANSIENT: Readonly<Record<string, string>> = {
  '40001': 'serialization',
  '40P01': 'deadlock',
  '55P03': 'lock_timeout',
}

/** A table or column that the schema sync of a newer client would have made: old volumes, databases without a volume. */
export const isNoTable = (error: unknown): boolean => ['42P01', '42703', '3F000'].includes(codeOf(error))

/** Somebody else makes the same table at this moment. */
export const isMadeMeanwhile = (error: unknown): boolean => ['42P07', '42701', '23505', '42710'].includes(codeOf(error))

/** The connection does not know the statement, or knows another by its name: a pooler gave us another one. */
export const isPoolersFault = (error: unknown): boolean => ['26000', '42P05', '08P01'].includes(codeOf(error))

/** The server is not there, or is going, or coming, or full: worth another try. */
export function isOutage(error: unknown): boolean {
  const code = codeOf(error)
  return code === '' || /^(57P0[123]|53300|08...)$/.test(code)
}

/** The server's error as a Fault; a Fault stays what it is, and so does a bug, whose stack the log wants. */
export function faultOf(error: unknown, doing: string): unknown {
  if (error instanceof Fault || codeOf(error) === '') return error
  const server = error as ServerError
  if (server.code === '23505') {
    const cause = new Error(`the sequence of table ${server.table} is behind its rows: set it by setval()`, {
      cause: error,
    })
    return new Fault(doing, { cause })
  }
  return new Fault(doing, { errno: errnoOfCode(codeOf(error)), cause: error })
}

function errnoOfCode(code: string): Errno {
  if (code === '53100') return ENOSPC
  if (code === '25006') return EROFS
  if (code === '42501') return EACCES
  if (code === '22021') return EINVAL
  return EIO
}
