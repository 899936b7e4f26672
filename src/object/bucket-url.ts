/** The `--bucket` of a store that is reached over a network, as a URL. */

import { EINVAL } from '../base/errno.ts'
import { Fault } from '../base/fault.ts'

/** `schemeOf` says what is meant where none is written. A Fault never shows user and password. */
export function bucketUrl(text: string, schemeOf: (rest: string) => string): URL {
  const full = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `${schemeOf(text)}://${text}`
  try {
    return new URL(full)
  } catch (error) {
    throw new Fault(`bucket ${full.replace(/\/\/[^/@]*@/, '//')} is no URL`, { errno: EINVAL, cause: error })
  }
}

/** `1`, `t`, `true` in any case; absent and everything else is false. */
export const isTrue = (text: string | null | undefined): boolean => /^(1|t|true)$/i.test(text ?? '')
