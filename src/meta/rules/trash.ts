/** What the trash takes, and under which names (spec meta-model section 10).
 *
 *      /.trash (TRASH_INO) ─ 2026-11-21-07 (an hour directory) ─ <parent>-<ino>-<name>
 *
 *  Nobody makes, links or renames anything into it but the client itself; only root takes something out. */

import type { Name } from '../../base/bytes.ts'
import type { Time } from '../../base/clock.ts'
import { type Ino, inoToString, isTrash, NO_INO, ROOT_INO, TRASH_INO } from '../../base/ino.ts'
import { type Attr, FLAG_SKIP_TRASH } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'

const MAX_NAME_BYTES = 255
const HOUR_SEC = 3600

/** `.trash` in the root is no entry: nothing may be made, removed or renamed under that name. */
export const isTrashName = (parent: Ino, name: Name): boolean => parent === ROOT_INO && name === '.trash'

/** May the caller take entries out of this directory as far as the trash is concerned? */
export const mayTakeFrom = (parent: Ino, caller: Caller): boolean => caller.uid === 0 || !isTrash(parent)

/** Decimal numbers, then the name, cut at 255 bytes: `3-4-b.bin`. */
export const trashEntryName = (parent: Ino, ino: Ino, name: Name): Name =>
  `${inoToString(parent)}-${inoToString(ino)}-${name}`.slice(0, MAX_NAME_BYTES)

/** Is a node that loses its name in `parent` kept in the hour directory `trash` (NO_INO = the trash is off)? */
export const isKept = (trash: Ino, parent: Ino, attr: Attr): boolean =>
  trash !== NO_INO && !isTrash(parent) && (attr.flags & FLAG_SKIP_TRASH) === 0

/** Name of the hour directory, UTC: `2026-11-21-07`. Ordered as the hours are. */
export const hourName = (sec: number): Name => new Date(sec * 1000).toISOString().slice(0, 13).replace('T', '-')

/** May this entry of the trash root be removed? Clients remember the directory of the hour and put nodes there unasked,
 *  so it stays until the hour, and one more for clocks that differ, is over. */
export const isPastHour = (parent: Ino, name: Name, now: Time): boolean =>
  parent === TRASH_INO && name < hourName(now.sec - HOUR_SEC)
