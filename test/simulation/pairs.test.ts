/** Two operations of two clients, in every order that their steps can take. Whatever the order, what both are told and what
 *  is stored must be what one after the other would have come to: the first, then the second, or the reverse. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isErrno } from '../../src/base/errno.ts'
import { type Ino, NO_INO, ROOT_INO, TRASH_INO } from '../../src/base/ino.ts'
import { checkVolume } from '../../src/meta/check.ts'
import { Driver } from '../../src/meta/driver.ts'
import { MemoryEngine } from '../../src/meta/engine/memory.ts'
import type { Page, ScanKind, Scans } from '../../src/meta/engine.ts'
import type { Operation } from '../../src/meta/facts.ts'
import { type Attr, TYPE_DIRECTORY, TYPE_FILE } from '../../src/meta/model/attr.ts'
import { type Caller, systemCaller } from '../../src/meta/model/caller.ts'
import { setattr } from '../../src/meta/ops/attributes.ts'
import { copyRange } from '../../src/meta/ops/copy-range.ts'
import { fallocate } from '../../src/meta/ops/fallocate.ts'
import { initVolume } from '../../src/meta/ops/init-volume.ts'
import { link } from '../../src/meta/ops/link.ts'
import { make } from '../../src/meta/ops/make.ts'
import { rename } from '../../src/meta/ops/rename.ts'
import { rmdir } from '../../src/meta/ops/rmdir.ts'
import { putSession, releaseSustained } from '../../src/meta/ops/session.ts'
import { truncate } from '../../src/meta/ops/truncate.ts'
import { unlink } from '../../src/meta/ops/unlink.ts'
import { writeSlice } from '../../src/meta/ops/write-slice.ts'
import { NO_QUOTAS, volumeWith } from '../conformance/engine/harness.ts'
import { Random } from './random.ts'
import { Scheduler, SteppedEngine } from './scheduler.ts'

const ino = (n: number): Ino => n as Ino
/** / ─┬─ A ─┬─ x/         empty
 *     │     ├─ v/p/
 *     │     ├─ f          also B/g
 *     │     └─ h          open in both sessions
 *     └─ B ─┬─ y/  e/     empty
 *           ├─ w/q/
 *           └─ g          */
const [A, B, X, Y, E, F, H] = [ino(10), ino(11), ino(12), ino(13), ino(14), ino(20), ino(21)]
const [V, P, W, Q] = [ino(15), ino(16), ino(17), ino(18)]
const HOUR = ino(TRASH_INO + 1)

const caller: Caller = systemCaller({ sec: 1_795_244_500, nsec: 0 })
const volume = volumeWith({ skipDirMtimeNs: 1e8, limits: { ...NO_QUOTAS, userGroup: true } })
const removal = (trash: Ino, sid: number) => ({ trash, isOpen: (node: Ino) => node === H, sid })
const what = (type: number) => ({ type, mode: 0o755, umask: 0, rdev: 0, target: '' })
const place = (parent: Ino, name: string) => ({ parent, name })

/** What one client may do; `me` (1 or 2) is its session, and makes its inode and slice numbers its own. */
type Deed = (me: number) => Operation<unknown>
const create =
  (parent: Ino, name: string, type: number): Deed =>
  me =>
    make(volume, caller, parent, name, ino(100 + me), what(type), { orExisting: false })
const move =
  (from: readonly [Ino, string], to: readonly [Ino, string], flags = 0, trash = NO_INO): Deed =>
  me =>
    rename(volume, caller, place(...from), place(...to), flags, removal(trash, me))
const write =
  (node: Ino, pos: number, len: number): Deed =>
  me =>
    writeSlice(volume, caller.now, node, 0, pos, { id: 100 + me, size: len, off: 0, len }, caller.now)

const DEEDS: Readonly<Record<string, Deed>> = {
  'create A/x/new': create(X, 'new', TYPE_FILE),
  'mkdir A/x/new': create(X, 'new', TYPE_DIRECTORY),
  'mkdir A/new': create(A, 'new', TYPE_DIRECTORY),
  'rmdir A/x': me => rmdir(volume, caller, A, 'x', removal(NO_INO, me)),
  'rmdir A/x into the trash': me => rmdir(volume, caller, A, 'x', removal(HOUR, me)),
  'rmdir B/e': me => rmdir(volume, caller, B, 'e', removal(NO_INO, me)),
  'rename A/x to B/y/x': move([A, 'x'], [Y, 'x']),
  'rename B/y to A/x/y': move([B, 'y'], [X, 'y']),
  'rename A/v to B/w/q/v': move([A, 'v'], [Q, 'v']),
  'rename B/w to A/v/p/w': move([B, 'w'], [P, 'w']),
  'rename A/x over B/e': move([A, 'x'], [B, 'e']),
  'rename A/h over A/f': move([A, 'h'], [A, 'f']),
  'rename A/f over B/g, its other name': move([A, 'f'], [B, 'g']),
  'rename B/g over A/h': move([B, 'g'], [A, 'h']),
  'rename B/g over A/h into the trash': move([B, 'g'], [A, 'h'], 0, HOUR),
  'exchange A/h and B/e': move([A, 'h'], [B, 'e'], 2),
  'exchange A/x and B/y': move([A, 'x'], [B, 'y'], 2),
  'unlink A/f': me => unlink(volume, caller, A, 'f', removal(NO_INO, me)),
  'unlink B/g into the trash': me => unlink(volume, caller, B, 'g', removal(HOUR, me)),
  'unlink A/h, which is open': me => unlink(volume, caller, A, 'h', removal(NO_INO, me)),
  'unlink A/h into the trash': me => unlink(volume, caller, A, 'h', removal(HOUR, me)),
  'unlink A/h and let it go': _me => unlink(volume, caller, A, 'h', removal(NO_INO, 0)),
  'let session 1 go of h': () => releaseSustained(volume, 1, H, caller.now),
  'link h as B/new': me => link(volume, caller, H, B, 'new', { sid: me }),
  'link f as A/new': me => link(volume, caller, F, A, 'new', { sid: me }),
  'write at the beginning of h': write(H, 0, 50),
  'write beyond the end of h': write(H, 0, 9000),
  'write beyond the end of f': write(F, 5000, 5000),
  'shorten h': () => truncate(volume, caller, H, 10, true),
  'lengthen f': () => truncate(volume, caller, F, 20_000, true),
  'punch a hole in h': () => fallocate(volume, caller, H, 3, 10, 20),
  'copy h to the end of f': () => copyRange(volume, caller, { ino: H, offset: 0 }, { ino: F, offset: 100 }, 100),
  'chmod x': () => setattr(volume, caller, X, { mode: 0o700 }),
  'chown h': () => setattr(volume, caller, H, { uid: 5 }),
}

async function freshVolume(): Promise<MemoryEngine> {
  const engine = new MemoryEngine()
  const driver = driverOf(engine)
  const does = async (operation: () => Operation<unknown>) => {
    const result = await driver.run('change', operation)
    assert.ok(!isErrno(result), `errno ${String(result)} while setting up`)
  }
  await does(() => initVolume('{}', { isNew: true, trash: true, now: caller.now }))
  await engine.commit([], [{ kind: 'newDirUsage', ino: ROOT_INO }])
  for (const sid of [1, 2]) await does(() => putSession(sid, 2 ** 31, Buffer.from('{}')))
  const put = (parent: Ino, name: string, node: Ino, type: number, inTrash = false) =>
    does(() => make(volume, caller, parent, name, node, what(type), { orExisting: false, inTrash }))
  await put(TRASH_INO, '2026-11-21-07', HOUR, TYPE_DIRECTORY, true)
  for (const [parent, name, node] of [
    [ROOT_INO, 'A', A],
    [ROOT_INO, 'B', B],
    [A, 'x', X],
    [B, 'y', Y],
    [B, 'e', E],
    [A, 'v', V],
    [V, 'p', P],
    [B, 'w', W],
    [W, 'q', Q],
  ] as const) {
    await put(parent, name, node, TYPE_DIRECTORY)
  }
  for (const [i, [name, node]] of (
    [
      ['f', F],
      ['h', H],
    ] as const
  ).entries()) {
    await put(A, name, node, TYPE_FILE)
    const slice = { id: 50 + i, size: 100, off: 0, len: 100 }
    await does(() => writeSlice(volume, caller.now, node, 0, 0, slice, caller.now))
  }
  await does(() => link(volume, caller, F, B, 'g', { sid: 1 }))
  await engine.allocate('nextInode', 1000)
  await engine.allocate('nextChunk', 1000)
  await engine.allocate('nextTrash', 1)
  return engine
}

const driverOf = (engine: ConstructorParameters<typeof Driver>[0]) =>
  new Driver(engine, { random: () => 0, onEffect: () => undefined, sleep: async () => undefined })

/** Everything that is stored, but for times. */
function stored(engine: MemoryEngine): string {
  const all = <K extends ScanKind>(kind: K, args: Scans[K]['args']) =>
    (engine.scan(kind, args, null, 1e9) as Page<Scans[K]['row']>).rows
  const nodes = all('nodes', {})
  const untimed = ({ atime: _a, mtime: _m, ctime: _c, ...rest }: Attr) => rest
  const entries = nodes.map(({ ino: parent }) => [parent, all('entries', { parent, attrs: false })])
  const chunks = all('chunks', { ino: null }).map(row => [row.ino, row.index, row.records.toString('hex')])
  const kept = [1, 2].map(sid => all('sustained', { sid }))
  const counted = [
    all('dirUsages', {}),
    all('sliceRefs', {}),
    all('deadFiles', { before: 2 ** 40 }),
    all('quotas', { type: 1 }),
  ]
  return JSON.stringify([nodes.map(row => [row.ino, untimed(row.attr)]), entries, chunks, kept, counted])
}

const said = (result: unknown): string => (isErrno(result) ? `errno ${result}` : 'yes')

async function oneAfterTheOther(deeds: readonly [Deed, Deed], order: readonly [0 | 1, 0 | 1]): Promise<string> {
  const engine = await freshVolume()
  const results = ['', '']
  for (const i of order) results[i] = said(await driverOf(engine).run('change', () => deeds[i](i + 1)))
  return `${results.join(', ')}: ${stored(engine)}`
}

/** One course of events: whose step comes next, as `choices` say, and the first one's where they say no more. */
async function atOnce(deeds: readonly [Deed, Deed], choices: readonly number[]) {
  const engine = await freshVolume()
  const random = new Random(1)
  const losses = { request: 0, reply: 0 }
  const schedulers = [new Scheduler(random), new Scheduler(random)] as const
  const running = deeds.map((deed, i) => {
    const stepped = new SteppedEngine({ engine, scheduler: schedulers[i]!, client: i, random, losses })
    return Promise.resolve(driverOf(stepped).run('change', () => deed(i + 1)))
  })
  const taken: { readonly choice: number; readonly free: boolean }[] = []
  for (;;) {
    const waiting = schedulers.flatMap((scheduler, i) => (scheduler.waiting > 0 ? [i] : []))
    if (waiting.length === 0) break
    const choice = waiting.length === 2 ? (choices[taken.length] ?? 0) : waiting[0]!
    taken.push({ choice, free: waiting.length === 2 })
    await schedulers[choice]!.step()
  }
  const results = await Promise.all(running)
  return { taken, outcome: `${results.map(said).join(', ')}: ${stored(engine)}`, wrong: await checkVolume(engine) }
}

/** The next course of events that was not tried: the last free choice of the first that can still be the second's. */
function nextChoices(taken: readonly { readonly choice: number; readonly free: boolean }[]): number[] | null {
  for (let i = taken.length - 1; i >= 0; i--) {
    const { choice, free } = taken[i]!
    if (free && choice === 0) return [...taken.slice(0, i).map(each => each.choice), 1]
  }
  return null
}

describe('two operations at once come to what one after the other would', () => {
  const names = Object.keys(DEEDS)
  for (const [i, first] of names.entries()) {
    it(`${first}, beside everything else`, async () => {
      for (const second of names.slice(i)) {
        const deeds = [DEEDS[first]!, DEEDS[second]!] as const
        const serial = [await oneAfterTheOther(deeds, [0, 1]), await oneAfterTheOther(deeds, [1, 0])]
        for (let choices: number[] | null = []; choices !== null; ) {
          const { taken, outcome, wrong } = await atOnce(deeds, choices)
          const order = taken.map(each => each.choice + 1).join('')
          assert.deepEqual(wrong, [], `${first} | ${second}, steps of ${order}`)
          assert.ok(
            serial.includes(outcome),
            `${first} | ${second}, steps of ${order}:\n${outcome}\nis neither\n${serial.join('\nnor\n')}`,
          )
          choices = nextChoices(taken)
        }
      }
    })
  }
})
