/** Which names an entry may have (spec meta-model section 1): 1 to 255 bytes without `/` and NUL, of any encoding. */

import type { Name } from '../../base/bytes.ts'
import { EINVAL, ENAMETOOLONG, type Errno } from '../../base/errno.ts'

const MAX_NAME_BYTES = 255
/** symlink(2): PATH_MAX; the record holds no more (spec meta-model section 1) */
const MAX_TARGET_BYTES = 4096

export const isDots = (name: Name): boolean => name === '.' || name === '..'

/** What is wrong with a new name: EINVAL, ENAMETOOLONG, or `dots` (each call has its own errno for `.` and `..`). */
export function nameRefusal(name: Name, dots: Errno): Errno | undefined {
  if (isDots(name)) return dots
  if (name.length === 0 || name.includes('/') || name.includes('\0')) return EINVAL
  return name.length > MAX_NAME_BYTES ? ENAMETOOLONG : undefined
}

/** A symlink's target is stored raw: any bytes but NUL. */
export const isTarget = (target: Name): boolean =>
  target.length > 0 && target.length <= MAX_TARGET_BYTES && !target.includes('\0')
