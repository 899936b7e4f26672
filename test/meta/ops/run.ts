/** A tiny interpreter of operations: a map of nodes, a map of entries, and whatever other facts a test sets. It answers
 *  what an operation asks and hands back its verdict; changes are not applied, tests compare them. */

import type { Name } from '../../../src/base/bytes.ts'
import type { Time } from '../../../src/base/clock.ts'
import type { Errno } from '../../../src/base/errno.ts'
import { type Ino, NO_INO, ROOT_INO } from '../../../src/base/ino.ts'
import type { Change, Dentry, Done, Effect, Fact, Operation, Read } from '../../../src/meta/facts.ts'
import { type Attr, TYPE_DIRECTORY, TYPE_FILE } from '../../../src/meta/model/attr.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import type { Growth, Volume } from '../../../src/meta/model/volume.ts'

export const NOW: Time = { sec: 1_800_000_000, nsec: 500 }
export const LONG_AGO: Time = { sec: 1_700_000_000, nsec: 0 }

export const ino = (n: number): Ino => n as Ino
export const ROOT_CALLER: Caller = { uid: 0, gid: 0, gids: [0], now: NOW, check: false }
/** a user whom the operation itself must check */
export const caller = (uid: number, gids: readonly number[] = [uid]): Caller => ({
  uid,
  gid: gids[0] ?? uid,
  gids,
  now: NOW,
  check: true,
})

export function attr(fields: Partial<Attr> & { type: number }): Attr {
  const isDirectory = fields.type === TYPE_DIRECTORY
  return {
    flags: 0,
    mode: isDirectory ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    atime: LONG_AGO,
    mtime: LONG_AGO,
    ctime: LONG_AGO,
    nlink: isDirectory ? 2 : 1,
    length: isDirectory ? 4096 : 0,
    rdev: 0,
    parent: ROOT_INO,
    accessAcl: 0,
    defaultAcl: 0,
    tier: 0,
    ...fields,
  }
}

/** A volume without limits unless `quotas` names directories with one and `refuses` says no. */
export function volume(
  fields: Partial<Omit<Volume, 'limits'>> & {
    quotas?: readonly Ino[]
    userGroup?: boolean
    refuses?: (growth: Growth) => Errno | undefined
  } = {},
): Volume {
  const { quotas = [], userGroup = false, refuses = () => undefined, ...rest } = fields
  const limits = { hasDirQuotas: quotas.length > 0, userGroup, isQuotaDir: (dir: Ino) => quotas.includes(dir), refuses }
  return { readOnly: false, acl: false, dirStats: false, skipDirMtimeNs: 0, ...rest, limits }
}

export class Facts {
  readonly #nodes = new Map<Ino, Attr>()
  readonly #entries = new Map<string, { ino: Ino; type: number }>()
  readonly #others = new Map<string, Fact>()

  node(at: number, fields: Partial<Attr> & { type: number }): this {
    this.#nodes.set(ino(at), attr(fields))
    return this
  }
  directory(at: number, fields: Partial<Attr> = {}): this {
    return this.node(at, { type: TYPE_DIRECTORY, ...fields })
  }
  /** A node and its name; `parent` is also the node's parent unless the fields say otherwise. */
  entry(parent: number, name: Name, at: number, fields: Partial<Attr> = {}): this {
    const type = fields.type ?? TYPE_FILE
    this.#entries.set(`${parent}/${name}`, { ino: ino(at), type })
    return this.node(at, { parent: ino(parent), ...fields, type })
  }
  /** One more name of a node, or the name of none. */
  name(parent: number, name: Name, at: number, type = TYPE_FILE): this {
    this.#entries.set(`${parent}/${name}`, { ino: ino(at), type })
    return this
  }
  set(read: Read, fact: Fact): this {
    this.#others.set(JSON.stringify(read), fact)
    return this
  }
  attr(at: number): Attr {
    return this.#nodes.get(ino(at))!
  }

  answer(read: Read): Fact {
    const other = this.#others.get(JSON.stringify(read))
    if (other !== undefined) return other
    switch (read.kind) {
      case 'node':
        return this.#nodes.get(read.ino) ?? null
      case 'dentry':
        return this.#dentry(read.parent, read.name, read.empty === true)
      case 'ancestors':
        return this.#path(read.ino)
      case 'sustained':
        return false
      case 'chunkIndexes':
        return []
      default:
        return null
    }
  }

  #dentry(parent: Ino, name: Name, asksEmpty: boolean): Dentry | null {
    const entry = this.#entries.get(`${parent}/${name}`)
    if (!entry) return null
    const found = { ...entry, attr: this.#nodes.get(entry.ino) ?? null }
    const isEmpty = ![...this.#entries.keys()].some(key => key.startsWith(`${entry.ino}/`))
    return asksEmpty ? { ...found, empty: isEmpty } : found
  }

  #path(from: Ino): Ino[] {
    const path = [from]
    for (let at = from; at !== ROOT_INO; ) {
      at = this.#nodes.get(at)?.parent ?? NO_INO
      if (at === NO_INO) break
      path.push(at)
    }
    return path
  }
}

export interface Ran<T> {
  /** undefined = it succeeded */
  readonly errno: Errno | undefined
  readonly value: T
  readonly changes: readonly Change[]
  readonly effects: readonly Effect[]
  /** gathers, which is round trips */
  readonly rounds: number
}

/** Runs an operation to its verdict. `value` of a failed one must not be looked at. */
export function run<T>(facts: Facts, operation: Operation<T>): Ran<T> {
  let rounds = 0
  let step = operation.next()
  while (!step.done) {
    rounds++
    step = operation.next(step.value.map(read => facts.answer(read)))
  }
  const verdict = step.value
  if (typeof verdict === 'number') {
    return { errno: verdict, value: undefined as T, changes: [], effects: [], rounds }
  }
  const { value, changes, effects } = verdict as Done<T>
  const made =
    typeof value === 'function' ? (value as (results: readonly undefined[]) => T)(changes.map(() => undefined)) : value
  return { errno: undefined, value: made, changes, effects, rounds }
}
