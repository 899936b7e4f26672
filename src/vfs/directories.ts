/** Where a directory's stream gets its entries from. */

import type { Name } from '../base/bytes.ts'
import { type Errno, isErrno } from '../base/errno.ts'
import { type Ino, ROOT_INO } from '../base/ino.ts'
import { chain, isPromise, type Maybe } from '../base/maybe.ts'
import type { Cursor, DirEntry, Page } from '../meta/engine.ts'
import { TYPE_DIRECTORY } from '../meta/model/attr.ts'
import type { Caller } from '../meta/model/caller.ts'
import type { Core } from './core.ts'
import { DirectoryStream } from './directory.ts'

const MAY_EXECUTE = 1

/** `extra`: entries of the root that no directory holds. The opener may read the directory; what he may not is look up in
 *  it, and then entries come without attributes. */
export function openDirectory(
  core: Core,
  caller: Caller,
  ino: Ino,
  extra: readonly { readonly name: Name; readonly ino: Ino; readonly type: number }[],
): DirectoryStream {
  const { meta, config, clock, changes } = core
  const isRoot = ino === config.subdirRoot
  const trusted = { uid: caller.uid, gid: caller.gid, gids: caller.gids, now: caller.now, check: false }
  const head = (name: Name, dir: Ino, type: number): DirEntry => ({ name, ino: dir, type, attr: null })

  const heads = (): Maybe<readonly DirEntry[] | Errno> => {
    const self = head('.', isRoot ? ROOT_INO : ino, TYPE_DIRECTORY)
    if (isRoot) return [self, head('..', ROOT_INO, TYPE_DIRECTORY), ...extra.map(e => head(e.name, e.ino, e.type))]
    return chain(meta.getattr(ino), attr => {
      if (isErrno(attr)) return attr
      if (config.atimeMode !== 'noatime') meta.touch(ino, attr)
      return [self, head('..', attr.parent === config.subdirRoot ? ROOT_INO : attr.parent, TYPE_DIRECTORY)]
    })
  }

  let mayLookUp = !caller.check
  const list = (cursor: Cursor | null, limit: number, attrs: boolean): Maybe<Page<DirEntry> | Errno> => {
    if (!attrs || !caller.check) return meta.readdir(trusted, ino, cursor, limit, attrs)
    return chain(meta.access(caller, ino, MAY_EXECUTE), refused => {
      mayLookUp = refused === undefined
      return meta.readdir(trusted, ino, cursor, limit, mayLookUp)
    })
  }

  return new DirectoryStream({
    ino,
    clock,
    changes,
    list,
    again: names =>
      chain(meta.entriesOf(ino, names), entries =>
        mayLookUp ? entries : entries.map(entry => entry && { ...entry, attr: null }),
      ),
    heads,
    fresh: child => {
      if (!mayLookUp) return null
      const attr = meta.getattr(child)
      if (!isPromise(attr)) return isErrno(attr) ? null : attr
      attr.catch(() => {}) // not waited for: the entry goes without attributes
      return null
    },
    shown: (child, attr) => core.files.get(child)?.writer?.shown(attr) ?? attr,
    told: (child, attr) => core.told.tell(child, attr),
  })
}
