/** Copies log lines to syslog (facility user), without their time. Node has no datagram sockets of the unix kind, so logger(1)
 *  is kept as a child with a pipe: one process, started before anything is served, ended with ours. */

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'

const SOCKET = '/dev/log'
const TIME = /^(\[[^\]]*\] )?\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d\.\d+ juicefs\[\d+\] /
/** more than this waiting means that nobody reads: lines are dropped */
const MAX_WAITING_BYTES = 1 << 20

/** A writer of lines; does nothing where there is no syslog on this machine. */
export function openSyslog(): (line: string) => void {
  if (!existsSync(SOCKET)) return () => undefined
  let isGone = false
  const child = spawn('logger', ['-t', `juicefs[${process.pid}]`, '-p', 'user.info'], {
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
  })
  const gone = (): void => {
    isGone = true
  }
  child.on('error', gone).on('exit', gone)
  child.stdin.on('error', gone)
  child.unref()
  return line => {
    if (!isGone && child.stdin.writableLength < MAX_WAITING_BYTES) child.stdin.write(line.replace(TIME, '$1'))
  }
}
