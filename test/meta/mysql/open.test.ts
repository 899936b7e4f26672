/** What the engine finds when it opens a database: the server, the tables, or why not. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { EROFS } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { MysqlConnection } from '../../../src/meta/engine/mysql/connection.ts'
import { MysqlEngine } from '../../../src/meta/engine/mysql/engine.ts'
import { requireServer } from '../../../src/meta/engine/mysql/server.ts'
import { parseMysqlUrl } from '../../../src/meta/engine/mysql/url.ts'
import { TABLES } from '../../../src/meta/engine/sql/schema.ts'
import { MariadbServer, PASSWORD } from '../../servers/mariadb.ts'
import { freePort } from '../../servers/programs.ts'
import { directory, inoOf, mariadbSkip, read, TestServer, write } from './harness.ts'

const CATALOG = `SELECT table_name, column_name, column_type, is_nullable, column_default, column_key, extra
    FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY 1, 2;
  SELECT table_name, index_name, non_unique, seq_in_index, column_name FROM information_schema.statistics
    WHERE table_schema = DATABASE() ORDER BY 1, 2, 4`
const COUNT = 'SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE()'

describe('opening a MySQL database', { skip: mariadbSkip }, () => {
  const test = new TestServer()
  const fails = (url: string, reason: RegExp) =>
    assert.rejects(MysqlEngine.open(url, { env: {} }), (error: unknown) => {
      assert.ok(error instanceof Fault)
      assert.match(error.message, reason)
      return true
    })

  it('fails within five seconds, with address and reason, where no server answers', async () => {
    const port = await freePort()
    await fails(
      `mysql://me@(127.0.0.1:${port})/x`,
      new RegExp(`open metadata database x at MySQL 127.0.0.1:${port} as me: .*ECONNREFUSED`),
    )
    await fails(`mysql://me@(localhost:${port})/x`, new RegExp(`at MySQL localhost:${port} as me: .*ECONNREFUSED`))
    const silent = createServer(() => undefined).listen(0, '127.0.0.1')
    await new Promise(resolve => silent.once('listening', resolve))
    const start = performance.now()
    try {
      const address = silent.address() as { port: number }
      await fails(`mysql://me@(127.0.0.1:${address.port})/x`, /no answer within 5 s/)
      assert.ok(performance.now() - start < 5500)
    } finally {
      silent.close()
    }
  })

  it('says that the password is wrong, missing, or that the database does not exist', async () => {
    const { port } = test.server
    const place = `(127.0.0.1:${port})/test_1`
    test.server.newDatabase()
    await fails(`mysql://juicefs:wrong@${place}`, /Access denied for user 'juicefs'.*using password: YES/)
    await fails(`mysql://juicefs@${place}`, /Access denied for user 'juicefs'.*using password: NO/)
    await fails(test.server.url('test_nowhere'), /Unknown database 'test_nowhere'/)
    await fails(test.server.url('mysql'), /Access denied for user 'juicefs'.* to database 'mysql'/)
  })

  it('takes the password from the environment, and the unix socket', async () => {
    const database = test.server.newDatabase()
    const env = { META_PASSWORD: PASSWORD }
    const url = `mysql://juicefs@unix(${test.server.socket})/${database}`
    assert.equal(await read(await test.open('', { url, env }), { kind: 'format' }), null)
  })

  it('refuses servers that are too old, TiDB, and binary logs that our transactions cannot enter', () => {
    const server = { session: null, flushes: 1, binlog: null, maxPacketBytes: 1 << 24 }
    assert.throws(() => requireServer({ ...server, version: '5.7.44-log' }), /MySQL 5.7.44-log; 8.0.17 or newer/)
    assert.throws(
      () => requireServer({ ...server, version: '10.2.44-MariaDB' }),
      /MariaDB 10.2.44-MariaDB; 10.3.0 or newer/,
    )
    assert.throws(() => requireServer({ ...server, version: '8.0.11-TiDB-v7.5.1' }), /TiDB is not supported/)
    assert.throws(
      () => requireServer({ ...server, version: '8.0.36', binlog: 'STATEMENT' }),
      /binlog_format is STATEMENT/,
    )
    for (const version of ['8.0.17', '8.4.0', '9.1.0', '10.3.0-MariaDB', '11.4.2-MariaDB-log']) {
      requireServer({ ...server, version, binlog: 'ROW' })
    }
  })

  it('finds no volume in an empty database, and makes nothing there by looking', async () => {
    const database = test.server.newDatabase()
    const engine = await test.open(database)
    assert.equal(await read(engine, { kind: 'format' }), null)
    assert.equal(await read(engine, { kind: 'node', ino: ROOT_INO }), null)
    assert.deepEqual(await engine.gather([{ kind: 'format' }, { kind: 'node', ino: ROOT_INO }], 'look'), [null, null])
    assert.deepEqual(await engine.scan('sessions', {}, null, 10), { rows: [], next: null })
    assert.equal(test.server.sql(COUNT, database), '0')
  })

  it('makes the tables once, however many clients do it at once', async () => {
    const database = test.server.newDatabase()
    const engines = await Promise.all(Array.from({ length: 6 }, () => test.open(database)))
    await Promise.all(engines.map(engine => engine.prepare()))
    await engines[0]!.prepare()
    assert.equal(Number(test.server.sql(COUNT, database)), TABLES.length)
    const before = test.server.sql(CATALOG, database)
    await (await test.open(database)).prepare()
    assert.equal(test.server.sql(CATALOG, database), before)
  })

  it('adds what a volume of an older client lacks', async () => {
    const { engine, database } = await test.volume()
    await engine.close()
    const complete = test.server.sql(CATALOG, database)
    test.server.sql(
      `ALTER TABLE jfs_node DROP COLUMN tier_id, DROP COLUMN access_acl_id, DROP COLUMN atimensec;
       DROP TABLE jfs_user_group_quota; DROP INDEX IDX_jfs_edge_inode ON jfs_edge; DROP TABLE jfs_delslices`,
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

  it('refuses tables of an engine without transactions', async () => {
    const { database } = await test.volume()
    test.server.sql('ALTER TABLE jfs_edge ENGINE=MyISAM', database)
    await fails(test.server.url(database), /table jfs_edge is of engine MyISAM: only InnoDB is safe/)
  })

  it('keeps volumes apart by table prefix', async () => {
    const database = test.server.newDatabase()
    const urls = ['', '?table_prefix=x', '?table_prefix=Y-1']
    for (const [i, options] of urls.entries()) {
      const engine = await test.open('', { url: test.server.url(database, options) })
      await engine.prepare()
      await write(engine, { kind: 'putFormat', json: `{"n": ${i}}` })
    }
    for (const [i, options] of urls.entries()) {
      const engine = await test.open('', { url: test.server.url(database, options) })
      assert.equal(await read(engine, { kind: 'format' }), `{"n": ${i}}`)
    }
    assert.equal(test.server.sql('SELECT value FROM jfs_x_setting', database), '{"n": 1}')
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
    const { engine } = await test.volume()
    test.server.sql('SET GLOBAL read_only = 1')
    try {
      await assert.rejects(
        write(engine, { kind: 'putFormat', json: '{}' }),
        (error: unknown) => error instanceof Fault && error.errno === EROFS,
      )
    } finally {
      test.server.sql('SET GLOBAL read_only = 0')
    }
  })

  it('warns where commits are not durable', async () => {
    const warnings: string[] = []
    await test.open(test.server.newDatabase(), { log: message => warnings.push(message) })
    assert.match(warnings[0]!, /innodb_flush_log_at_trx_commit is 2/)
  })
})

describe('tables of the MySQL engine', { skip: mariadbSkip }, () => {
  const test = new TestServer()

  it('have the columns and indexes of the format, by name and type', async () => {
    const { database } = await test.volume()
    const made = test.server
      .sql(CATALOG, database)
      .split('\n')
      .map(line => line.split('\t').join(' '))
    for (const row of SOME_OF_THE_CATALOG) assert.ok(made.includes(row), `${row}\n${made.join('\n')}`)
  })
})

/** From the tables of spec meta-sql section 2; MariaDB adds the width of INT. */
const SOME_OF_THE_CATALOG = [
  'jfs_edge id bigint(20) NO NULL PRI auto_increment',
  'jfs_edge name varbinary(255) NO NULL  ',
  'jfs_node atimensec int(11) NO 0  ',
  'jfs_node rdev int(11) YES NULL  ',
  'jfs_node parent bigint(20) YES NULL  ',
  'jfs_setting name varchar(255) NO NULL PRI ',
  'jfs_setting value text NO NULL  ',
  'jfs_symlink target varbinary(4096) NO NULL  ',
  'jfs_chunk slices blob NO NULL  ',
  'jfs_session2 info blob YES NULL  ',
  'jfs_acl id int(11) NO NULL PRI auto_increment',
  'jfs_edge UQE_jfs_edge_edge 0 1 parent',
  'jfs_edge UQE_jfs_edge_edge 0 2 name',
  'jfs_edge IDX_jfs_edge_inode 1 1 inode',
  'jfs_chunk UQE_jfs_chunk_chunk 0 2 indx',
  'jfs_chunk_ref IDX_jfs_chunk_ref_refs 1 1 refs',
  'jfs_xattr UQE_jfs_xattr_name 0 2 name',
  'jfs_flock UQE_jfs_flock_flock 0 3 owner',
  'jfs_plock UQE_jfs_plock_plock 0 3 owner',
  'jfs_sustained UQE_jfs_sustained_sustained 0 2 inode',
  'jfs_user_group_quota PRIMARY 0 2 qkey',
]

describe('a MySQL server with encryption', { skip: mariadbSkip }, () => {
  let dir: string
  let server: MariadbServer | undefined
  before(async () => {
    if (mariadbSkip) return
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-certificate-'))
    const [key, certificate] = [join(dir, 'key.pem'), join(dir, 'certificate.pem')]
    const subject = ['-subj', '/CN=localhost', '-days', '2', '-keyout', key, '-out', certificate]
    const made = spawnSync('openssl', ['req', '-new', '-x509', '-nodes', '-newkey', 'rsa:2048', ...subject])
    if (made.status === 0) server = await MariadbServer.start([`--ssl-cert=${certificate}`, `--ssl-key=${key}`])
  })
  after(async () => {
    await server?.stop()
    if (dir) rmSync(dir, { recursive: true, force: true })
  })

  it('is spoken to in the way that tls demands', async t => {
    if (server === undefined) return t.skip('no openssl')
    const database = server.newDatabase()
    for (const [mode, isEncrypted] of [
      ['skip-verify', true],
      ['preferred', true],
      ['false', false],
    ] as const) {
      const url = server.url(database, `?tls=${mode}`)
      const connection = await MysqlConnection.open(parseMysqlUrl(url, {}), 5000)
      const [cipher] = await connection.fly([{ text: `SHOW SESSION STATUS LIKE 'Ssl_cipher'`, values: [] }], 'alone')
      await connection.close()
      assert.equal(cipher!.rows[0]![1] !== '', isEncrypted, mode)
    }
    await assert.rejects(MysqlEngine.open(server.url(database, '?tls=true'), { env: {} }), /self-signed certificate/)
  })
})
