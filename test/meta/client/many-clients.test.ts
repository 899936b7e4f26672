/** Two clients of one volume, each a round trip away from it. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EAGAIN, EDQUOT, EINTR, ENOENT, ENOSPC, EROFS, type Errno } from '../../../src/base/errno.ts'
import { type Ino, ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import { checkVolume } from '../../../src/meta/check.ts'
import { node, QUOTA_DIR, type Quota } from '../../../src/meta/facts.ts'
import type { Cancel, Plock } from '../../../src/meta/meta.ts'
import { RENAME_EXCHANGE } from '../../../src/meta/ops/rename.ts'
import { DIRECTORY, FILE, ok, type RemoteClient, SharedVolume, sleep, TestClock } from './harness.ts'

const O_RDWR = 2
const [ONE, TWO, THREE] = ['00000000000000a1', '00000000000000a2', '00000000000000a3']
const slice = (id: number, len = 100) => ({ id, size: len, off: 0, len })

class Patience implements Cancel {
  cancelled = false
  readonly #listeners: (() => void)[] = []
  onCancel(notify: () => void): void {
    this.#listeners.push(notify)
  }
  cancel(): void {
    this.cancelled = true
    for (const notify of this.#listeners) notify()
  }
}

async function pair(setting = {}): Promise<{ v: SharedVolume; a: RemoteClient; b: RemoteClient }> {
  const v = await SharedVolume.create(setting)
  const config = { heartbeatMs: 12_000, noBackgroundJobs: false }
  return { v, a: await v.client({ config }), b: await v.client({ config }) }
}

/** It crashed: nothing of it happens any more, and its time passes. */
function crash(v: SharedVolume, { meta, engine }: RemoteClient): void {
  engine.onRequest = () => {
    throw new Error('this client is dead')
  }
  meta.closeSession().catch(() => undefined) // stops its heartbeat
  v.clock.aheadMs += 61_000
}

const HEARTBEAT_MS = 12_000

/** Heartbeats of these clients, one period after the other. */
async function beats(v: SharedVolume, clients: readonly RemoteClient[], count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    v.clock.aheadMs += HEARTBEAT_MS
    for (const { meta } of clients) await meta.refresh()
  }
}

/** What is left of a crashed client is found, watched, and ended. */
const cleanedUp = (v: SharedVolume, clients: readonly RemoteClient[]): Promise<void> => beats(v, clients, 4)

describe('locks of two clients', () => {
  for (const kind of ['flock', 'record lock'] as const) {
    const lock = (c: RemoteClient, ino: number, owner: string, type: Plock['type'], wait: Cancel | null) =>
      kind === 'flock'
        ? c.meta.flock(ino as never, owner, type, wait)
        : c.meta.setPlock(ino as never, owner, { type, start: 0, end: 100, pid: 1 }, wait)

    it(`${kind}: one waits until the other lets go, and asks no faster than five times a second`, async () => {
      const { v, a, b } = await pair()
      const { ino } = await ok(a.meta.make(v.caller(), ROOT_INO, 'f', FILE))
      await lock(a, ino, ONE, 'W', null)
      assert.equal(await lock(b, ino, TWO, 'W', null), EAGAIN)
      let granted = false
      const waiting = Promise.resolve(lock(b, ino, TWO, 'W', new Patience())).then(result => {
        granted = true
        return result
      })
      const polls = await b.engine.count(() => sleep(900))
      assert.equal(granted, false)
      assert.ok(polls.gather < 16, `${polls.gather} times in 0.9 s`)
      await lock(a, ino, ONE, 'U', null)
      assert.equal(await waiting, undefined)
      assert.equal(await lock(a, ino, ONE, 'R', null), EAGAIN)
      await v.close()
    })

    it(`${kind}: who waits gives up when interrupted, and holds nothing`, async () => {
      const { v, a, b } = await pair()
      const { ino } = await ok(a.meta.make(v.caller(), ROOT_INO, 'f', FILE))
      await lock(a, ino, ONE, 'W', null)
      const patience = new Patience()
      const waiting = lock(b, ino, TWO, 'W', patience)
      await sleep(20)
      patience.cancel()
      assert.equal(await waiting, EINTR)
      await lock(a, ino, ONE, 'U', null)
      await sleep(30)
      assert.equal(await lock(a, ino, THREE, 'W', null), undefined)
      await v.close()
    })

    it(`${kind}: a read-only client takes none, for nobody would give it back when it dies`, async () => {
      const { v, a } = await pair()
      const { ino } = await ok(a.meta.make(v.caller(), ROOT_INO, 'f', FILE))
      const reader = await v.client({ config: { readOnly: true } })
      assert.equal(await lock(reader, ino, TWO, 'R', new Patience()), EROFS)
      assert.equal(await lock(reader, ino, TWO, 'U', null), undefined)
      assert.equal(await lock(a, ino, ONE, 'W', null), undefined)
      await v.close()
    })

    it(`${kind}: an unlock that the database did not hear of is made up for, and not against a later lock`, async () => {
      const { v, a, b } = await pair()
      const { ino } = await ok(a.meta.make(v.caller(), ROOT_INO, 'f', FILE))
      const isAway = () => {
        throw new Error('no database')
      }
      for (const locksAgain of [false, true]) {
        assert.equal(await lock(a, ino, ONE, 'W', null), undefined)
        a.engine.onRequest = isAway
        await assert.rejects(Promise.resolve(lock(a, ino, ONE, 'U', null)))
        await assert.rejects(a.meta.refresh())
        a.engine.onRequest = () => undefined
        assert.equal(await lock(b, ino, TWO, 'W', null), EAGAIN)
        if (locksAgain) assert.equal(await lock(a, ino, ONE, 'R', null), undefined)
        await a.meta.refresh()
        assert.equal(await lock(b, ino, TWO, 'W', null), locksAgain ? EAGAIN : undefined)
        await lock(b, ino, TWO, 'U', null)
        assert.equal(await lock(b, ino, TWO, 'R', null), undefined)
        await lock(b, ino, TWO, 'U', null)
        await lock(a, ino, ONE, 'U', null)
      }
      await v.close()
    })

    it(`${kind}: the locks of a client that crashed go with its session`, async () => {
      const { v, a, b } = await pair()
      const { ino } = await ok(a.meta.make(v.caller(), ROOT_INO, 'f', FILE))
      await lock(a, ino, ONE, 'W', null)
      const waiting = lock(b, ino, TWO, 'W', new Patience())
      await sleep(10)
      crash(v, a)
      await cleanedUp(v, [b])
      assert.equal(await waiting, undefined)
      await b.meta.closeSession()
    })
  }

  for (const where of ['on two clients', 'on one client']) {
    it(`flock: two readers ${where} who both wait to write do so one after the other, as on a local disk`, async () => {
      const { v, a, b } = await pair()
      const { ino } = await ok(a.meta.make(v.caller(), ROOT_INO, 'f', FILE))
      const other = where === 'on two clients' ? b : a
      await a.meta.flock(ino, ONE, 'R', null)
      await other.meta.flock(ino, TWO, 'R', null)
      const order: string[] = []
      const write = async (c: RemoteClient, owner: string) => {
        assert.equal(await c.meta.flock(ino, owner, 'W', new Patience()), undefined)
        order.push(owner)
        await sleep(20)
        await c.meta.flock(ino, owner, 'U', null)
      }
      const both = Promise.all([write(a, ONE), write(other, TWO)])
      await Promise.race([both, sleep(3000)])
      assert.equal(order.length, 2, 'each waits for the other to give up reading')
      await v.close()
    })
  }

  it('flock: who has it may ask for it again, or for less, while others wait here', async () => {
    const { v, a } = await pair()
    const { ino } = await ok(a.meta.make(v.caller(), ROOT_INO, 'f', FILE))
    await a.meta.flock(ino, ONE, 'W', null)
    let isGranted = false
    const waiting = Promise.resolve(a.meta.flock(ino, TWO, 'W', new Patience())).then(() => {
      isGranted = true
    })
    await sleep(20)
    const soon = (type: 'R' | 'W') =>
      Promise.race([a.meta.flock(ino, ONE, type, new Patience()), sleep(1000).then(() => 'never')])
    assert.equal(await soon('W'), undefined)
    assert.equal(await soon('R'), undefined)
    await sleep(20)
    assert.equal(isGranted, false, 'nobody came in between')
    await a.meta.flock(ino, ONE, 'U', null)
    await waiting
    await v.close()
  })

  it('flock: who does not wait keeps what they have', async () => {
    const { v, a, b } = await pair()
    const { ino } = await ok(a.meta.make(v.caller(), ROOT_INO, 'f', FILE))
    await a.meta.flock(ino, ONE, 'R', null)
    await b.meta.flock(ino, TWO, 'R', null)
    assert.equal(await a.meta.flock(ino, ONE, 'W', null), EAGAIN)
    await b.meta.flock(ino, TWO, 'U', null)
    assert.equal(await b.meta.flock(ino, TWO, 'W', null), EAGAIN)
    await v.close()
  })

  it('those who wait here are served in their order, all of them', async () => {
    const { v, a, b } = await pair()
    const { ino } = await ok(a.meta.make(v.caller(), ROOT_INO, 'f', FILE))
    await a.meta.flock(ino, ONE, 'W', null)
    const order: string[] = []
    const serve = async (owner: string): Promise<undefined | Errno> => {
      const result = await b.meta.flock(ino, owner, 'W', new Patience())
      order.push(owner)
      await sleep(5)
      await b.meta.flock(ino, owner, 'U', null)
      return result
    }
    const owners = Array.from({ length: 5 }, (_, i) => `00000000000000b${i}`)
    const served = owners.map(serve)
    await sleep(30)
    await a.meta.flock(ino, ONE, 'U', null)
    assert.deepEqual(
      await Promise.all(served),
      owners.map(() => undefined),
    )
    assert.deepEqual(order, owners)
    await v.close()
  })
})

describe('sessions of two clients', () => {
  it('a file that a crashed client kept open is let go by the other', async () => {
    const { v, a, b } = await pair()
    const { ino } = await ok(a.meta.create(v.caller(), ROOT_INO, 'f', FILE, O_RDWR, true))
    await ok(a.meta.writeSlice(ino, 0, 0, slice(await a.meta.newSliceId()), v.clock.now()))
    await ok(a.meta.unlink(v.caller(), ROOT_INO, 'f'))
    assert.equal((await ok(b.meta.getattr(ino))).nlink, 0)
    crash(v, a)
    await cleanedUp(v, [b])
    assert.equal(await b.meta.getattr(ino), ENOENT)
    const sessions = (await b.engine.scan('sessions', {}, null, 10)).rows
    assert.deepEqual(
      sessions.map(session => session.sid),
      [b.meta.sid],
    )
    assert.deepEqual(await checkVolume(v.inner), [])
    await b.meta.closeSession()
  })

  it('two clients may clean up after a third at the same time', async () => {
    const { v, a, b } = await pair()
    const third = await v.client({ config: { heartbeatMs: 12_000 } })
    for (const name of ['f', 'g', 'h']) {
      await ok(third.meta.create(v.caller(), ROOT_INO, name, FILE, O_RDWR, true))
      await ok(third.meta.unlink(v.caller(), ROOT_INO, name))
    }
    crash(v, third)
    for (let i = 0; i < 4; i++) {
      v.clock.aheadMs += HEARTBEAT_MS
      await Promise.all([a, b].map(({ meta }) => meta.refresh().then(() => meta.cleanStaleSessions())))
    }
    const { rows } = await b.engine.scan('sessions', {}, null, 10)
    assert.deepEqual(rows.map(({ sid }) => sid).sort(), [a.meta.sid, b.meta.sid].sort())
    assert.deepEqual(await checkVolume(v.inner), [])
    await v.close().catch(() => undefined)
  })

  it('a session that others took for dead is written anew by its next heartbeat', async () => {
    const { v, a, b } = await pair()
    await beats(v, [b], 10)
    assert.equal((await b.engine.scan('sessions', {}, null, 10)).rows.length, 1)
    await a.meta.refresh()
    const { rows } = await b.engine.scan('sessions', {}, null, 10)
    const ours = rows.find(session => session.sid === a.meta.sid)
    assert.ok(ours !== undefined && ours.expire > v.clock.now().sec)
    assert.equal((JSON.parse(String(ours.info)) as { MountPoint: string }).MountPoint, '/nowhere')
    await v.close()
  })

  it('a number that somebody has already, since the counter went back, is left to them', async () => {
    const v = await SharedVolume.create()
    const info = Buffer.from('{"HostName":"elsewhere"}')
    await v.inner.commit([], [{ kind: 'putSession', sid: 1, expire: v.clock.now().sec + 60, info }])
    const { meta } = await v.client()
    assert.equal(meta.sid, 2)
    const [first] = await v.inner.gather([{ kind: 'session', sid: 1 }], 'look')
    assert.deepEqual((first as { info: Buffer }).info, info)
    await v.close()
  })

  it('a heartbeat on its way does not bring back a session that is being closed', async () => {
    const { v, a } = await pair()
    let answered = (): void => {}
    const held = new Promise<void>(resolve => {
      answered = resolve
    })
    a.engine.onRequest = trip => {
      a.engine.onRequest = () => {}
      return trip === 'gather' ? held : undefined
    }
    const beat = a.meta.refresh()
    const closed = a.meta.closeSession()
    setTimeout(answered, 20)
    await Promise.all([beat, closed])
    assert.equal((await v.inner.scan('sessions', {}, null, 10)).rows.length, 1)
    await v.close()
  })

  it('nobody is taken for dead because the database was away for longer than a session lasts', async () => {
    const { v, a, b } = await pair()
    const { ino } = await ok(a.meta.create(v.caller(), ROOT_INO, 'f', FILE, O_RDWR, true))
    await a.meta.flock(ino, ONE, 'W', null)
    await ok(a.meta.unlink(v.caller(), ROOT_INO, 'f'))
    v.clock.aheadMs += 120_000
    const late = await v.client({ config: { heartbeatMs: HEARTBEAT_MS, noBackgroundJobs: false } })
    // a is the last to come back
    for (const { meta } of [b, late]) await meta.refresh()
    await beats(v, [b, late, a], 4)
    assert.equal(await b.meta.flock(ino, TWO, 'W', null), EAGAIN)
    assert.equal((await ok(a.meta.getattr(ino))).nlink, 0)
    assert.equal((await b.engine.scan('sessions', {}, null, 10)).rows.length, 3)
    await v.close()
  })

  it('nobody is taken for dead by a client whose clock is minutes ahead', async () => {
    const v = await SharedVolume.create()
    const config = { heartbeatMs: HEARTBEAT_MS, noBackgroundJobs: false }
    const a = await v.client({ config })
    const clock = new TestClock()
    clock.aheadMs = 300_000
    const ahead = await v.client({ config, clock })
    for (let i = 0; i < 6; i++) {
      clock.aheadMs += HEARTBEAT_MS
      await beats(v, [a], 1)
      await ahead.meta.refresh()
    }
    assert.equal((await a.engine.scan('sessions', {}, null, 10)).rows.length, 2)
    await v.close()
  })

  it('a client that beats while it is being cleaned up after keeps what it has, at whatever request that happens', async () => {
    let met = 0
    for (let request = 1, isMore = true; isMore; request++) {
      const { v, a, b } = await pair()
      const { ino } = await ok(a.meta.create(v.caller(), ROOT_INO, 'f', FILE, O_RDWR, true))
      await a.meta.flock(ino, ONE, 'W', null)
      await ok(a.meta.unlink(v.caller(), ROOT_INO, 'f'))
      v.clock.aheadMs += 61_000
      await beats(v, [b], 2)
      const held = async (): Promise<string> => {
        const [locks] = await v.inner.gather([{ kind: 'flocks', ino }], 'look')
        const kept = await v.inner.scan('sustained', { sid: a.meta.sid }, null, 10)
        return `${(locks as readonly unknown[]).length} lock, ${kept.rows.length} file`
      }
      let before = ''
      let requests = 0
      b.engine.onRequest = async () => {
        if (++requests !== request) return
        before = await held()
        await a.meta.refresh()
      }
      await beats(v, [b], 1)
      isMore = requests >= request
      assert.equal(await held(), isMore ? before : '0 lock, 0 file', `request ${request}`)
      if (before === '1 lock, 1 file' || before === '1 lock, 0 file') met++
      await v.close()
    }
    assert.ok(met > 10, 'it was alive again in time')
  })

  it('a job of a period is done by one client only', async () => {
    const { v, a, b } = await pair()
    const ask = () => Promise.all([a, b].map(({ meta }) => meta.elect('lastCleanupFiles', 3240)))
    assert.deepEqual((await ask()).sort(), [false, true])
    assert.deepEqual(await ask(), [false, false])
    v.clock.aheadMs += 3_241_000
    assert.deepEqual((await ask()).sort(), [false, true])
    await v.close()
  })

  it('where usage is summed in the client, one that died leaves the volume to be recounted', async () => {
    const { v, a, b } = await pair()
    Object.assign(b.engine, { sumsUsage: true })
    assert.equal(await b.meta.usageUncertainSince(), null)
    crash(v, a)
    await cleanedUp(v, [b])
    const since = await b.meta.usageUncertainSince()
    assert.ok(Math.abs(Date.parse(since!) / 1000 - v.clock.now().sec) <= 2 * (HEARTBEAT_MS / 1000))
    await b.meta.closeSession()
  })

  it('where usage is exact nothing has to be recounted', async () => {
    const { v, a, b } = await pair()
    crash(v, a)
    await cleanedUp(v, [b])
    assert.equal((await b.engine.scan('sessions', {}, null, 10)).rows.length, 1)
    assert.equal(await b.meta.usageUncertainSince(), null)
    await b.meta.closeSession()
  })
})

describe('what a heartbeat brings', () => {
  it('a changed setting: the trash is on from now on, its directory is made', async () => {
    const { v, a, b } = await pair()
    const told: number[] = []
    b.meta.hooks.onFormatChanged = format => told.push(format.TrashDays)
    await v.configure({ TrashDays: 3 })
    await ok(a.meta.make(v.caller(), ROOT_INO, 'f', FILE))
    await b.meta.refresh()
    assert.deepEqual(told, [3])
    await ok(b.meta.unlink(v.caller(), ROOT_INO, 'f'))
    const { rows } = await ok(b.meta.readdir(v.caller(), TRASH_INO, null, 10, false))
    assert.equal(rows.length, 1)
    await v.close()
  })

  it('the directory of the trash, and not an older setting that somebody has changed meanwhile', async () => {
    const { v, b } = await pair()
    await v.configure({ TrashDays: 3, Capacity: 1 })
    await v.inner.commit([], [{ kind: 'delNode', ino: TRASH_INO }]) // by a client that leaves it to others
    // between b's look at the setting and the directory that it makes
    let commits = 0
    b.engine.onRequest = async trip => {
      if (trip !== 'commit' || ++commits !== 2) return // the first one is of its session
      await v.configure({ TrashDays: 3, Capacity: 2 })
      await v.inner.commit([], [{ kind: 'delNode', ino: TRASH_INO }])
    }
    await b.meta.refresh()
    const [json, trash] = await v.inner.gather([{ kind: 'format' }, node(TRASH_INO)], 'look')
    assert.equal((JSON.parse(json as string) as { Capacity: number }).Capacity, 2)
    assert.notEqual(trash, null)
    await v.close()
  })

  it('the end, where the volume is another one', async () => {
    const { v, b } = await pair()
    const reasons: string[] = []
    b.meta.hooks.onFatal = reason => reasons.push(reason)
    await v.configure({ UUID: '11111111-0000-4000-8000-000000000000' })
    await b.meta.refresh()
    assert.match(reasons[0]!, /the volume was replaced/)
    await v.close()
  })

  it('limits, and the use of others; its own use counts at once', async () => {
    const { v, a, b } = await pair()
    await v.configure({ Inodes: 4 })
    for (const { meta } of [a, b]) await meta.refresh()
    const make = (c: RemoteClient, name: string) => c.meta.make(v.caller(), ROOT_INO, name, FILE)
    for (const name of ['1', '2', '3']) await ok(make(a, name))
    await ok(make(b, '4')) // it knows of none of them
    await b.meta.refresh()
    assert.equal(await make(b, '5'), ENOSPC)
    await ok(make(a, '5')) // its fourth
    assert.equal(await make(a, '6'), ENOSPC)
    await v.close()
  })

  it('a quota that somebody else set on a directory', async () => {
    const { v, a, b } = await pair()
    const { ino } = await ok(a.meta.make(v.caller(), ROOT_INO, 'd', DIRECTORY))
    const quota = { maxSpace: -1, maxInodes: 1, usedSpace: 0, usedInodes: 0 }
    await a.engine.commit([], [{ kind: 'putQuota', type: QUOTA_DIR, key: ino, quota }])
    await b.meta.refresh()
    await ok(b.meta.make(v.caller(), ino, 'first', FILE))
    assert.equal(await b.meta.make(v.caller(), ino, 'second', FILE), EDQUOT)
    assert.deepEqual(await checkVolume(v.inner), [])
    await v.close()
  })

  it('two full directories under different quotas change places, and each quota pays for what it has then', async () => {
    const { v, a, b } = await pair()
    const dir = async (parent: Ino, name: string) => (await ok(a.meta.make(v.caller(), parent, name, DIRECTORY))).ino
    const [left, right] = [await dir(ROOT_INO, 'left'), await dir(ROOT_INO, 'right')]
    const none = { maxSpace: -1, maxInodes: -1, usedSpace: 0, usedInodes: 0 }
    for (const key of [left, right])
      await a.engine.commit([], [{ kind: 'putQuota', type: QUOTA_DIR, key, quota: none }])
    for (const { meta } of [a, b]) await meta.refresh()
    const [few, many] = [await dir(left, 'few'), await dir(right, 'many')]
    await ok(a.meta.make(v.caller(), few, 'f', FILE))
    for (const name of ['f', 'g', 'h']) await ok(b.meta.make(v.caller(), many, name, FILE))
    const [from, to] = [
      { parent: left, name: 'few' },
      { parent: right, name: 'many' },
    ]
    await ok(b.meta.rename(v.caller(), from, to, RENAME_EXCHANGE))
    const used = await v.inner.gather(
      [left, right].map(key => ({ kind: 'quota', type: QUOTA_DIR, key })),
      'look',
    )
    assert.deepEqual(
      (used as readonly Quota[]).map(({ usedSpace, usedInodes }) => [usedSpace / 4096, usedInodes]),
      [
        [4, 4],
        [2, 2],
      ],
    )
    assert.deepEqual(await checkVolume(v.inner), [])
    await v.close()
  })
})
