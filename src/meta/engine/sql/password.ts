/** The password that a metadata URL leaves out (spec cli section 4). */

import { readFileSync } from 'node:fs'
import { EINVAL } from '../../../base/errno.ts'
import { Fault } from '../../../base/fault.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** META_PASSWORD, else the content of the file that META_PASSWORD_FILE names, without white space around it; undefined where
 *  neither is set. Fault (EINVAL) on a file that cannot be read. */
export function passwordOf(env: Environment): string | undefined {
  if (env.META_PASSWORD) return env.META_PASSWORD
  const path = env.META_PASSWORD_FILE
  if (!path) return undefined
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw new Fault(`read the file named by META_PASSWORD_FILE`, { errno: EINVAL, cause: error })
  }
}
