/** What servers of S3 say when they refuse. */

import { EIO, ENOSPC } from '../../base/errno.ts'
import { Fault } from '../../base/fault.ts'
import type { HttpAnswer } from '../http/message.ts'
import { Refused } from '../store.ts'

export interface Problem {
  readonly status: number
  /** such as `SlowDown`; of an answer without a body, the status in words */
  readonly code: string
  readonly message: string
  readonly requestId: string
  /** the right one, where the request went to another */
  readonly region: string | undefined
}

/** null: the request was carried out. */
export function problemOf({ status, headers, body }: HttpAnswer): Problem | null {
  if (status >= 200 && status < 300) return null
  const text = body.toString('utf8', 0, 4096)
  const field = (name: string): string | undefined => new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1]
  return {
    status,
    code: field('Code') ?? WORDS.get(status) ?? 'no code',
    message: field('Message') ?? '',
    requestId: headers['x-amz-request-id'] ?? field('RequestId') ?? '',
    region: headers['x-amz-bucket-region'] ?? field('Region'),
  }
}

/** Answers of requests whose body is not sent, and of proxies that do not speak S3. */
const WORDS: ReadonlyMap<number, string> = new Map([
  [301, 'PermanentRedirect'],
  [307, 'TemporaryRedirect'],
  [400, 'BadRequest'],
  [401, 'Unauthorized'],
  [403, 'AccessDenied'],
  [404, 'NotFound'],
  [405, 'MethodNotAllowed'],
  [429, 'TooManyRequests'],
  [500, 'InternalError'],
  [502, 'BadGateway'],
  [503, 'ServiceUnavailable'],
  [504, 'GatewayTimeout'],
])

const FULL = new Set(['QuotaExceeded', 'XMinioStorageFull', 'InsufficientStorage'])
const REFUSED = new Set([
  'AccessDenied',
  'AllAccessDisabled',
  'AccountProblem',
  'InvalidAccessKeyId',
  'XAdminUserNotFound', // versitygw's word for it, with status 404
  'SignatureDoesNotMatch',
  'InvalidToken',
  'ExpiredToken',
  'Unauthorized',
  'InvalidBucketName',
  'PermanentRedirect',
])

/** `doing`: `put object k`. Code, status and request id are in the message; nothing that the server echoes of the request is, since
 *  some echo the string that was signed. */
export function faultOf(doing: string, problem: Problem): Fault {
  const { status, code, message, requestId } = problem
  const why = message === '' || message === code ? code : `${code}: ${message}`
  const cause = `${why} (status ${status}${requestId === '' ? '' : `, request ${requestId}`})`
  if (REFUSED.has(code) || status === 401 || status === 403) return new Refused(doing, cause)
  return new Fault(doing, { errno: FULL.has(code) || status === 507 ? ENOSPC : EIO, cause })
}

/** A bucket or a user that is missing has the same status, and then the object may well be there once that is put right; so has the
 *  page of a server that does not speak S3 at all. */
export const isMissingObject = ({ body }: HttpAnswer, { status, code }: Problem): boolean =>
  status === 404 && (code === 'NoSuchKey' || code === 'NoSuchVersion' || body.length === 0)
