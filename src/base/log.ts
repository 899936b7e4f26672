/** Log lines (spec cli section 3): `[id] YYYY/MM/DD hh:mm:ss.uuuuuu juicefs[pid] <LEVEL>: message [function@file:line]`.
 *  The line format is part of the interface: tools parse it. */

import { basename } from 'node:path'

const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARNING', 'ERROR', 'FATAL'] as const
export type Level = (typeof LEVELS)[number]

export interface Log {
  trace(message: string): void
  debug(message: string): void
  info(message: string): void
  warn(message: string): void
  error(message: string): void
  /** Logs only; whoever calls it ends the process. */
  fatal(message: string): void
}

const COLOURS: Record<Level, number> = { TRACE: 35, DEBUG: 35, INFO: 34, WARNING: 33, ERROR: 31, FATAL: 31 }

export interface LogOptions {
  readonly level: Level
  readonly colour: boolean
  /** put before each line as `[id] ` */
  readonly id: string
  readonly write: (line: string) => void
}

export function openLog(options: LogOptions): Log {
  const lowest = LEVELS.indexOf(options.level)
  const at = (level: Level) => {
    const isWanted = LEVELS.indexOf(level) >= lowest
    const word = options.colour ? `\x1b[1;${COLOURS[level]}m${level}\x1b[0m` : level
    return (message: string): void => {
      if (!isWanted) return
      const id = options.id === '' ? '' : `[${options.id}] `
      options.write(`${id}${stamp()} juicefs[${process.pid}] <${word}>: ${message} [${callSite()}]\n`)
    }
  }
  return {
    trace: at('TRACE'),
    debug: at('DEBUG'),
    info: at('INFO'),
    warn: at('WARNING'),
    error: at('ERROR'),
    fatal: at('FATAL'),
  }
}

/** Says nothing. For tests and tools. */
export const silentLog: Log = openLog({ level: 'FATAL', colour: false, id: '', write: () => undefined })

function stamp(): string {
  const ms = performance.timeOrigin + performance.now()
  const date = new Date(ms)
  const two = (n: number): string => String(n).padStart(2, '0')
  const micros = String(Math.floor((ms * 1000) % 1e6)).padStart(6, '0')
  return `${date.getFullYear()}/${two(date.getMonth() + 1)}/${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${micros}`
}

/** `function@file:line` of the code that logs; made only for lines that are written. */
function callSite(): string {
  const frame = new Error().stack?.split('\n')[3] ?? ''
  const match = /at (?:async )?(?:(?:new )?([\w$.<>#]+) \()?(?:file:\/\/)?(.*?):(\d+):\d+\)?$/.exec(frame)
  if (!match) return 'main'
  const name = match[1]?.split('.').at(-1) ?? 'main'
  return `${name}@${basename(match[2] ?? '')}:${match[3]}`
}
