/** Everything that changes a volume's metadata, each on a small directory of its own, and what is there before and after it:
 *  so that it can be done with a connection that breaks at any of its steps. */

import { isErrno } from '../../src/base/errno.ts'
import type { Ino } from '../../src/base/ino.ts'
import type { MetaClient } from '../../src/meta/client.ts'
import type { Engine } from '../../src/meta/engine.ts'
import { chunk, node, xattr } from '../../src/meta/facts.ts'
import type { Attr } from '../../src/meta/model/attr.ts'
import { type Caller, systemCaller } from '../../src/meta/model/caller.ts'
import { decodeRecords } from '../../src/meta/model/slice.ts'
import { commitCompaction, planCompaction } from '../../src/meta/ops/compact.ts'
import { forgetSlice } from '../../src/meta/ops/dead-file.ts'
import { writeSlice } from '../../src/meta/ops/write-slice.ts'
import { rowsOf } from '../../src/meta/scan.ts'

const FILE = { type: 1, mode: 0o644, umask: 0, rdev: 0, target: '' }
const DIRECTORY = { ...FILE, type: 2, mode: 0o755 }
const OWNER = '00000000000000aa'
const CHUNKS = 2

const never = { cancelled: false, onCancel: () => undefined }

/** One client at work in one directory:  a (slices, xattr, also b)   f (slices)   e (empty)   d/  (empty)   g/h */
export class Place {
  readonly meta: MetaClient
  readonly dir: Ino
  /** what was made here, in order */
  readonly inos: Ino[] = []
  readonly #now: () => Caller['now']

  constructor(meta: MetaClient, dir: Ino, now: () => Caller['now']) {
    this.meta = meta
    this.dir = dir
    this.#now = now
  }

  get caller(): Caller {
    return systemCaller(this.#now())
  }
  at(name: string, parent = this.dir) {
    return { parent, name }
  }
  ino(name: keyof typeof ORDER): Ino {
    return this.inos[ORDER[name]]!
  }

  async furnish(): Promise<void> {
    for (const [what, name] of [
      [FILE, 'a'],
      [FILE, 'f'],
      [FILE, 'e'],
      [DIRECTORY, 'd'],
      [DIRECTORY, 'g'],
    ] as const) {
      this.inos.push((await surely(this.meta.make(this.caller, this.dir, name, what))).ino)
    }
    this.inos.push((await surely(this.meta.make(this.caller, this.ino('g'), 'h', FILE))).ino)
    await surely(this.meta.link(this.caller, this.ino('a'), this.dir, 'b'))
    for (const name of ['a', 'f'] as const) for (const at of [0, 1]) await surely(this.write(name, at))
    await surely(this.meta.setXattr(this.caller, this.ino('a'), 'user.x', Buffer.from('old'), 0))
  }

  /** 4 KiB at the 4 KiB-place `at`. */
  async write(name: 'a' | 'f', at: number) {
    const id = await this.meta.newSliceId()
    const slice = { id, size: 4096, off: 0, len: 4096 }
    return await this.meta.writeSlice(this.ino(name), 0, at * 4096, slice, this.#now())
  }

  /** The same as it is committed where others write the file just then: nobody is asked what it was before. */
  async writeAmongOthers(name: 'a' | 'f', at: number) {
    const id = await this.meta.newSliceId()
    const slice = { id, size: 4096, off: 0, len: 4096 }
    const [ino, now, { volume }] = [this.ino(name), this.#now(), this.meta]
    return await this.meta.run('change', () => writeSlice(volume, now, ino, 0, at * 4096, slice, now), ino)
  }

  /** Merges all slices of the first chunk, and forgets those that nobody names any more, as if their objects were deleted. */
  async compact(name: 'a' | 'f'): Promise<undefined> {
    const { meta } = this
    const ino = this.ino(name)
    const [before] = (await meta.engine.gather([chunk(ino, 0)], 'look')) as [Buffer]
    const { pos, size, skipped } = planCompaction(decodeRecords(before))!
    const merged = { pos, id: await meta.newSliceId(), size, off: 0, len: size }
    const options = { trash: false, at: 0 }
    const { unused } = await surely(
      meta.run('change', () => commitCompaction(meta.volume, ino, 0, before, skipped * 24, merged, options), ino),
    )
    for (const slice of unused) await meta.run('change', () => forgetSlice(slice.id, slice.size))
  }
}
const ORDER = { a: 0, f: 1, e: 2, d: 3, g: 4, h: 5 } as const

async function surely<T>(result: T | Promise<T>): Promise<Exclude<T, number>> {
  const value = await result
  if (isErrno(value)) throw new Error(`errno ${value} while preparing`)
  return value as Exclude<T, number>
}

type Doing = (place: Place) => unknown
interface Deed {
  /** by the same client, beforehand: what it has open, what it holds */
  readonly before?: Doing
  readonly run: Doing
  /** so that nothing is held or open any more */
  readonly after?: Doing
}

export const DEEDS: Readonly<Record<string, Deed>> = {
  'create a file': { run: p => p.meta.create(p.caller, p.dir, 'new', FILE, 2, true), after: p => closeNew(p) },
  'make a directory': { run: p => p.meta.make(p.caller, p.dir, 'new', DIRECTORY) },
  'make a symlink': { run: p => p.meta.make(p.caller, p.dir, 'new', { ...FILE, type: 3, target: 'to' }) },
  'make what is there': { run: p => p.meta.make(p.caller, p.dir, 'a', FILE) },
  'link a file': { run: p => p.meta.link(p.caller, p.ino('f'), p.dir, 'new') },
  'link a file that has names': { run: p => p.meta.link(p.caller, p.ino('a'), p.ino('g'), 'new') },
  'unlink the last name': { run: p => p.meta.unlink(p.caller, p.dir, 'f') },
  'unlink the last name of an empty file': { run: p => p.meta.unlink(p.caller, p.dir, 'e') },
  'unlink one of two names': { run: p => p.meta.unlink(p.caller, p.dir, 'b') },
  'unlink a file that is open': {
    before: p => p.meta.open(p.caller, p.ino('f'), 0),
    run: p => p.meta.unlink(p.caller, p.dir, 'f'),
    after: p => p.meta.close(p.ino('f')),
  },
  'close a file without names': {
    before: async p => {
      await surely(p.meta.open(p.caller, p.ino('f'), 0))
      await surely(p.meta.unlink(p.caller, p.dir, 'f'))
    },
    run: p => p.meta.close(p.ino('f')),
  },
  'remove a directory': { run: p => p.meta.rmdir(p.caller, p.dir, 'd') },
  'remove a directory that is not empty': { run: p => p.meta.rmdir(p.caller, p.dir, 'g') },
  'rename a file': { run: p => p.meta.rename(p.caller, p.at('f'), p.at('new'), 0) },
  'rename a file into another directory': { run: p => p.meta.rename(p.caller, p.at('f'), p.at('new', p.ino('g')), 0) },
  'rename a directory into another': { run: p => p.meta.rename(p.caller, p.at('d'), p.at('d', p.ino('g')), 0) },
  'rename over a file': { run: p => p.meta.rename(p.caller, p.at('e'), p.at('f'), 0) },
  'rename over one of two names': { run: p => p.meta.rename(p.caller, p.at('e'), p.at('a'), 0) },
  'rename over a directory': { run: p => p.meta.rename(p.caller, p.at('g'), p.at('d'), 0) },
  'exchange a file and a directory': { run: p => p.meta.rename(p.caller, p.at('f'), p.at('d'), 2) },
  'change the mode': { run: p => p.meta.setattr(p.caller, p.ino('f'), { mode: 0o600 }) },
  'change the owner': { run: p => p.meta.setattr(p.caller, p.ino('f'), { uid: 7 }) },
  'set times': { run: p => p.meta.setattr(p.caller, p.ino('f'), { mtime: { sec: 7, nsec: 7 } }) },
  'shorten a file': { run: p => p.meta.truncate(p.caller, p.ino('f'), 100, true) },
  'lengthen a file': { run: p => p.meta.truncate(p.caller, p.ino('f'), 100_000, true) },
  'punch a hole': { run: p => p.meta.fallocate(p.caller, p.ino('f'), 3, 1000, 2000) },
  preallocate: { run: p => p.meta.fallocate(p.caller, p.ino('f'), 0, 0, 50_000) },
  'copy a range': {
    run: p => p.meta.copyRange(p.caller, { ino: p.ino('a'), offset: 0 }, { ino: p.ino('f'), offset: 20_000 }, 5000),
  },
  'write at the end': { run: p => p.write('f', 2) },
  'write over what is there': { run: p => p.write('f', 0) },
  'merge slices': { run: p => p.compact('f') },
  'set a new attribute': { run: p => p.meta.setXattr(p.caller, p.ino('a'), 'user.y', Buffer.from('new'), 1) },
  'replace an attribute': { run: p => p.meta.setXattr(p.caller, p.ino('a'), 'user.x', Buffer.from('new'), 2) },
  'remove an attribute': { run: p => p.meta.removeXattr(p.caller, p.ino('a'), 'user.x') },
  'lock a file': {
    run: p => p.meta.flock(p.ino('f'), OWNER, 'W', null),
    after: p => p.meta.flock(p.ino('f'), OWNER, 'U', null),
  },
  'lock a range': {
    run: p => p.meta.setPlock(p.ino('f'), OWNER, { type: 'W', start: 5, end: 9, pid: 1 }, never),
    after: p => p.meta.setPlock(p.ino('f'), OWNER, { type: 'U', start: 0, end: 100, pid: 1 }, never),
  },
  'unlock a file': {
    before: p => p.meta.flock(p.ino('f'), OWNER, 'W', null),
    run: p => p.meta.flock(p.ino('f'), OWNER, 'U', null),
    after: p => p.meta.flock(p.ino('f'), OWNER, 'U', null),
  },
}

async function closeNew(place: Place): Promise<void> {
  const made = await place.meta.lookup(place.caller, place.dir, 'new')
  if (!isErrno(made)) await place.meta.close(made.ino)
}

/** All that is stored of a place, but for times and numbers that differ from one time to the next. */
export async function storedOf(engine: Engine, place: Place): Promise<string> {
  const { sid } = place.meta
  const ranks = new Map<number, number>()
  const rank = (id: number): number => {
    if (id !== 0 && !ranks.has(id)) ranks.set(id, ranks.size + 1)
    return ranks.get(id) ?? 0
  }
  const inos = new Map<Ino, string>(place.inos.map((ino, i) => [ino, Object.keys(ORDER)[i]!]))
  const name = (ino: Ino): string => inos.get(ino) ?? 'another'
  const tree = async (dir: Ino): Promise<unknown[]> => {
    const entries: unknown[] = []
    for await (const { name: entry, ino, type } of rowsOf(engine, 'entries', { parent: dir, attrs: false })) {
      entries.push([entry, name(ino), type === 2 ? await tree(ino) : null, await nodeOf(ino)])
    }
    return entries.sort()
  }
  const nodeOf = async (ino: Ino): Promise<unknown> => {
    const facts = await engine.gather(
      [
        node(ino),
        { kind: 'xattrNames', ino },
        xattr(ino, 'user.x'),
        { kind: 'flocks', ino },
        { kind: 'plocks', ino },
        { kind: 'sustained', sid, ino },
        { kind: 'deadFile', ino },
        ...Array.from({ length: CHUNKS }, (_, index) => chunk(ino, index)),
      ],
      'look',
    )
    const [attr, names, value, flocks, plocks, isSustained, dead, ...chunks] = facts as [
      Attr | null,
      readonly string[],
      Buffer | null,
      readonly { sid: number; type: string }[],
      readonly { sid: number; records: Buffer }[],
      boolean,
      { length: number } | null,
      ...(Buffer | null)[],
    ]
    const lists = chunks.map(records =>
      (records === null ? [] : decodeRecords(records)).map(({ id, pos, size, off, len }) => [
        rank(id),
        pos,
        size,
        off,
        len,
      ]),
    )
    const { mode, uid, nlink, length } = attr ?? {}
    const parent = attr === null ? null : attr.parent === place.dir ? 'here' : name(attr.parent)
    const locks = [flocks.map(lock => [lock.sid === sid, lock.type]), plocks.map(lock => lock.records.toString('hex'))]
    const kept = [isSustained, dead?.length ?? null]
    return [attr && [mode, uid, nlink, length, parent], [...names].sort(), value?.toString(), locks, kept, lists]
  }
  const [dir] = (await engine.gather([node(place.dir)], 'look')) as [Attr | null]
  const nodes: unknown[] = []
  for (const ino of place.inos) nodes.push(await nodeOf(ino))
  return JSON.stringify([dir?.nlink, await tree(place.dir), nodes])
}

/** Does what a client remembers of a place differ from what is stored? */
export async function contradictions(place: Place, engine: Engine): Promise<string[]> {
  const wrong: string[] = []
  const names = ['a', 'b', 'f', 'e', 'd', 'g', 'new']
  for (const name of names) {
    const [stored] = (await engine.gather([{ kind: 'dentry', parent: place.dir, name, empty: false }], 'look')) as [
      { ino: Ino; attr: Attr | null } | null,
    ]
    const found = await place.meta.lookup(place.caller, place.dir, name)
    const ino = isErrno(found) ? null : found.ino
    if (ino !== (stored?.ino ?? null)) wrong.push(`${name} is inode ${stored?.ino ?? null}, the client says ${ino}`)
    if (isErrno(found) || stored === null) continue
    for (const field of ['nlink', 'length', 'mode', 'uid'] as const) {
      if (found.attr[field] !== stored.attr?.[field])
        wrong.push(`${name} has ${field} ${stored.attr?.[field]}, the client says ${found.attr[field]}`)
    }
  }
  return wrong
}

/** What one client does, and how another takes it back, or goes on with it, before the first was answered. */
export const TAKEN_BACK: Readonly<
  Record<string, { readonly run: Doing; readonly back: Doing; readonly isKnown?: boolean }>
> = {
  'a rename': {
    run: p => p.meta.rename(p.caller, p.at('f'), p.at('new'), 0),
    back: p => p.meta.rename(p.caller, p.at('new'), p.at('f'), 0),
  },
  'an exchange': {
    run: p => p.meta.rename(p.caller, p.at('f'), p.at('d'), 2),
    back: p => p.meta.rename(p.caller, p.at('f'), p.at('d'), 2),
  },
  'a link': {
    run: p => p.meta.link(p.caller, p.ino('f'), p.dir, 'new'),
    back: p => p.meta.unlink(p.caller, p.dir, 'new'),
  },
  'the removal of one of two names': {
    run: p => p.meta.unlink(p.caller, p.dir, 'b'),
    back: p => p.meta.link(p.caller, p.ino('a'), p.dir, 'b'),
  },
  'a file that was made, and that another has moved and changed': {
    run: p => p.meta.make(p.caller, p.dir, 'new', FILE),
    back: async p => {
      const { ino } = await surely(p.meta.lookup(p.caller, p.dir, 'new'))
      await surely(p.meta.rename(p.caller, p.at('new'), p.at('moved'), 0))
      await surely(p.meta.setattr(p.caller, ino, { mode: 0o600 }))
    },
    isKnown: true,
  },
  'a write whose slice another has merged with others and deleted': {
    run: p => p.writeAmongOthers('f', 1),
    back: p => p.compact('f'),
    isKnown: true,
  },
  'a write whose slice another has merged with his own and deleted': {
    run: p => p.writeAmongOthers('f', 1),
    back: async p => {
      await surely(p.write('f', 0))
      await p.compact('f')
    },
  },
}
