/** The one log of a command: level, colour and id were told on the command line. */

import { type Level, type Log, openLog } from '../base/log.ts'

export interface LogTaste {
  readonly level: Level
  readonly id: string
}

let taste: LogTaste = { level: 'INFO', id: '' }
let current: Log = openTerminalLog(true)

function openTerminalLog(colour: boolean): Log {
  const isColoured = colour && process.stderr.isTTY === true
  return openLog({ ...taste, colour: isColoured, write: line => void process.stderr.write(line) })
}

export const log = (): Log => current
/** For a process that goes on for this command. */
export const logTaste = (): LogTaste => taste

/** Once the command line has been read; until then everything from INFO on is told. */
export function setLog(wanted: LogTaste & { readonly colour: boolean }): void {
  taste = { level: wanted.level, id: wanted.id }
  current = openTerminalLog(wanted.colour)
}
