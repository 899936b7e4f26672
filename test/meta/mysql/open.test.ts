/** What the engine finds when it opens a database: the server, the tables, or why not. */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { EROFS } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { MysqlConnection } from '../../../src/meta/engine/mysql/connection.ts'
import { MysqlEngine } from '../../../src/meta/engine/mysql/engine.ts'
import { requireServer } from '../../../src/meta/engine/mysql/server.ts'
import { parseMysqlUrl } from '../../../src/meta/engine/mysql/url.ts'
import { MariadbServer, PASSWORD } from '../../servers/mariadb.ts'
import { freePort } from '../../servers/programs.ts'
import { openTests } from '../sql/open.ts'
import { mariadbSkip, read, refusesToOpen, TestServer, write } from './harness.ts'

const CATALOG = `SELECT table_name, column_name, column_type, is_nullable, column_default, column_key, extra
    FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY 1, 2;
  SELECT table_name, index_name, non_unique, seq_in_index, column_name FROM information_schema.statistics
    WHERE table_schema = DATABASE() ORDER BY 1, 2, 4`
const COUNT = 'SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE()'

describe('opening a MySQL database', { skip: mariadbSkip }, () => {
  const test = new TestServer()
  const openAt = (url: string): Promise<MysqlEngine> => MysqlEngine.open(url, { env: {} })
  const fails = (url: string, reason: RegExp): Promise<void> => refusesToOpen(openAt(url), reason)

  openTests({
    test,
    openAt,
    name: 'MySQL',
    urlAt: port => `mysql://me@(127.0.0.1:${port})/x`,
    catalog: CATALOG,
    count: COUNT,
    dropEdgeIndex: 'DROP INDEX IDX_jfs_edge_inode ON jfs_edge',
  })

  it('names the host as the address does', async () => {
    const port = await freePort()
    await fails(`mysql://me@(localhost:${port})/x`, new RegExp(`at MySQL localhost:${port} as me: .*ECONNREFUSED`))
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
    const server = { name: 'h:1:1', session: null, flushes: 1, binlog: null, maxPacketBytes: 1 << 24 }
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
