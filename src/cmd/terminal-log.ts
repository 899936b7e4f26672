/** The one log of a command: level, colour and id were told on the command line. */

import { type Log, openLog } from '../base/log.ts'

/** until the command line has been read */
let current: Log = openLog({
  level: 'INFO',
  colour: process.stderr.isTTY === true,
  id: '',
  write: line => void process.stderr.write(line),
})

export const log = (): Log => current
export function setLog(log: Log): void {
  current = log
}
