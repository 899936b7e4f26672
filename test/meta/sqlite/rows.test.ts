/** Every record as columns: the example rows of spec meta-sql section 2, and the edges of the numbers. */

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Ino, NO_INO, ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import type { SqliteEngine } from '../../../src/meta/engine/sqlite/engine.ts'
import { QUOTA_DIR, QUOTA_GROUP, QUOTA_USER } from '../../../src/meta/facts.ts'
import { ACL_RULE, directory, file, formatted, inoOf, read, Volume, write } from './harness.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

describe('rows of the SQLite engine', () => {
  const volume = new Volume()
  let engine: SqliteEngine
  before(async () => {
    engine = volume.open()
    await formatted(engine)
  })
  after(() => volume.remove())

  it('spells a node as the example row of the format', async () => {
    const attr = file({
      mode: 0o674,
      atime: { sec: 1795244945, nsec: 819845218 },
      mtime: { sec: 1795244945, nsec: 820462699 },
      ctime: { sec: 1795244945, nsec: 841125167 },
      nlink: 2,
      length: 5,
      parent: NO_INO,
      accessAcl: 1,
    })
    await write(engine, { kind: 'putNode', ino: inoOf(2), attr })
    const [row] = volume.query('SELECT * FROM jfs_node WHERE inode = 2')
    assert.equal(
      row!.join('|'),
      '2|1|0|444|0|0|1795244945819845|1795244945820462|1795244945841125|218|699|167|2|5|0|0|1|0|0',
    )
    assert.ok(row!.every(value => typeof value === 'bigint'))
    assert.deepEqual(await read(engine, { kind: 'node', ino: inoOf(2) }), attr)
  })

  it('spells names, chunks and references as the example rows of the format', async () => {
    const records = hex('00000000 0000000000000001 00000005 00000000 00000005')
    await write(
      engine,
      { kind: 'setDentry', parent: ROOT_INO, name: 'a.txt', ino: inoOf(2), type: 1 },
      { kind: 'appendSlices', ino: inoOf(2), index: 0, records },
      { kind: 'newSlice', id: 1, size: 5, refs: 1 },
    )
    assert.deepEqual(volume.query('SELECT * FROM jfs_edge'), [[1n, 1n, hex('61 2e 74 78 74'), 2n, 1n]])
    assert.deepEqual(volume.query('SELECT * FROM jfs_chunk'), [[1n, 2n, 0n, records]])
    assert.deepEqual(volume.query('SELECT * FROM jfs_chunk_ref'), [[1n, 5n, 1n]])
  })

  it('stores trash inodes beyond 2^53 exactly, as key, as parent and in names', async () => {
    const hour = (TRASH_INO + 1) as Ino
    await write(
      engine,
      { kind: 'putNode', ino: TRASH_INO, attr: directory({ parent: ROOT_INO }) },
      { kind: 'putNode', ino: hour, attr: directory({ parent: TRASH_INO }) },
      { kind: 'setDentry', parent: TRASH_INO, name: '2026-11-21-07', ino: hour, type: 2 },
      { kind: 'setDentry', parent: hour, name: '3-4-b.bin', ino: inoOf(4), type: 1 },
      { kind: 'putNode', ino: inoOf(4), attr: file({ parent: hour }) },
    )
    assert.deepEqual(volume.query('SELECT parent, name, inode, type FROM jfs_edge WHERE parent > 2 ORDER BY parent'), [
      [9223372032828243968n, Buffer.from('2026-11-21-07'), 9223372032828243969n, 2n],
      [9223372032828243969n, Buffer.from('3-4-b.bin'), 4n, 1n],
    ])
    const entry = await read(engine, { kind: 'dentry', parent: TRASH_INO, name: '2026-11-21-07', empty: true })
    assert.deepEqual(entry, { ino: hour, type: 2, attr: directory({ parent: TRASH_INO }), empty: false })
    assert.equal((await read(engine, { kind: 'node', ino: inoOf(4) }))?.parent, hour)
    assert.deepEqual(await read(engine, { kind: 'ancestors', ino: hour }), [hour])
    assert.deepEqual(await read(engine, { kind: 'parents', ino: hour }), [{ parent: TRASH_INO, count: 1 }])
    const { rows } = await engine.scan('nodes', {}, inoOf(4), 10)
    assert.deepEqual(
      rows.map(row => row.ino),
      [TRASH_INO, hour],
    )
  })

  const times = [
    { sec: 0, nsec: 0 },
    { sec: -1, nsec: 999_999_999 },
    { sec: -1, nsec: 1 },
    { sec: -2_000_000_000, nsec: 123_456_789 },
    { sec: 2 ** 31, nsec: 999 },
    { sec: 2_251_799_814, nsec: 1_001 },
    { sec: 9_007_199_255, nsec: 1_999 },
    { sec: 253_402_300_799, nsec: 999_999_999 },
    { sec: -60_000_000_000, nsec: 1 },
  ]
  for (const time of times) {
    it(`keeps the time ${time.sec} s ${time.nsec} ns exactly`, async () => {
      const ino = inoOf(100)
      await write(engine, { kind: 'delNode', ino })
      await write(engine, { kind: 'putNode', ino, attr: file({ atime: time, mtime: time }) })
      await write(engine, { kind: 'extendNode', ino, length: 1, mtime: time, ctime: time })
      const attr = await read(engine, { kind: 'node', ino })
      assert.deepEqual([attr?.atime, attr?.mtime, attr?.ctime], [time, time, time])
      const [row] = volume.query('SELECT atime * 1000 + atimensec, atimensec FROM jfs_node WHERE inode = 100')
      const expected = BigInt(time.sec) * 1_000_000_000n + BigInt(time.nsec)
      if (time.sec < 9e9 && time.sec > -9e9) assert.equal(row![0], expected)
      assert.equal(row![1], BigInt(time.nsec % 1000))
    })
  }

  it('stores ids of users and groups, devices and lengths beyond 2^31', async () => {
    const attr = file({ uid: 2 ** 32 - 1, gid: 2 ** 31, rdev: 2 ** 32 - 2, length: 2 ** 52 + 1 })
    await write(engine, { kind: 'putNode', ino: inoOf(2 ** 40 + 1), attr })
    assert.deepEqual(await read(engine, { kind: 'node', ino: inoOf(2 ** 40 + 1) }), attr)
    assert.deepEqual(
      volume.query('SELECT uid, typeof(uid), length, typeof(length) FROM jfs_node WHERE inode > 1e9 AND inode < 1e15'),
      [[4294967295n, 'integer', 4503599627370497n, 'integer']],
    )
  })

  it('reads NULL in the columns that may be NULL as 0', async () => {
    volume.exec(
      `INSERT INTO jfs_node (inode, type, flags, mode, uid, gid, atime, mtime, ctime, nlink, length)
        VALUES (101, 1, 0, 420, 0, 0, 1000000, 1000000, 1000000, 1, 0)`,
    )
    assert.deepEqual(await read(engine, { kind: 'node', ino: inoOf(101) }), file({ parent: NO_INO }))
  })

  it('names the inode of a node record that cannot be decoded', () => {
    volume.exec("UPDATE jfs_node SET mode = 'abc' WHERE inode = 101")
    assert.throws(() => engine.gather([{ kind: 'node', ino: inoOf(101) }], 'look'), /inode 101 is damaged/)
    volume.exec('UPDATE jfs_node SET mode = 0, type = 9 WHERE inode = 101')
    assert.throws(() => engine.gather([{ kind: 'node', ino: inoOf(101) }], 'look'), /inode 101 is damaged: type 9/)
    volume.exec('DELETE FROM jfs_node WHERE inode = 101')
  })

  it('spells lock owners as signed numbers and record lists as they are', async () => {
    const records = hex(
      '00000001000055AF000000000000000A000000000000006D 00000000000055AF00000000000001F40000000000000225',
    )
    await write(
      engine,
      { kind: 'putPlock', ino: inoOf(17), sid: 1, owner: 'ace2b50e5d2a942e', records },
      { kind: 'putFlock', ino: inoOf(17), sid: 1, owner: 'd6c187dd3bd3e1e4', type: 'W' },
      { kind: 'putFlock', ino: inoOf(17), sid: 2, owner: '0000000000000000', type: 'R' },
    )
    assert.deepEqual(volume.query('SELECT inode, sid, owner, records FROM jfs_plock'), [
      [17n, 1n, -5989025481152097234n, records],
    ])
    assert.deepEqual(volume.query('SELECT inode, sid, owner, ltype FROM jfs_flock ORDER BY sid'), [
      [17n, 1n, -2971944894826552860n, 87n],
      [17n, 2n, 0n, 82n],
    ])
    assert.deepEqual(await read(engine, { kind: 'flocks', ino: inoOf(17) }), [
      { sid: 1, owner: 'd6c187dd3bd3e1e4', type: 'W' },
      { sid: 2, owner: '0000000000000000', type: 'R' },
    ])
    assert.deepEqual(await read(engine, { kind: 'plocks', ino: inoOf(17) }), [
      { sid: 1, owner: 'ace2b50e5d2a942e', records },
    ])
    await write(engine, { kind: 'putFlock', ino: inoOf(17), sid: 2, owner: '0000000000000000', type: null })
    await write(engine, { kind: 'delSession', sid: 1 })
    assert.deepEqual(await read(engine, { kind: 'flocks', ino: inoOf(17) }), [])
    assert.deepEqual(await read(engine, { kind: 'plocks', ino: inoOf(17) }), [])
  })

  it('gives equal ACL rules one id and stores entries without a count', async () => {
    const bare = { ...ACL_RULE, namedUsers: [], namedGroups: [] }
    const id = await read(engine, { kind: 'aclId', rule: ACL_RULE })
    const other = await read(engine, { kind: 'aclId', rule: bare })
    assert.equal(await read(engine, { kind: 'aclId', rule: { ...ACL_RULE } }), id)
    assert.equal(await read(engine, { kind: 'aclId', rule: { ...bare } }), other)
    assert.notEqual(other, id)
    assert.deepEqual(volume.query('SELECT * FROM jfs_acl ORDER BY id'), [
      [BigInt(id), 6n, 4n, 7n, 4n, hex('000003e80007'), hex('000007d00005')],
      [BigInt(other), 6n, 4n, 7n, 4n, hex(''), hex('')],
    ])
    assert.deepEqual(await read(engine, { kind: 'aclRule', id }), ACL_RULE)
    assert.deepEqual(await read(engine, { kind: 'aclRule', id: other }), bare)
    assert.equal(await read(engine, { kind: 'aclRule', id: 99 }), null)
  })

  it('keeps the bytes of names that are not UTF-8', async () => {
    const name = 'user.\xff\xe9'
    await write(
      engine,
      { kind: 'putXattr', ino: inoOf(2), name, value: Buffer.alloc(0) },
      { kind: 'putXattr', ino: inoOf(2), name: 'user.a', value: hex('00ff') },
      { kind: 'putSymlink', ino: inoOf(3), target: 'x\xff\x80' },
      { kind: 'setDentry', parent: ROOT_INO, name: '\xff\x00'.slice(0, 1), ino: inoOf(3), type: 3 },
    )
    assert.deepEqual(
      volume.query('SELECT typeof(name), CAST(name AS BLOB), typeof(value) FROM jfs_xattr ORDER BY id'),
      [
        ['text', Buffer.from(name, 'latin1'), 'blob'],
        ['text', Buffer.from('user.a'), 'blob'],
      ],
    )
    assert.deepEqual(await read(engine, { kind: 'xattr', ino: inoOf(2), name }), Buffer.alloc(0))
    assert.deepEqual(await read(engine, { kind: 'xattrNames', ino: inoOf(2) }), ['user.a', name])
    assert.equal(await read(engine, { kind: 'symlink', ino: inoOf(3) }), 'x\xff\x80')
    await write(engine, { kind: 'delXattr', ino: inoOf(2), name })
    assert.deepEqual(await read(engine, { kind: 'xattrNames', ino: inoOf(2) }), ['user.a'])
    const { rows } = await engine.scan('entries', { parent: ROOT_INO, attrs: true }, 'b', 10)
    assert.deepEqual(rows, [{ name: '\xff', ino: 3, type: 3, attr: null }])
  })

  it('appends to lists that the reference made TEXT, and stores BLOBs', async () => {
    const record = (id: number) =>
      hex(`00000000 00000000000000${id.toString(16).padStart(2, '0')} 00000005 00000000 00000005`)
    volume.exec(
      `INSERT INTO jfs_chunk (inode, indx, slices) VALUES (50, 3, x'${record(255).toString('hex')}' || x'${record(254).toString('hex')}')`,
    )
    assert.deepEqual(volume.query('SELECT typeof(slices) FROM jfs_chunk WHERE inode = 50'), [['text']])
    const outcome = await write(engine, { kind: 'appendSlices', ino: inoOf(50), index: 3, records: record(253) })
    assert.deepEqual(outcome, { done: true, results: [3] })
    const whole = Buffer.concat([record(255), record(254), record(253)])
    assert.deepEqual(volume.query('SELECT slices FROM jfs_chunk WHERE inode = 50'), [[whole]])
    const replaced = { kind: 'replaceSlices', ino: inoOf(50), index: 3, records: record(1) } as const
    const refused = await engine.commit([], [{ ...replaced, prefix: record(253) }])
    assert.equal(refused.done, false)
    await write(engine, { ...replaced, prefix: whole.subarray(0, 48) })
    assert.deepEqual(
      await read(engine, { kind: 'chunk', ino: inoOf(50), index: 3 }),
      Buffer.concat([record(1), record(253)]),
    )
    assert.deepEqual(await read(engine, { kind: 'chunkIndexes', ino: inoOf(50), from: 0, to: 4 }), [3])
    assert.deepEqual(await read(engine, { kind: 'chunkIndexes', ino: inoOf(50), from: 0, to: 3 }), [])
  })

  it('counts references per slice and size', async () => {
    await write(engine, { kind: 'newSlice', id: 9, size: 100, refs: 2 })
    const one = await write(engine, { kind: 'refSlice', id: 9, size: 100, delta: -1 })
    assert.deepEqual(one, { done: true, results: [1] })
    const none = await write(engine, { kind: 'refSlice', id: 9, size: 99, delta: -1 })
    assert.deepEqual(none, { done: true, results: [undefined] })
    await write(engine, { kind: 'refSlice', id: 9, size: 100, delta: -1 })
    assert.deepEqual((await engine.scan('unusedSlices', {}, null, 10)).rows, [{ id: 9, size: 100 }])
    await write(engine, { kind: 'delSliceRefs', id: 9, size: 100 })
    assert.equal(await read(engine, { kind: 'sliceRefs', id: 9, size: 100 }), null)
  })

  it('stores sessions, sustained nodes, dead files and trashed slices', async () => {
    const info = Buffer.from('{"Version":"1.4.1"}')
    const items = hex('000000000000000A000003E8 000000000000000B000003E8')
    await write(
      engine,
      { kind: 'putSession', sid: 7, expire: 100, info },
      { kind: 'sustain', sid: 7, ino: inoOf(30) },
      { kind: 'deadFile', ino: inoOf(31), length: 2 ** 40, at: 1795245093 },
      { kind: 'trashSlices', id: 18, at: 1795245093, items },
    )
    await write(engine, { kind: 'putSession', sid: 7, expire: 200, info: null })
    assert.deepEqual(volume.query('SELECT * FROM jfs_session2'), [[7n, 200n, info]])
    assert.deepEqual(volume.query('SELECT * FROM jfs_sustained'), [[1n, 7n, 30n]])
    assert.deepEqual(volume.query('SELECT * FROM jfs_delfile'), [[31n, 2n ** 40n, 1795245093n]])
    assert.deepEqual(volume.query('SELECT * FROM jfs_delslices'), [[18n, 1795245093n, items]])
    assert.deepEqual(await read(engine, { kind: 'session', sid: 7 }), { expire: 200, info })
    assert.equal(await read(engine, { kind: 'sustained', sid: 7, ino: inoOf(30) }), true)
    assert.equal(await read(engine, { kind: 'sustained', sid: 8, ino: inoOf(30) }), false)
    assert.deepEqual(await read(engine, { kind: 'deadFile', ino: inoOf(31) }), { length: 2 ** 40, at: 1795245093 })
    assert.deepEqual(await read(engine, { kind: 'trashedSlices', id: 18, at: 1795245093 }), items)
    assert.deepEqual((await engine.scan('deadFiles', { before: 1795245093 }, null, 10)).rows, [])
    assert.equal((await engine.scan('trashedSlices', { before: 1795245094 }, null, 10)).rows.length, 1)
  })

  it('adds usage of users and groups to new records without limits, of directories to existing ones only', async () => {
    await write(
      engine,
      { kind: 'quotaUsage', type: QUOTA_USER, key: 1000, space: 8192, inodes: 2 },
      { kind: 'quotaUsage', type: QUOTA_GROUP, key: 1000, space: 4096, inodes: 1 },
      { kind: 'quotaUsage', type: QUOTA_DIR, key: 3, space: 4096, inodes: 1 },
    )
    await write(engine, {
      kind: 'putQuota',
      type: QUOTA_DIR,
      key: 3,
      quota: { maxSpace: 2 ** 30, maxInodes: 100, usedSpace: 0, usedInodes: 0 },
    })
    await write(engine, { kind: 'quotaUsage', type: QUOTA_DIR, key: 3, space: 12288, inodes: 3 })
    assert.deepEqual(volume.query('SELECT * FROM jfs_user_group_quota'), [
      [1n, 1000n, -1n, -1n, 8192n, 2n],
      [2n, 1000n, -1n, -1n, 4096n, 1n],
    ])
    assert.deepEqual(volume.query('SELECT * FROM jfs_dir_quota'), [[3n, 2n ** 30n, 100n, 12288n, 3n]])
    assert.deepEqual((await engine.scan('quotas', { type: QUOTA_GROUP }, null, 10)).rows, [
      { key: 1000, quota: { maxSpace: -1, maxInodes: -1, usedSpace: 4096, usedInodes: 1 } },
    ])
  })

  it('begins a volume with the six counters of the format', () => {
    const fresh = volume.query(
      "SELECT name, value FROM jfs_counter WHERE name NOT IN ('nextTrash', 'lastCleanupSessions') ORDER BY rowid",
    )
    assert.deepEqual(fresh.map(String), [
      'nextInode,2',
      'nextChunk,1',
      'nextSession,0',
      'usedSpace,0',
      'totalInodes,0',
      'nextCleanupSlices,0',
    ])
  })

  it('hands out ranges of ids by the SQL convention', async () => {
    assert.equal(await engine.allocate('nextInode', 1024), 2)
    assert.equal(await engine.allocate('nextInode', 1024), 1026)
    assert.equal(await engine.allocate('nextChunk', 4096), 1)
    assert.equal(await engine.allocate('nextSession', 1), 1)
    assert.equal(await engine.allocate('nextTrash', 1), 1)
    assert.equal(await engine.allocate('nextTrash', 1), 2)
    assert.deepEqual(volume.query("SELECT value, typeof(value) FROM jfs_counter WHERE name = 'nextInode'"), [
      [2050n, 'integer'],
    ])
  })
})
