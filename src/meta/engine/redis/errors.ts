/** What goes wrong with a server, by what can be done about it. */

import { EIO, ENOSPC } from '../../../base/errno.ts'
import { causeText, Fault } from '../../../base/fault.ts'
import type { Session } from './server-info.ts'

/** The connection went while a request was on its way: nobody knows whether it was executed. */
export class LostReply extends Error {
  override readonly name = 'LostReply'
  readonly session: Session
  constructor(session: Session, cause: unknown) {
    super(causeText(cause), { cause })
    this.session = session
  }
}

/** The server's own refusal, as opposed to trouble with the connection. */
export const isReply = (error: unknown): error is Error => (error as Error | null)?.name === 'ReplyError'

/** Codes may stand at the beginning, or inside the message of a script that failed. */
const saysOneOf = (error: unknown, codes: RegExp): boolean => isReply(error) && codes.test(error.message)

/** Nothing was executed, and trying again later may help (spec meta-redis section 3). */
export const isPassing = (error: unknown): boolean =>
  saysOneOf(
    error,
    /\b(LOADING|BUSY|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|ERR (DISABLE|NOWRITE|NOREAD)|max number of clients)\b/,
  ) || isElsewhere(error)

/** Nothing was executed: another server is the one to ask. */
export const isElsewhere = (error: unknown): boolean => saysOneOf(error, /\b(READONLY|MASTERDOWN|MOVED|ASK)\b/)

/** For the metric: `moved`, `loading`, … */
export const reasonOf = (error: unknown): string => {
  if (error instanceof LostReply) return 'lost_reply'
  const [code = 'refused'] =
    /\b(LOADING|BUSY|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|READONLY|MASTERDOWN|MOVED|ASK)\b/.exec(String(error)) ?? []
  return code.toLowerCase()
}

export const isScriptMissing = (error: unknown): boolean => saysOneOf(error, /\bNOSCRIPT\b/)

/** The server has no scripts, or this user may not run any. */
export const isScriptRefused = (error: unknown): boolean =>
  isReply(error) && /^(ERR unknown command|NOPERM).*\beval/is.test(error.message)

/** A server that is full says so in words that begin with OOM (spec meta-model section 18: ENOSPC). */
export function faultOf(error: unknown, doing: string): Error {
  if (error instanceof LostReply) return new Fault(`${doing}: the connection to Redis broke`, { cause: error })
  if (!isReply(error)) return error instanceof Error ? error : new Fault(doing, { cause: error })
  const told = /\bWRONGTYPE\b/.test(error.message) ? `${doing}: a key in this database is another program's` : doing
  return new Fault(told, { errno: /\bOOM\b/.test(error.message) ? ENOSPC : EIO, cause: error })
}
