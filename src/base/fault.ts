/** A fault: the world broke (database gone, object 500, checksum wrong). It is thrown, travels up to the dispatcher,
 *  is logged once there with what was being done and why, and is answered with its errno. */

import { EIO, type Errno } from './errno.ts'

export class Fault extends Error {
  readonly errno: Errno
  /** what was being done, in words: `commit slice 17 of inode 5` */
  readonly doing: string
  /** trying again cannot help: what is stored is damaged */
  readonly isPermanent: boolean

  constructor(doing: string, options?: { errno?: Errno; cause?: unknown; isPermanent?: boolean }) {
    super(options?.cause === undefined ? doing : `${doing}: ${causeText(options.cause)}`, { cause: options?.cause })
    this.name = 'Fault'
    this.doing = doing
    this.errno = options?.errno ?? EIO
    this.isPermanent = options?.isPermanent ?? false
  }
}

/** One line for logs: the message of an error, or the value itself. */
export function causeText(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
