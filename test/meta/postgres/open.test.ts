/** What the engine finds when it opens a database: the server, the tables, or why not. */

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EROFS } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { PostgresEngine, requireVersion } from '../../../src/meta/engine/postgres/engine.ts'
import { TABLES } from '../../../src/meta/engine/sql/schema.ts'
import { openTests } from '../sql/open.ts'
import { directory, inoOf, postgresSkip, read, refusesToOpen, TestServer, write } from './harness.ts'

const CATALOG = `SELECT table_name, column_name, data_type, coalesce(character_maximum_length::text, ''), is_nullable,
    coalesce(column_default, '') FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2;
  SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1`

describe('opening a PostgreSQL database', { skip: postgresSkip }, () => {
  const test = new TestServer()
  const openAt = (url: string): Promise<PostgresEngine> => PostgresEngine.open(url, { env: {} })
  const fails = (url: string, reason: RegExp): Promise<void> => refusesToOpen(openAt(url), reason)

  openTests({
    test,
    openAt,
    name: 'PostgreSQL',
    urlAt: port => `postgres://me@127.0.0.1:${port}/x?sslmode=disable`,
    catalog: CATALOG,
    count: "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'",
    dropEdgeIndex: 'DROP INDEX "IDX_jfs_edge_inode"',
  })

  it('says that the password is wrong, missing, or that the database does not exist', async () => {
    const { port } = test.server
    await fails(
      `postgres://postgres:wrong@127.0.0.1:${port}/postgres?sslmode=disable`,
      /password authentication failed/,
    )
    await fails(`postgres://postgres@127.0.0.1:${port}/postgres?sslmode=disable`, /password is needed.*META_PASSWORD/)
    await fails(test.server.url('nowhere'), /database "nowhere" does not exist/)
  })

  it('takes the password from the environment, and the unix socket', async () => {
    const env = { META_PASSWORD: 'secret' }
    const { port, dir } = test.server
    const url = `postgres://postgres@/postgres?host=${dir}&port=${port}`
    assert.equal(await read(await test.open('', { url, env }), { kind: 'format' }), null)
  })

  it('goes on in the clear where the server has no encryption and none is demanded', async () => {
    const plain = test.server.url('postgres').replace('sslmode=disable', '')
    await test.open('', { url: plain })
    await fails(`${plain}sslmode=require`, /does not support SSL/)
  })

  it('refuses servers older than 13', () => {
    assert.throws(() => requireVersion(120_022), /PostgreSQL 12.22; 13 or newer is needed/)
    requireVersion(130_000)
  })

  it('makes no table twice when another program makes it in the same moment', async () => {
    const database = test.server.newDatabase()
    const engine = await test.open(database)
    const other = await test.session(database)
    await other.query('BEGIN; CREATE TABLE jfs_setting (name varchar(255) PRIMARY KEY, value text NOT NULL)')
    const preparing = engine.prepare()
    await new Promise(resolve => setTimeout(resolve, 100))
    await other.query('COMMIT')
    await preparing
    await write(engine, { kind: 'putFormat', json: '{}' })
    assert.equal(await read(engine, { kind: 'format' }), '{}')
  })

  it('keeps volumes apart by schema and by table prefix', async () => {
    const database = test.server.newDatabase()
    test.server.sql('CREATE SCHEMA "Second one"', database)
    const long = 'a'.repeat(42)
    const urls = ['', '&search_path=Second%20one', '&table_prefix=x', `&table_prefix=${long}`]
    for (const [i, options] of urls.entries()) {
      const engine = await test.open('', { url: test.server.url(database, options) })
      await engine.prepare()
      await write(engine, { kind: 'putFormat', json: `{"n": ${i}}` })
    }
    for (const [i, options] of urls.entries()) {
      const engine = await test.open('', { url: test.server.url(database, options) })
      assert.equal(await read(engine, { kind: 'format' }), `{"n": ${i}}`)
    }
    assert.equal(test.server.sql('SELECT value FROM jfs_x_setting', database), '{"n": 2}')
    const tables = test.server.sql(`SELECT count(*) FROM pg_tables WHERE tablename LIKE 'jfs_${long}_%'`, database)
    assert.equal(Number(tables), TABLES.length)
    const again = await test.open('', { url: test.server.url(database, `&table_prefix=${long}`) })
    const before = again.counts.requests
    await again.prepare()
    assert.equal(again.counts.requests, before, 'nothing is missing, though names of indexes were cut')
    const missing = test.server.url(database, '&search_path=third')
    assert.equal(await read(await test.open('', { url: missing }), { kind: 'format' }), null)
  })

  it('says EROFS where the server itself only reads', async () => {
    const { database } = await test.volume()
    test.server.sql(`ALTER DATABASE ${database} SET default_transaction_read_only = on`)
    const warnings: string[] = []
    const engine = await test.open(database, { log: message => warnings.push(message) })
    assert.match(warnings.join(), /the server only reads/)
    await test.open(database, { readOnly: true, log: message => warnings.push(message) })
    assert.equal(warnings.length, 1)
    await assert.rejects(
      write(engine, { kind: 'putFormat', json: '{}' }),
      (error: unknown) => error instanceof Fault && error.errno === EROFS,
    )
  })

  it('sets the isolation that its checks need, whatever the server starts with', async () => {
    const { database } = await test.volume()
    test.server.sql(`ALTER DATABASE ${database} SET default_transaction_isolation = 'serializable'`)
    const engine = await test.open(database)
    const reads = [{ kind: 'node', ino: ROOT_INO }] as const
    const [fact] = await engine.gather(reads, 'change')
    const guards = [{ read: reads[0], fact: fact!, strength: 'identity' }] as const
    const made = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        engine.commit(guards, [
          { kind: 'putNode', ino: inoOf(10 + i), attr: directory() },
          { kind: 'setDentry', parent: ROOT_INO, name: `d${i}`, ino: inoOf(10 + i), type: 2 },
          { kind: 'adjustDir', ino: ROOT_INO, nlink: 1, at: null },
        ]),
      ),
    )
    assert.ok(made.every(outcome => outcome.done))
    assert.deepEqual([...engine.counts.retries], [], 'no serialization failures')
  })

  it('warns where commits are not durable', async () => {
    const database = test.server.newDatabase()
    test.server.sql(`ALTER DATABASE ${database} SET synchronous_commit = off`)
    const warnings: string[] = []
    await test.open(database, { log: message => warnings.push(message) })
    assert.match(warnings[0]!, /synchronous_commit is off/)
  })
})
