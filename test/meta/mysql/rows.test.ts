/** Every record as columns, on MySQL; and what its columns cannot hold. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ENOSPC, ENOTSUP } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import type { Change } from '../../../src/meta/facts.ts'
import { rowTests } from '../sql/rows.ts'
import { guard, inoOf, mariadbSkip, read, TestServer, write } from './harness.ts'

describe('rows of the MySQL engine', { skip: mariadbSkip }, () => {
  const test = new TestServer()
  const engineOf = rowTests({
    test,
    query: (sql, database) => test.server.sql(sql, database).replaceAll('\t', '|'),
    bytes: column => `lower(hex(${column}))`,
    text: column => column,
    quoted: column => `\`${column}\``,
  })

  it('refuses a list of more than 2,730 records with ENOSPC, and leaves it as it was', async () => {
    const engine = engineOf()
    const ino = inoOf(200)
    const records = (count: number) => Buffer.alloc(count * 24, 7)
    await write(engine, { kind: 'appendSlices', ino, index: 0, records: records(2729) })
    const full: Change = { kind: 'appendSlices', ino, index: 0, records: records(1) }
    const outcome = await write(engine, full)
    assert.deepEqual(outcome, { done: true, results: [2730] })
    await assert.rejects(
      write(engine, full),
      (error: unknown) => error instanceof Fault && error.errno === ENOSPC && /2,730 records/.test(error.message),
    )
    assert.equal((await read(engine, { kind: 'chunk', ino, index: 0 }))?.length, 2730 * 24)
  })
})

describe('databases with other defaults than ours', { skip: mariadbSkip }, () => {
  const test = new TestServer([
    '--sql-mode=',
    '--transaction-isolation=REPEATABLE-READ',
    '--character-set-server=latin1',
  ])

  it('keeps what the server would cut, fold or pad', async () => {
    const database = test.server.newDatabase('CHARACTER SET latin1 COLLATE latin1_swedish_ci')
    const engine = await test.open(database)
    const ino = inoOf(5)
    const names = ['user.a', 'user.A', 'user.a ', 'user.\xc3\xa4', 'user.\xf0\x9f\x98\x80']
    await engine.prepare()
    await write(engine, ...names.map((name, i): Change => ({ kind: 'putXattr', ino, name, value: Buffer.of(i) })))
    for (const [i, name] of names.entries()) {
      assert.deepEqual(await read(engine, { kind: 'xattr', ino, name }), Buffer.of(i), name)
    }
    assert.deepEqual([...(await read(engine, { kind: 'xattrNames', ino }))].sort(), [...names].sort())
    const json = '{"Name": "ä€😀"}'
    await write(engine, { kind: 'putFormat', json })
    assert.equal(await read(engine, { kind: 'format' }), json)
    const records = Buffer.alloc(2731 * 24)
    await assert.rejects(write(engine, { kind: 'appendSlices', ino, index: 0, records }), /2,730 records/)
    const value = Buffer.alloc(65_536)
    await assert.rejects(write(engine, { kind: 'putXattr', ino, name: 'user.big', value }), /65,535 bytes/)
  })

  it('says so where a table of the reference takes two names of attributes for one', async () => {
    const { engine, database } = await test.volume()
    test.server.sql('ALTER TABLE jfs_xattr CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci', database)
    const ino = inoOf(5)
    const put = async (name: string, value: string) => {
      const guards = await guard(engine, 'identity', { kind: 'xattr', ino, name })
      return engine.commit(guards, [{ kind: 'putXattr', ino, name, value: Buffer.from(value) }])
    }
    await put('user.a', 'first')
    await assert.rejects(
      put('user.A', 'second'),
      (error: unknown) => error instanceof Fault && error.errno === ENOTSUP && /collation/.test(error.message),
    )
    assert.equal((await put('user.a', 'third')).done, true)
    assert.deepEqual(await read(engine, { kind: 'xattr', ino, name: 'user.a' }), Buffer.from('third'))
    assert.equal(await read(engine, { kind: 'xattr', ino, name: 'user.A' }), null)
  })
})
