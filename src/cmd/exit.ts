/** How a command ends other than well: one line, and a code (docs/exit-codes.md). */

import { causeText } from '../base/fault.ts'

export const EXIT_FAILED = 1
export const EXIT_UNKNOWN_COMMAND = 3
/** The mount was told that its volume is gone, replaced or too new: starting it again makes no sense. */
export const EXIT_VOLUME_GONE = 11

/** The user can do something about it: main logs the message as FATAL, without a stack, and exits with `code`. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly code: number
  constructor(message: string, code = EXIT_FAILED) {
    super(message)
    this.code = code
  }
}

/** One line for the terminal; errors of Node's file system lose their `CODE: ` prefix and call. */
export function messageOf(error: unknown): string {
  const { code, syscall, path } = error as NodeJS.ErrnoException
  if (typeof code === 'string' && syscall !== undefined) {
    const words = causeText(error).replace(new RegExp(`^${code}: `), '')
    const reason = words.split(', ')[0] ?? words
    return `${syscall}${path === undefined ? '' : ` ${path}`}: ${reason}`
  }
  return causeText(error).replaceAll('\n', ' ')
}
