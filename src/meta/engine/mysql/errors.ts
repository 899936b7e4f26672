/** MySQL's and MariaDB's errors: which mean "changed meanwhile", which "again", and what the rest say to a user. */

import { EACCES, EINVAL, EIO, ENOSPC, EOVERFLOW, EROFS, type Errno } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'
import { wordsOf } from '../sql/lost-reply.ts'

/** What the driver throws. */
export interface ServerError extends Error {
  /** MySQL's number; for errors of the socket it is the operating system's, and negative */
  readonly errno?: number
  /** only on errors that the server sent */
  readonly sqlState?: string
  readonly sqlMessage?: string
  readonly code?: string
  /** the connection is gone */
  readonly fatal?: boolean
}

/** By what another connection can see whether the server is done with a connection that broke: a lock of its own that it
 *  holds as long as it lives (numbers of connections begin anew when a server starts). */
export interface Session {
  readonly lock: string
  readonly server: string
}

/** 0 for errors that are not the server's (of the socket: ECONNREFUSED, EPIPE, …). */
const numberOf = (error: unknown): number => {
  const { errno, sqlState } = (error ?? {}) as ServerError
  return typeof errno === 'number' && typeof sqlState === 'string' ? errno : 0
}
const hasNumber = (error: unknown, ...numbers: number[]): boolean => numbers.includes(numberOf(error))

/** A guard did not hold (statement.ts, `unless`). */
export const isChanged = (error: unknown): boolean =>
  hasNumber(error, 1690) && /UNSIGNED/.test((error as ServerError).sqlMessage ?? '')

/** Somebody inserted the key first. */
export const isTaken = (error: unknown): boolean => hasNumber(error, 1062, 1586)
/** By the name of the index of extended attributes. */
export const isXattrTaken = (error: unknown): boolean =>
  isTaken(error) && /_xattr_name['"`]?$/.test((error as ServerError).sqlMessage ?? '')

/** Deadlock, lock wait timeout, changed since last read, conflict in a cluster: as good as new the next time. Null: none of
 *  them. */
export const reasonOf = (error: unknown): string | null => TRANSIENT[numberOf(error)] ?? null
const TRANSIENT: Readonly<Record<number, string>> = {
  1213: 'deadlock',
  1205: 'lock_timeout',
  1020: 'serialization',
  3101: 'serialization',
  1615: 'prepare',
}

/** A table or column that the schema sync of a newer client would have made: old volumes, databases without a volume. */
export const isNoTable = (error: unknown): boolean => hasNumber(error, 1146, 1054)

/** Somebody else makes the same table, column or index at this moment. */
export const isMadeMeanwhile = (error: unknown): boolean => hasNumber(error, 1050, 1060, 1061, 1684, 1213, 1205)

/** Wrong here, wrong tomorrow: user, password, database, address not let in. */
const DENIED: readonly number[] = [1044, 1045, 1049, 1130, 1227, 1251, 1524, 1698, 3159, 4151]
/** Too many connections, or the server is going, coming, or cutting us off. */
const OUTAGES: readonly number[] = [
  1040, 1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1226, 1317, 1927, 4031,
]

/** The server is not there, or is going, or coming, or full: worth another try. */
export function isOutage(error: unknown): boolean {
  if (isAboutCertificate(error) || hasNumber(error, ...DENIED)) return false
  return numberOf(error) === 0 || hasNumber(error, ...OUTAGES)
}

/** The server said so without undoing anything, or while it was committing: nobody knows yet. */
export const isUncertain = (error: unknown): boolean => hasNumber(error, 1180, 3100, ...OUTAGES)

export const isAboutEncryption = (error: unknown): boolean =>
  (error as ServerError | null)?.code === 'HANDSHAKE_NO_SSL_SUPPORT'
const isAboutCertificate = (error: unknown): boolean =>
  /^(CERT_|ERR_TLS|ERR_SSL|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)|HANDSHAKE_(NO_)?SSL/.test(
    (error as ServerError | null)?.code ?? '',
  )

/** The server's error as a Fault; a Fault stays what it is, and so does a bug, whose stack the log wants. */
export function faultOf(error: unknown, doing: string): unknown {
  if (error instanceof Fault || numberOf(error) === 0) return error
  return new Fault(doing, { errno: errnoOf(numberOf(error)), cause: explained(error) })
}

function errnoOf(number: number): Errno {
  switch (number) {
    case 1021: // disk full
    case 1114: // table full
    case 1406: // longer than its column
      return ENOSPC
    case 1290:
    case 1792:
    case 1836:
      return EROFS
    case 1044:
    case 1142:
    case 1143:
      return EACCES
    case 1264:
      return EOVERFLOW
    case 1300:
    case 1366:
      return EINVAL
    default:
      return EIO
  }
}

function explained(error: unknown): unknown {
  if (!hasNumber(error, 1406)) return error
  return new Error(`longer than MySQL's layout allows (BLOB: 65,535 bytes, 2,730 records): ${wordsOf(error)}`, {
    cause: error,
  })
}
