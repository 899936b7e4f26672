/** `format`: the setting, and on a new volume the directories that everything hangs from (spec meta-setting, "format"). */

import type { Time } from '../../base/clock.ts'
import { EBUSY, EEXIST, ENOENT } from '../../base/errno.ts'
import { type Ino, ROOT_INO, TRASH_INO } from '../../base/ino.ts'
import { type Change, done, gather, node, type Operation } from '../facts.ts'
import { type Attr, TYPE_DIRECTORY } from '../model/attr.ts'

/** Stores the setting `json`, or (null) leaves it as it is. `isNew`: makes the root and the counters too, EEXIST where the database
 *  holds a volume by now; else ENOENT where it holds none. `replaces`: the setting that `json` was made from, EBUSY where somebody has
 *  changed it since. `trash`: makes the trash directory if it is missing. */
export function* initVolume(
  json: string | null,
  options: { readonly isNew: boolean; readonly trash: boolean; readonly now: Time; readonly replaces?: string },
): Operation<undefined> {
  const [stored, root, trashRoot] = yield* gather({ kind: 'format' }, node(ROOT_INO), node(TRASH_INO))
  if (options.isNew && stored) return EEXIST
  if (!options.isNew && !stored) return ENOENT
  if (options.replaces !== undefined && stored !== options.replaces) return EBUSY
  const changes: Change[] = json === null ? [] : [{ kind: 'putFormat', json }]
  const make = (ino: Ino, mode: number): void => {
    changes.push({ kind: 'putNode', ino, attr: topDirectory(mode, options.now) })
  }
  if (options.isNew) {
    if (!root) make(ROOT_INO, 0o777)
    changes.push({ kind: 'putCounter', name: 'usedSpace', value: 0 })
    changes.push({ kind: 'putCounter', name: 'totalInodes', value: 0 })
  }
  if (options.trash && !trashRoot) make(TRASH_INO, 0o555)
  return done(undefined, changes)
}

/** A fresh root or trash root: both have the root as their parent, and neither counts in the volume's usage. */
export const topDirectory = (mode: number, now: Time): Attr => ({
  type: TYPE_DIRECTORY,
  flags: 0,
  mode,
  uid: 0,
  gid: 0,
  atime: now,
  mtime: now,
  ctime: now,
  nlink: 2,
  length: 4096,
  rdev: 0,
  parent: ROOT_INO,
  accessAcl: 0,
  defaultAcl: 0,
  tier: 0,
})
