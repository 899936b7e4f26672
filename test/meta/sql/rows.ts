/** Every record as columns: the example rows of spec meta-sql section 2, and the edges of the numbers. */

import assert from 'node:assert/strict'
import { before, it } from 'node:test'
import { EINVAL, EOVERFLOW } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { type Ino, NO_INO, ROOT_INO, TRASH_INO } from '../../../src/base/ino.ts'
import type { Engine } from '../../../src/meta/engine.ts'
import { QUOTA_DIR, QUOTA_GROUP, QUOTA_USER } from '../../../src/meta/facts.ts'
import { ACL_RULE, directory, file, inoOf, read, write } from '../../conformance/engine/harness.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

export interface RowParts {
  readonly test: { volume(): Promise<{ engine: Engine; database: string }> }
  /** rows as lines, columns with `|` between */
  readonly query: (sql: string, database: string) => string
  /** the bytes of a column as hexadecimal digits */
  readonly bytes: (column: string) => string
  /** a column of bytes as text */
  readonly text: (column: string) => string
  /** a column that is named like a word of SQL */
  readonly quoted: (column: string) => string
}

/** The suite, inside a `describe` that has a server of its own; gives the engine that it runs on. */
export function rowTests({ test, query: ask, bytes, text, quoted }: RowParts): () => Engine {
  let engine: Engine
  let query: (sql: string) => string
  before(async () => {
    const volume = await test.volume()
    engine = volume.engine
    query = sql => ask(sql, volume.database)
  })

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
    assert.equal(
      query('SELECT * FROM jfs_node WHERE inode = 2'),
      '2|1|0|444|0|0|1795244945819845|1795244945820462|1795244945841125|218|699|167|2|5|0|0|1|0|0',
    )
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
    assert.equal(query(`SELECT id, parent, ${bytes('name')}, inode, type FROM jfs_edge`), '1|1|612e747874|2|1')
    assert.equal(query(`SELECT id, inode, indx, ${bytes('slices')} FROM jfs_chunk`), `1|2|0|${records.toString('hex')}`)
    assert.equal(query('SELECT * FROM jfs_chunk_ref'), '1|5|1')
  })

  it('stores trash inodes beyond 2^53 exactly, as key, as parent and in names', async () => {
    const hour = (TRASH_INO + 1) as Ino
    await write(
      engine,
      { kind: 'putNode', ino: TRASH_INO, attr: directory() },
      { kind: 'putNode', ino: hour, attr: directory({ parent: TRASH_INO }) },
      { kind: 'setDentry', parent: TRASH_INO, name: '2026-11-21-07', ino: hour, type: 2 },
      { kind: 'setDentry', parent: hour, name: '3-4-b.bin', ino: inoOf(4), type: 1 },
      { kind: 'putNode', ino: inoOf(4), attr: file({ parent: hour }) },
    )
    assert.equal(
      query(`SELECT parent, ${text('name')}, inode, type FROM jfs_edge WHERE parent > 2 ORDER BY parent`),
      '9223372032828243968|2026-11-21-07|9223372032828243969|2\n9223372032828243969|3-4-b.bin|4|1',
    )
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

  for (const time of [
    { sec: 0, nsec: 0 },
    { sec: -1, nsec: 999_999_999 },
    { sec: -1, nsec: 1 },
    { sec: -2_000_000_000, nsec: 123_456_789 },
    { sec: 2 ** 31, nsec: 999 },
    { sec: 9_007_199_255, nsec: 1_999 },
    { sec: 253_402_300_799, nsec: 999_999_999 },
    { sec: -60_000_000_000, nsec: 1 },
  ]) {
    it(`keeps the time ${time.sec} s ${time.nsec} ns exactly`, async () => {
      const ino = inoOf(100)
      await write(engine, { kind: 'delNode', ino })
      await write(engine, { kind: 'putNode', ino, attr: file({ atime: time, mtime: time }) })
      await write(engine, { kind: 'extendNode', ino, length: 1, mtime: time, ctime: time })
      const attr = await read(engine, { kind: 'node', ino })
      assert.deepEqual([attr?.atime, attr?.mtime, attr?.ctime], [time, time, time])
      const expected = BigInt(time.sec) * 1_000_000_000n + BigInt(time.nsec)
      assert.equal(
        query('SELECT CAST(atime AS DECIMAL(40)) * 1000 + atimensec FROM jfs_node WHERE inode = 100'),
        String(expected),
      )
      const [guarded] = await engine.gather([{ kind: 'node', ino }], 'change')
      const guards = [{ read: { kind: 'node', ino }, fact: guarded!, strength: 'exact' }] as const
      assert.equal((await engine.commit(guards, [{ kind: 'delNode', ino }])).done, true, 'an exact guard holds')
    })
  }

  it('refuses ids and devices from 2^31 on with a fault that names them, and stores nothing', async () => {
    for (const [field, value] of [
      ['uid', 2 ** 31],
      ['gid', 2 ** 32 - 1],
      ['rdev', 2 ** 31],
    ] as const) {
      const attr = file({ [field]: value })
      await assert.rejects(
        write(engine, { kind: 'putNode', ino: inoOf(9), attr }),
        (error: unknown) =>
          error instanceof Fault && error.errno === EOVERFLOW && error.message.includes(`inode 9: ${field} ${value}`),
      )
    }
    assert.equal(await read(engine, { kind: 'node', ino: inoOf(9) }), null)
    const attr = file({ uid: 2 ** 31 - 1, gid: 2 ** 31 - 1, rdev: 2 ** 31 - 1, length: 2 ** 53 - 1 })
    await write(engine, { kind: 'putNode', ino: inoOf(9), attr })
    assert.deepEqual(await read(engine, { kind: 'node', ino: inoOf(9) }), attr)
  })

  it('reads NULL in the columns that may be NULL as 0, and an exact guard on them holds', async () => {
    query(`INSERT INTO jfs_node (inode, type, flags, mode, uid, gid, atime, mtime, ctime, nlink, length)
      VALUES (101, 1, 0, 420, 0, 0, 1000000, 1000000, 1000000, 1, 0)`)
    const ino = inoOf(101)
    const fact = await read(engine, { kind: 'node', ino })
    assert.deepEqual(fact, file({ parent: NO_INO }))
    const guards = [{ read: { kind: 'node', ino }, fact, strength: 'exact' }] as const
    assert.equal((await engine.commit(guards, [{ kind: 'putNode', ino, attr: file() }])).done, true)
  })

  it('names the inode of a node record that cannot be decoded', async () => {
    query('UPDATE jfs_node SET type = 9 WHERE inode = 101')
    await assert.rejects(read(engine, { kind: 'node', ino: inoOf(101) }), /inode 101 is damaged: type 9/)
    query('DELETE FROM jfs_node WHERE inode = 101')
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
    assert.equal(
      query(`SELECT inode, sid, owner, ${bytes('records')} FROM jfs_plock`),
      `17|1|-5989025481152097234|${records.toString('hex')}`,
    )
    assert.equal(
      query('SELECT inode, sid, owner, ltype FROM jfs_flock ORDER BY sid'),
      '17|1|-2971944894826552860|87\n17|2|0|82',
    )
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
    assert.equal(
      query(
        `SELECT id, owner, ${quoted('group')}, mask, other, ${bytes('named_users')}, ${bytes('named_groups')}
          FROM jfs_acl ORDER BY id`,
      ),
      `${id}|6|4|7|4|000003e80007|000007d00005\n${other}|6|4|7|4||`,
    )
    assert.deepEqual(await read(engine, { kind: 'aclRule', id }), ACL_RULE)
    query(`UPDATE jfs_acl SET named_users = NULL, named_groups = NULL WHERE id = ${other}`)
    assert.deepEqual(await read(engine, { kind: 'aclRule', id: other }), bare)
    assert.equal(await read(engine, { kind: 'aclId', rule: bare }), other, 'no entries may be NULL')
  })

  it('keeps the bytes of names, refuses xattr names that are not UTF-8: their column is text', async () => {
    await write(
      engine,
      { kind: 'putXattr', ino: inoOf(2), name: 'user.\xc3\xa9', value: hex('00ff') },
      { kind: 'putSymlink', ino: inoOf(3), target: 'x\xff\x80' },
      { kind: 'setDentry', parent: ROOT_INO, name: '\xff', ino: inoOf(3), type: 3 },
    )
    assert.equal(query(`SELECT name, ${bytes('value')} FROM jfs_xattr`), 'user.é|00ff')
    assert.equal(query(`SELECT ${bytes('target')} FROM jfs_symlink`), '78ff80')
    assert.equal((await read(engine, { kind: 'dentry', parent: ROOT_INO, name: '\xff' }))?.ino, 3)
    await assert.rejects(
      write(engine, { kind: 'putXattr', ino: inoOf(2), name: 'user.\xff', value: hex('00') }),
      (error: unknown) => error instanceof Fault && error.errno === EINVAL,
    )
  })

  it('spells quotas, statistics, sessions and what waits for deletion as the format does', async () => {
    const quota = { maxSpace: 1 << 30, maxInodes: 100, usedSpace: 12288, usedInodes: 3 }
    await write(
      engine,
      { kind: 'putQuota', type: QUOTA_DIR, key: 3, quota },
      { kind: 'putQuota', type: QUOTA_USER, key: 1000, quota: { ...quota, maxSpace: -1, maxInodes: 50 } },
      { kind: 'putDirUsage', ino: inoOf(3), usage: { length: 5, space: 4096, inodes: 1 } },
      { kind: 'putSession', sid: 1, expire: 1795245005, info: Buffer.from('{"a":1}') },
      { kind: 'sustain', sid: 1, ino: inoOf(7) },
      { kind: 'deadFile', ino: inoOf(8), length: 9, at: 1795245003 },
      { kind: 'trashSlices', id: 18, at: 1795245093, items: hex('000000000000000A000003E8') },
    )
    await write(
      engine,
      { kind: 'quotaUsage', type: QUOTA_DIR, key: 3, space: 4096, inodes: 1 },
      { kind: 'quotaUsage', type: QUOTA_DIR, key: 4, space: 4096, inodes: 1 },
      { kind: 'quotaUsage', type: QUOTA_GROUP, key: 5, space: 4096, inodes: 1 },
      { kind: 'dirUsage', ino: inoOf(3), length: 1, space: 0, inodes: 1 },
      { kind: 'dirUsage', ino: inoOf(4), length: 1, space: 0, inodes: 1 },
      { kind: 'usage', space: 4096, inodes: 1 },
    )
    await read(engine, { kind: 'counter', name: 'usedSpace' }) // sums are written before they are read
    assert.equal(query('SELECT * FROM jfs_dir_quota'), '3|1073741824|100|16384|4')
    assert.equal(query('SELECT * FROM jfs_user_group_quota ORDER BY qtype'), '1|1000|-1|50|12288|3\n2|5|-1|-1|4096|1')
    assert.equal(query('SELECT * FROM jfs_dir_stats'), '3|6|4096|2')
    assert.equal(query(`SELECT sid, expire, ${bytes('info')} FROM jfs_session2`), '1|1795245005|7b2261223a317d')
    assert.equal(query('SELECT * FROM jfs_sustained'), '1|1|7')
    assert.equal(query('SELECT * FROM jfs_delfile'), '8|9|1795245003')
    assert.equal(
      query(`SELECT chunkid, deleted, ${bytes('slices')} FROM jfs_delslices`),
      '18|1795245093|000000000000000a000003e8',
    )
    assert.equal(
      query('SELECT * FROM jfs_counter ORDER BY name'),
      'nextChunk|1\nnextCleanupSlices|0\nnextInode|2\nnextSession|0\ntotalInodes|1\nusedSpace|4096',
    )
  })

  it('hands out ids as the reference does: the counter holds the next free one, or the last session', async () => {
    assert.equal(await engine.allocate('nextInode', 1024), 2)
    assert.equal(await engine.allocate('nextChunk', 4096), 1)
    assert.equal(await engine.allocate('nextSession', 1), 1)
    assert.equal(await engine.allocate('nextTrash', 1), 1)
    assert.equal(
      query("SELECT * FROM jfs_counter WHERE name LIKE 'next%' AND value > 0 ORDER BY name"),
      'nextChunk|4097\nnextInode|1026\nnextSession|1\nnextTrash|1',
    )
  })

  return () => engine
}
