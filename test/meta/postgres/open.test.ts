/** What the engine finds when it opens a database: the server, the tables, or why not. */

import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { describe, it } from 'node:test'
import { EROFS } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { PostgresEngine, requireVersion } from '../../../src/meta/engine/postgres/engine.ts'
import { TABLES } from '../../../src/meta/engine/sql/schema.ts'
import { freePort } from '../../servers/programs.ts'
import { directory, inoOf, postgresSkip, read, TestServer, write } from './harness.ts'

const CATALOG = `SELECT table_name, column_name, data_type, coalesce(character_maximum_length::text, ''), is_nullable,
    coalesce(column_default, '') FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2;
  SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1`

describe('opening a PostgreSQL database', { skip: postgresSkip }, () => {
  const test = new TestServer()
  const fails = (url: string, reason: RegExp) =>
    assert.rejects(PostgresEngine.open(url, { env: {} }), (error: unknown) => {
      assert.ok(error instanceof Fault)
      assert.match(error.message, reason)
      return true
    })

  it('fails within five seconds, with address and reason, where no server answers', async () => {
    const port = await freePort()
    await fails(
      `postgres://me@127.0.0.1:${port}/x?sslmode=disable`,
      new RegExp(`open metadata database x at PostgreSQL 127.0.0.1:${port} as me: .*ECONNREFUSED`),
    )
    const silent = createServer(() => undefined).listen(0, '127.0.0.1')
    await new Promise(resolve => silent.once('listening', resolve))
    const start = performance.now()
    try {
      const address = silent.address() as { port: number }
      await fails(`postgres://me@127.0.0.1:${address.port}/x?sslmode=disable`, /no answer within 5 s/)
      assert.ok(performance.now() - start < 5500)
    } finally {
      silent.close()
    }
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

  it('finds no volume in an empty database, and makes nothing there by looking', async () => {
    const database = test.server.newDatabase()
    const engine = await test.open(database)
    assert.equal(await read(engine, { kind: 'format' }), null)
    assert.equal(await read(engine, { kind: 'node', ino: ROOT_INO }), null)
    assert.deepEqual(await engine.gather([{ kind: 'format' }, { kind: 'node', ino: ROOT_INO }], 'look'), [null, null])
    assert.deepEqual(await engine.scan('sessions', {}, null, 10), { rows: [], next: null })
    assert.equal(test.server.sql('SELECT count(*) FROM pg_tables WHERE schemaname = $$public$$', database), '0')
  })

  it('makes the tables once, however many clients do it at once', async () => {
    const database = test.server.newDatabase()
    const engines = await Promise.all(Array.from({ length: 6 }, () => test.open(database)))
    await Promise.all(engines.map(engine => engine.prepare()))
    await engines[0]!.prepare()
    const count = test.server.sql("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'jfs\\_%'", database)
    assert.equal(Number(count), TABLES.length)
    const before = test.server.sql(CATALOG, database)
    await (await test.open(database)).prepare()
    assert.equal(test.server.sql(CATALOG, database), before)
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

  it('adds what a volume of an older client lacks', async () => {
    const { engine, database } = await test.volume()
    await engine.close()
    const complete = test.server.sql(CATALOG, database)
    test.server.sql(
      `ALTER TABLE jfs_node DROP COLUMN tier_id, DROP COLUMN access_acl_id, DROP COLUMN atimensec;
       DROP TABLE jfs_user_group_quota; DROP INDEX "IDX_jfs_edge_inode"; DROP TABLE jfs_delslices`,
      database,
    )
    const older = await test.open(database, { readOnly: true })
    const attr = await read(older, { kind: 'node', ino: ROOT_INO })
    assert.deepEqual(attr, directory({ mode: 0o777 }), 'it is read as it is')
    assert.deepEqual(await older.scan('trashedSlices', { before: 9 }, null, 9), { rows: [], next: null })
    const newer = await test.open(database)
    await read(newer, { kind: 'node', ino: ROOT_INO })
    await newer.prepare()
    assert.equal(test.server.sql(CATALOG, database), complete)
    assert.deepEqual(await read(newer, { kind: 'node', ino: ROOT_INO }), attr)
    await write(newer, { kind: 'putNode', ino: inoOf(5), attr: directory({ tier: 2 }) })
    assert.equal((await read(newer, { kind: 'node', ino: inoOf(5) }))?.tier, 2)
  })

  it("names a table that is somebody else's", async () => {
    const database = test.server.newDatabase()
    test.server.sql('CREATE TABLE jfs_edge (parent bigint NOT NULL, name text NOT NULL)', database)
    await fails(test.server.url(database), /table jfs_edge in the database is not a volume's: it has no column id/)
    test.server.sql('DROP TABLE jfs_edge; CREATE TABLE jfs_symlink (inode bigint PRIMARY KEY, target text)', database)
    await fails(test.server.url(database), /table jfs_symlink .*: its column target is of type text/)
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

  it('changes nothing when it is opened for reading only', async () => {
    const { database } = await test.volume()
    const engine = await test.open(database, { readOnly: true })
    await engine.prepare()
    const rejected = (error: unknown) => error instanceof Fault && error.errno === EROFS
    await assert.rejects(write(engine, { kind: 'putFormat', json: '{}' }), rejected)
    await assert.rejects(engine.allocate('nextInode', 1), rejected)
    assert.equal(await read(engine, { kind: 'format' }), '{"Name": "test"}')
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
