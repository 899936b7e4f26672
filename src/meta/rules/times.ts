/** When a directory's times are written (spec meta-model section 5). */

import { nanosBetween, type Time } from '../../base/clock.ts'
import type { Attr } from '../model/attr.ts'
import type { Volume } from '../model/volume.ts'

/** The time to give a directory whose entries change, or null where its mtime is recent enough to stand: a directory in
 *  which many files come and go is written ten times a second, not at every one (`--skip-dir-mtime`). An mtime further
 *  ahead than that was set by utimes(2); POSIX wants it replaced. */
export const dirTimesDue = (dir: Attr, volume: Volume, now: Time): Time | null =>
  Math.abs(nanosBetween(now, dir.mtime)) >= volume.skipDirMtimeNs ? now : null
