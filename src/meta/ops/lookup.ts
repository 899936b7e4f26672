/** Finds the node behind a name. */

import type { Name } from '../../base/bytes.ts'
import { ENOENT, isErrno } from '../../base/errno.ts'
import type { Ino } from '../../base/ino.ts'
import { dentry, done, gather, node, type Operation } from '../facts.ts'
import type { Entry } from '../meta.ts'
import type { Caller } from '../model/caller.ts'
import { isDots } from '../rules/names.ts'
import { enter } from './place.ts'

/** ENOENT, also where an entry points to a node that is gone; ENOTDIR, EACCES for callers that are checked here. The
 *  others come from the kernel, which walks into directories that it may search only: for them the entry alone is asked,
 *  and a name in a file is ENOENT. One round trip; two for `..`, or for an ACL on the directory. */
export function* lookup(caller: Caller, parent: Ino, name: Name): Operation<Entry> {
  if (isDots(name)) return yield* lookupDots(caller, parent, name)
  if (!caller.check) {
    const [found] = yield* gather(dentry(parent, name))
    return found?.attr ? done({ ino: found.ino, attr: found.attr }) : ENOENT
  }
  const [dir, found] = yield* gather(node(parent), dentry(parent, name))
  const entered = yield* enter(dir, caller)
  if (isErrno(entered)) return entered
  return found?.attr ? done({ ino: found.ino, attr: found.attr }) : ENOENT
}

/** The dots are not stored: the directory itself, and the one its attributes name. */
function* lookupDots(caller: Caller, parent: Ino, name: Name): Operation<Entry> {
  const [dir] = yield* gather(node(parent))
  const entered = yield* enter(dir, caller)
  if (isErrno(entered)) return entered
  if (name === '.') return done({ ino: parent, attr: entered.attr })
  const ino = entered.attr.parent
  const [above] = yield* gather(node(ino))
  return above ? done({ ino, attr: above }) : ENOENT
}
