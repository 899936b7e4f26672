/** Every key is spelled as the format's worked listing spells it (spec meta-redis section 2). */

import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import type { Redis } from 'ioredis'
import { NO_INO, ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import type { RedisEngine } from '../../../src/meta/engine/redis/engine.ts'
import { node, QUOTA_DIR, QUOTA_USER } from '../../../src/meta/facts.ts'
import { encodeRecords } from '../../../src/meta/model/slice.ts'
import { ACL_RULE, directory, file } from '../../conformance/engine/harness.ts'
import { redisSkip } from '../../servers/redis.ts'
import { all, guard, inoOf, read, World, write } from './harness.ts'

const hour = inoOf(TRASH_INO + 1)
const TRASH = '9223372032828243968'
const HOUR = '9223372032828243969'
const hex = (bytes: Buffer | null): string => bytes?.toString('hex') ?? ''

describe('the layout in Redis', { skip: redisSkip }, () => {
  let world: World
  let engine: RedisEngine
  let raw: Redis
  before(async () => {
    world = await World.start()
  })
  after(() => world?.remove())
  afterEach(() => world.reset())
  const open = async (): Promise<void> => {
    engine = await world.open()
    raw = world.raw()
  }

  const hashOf = async (key: string): Promise<Record<string, string>> => {
    const stored = (await raw.hgetallBuffer(key)) as unknown as Record<string, Buffer>
    return Object.fromEntries(Object.entries(stored).map(([field, value]) => [field, hex(value)]))
  }

  it('of nodes, entries, parents, symlinks, xattrs and chunks is the one of the worked listing', async () => {
    await open()
    await write(
      engine,
      { kind: 'putNode', ino: ROOT_INO, attr: directory({ mode: 0o777, atime: { sec: 0x6b014391, nsec: 5 } }) },
      { kind: 'putNode', ino: TRASH_INO, attr: directory({ mode: 0o555 }) },
      { kind: 'putNode', ino: inoOf(2), attr: file({ parent: NO_INO, nlink: 2 }) },
      { kind: 'setDentry', parent: ROOT_INO, name: 'a.txt', ino: inoOf(2), type: 1 },
      { kind: 'setDentry', parent: ROOT_INO, name: 'd1', ino: inoOf(3), type: 2 },
      { kind: 'setDentry', parent: TRASH_INO, name: '2026-11-21-07', ino: hour, type: 2 },
      { kind: 'linkParent', ino: inoOf(2), parent: ROOT_INO, delta: 1 },
      { kind: 'linkParent', ino: inoOf(2), parent: hour, delta: 1 },
      { kind: 'putSymlink', ino: inoOf(5), target: '../a.txt' },
      { kind: 'putXattr', ino: inoOf(2), name: 'user.k', value: Buffer.from('val') },
      {
        kind: 'appendSlices',
        ino: inoOf(2),
        index: 0,
        records: encodeRecords([{ pos: 0, id: 1, size: 5, off: 0, len: 5 }]),
      },
      { kind: 'newSlice', id: 1, size: 5, refs: 1 },
    )
    const root = hex(await raw.getBuffer('i1'))
    assert.match(root, /^0021ff0000000000000000000000006b01439100000005/)
    assert.equal(root.length, 2 * 72)
    assert.match(hex(await raw.getBuffer(`i${TRASH}`)), /^00216d/)
    assert.deepEqual(await hashOf('d1'), { 'a.txt': '010000000000000002', d1: '020000000000000003' })
    assert.deepEqual(await hashOf(`d${TRASH}`), { '2026-11-21-07': '027fffffff10000001' })
    assert.deepEqual(await raw.hgetall('p2'), { 1: '1', [HOUR]: '1' })
    assert.equal(await raw.get('s5'), '../a.txt')
    assert.deepEqual(await raw.hgetall('x2'), { 'user.k': 'val' })
    assert.deepEqual((await raw.lrangeBuffer('c2_0', 0, -1)).map(hex), [
      '000000000000000000000001000000050000000000000005',
    ])
    assert.equal(await raw.exists('sliceRef'), 0, 'a fresh write adds no reference')
  })

  it('of counters holds the last number taken, under lower-case names', async () => {
    await open()
    assert.deepEqual(
      [
        await engine.allocate('nextInode', 1024),
        await engine.allocate('nextInode', 1024),
        await engine.allocate('nextChunk', 4096),
        await engine.allocate('nextSession', 1),
        await engine.allocate('nextTrash', 1),
      ],
      [1, 1025, 1, 1, 1],
    )
    await write(engine, { kind: 'usage', space: 36864, inodes: 8 })
    const names = ['nextinode', 'nextchunk', 'nextsession', 'nextTrash', 'usedSpace', 'totalInodes']
    assert.deepEqual(await raw.mget(names), ['2048', '4096', '1', '1', '36864', '8'])
    assert.equal(await read(engine, { kind: 'counter', name: 'nextInode' }), 2049, 'facts hold the next free one')
    await write(engine, { kind: 'putCounter', name: 'nextChunk', value: 10 })
    assert.equal(await raw.get('nextchunk'), '9')
  })

  it('of sessions and locks is the one of the worked listing', async () => {
    await open()
    const info = Buffer.from('{"Version":"1.4.1+unknown"}')
    await write(
      engine,
      { kind: 'putSession', sid: 1, expire: 1795245040, info },
      { kind: 'putFlock', ino: inoOf(16), sid: 1, owner: '23f2110b65e46e08', type: 'W' },
      {
        kind: 'putPlock',
        ino: inoOf(17),
        sid: 1,
        owner: '4b744a2c3c570bb9',
        records: Buffer.from('00000001000055ae', 'hex'),
      },
      { kind: 'sustain', sid: 1, ino: inoOf(9) },
    )
    assert.deepEqual(await raw.call('ZRANGE', 'allSessions', '0', '-1', 'WITHSCORES'), ['1', '1795245040'])
    assert.deepEqual(await raw.hgetall('sessionInfos'), { 1: info.toString() })
    assert.deepEqual(await raw.hgetall('lockf16'), { '1_23F2110B65E46E08': 'W' })
    assert.deepEqual(await hashOf('lockp17'), { '1_4B744A2C3C570BB9': '00000001000055ae' })
    assert.deepEqual((await raw.smembers('locked1')).sort(), ['lockf16', 'lockp17'])
    assert.deepEqual(await raw.smembers('session1'), ['9'])
  })

  it('forgets a lock hash in the session’s set with the session’s last lock in it', async () => {
    await open()
    const lock = (owner: string, type: 'R' | null) =>
      write(engine, { kind: 'putFlock', ino: inoOf(16), sid: 1, owner, type })
    await lock('00000000000000aa', 'R')
    await lock('00000000000000bb', 'R')
    await write(engine, { kind: 'putFlock', ino: inoOf(16), sid: 2, owner: '00000000000000cc', type: 'R' })
    await lock('00000000000000aa', null)
    assert.deepEqual(await raw.smembers('locked1'), ['lockf16'])
    await lock('00000000000000bb', null)
    assert.deepEqual([await raw.exists('locked1'), await raw.exists('lockf16')], [0, 1])
  })

  it('of a session that ends loses its locks, its set and its records, and those of others stay', async () => {
    await open()
    for (const sid of [1, 11]) {
      await write(
        engine,
        { kind: 'putSession', sid, expire: 5, info: Buffer.from('{}') },
        { kind: 'putFlock', ino: inoOf(16), sid, owner: '00000000000000aa', type: 'R' },
        { kind: 'putPlock', ino: inoOf(16), sid, owner: '00000000000000aa', records: Buffer.alloc(24) },
      )
    }
    await raw.zadd('sessions', 5, '1')
    await write(engine, { kind: 'delSession', sid: 1 })
    assert.deepEqual(Object.keys(await raw.hgetall('lockf16')), ['11_00000000000000AA'])
    assert.deepEqual(Object.keys(await raw.hgetall('lockp16')), ['11_00000000000000AA'])
    assert.deepEqual((await raw.keys('*')).sort(), ['allSessions', 'locked11', 'lockf16', 'lockp16', 'sessionInfos'])
  })

  it('lists sessions of old clients, which expire five minutes after they were last heard', async () => {
    await open()
    await raw.zadd('sessions', 1000, '7')
    await write(engine, { kind: 'putSession', sid: 1, expire: 5, info: null })
    assert.deepEqual(await all(engine, 'sessions', {}), [
      { sid: 1, expire: 5, info: null },
      { sid: 7, expire: 1300, info: null },
    ])
  })

  it('of slices holds references less one, and of removed data its name and time', async () => {
    await open()
    await write(
      engine,
      { kind: 'refSlice', id: 7, size: 10000, delta: 3 },
      { kind: 'newSlice', id: 8, size: 100, refs: 2 },
      { kind: 'deadFile', ino: inoOf(9), length: 2 ** 40, at: 1795245093 },
      { kind: 'trashSlices', id: 18, at: 1795245093, items: Buffer.from('000000000000000a000003e8', 'hex') },
    )
    assert.deepEqual(await raw.hgetall('sliceRef'), { k7_10000: '3', k8_100: '1' })
    assert.deepEqual(await raw.call('ZRANGE', 'delfiles', '0', '-1', 'WITHSCORES'), [`9:${2 ** 40}`, '1795245093'])
    assert.deepEqual(await hashOf('delSlices'), { '18_1795245093': '000000000000000a000003e8' })
    assert.equal(await read(engine, { kind: 'sliceRefs', id: 7, size: 10000 }), 4)
    assert.equal(await read(engine, { kind: 'sliceRefs', id: 99, size: 1 }), 1, 'what is not listed has one')
  })

  it('of directory usage, quotas and ACL rules is the one of the worked listing', async () => {
    await open()
    const quota = { maxSpace: 2 ** 30, maxInodes: 100, usedSpace: 4096, usedInodes: 1 }
    await write(
      engine,
      { kind: 'putDirUsage', ino: ROOT_INO, usage: { length: 5, space: 4096, inodes: 1 } },
      { kind: 'putQuota', type: QUOTA_DIR, key: 3, quota },
      { kind: 'quotaUsage', type: QUOTA_USER, key: 1000, space: 4096, inodes: 1 },
    )
    assert.equal(await read(engine, { kind: 'aclId', rule: ACL_RULE }), 1)
    assert.deepEqual(
      await Promise.all(['dirDataLength', 'dirUsedSpace', 'dirUsedInodes'].map(key => raw.hgetall(key))),
      [{ 1: '5' }, { 1: '4096' }, { 1: '1' }],
    )
    assert.deepEqual(await hashOf('dirQuota'), { 3: '00000000400000000000000000000064' })
    assert.deepEqual(await raw.hgetall('dirQuotaUsedSpace'), { 3: '4096' })
    assert.deepEqual(await hashOf('userQuota'), { 1000: 'ff'.repeat(16) })
    assert.deepEqual(await raw.hgetall('userQuotaUsedInodes'), { 1000: '1' })
    assert.deepEqual(await hashOf('acl'), { 1: '000600040007000400000001000003e8000700000001000007d00005' })
    assert.equal(await raw.get('aclMaxId'), '1')
  })

  it('keeps what it does not know of a record: bytes behind the tier, digits beyond what a number holds', async () => {
    await open()
    await write(engine, { kind: 'putNode', ino: inoOf(5), attr: file({ accessAcl: 1, tier: 1 }) })
    const newer = Buffer.concat([(await raw.getBuffer('i5'))!.subarray(0, 80), Buffer.from('c0ffee00', 'hex')])
    await raw.set('i5', newer)
    const seen = await guard(engine, 'exact', node(inoOf(5)))
    const attr = seen[0]!.fact as ReturnType<typeof file>
    assert.equal(
      (await engine.commit(seen, [{ kind: 'putNode', ino: inoOf(5), attr: { ...attr, uid: 7 } }])).done,
      true,
    )
    await write(engine, {
      kind: 'extendNode',
      ino: inoOf(5),
      length: 9,
      mtime: { sec: 2, nsec: 2 },
      ctime: { sec: 3, nsec: 3 },
    })
    assert.equal(hex((await raw.getBuffer('i5'))!.subarray(80)), 'c0ffee00')
    assert.deepEqual(await read(engine, node(inoOf(5))), {
      ...attr,
      uid: 7,
      length: 9,
      mtime: { sec: 2, nsec: 2 },
      ctime: { sec: 3, nsec: 3 },
    })

    await raw.hset('dirQuota', '5', Buffer.from('7fffffffffffffffffffffffffffffff', 'hex'))
    const quota = await guard(engine, 'identity', { kind: 'quota', type: QUOTA_DIR, key: 5 })
    assert.equal((await engine.commit(quota, [{ kind: 'sustain', sid: 1, ino: inoOf(5) }])).done, true)
  })

  it('moves a directory’s times on and never back, except for an mtime that somebody has set ahead', async () => {
    await open()
    const at = (sec: number) => ({ sec, nsec: 500 })
    const put = async (mtime: number, ctime: number, touched: number) => {
      await raw.del('i5')
      await write(engine, { kind: 'putNode', ino: inoOf(5), attr: directory({ mtime: at(mtime), ctime: at(ctime) }) })
      await write(engine, { kind: 'adjustDir', ino: inoOf(5), nlink: 0, at: at(touched) })
      const attr = await read(engine, node(inoOf(5)))
      return [attr!.mtime.sec, attr!.ctime.sec]
    }
    assert.deepEqual(await put(10, 10, 11), [11, 11])
    assert.deepEqual(await put(10, 12, 11), [11, 12])
    assert.deepEqual(await put(12, 12, 11), [12, 12])
    assert.deepEqual(await put(99, 10, 11), [11, 11])
    assert.deepEqual(await put(-20, -10, -5), [-5, -5])
    assert.deepEqual(await put(-20, -10, -15), [-15, -10])
    assert.deepEqual(await put(2 ** 33, 2 ** 33, 2 ** 33 + 1), [2 ** 33 + 1, 2 ** 33 + 1])
  })

  it('spells inodes of the trash exactly inside the scripts', async () => {
    await open()
    const inos = [
      2 ** 32 - 1,
      2 ** 32,
      2 ** 52 - 1,
      TRASH_INO,
      TRASH_INO + 1,
      TRASH_INO + 0x0fffffff,
      2 ** 52 + 2 ** 32 - 1,
    ]
    for (const [i, n] of inos.entries()) {
      await write(
        engine,
        { kind: 'putNode', ino: inoOf(n), attr: directory({ uid: i }) },
        { kind: 'setDentry', parent: ROOT_INO, name: `n${i}`, ino: inoOf(n), type: 2 },
        { kind: 'setDentry', parent: inoOf(n), name: 'child', ino: inoOf(7), type: 1 },
      )
    }
    for (const [i, n] of inos.entries()) {
      const found = await read(engine, { kind: 'dentry', parent: ROOT_INO, name: `n${i}`, empty: true })
      assert.deepEqual([found?.ino, found?.attr?.uid, found?.empty], [n, i, false])
    }
    const listed = await all(engine, 'entries', { parent: ROOT_INO, attrs: true })
    assert.deepEqual(
      listed.map(row => [row.ino, row.attr?.uid]),
      inos.map((n, i) => [n, i]),
    )
  })
})
