/** The one log of a command: level, colour and id were told on the command line. */

import { fstatSync, writeSync } from 'node:fs'
import { type Level, type Log, openLog } from '../base/log.ts'

export interface LogTaste {
  readonly level: Level
  readonly id: string
}

const STDERR = 2

/** Of log lines. What cannot be written (the disk of the log file is full, the reader of a pipe has left) is lost, and nothing else: a
 *  mount outlives its log, and goes on with it when there is room again. A stream would be closed for good by its first error, and
 *  tell of each line after that by another one. */
export function writeLog(line: string): void {
  try {
    if (isFile()) writeSync(STDERR, line)
    else process.stderr.write(line)
  } catch {
    // there is nowhere left to say it
  }
}

let fileKnown: boolean | undefined
function isFile(): boolean {
  fileKnown ??= fstatSync(STDERR).isFile()
  return fileKnown
}

let taste: LogTaste = { level: 'INFO', id: '' }
let current: Log = openTerminalLog(true)

function openTerminalLog(colour: boolean): Log {
  const isColoured = colour && process.stderr.isTTY === true
  return openLog({ ...taste, colour: isColoured, write: writeLog })
}

export const log = (): Log => current
/** For a process that goes on for this command. */
export const logTaste = (): LogTaste => taste

/** Once the command line has been read; until then everything from INFO on is told. */
export function setLog(wanted: LogTaste & { readonly colour: boolean }): void {
  taste = { level: wanted.level, id: wanted.id }
  current = openTerminalLog(wanted.colour)
}
