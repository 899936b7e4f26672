/** What becomes of a node that loses a name; unlink, rmdir and rename over a target share it.
 *
 *      loses a name ─┬─ the trash takes it ──────────► entry in the hour directory, nlink as it was
 *                    ├─ has more names ──────────────► nlink − 1
 *                    ├─ a file, open in this client ─► nlink 0, sustained until the last close
 *                    └─ else ────────────────────────► node deleted; a file's data, if any, waits as a dead file
 *
 *  The entry itself, its directory's times and usage are the operation's own business. */

import type { Time } from '../../base/clock.ts'
import { type Ino, NO_INO } from '../../base/ino.ts'
import { type Change, type Dentry, dentry, type Effect, gather, QUOTA_DIR } from '../facts.ts'
import { type Attr, spaceOf, TYPE_DIRECTORY, TYPE_FILE, TYPE_SYMLINK } from '../model/attr.ts'
import type { Caller } from '../model/caller.ts'
import type { Volume } from '../model/volume.ts'
import { chargeDirectories, chargeVolume } from '../rules/charge.ts'
import { isKept, trashEntryName } from '../rules/trash.ts'
import { type Asking, entryCharge, type Place } from './place.ts'

/** What this client knows of a removal beyond facts. */
export interface Removal {
  /** directory of the hour; NO_INO = delete for real */
  readonly trash: Ino
  readonly isOpen: (ino: Ino) => boolean
  /** 0 = no session: nothing can be sustained */
  readonly sid: number
}
export interface Loss {
  /** the node as it is afterwards; nlink 0 = it has no name any more */
  readonly attr: Attr
  readonly changes: Change[]
  readonly effects: Effect[]
  /** it goes on without a name until its last close */
  readonly isSustained?: boolean
}

/** A directory that is empty loses its only name. Its statistics and quota go with it, into the trash too. */
export function dropDirectory(volume: Volume, caller: Caller, place: Place, found: Dentry, removal: Removal): Loss {
  const { ino, attr } = found
  const changes: Change[] = [
    { kind: 'delDirUsage', ino },
    { kind: 'delQuota', type: QUOTA_DIR, key: ino },
  ]
  if (attr === null) return { attr: goneNode(found, caller.now), changes, effects: [] }
  if (isKept(removal.trash, place.parent, attr))
    return keep(volume, caller, place, { ino, attr }, removal.trash, changes)
  changes.push({ kind: 'delNode', ino }, { kind: 'delXattrs', ino }, ...chargeVolume(volume, attr, -4096, -1))
  return { attr: { ...attr, nlink: 0, ctime: caller.now }, changes, effects: [] }
}

/** Anything but a directory loses one of its names. A round trip only where the trash takes a node with several names
 *  (is the same name there already?), and for a file of no length. */
export function* dropName(volume: Volume, caller: Caller, place: Place, found: Dentry, removal: Removal): Asking<Loss> {
  const { ino, attr } = found
  const { now } = caller
  if (attr === null) return { attr: goneNode(found, now), changes: [], effects: [] }

  if (isKept(removal.trash, place.parent, attr) && !(yield* isKeptAlready(place, { ino, attr }, removal.trash))) {
    return keep(volume, caller, place, { ino, attr }, removal.trash, [])
  }

  const counted: Change[] = attr.parent === NO_INO ? [{ kind: 'linkParent', ino, parent: place.parent, delta: -1 }] : []
  if (attr.nlink > 1) {
    const less = { ...attr, nlink: attr.nlink - 1, ctime: now }
    return { attr: less, changes: [{ kind: 'putNode', ino, attr: less }, ...counted], effects: [] }
  }
  const gone = { ...attr, nlink: 0, ctime: now }
  if (attr.type === TYPE_FILE && removal.sid !== 0 && removal.isOpen(ino)) {
    const changes: Change[] = [
      { kind: 'putNode', ino, attr: gone },
      { kind: 'delXattrs', ino },
      { kind: 'sustain', sid: removal.sid, ino },
      ...counted,
    ]
    return { attr: gone, changes, effects: [], isSustained: true }
  }
  const changes: Change[] = [
    { kind: 'delNode', ino },
    { kind: 'delXattrs', ino },
  ]
  if (attr.parent === NO_INO) changes.push({ kind: 'delParents', ino })
  if (attr.type === TYPE_SYMLINK) changes.push({ kind: 'delSymlink', ino })
  const hasData = attr.type === TYPE_FILE && (attr.length > 0 || (yield* hasChunks(ino)))
  if (hasData) changes.push({ kind: 'deadFile', ino, length: attr.length, at: now.sec })
  changes.push(...chargeVolume(volume, attr, -spaceOf(attr), -1))
  const effects: Effect[] = hasData ? [{ kind: 'deadFile', ino, length: attr.length }] : []
  return { attr: gone, changes, effects }
}

/** Asked of files that end at 0 only: one that was truncated still has its chunks. Most have none, and a record of
 *  something to delete, and a second transaction to take it away, would double the cost of removing them.
 *  Whoever cuts a file to 0 writes zeros down in its first chunk (rules/chunks.ts; every client does), so that one tells of
 *  all: engines that cannot list the chunks of a file need not try. */
function* hasChunks(ino: Ino): Asking<boolean> {
  const [stored] = yield* gather({ kind: 'chunkIndexes', ino, from: 0, to: 1, likely: [] })
  return stored.length > 0
}

interface Named {
  readonly ino: Ino
  readonly attr: Attr
}

/** Two names of one node, equal in their first bytes, may come to the same entry of the trash: the second is dropped. */
function* isKeptAlready(place: Place, { ino, attr }: Named, trash: Ino): Asking<boolean> {
  if (attr.nlink <= 1) return false
  const entry = dentry(trash, trashEntryName(place.parent, ino, place.name))
  const [taken] = yield* gather({ ...entry, likely: null })
  return taken !== null
}

/** Moves a node into the hour directory, whose own attributes nobody touches. Volume and owner go on paying. */
function keep(volume: Volume, caller: Caller, place: Place, { ino, attr }: Named, trash: Ino, before: Change[]): Loss {
  const kept = { ...attr, parent: attr.parent === NO_INO ? NO_INO : trash, ctime: caller.now }
  const name = trashEntryName(place.parent, ino, place.name)
  const changes: Change[] = [
    ...before,
    { kind: 'putNode', ino, attr: kept },
    { kind: 'setDentry', parent: trash, name, ino, type: attr.type },
  ]
  if (attr.parent === NO_INO) {
    changes.push({ kind: 'linkParent', ino, parent: place.parent, delta: -1 })
    changes.push({ kind: 'linkParent', ino, parent: trash, delta: 1 })
  }
  changes.push(...chargeDirectories(volume, trash, [], entryCharge(attr, 1)))
  return { attr: kept, changes, effects: [] }
}

/** Stands for a node that an entry names but nobody finds: the entry is simply removed. */
const goneNode = (found: Dentry, now: Time): Attr => ({
  type: found.type,
  flags: 0,
  mode: 0,
  uid: 0,
  gid: 0,
  atime: now,
  mtime: now,
  ctime: now,
  nlink: 0,
  length: found.type === TYPE_DIRECTORY ? 4096 : 0,
  rdev: 0,
  parent: NO_INO,
  accessAcl: 0,
  defaultAcl: 0,
  tier: 0,
})
