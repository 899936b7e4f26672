/** The rare question: `Proceed anyway? [y/N]: ` (spec cli section 6.5). */

import { createInterface } from 'node:readline'

export const YELLOW_WARNING = '\x1b[1;33mWARNING\x1b[0m'

/** One reader for all questions: what a pipe holds for the second one must not go with the first. */
let answers: AsyncIterator<string> | undefined

/** y or yes; empty, n, no and the end of input are no; anything else is asked again. */
export async function confirm(question = 'Proceed anyway? [y/N]: '): Promise<boolean> {
  answers ??= createInterface({ input: process.stdin, terminal: false })[Symbol.asyncIterator]()
  process.stdout.write(question)
  for (;;) {
    const line = await answers.next()
    const answer = line.done ? '' : line.value.trim().toLowerCase()
    if (answer === 'y' || answer === 'yes') return true
    if (answer === '' || answer === 'n' || answer === 'no') return false
    process.stdout.write('Please input y(yes) or n(no): ')
  }
}
