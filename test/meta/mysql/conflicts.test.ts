/** Commits of two clients that meet on MySQL. The other client works in REPEATABLE READ transactions, as the reference does. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EIO, isErrno } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { MysqlConnection } from '../../../src/meta/engine/mysql/connection.ts'
import type { MysqlEngine } from '../../../src/meta/engine/mysql/engine.ts'
import { parseMysqlUrl } from '../../../src/meta/engine/mysql/url.ts'
import { dentry, node } from '../../../src/meta/facts.ts'
import { conflictTests, soon } from '../sql/conflicts.ts'
import { guard, mariadbSkip, read, TestServer } from './harness.ts'

describe('conflicts on MySQL', { skip: mariadbSkip }, () => {
  const test = new TestServer()
  const bench = conflictTests<MysqlEngine>({
    test,
    async connect(database) {
      const session = await test.session(database)
      return (sql, values) => session.query(sql.replaceAll(/\$\d/g, '?'), values)
    },
    share: 'LOCK IN SHARE MODE',
    assertCounts: engines => assert.ok(engines.every(engine => engine.counts.lost === 0)),
  })

  it('a commit that the server undoes because of a deadlock is made again', async () => {
    const [a, b] = [
      await bench.one.made(ROOT_INO, `a${bench.count}`, 2),
      await bench.one.made(ROOT_INO, `b${bench.count}`, 2),
    ]
    await bench.one.made(a, 'f', 1)
    const undone = (): number => bench.one.engine.counts.retries.get('deadlock') ?? 0
    const before = undone()
    await bench.other('BEGIN')
    await bench.other('UPDATE jfs_node SET atimensec = (atimensec + 1) % 1000 WHERE inode = $1', [b])
    await bench.other('INSERT INTO jfs_sustained (sid, inode) VALUES (77, 1), (77, 2)') // who has done less is undone
    const moving = bench.one.rename(a, 'f', b, 'f') // has a, waits for b
    await soon()
    await bench.other('UPDATE jfs_node SET atimensec = (atimensec + 1) % 1000 WHERE inode = $1', [a])
    await bench.other('DELETE FROM jfs_sustained WHERE sid = 77')
    await bench.other('COMMIT')
    assert.equal(isErrno(await moving), false)
    assert.equal(undone(), before + 1)
    assert.notEqual(await read(bench.one.engine, dentry(b, 'f')), null)
  })

  it('a lock that somebody holds for too long fails the commit with EIO, and nothing of it is done', async () => {
    const ino = await bench.one.made(ROOT_INO, `f${bench.count}`, 1)
    const impatient = await test.open(bench.database, { patienceMs: 1500 })
    const mark = { kind: 'putXattr', ino, name: 'user.mark', value: Buffer.from('x') } as const
    const guards = await guard(impatient, 'exact', node(ino))
    await bench.other('BEGIN')
    await bench.other('SELECT 1 FROM jfs_node WHERE inode = $1 FOR UPDATE', [ino])
    await assert.rejects(
      impatient.commit(guards, [mark]),
      (error: unknown) => error instanceof Fault && error.errno === EIO && /change metadata/.test(error.message),
    )
    await bench.other('COMMIT')
    assert.equal(await read(impatient, { kind: 'xattr', ino, name: 'user.mark' }), null)
    assert.equal((await impatient.commit(guards, [mark])).done, true)
  })

  it('a session is READ COMMITTED and strict, whatever the server starts with', async () => {
    assert.equal(test.server.sql('SELECT @@global.tx_isolation'), 'REPEATABLE-READ')
    const session = await MysqlConnection.open(parseMysqlUrl(test.server.url(bench.database), {}), 5000)
    const [answer] = await session.fly([{ text: 'SELECT @@tx_isolation, @@sql_mode', values: [] }], 'alone')
    await session.close()
    assert.deepEqual(answer!.rows, [['READ-COMMITTED', 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION']])
  })
})
