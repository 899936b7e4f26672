/** Where the outside judges are, and how large their runs: `JUDGES=full` runs the long form, else what fits CI. */

import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

import { mountSkip } from '../mount/harness.ts'

const judgesDir =
  process.env.JUICEFS_TS_JUDGES ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'juicefs-ts', 'judges')
const path = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin', join(judgesDir, 'bin')]

/** Full path of a program, or undefined. */
export function program(name: string): string | undefined {
  return path.map(dir => join(dir, name)).find(existsSync)
}

/** Why a test that needs these programs cannot run, or false. */
export function missing(...names: string[]): string | false {
  if (mountSkip) return mountSkip
  const absent = names.filter(name => program(name) === undefined)
  return absent.length === 0 ? false : `${absent.join(', ')} not installed (scripts/setup-judges.sh)`
}

export const isFull = process.env.JUDGES === 'full'
/** The size of a run: the first in CI, the second in the long form. */
export const size = <T>(ci: T, full: T): T => (isFull ? full : ci)
