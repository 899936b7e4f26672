/** What a user is told when the database cannot be opened, and that it was not touched. */

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { EINVAL, EIO, EISDIR, ENOENT, ENOTDIR, EROFS } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { SqliteEngine } from '../../../src/meta/engine/sqlite/engine.ts'
import { parseSqliteUrl } from '../../../src/meta/engine/sqlite/url.ts'
import { counter, dentry, node } from '../../../src/meta/facts.ts'
import { directory, formatted, inoOf, read, Volume, write } from './harness.ts'

describe('opening a SQLite database', () => {
  let volume: Volume
  beforeEach(() => {
    volume = new Volume()
  })
  afterEach(() => volume.remove())

  function refusal(path: string, options = {}): Fault {
    let fault: unknown
    try {
      SqliteEngine.open(`sqlite3://${path}`, options)
    } catch (error) {
      fault = error
    }
    assert.ok(fault instanceof Fault, String(fault))
    assert.ok(!fault.message.includes('\n'))
    assert.ok(fault.message.includes(path), fault.message)
    return fault
  }

  it('says that the directory is missing', () => {
    assert.equal(refusal(join(volume.dir, 'no', 'volume.db')).errno, ENOENT)
    assert.deepEqual(readdirSync(volume.dir), [])
  })

  it('says that the path is a directory, or lies below a file', () => {
    mkdirSync(volume.path)
    assert.equal(refusal(volume.path).errno, EISDIR)
    writeFileSync(join(volume.dir, 'file'), '')
    assert.equal(refusal(join(volume.dir, 'file', 'volume.db')).errno, ENOTDIR)
  })

  it('does not make a file that must exist', () => {
    assert.equal(refusal(volume.path, { mustExist: true }).errno, ENOENT)
    assert.equal(refusal(volume.path, { readOnly: true }).errno, ENOENT)
    assert.deepEqual(readdirSync(volume.dir), [])
  })

  it('leaves a file of another kind as it is', () => {
    const text = 'This is a shopping list. '.repeat(100)
    writeFileSync(volume.path, text)
    const fault = refusal(volume.path)
    assert.equal(fault.errno, EIO)
    assert.match(fault.message, /not a SQLite database/)
    assert.equal(readFileSync(volume.path, 'utf8'), text)
    assert.deepEqual(readdirSync(volume.dir), ['volume.db'])
  })

  it('leaves a truncated database as it is', async () => {
    const engine = volume.open()
    await formatted(engine)
    await engine.close()
    truncateSync(volume.path, 8192)
    const bytes = readFileSync(volume.path)
    assert.match(refusal(volume.path).message, /damaged or truncated/)
    assert.deepEqual(readFileSync(volume.path), bytes)
  })

  it('reports a damaged page as a fault of the operation that meets it', async () => {
    const engine = volume.open()
    await formatted(engine)
    for (let n = 2; n < 400; n++) await write(engine, { kind: 'putNode', ino: inoOf(n), attr: directory() })
    await engine.close()
    const bytes = readFileSync(volume.path)
    bytes.fill(0xee, bytes.length - 3 * 4096)
    writeFileSync(volume.path, bytes)
    const damaged = volume.open()
    await assert.rejects(async () => {
      for (let n = 2; n < 400; n++) await damaged.gather([node(inoOf(n))], 'look')
    }, /damaged/)
  })

  it('reads an empty or foreign database as one without a volume, and adds nothing to it', async () => {
    volume.exec('CREATE TABLE other (a)')
    const engine = volume.open({ mustExist: true })
    assert.equal(await read(engine, { kind: 'format' }), null)
    assert.equal(await read(engine, counter('usedSpace')), 0)
    assert.equal(await read(engine, node(ROOT_INO)), null)
    assert.deepEqual((await engine.scan('sessions', {}, null, 10)).rows, [])
    assert.deepEqual(volume.query('SELECT name FROM sqlite_master'), [['other']])
  })

  it('prepares twice without harm, and leaves no setting and no counters', async () => {
    const engine = volume.open()
    await engine.prepare()
    await engine.prepare()
    const other = volume.open()
    await other.prepare()
    assert.deepEqual(volume.query('SELECT * FROM jfs_setting'), [])
    assert.deepEqual(volume.query('SELECT * FROM jfs_counter'), [])
  })

  it('adds the columns that an old volume lacks, and reads it before that too', async () => {
    const engine = volume.open()
    await formatted(engine)
    await engine.close()
    for (const column of ['access_acl_id', 'default_acl_id', 'tier_id']) {
      volume.exec(`ALTER TABLE jfs_node DROP COLUMN ${column}`)
    }
    volume.exec('DROP TABLE jfs_user_group_quota')
    const reader = volume.open({ readOnly: true })
    assert.equal((await read(reader, node(ROOT_INO)))?.tier, 0)
    assert.deepEqual((await reader.scan('quotas', { type: 1 }, null, 10)).rows, [])
    const writer = volume.open()
    assert.equal((await read(writer, node(ROOT_INO)))?.tier, 0)
    await write(writer, { kind: 'putNode', ino: inoOf(2), attr: directory({ tier: 2 }) })
    assert.equal((await read(writer, node(inoOf(2))))?.tier, 2)
    assert.deepEqual(volume.query('SELECT tier_id FROM jfs_node ORDER BY inode'), [[null], [2n]])
  })

  it('reads and refuses to write when it is opened for reading only', async () => {
    const engine = volume.open()
    await formatted(engine)
    await engine.close()
    const reader = volume.open({ readOnly: true })
    assert.equal((await read(reader, node(ROOT_INO)))?.type, 2)
    assert.notEqual((await reader.gather([node(ROOT_INO), dentry(ROOT_INO, 'a')], 'change'))[0], null)
    assert.throws(
      () => reader.commit([], [{ kind: 'delNode', ino: ROOT_INO }]),
      (error: Fault) => error.errno === EROFS,
    )
    await reader.sync()
  })

  it('reads a database whose journal is not WAL without changing it', async () => {
    volume.exec('CREATE TABLE jfs_setting (name TEXT PRIMARY KEY, value TEXT)')
    volume.exec("INSERT INTO jfs_setting VALUES ('format', '{}')")
    const bytes = readFileSync(volume.path)
    const reader = volume.open({ readOnly: true })
    assert.equal(await read(reader, { kind: 'format' }), '{}')
    await reader.close()
    assert.deepEqual(readFileSync(volume.path), bytes)
  })

  it('reads a database on a read-only medium, and says that it cannot be written there', {
    skip: process.getuid?.() === 0 ? false : 'needs root for a read-only mount',
  }, async () => {
    const engine = volume.open()
    await formatted(engine)
    await engine.close()
    const medium = join(volume.dir, 'medium')
    mkdirSync(medium)
    execFileSync('mount', ['--bind', '-o', 'ro', volume.dir, medium])
    try {
      const path = join(medium, 'volume.db')
      const reader = SqliteEngine.open(`sqlite3://${path}`, { readOnly: true })
      assert.equal((await read(reader, node(ROOT_INO)))?.type, 2)
      await reader.close()
      assert.equal(refusal(path).errno, EROFS)
    } finally {
      execFileSync('umount', ['-l', medium])
    }
  })

  it('keeps the rollback journal that the address asks for', async () => {
    const engine = SqliteEngine.open(`${volume.url}?_journal=DELETE`, {})
    try {
      await formatted(engine)
      await engine.sync()
      assert.deepEqual(volume.query('PRAGMA journal_mode'), [['delete']])
      assert.equal((await read(engine, node(ROOT_INO)))?.type, 2)
    } finally {
      await engine.close()
    }
  })

  it('prefixes the tables as table_prefix says', async () => {
    const engine = SqliteEngine.open(`${volume.url}?table_prefix=two&cache=shared&max_open_conns=3`, {})
    try {
      await formatted(engine)
      assert.notEqual(await read(engine, { kind: 'format' }), null)
    } finally {
      await engine.close()
    }
    const names = volume.query("SELECT name FROM sqlite_master WHERE tbl_name = 'jfs_two_edge' ORDER BY 1").flat()
    assert.deepEqual(names, ['IDX_jfs_two_edge_inode', 'UQE_jfs_two_edge_edge', 'jfs_two_edge'])
  })

  it('leaves one file behind: the last to close moves the WAL into the database', async () => {
    const [first, second] = [volume.open(), volume.open()]
    await formatted(first)
    await first.close()
    assert.ok(existsSync(`${volume.path}-wal`))
    await second.close()
    assert.deepEqual(readdirSync(volume.dir), ['volume.db'])
    copyFileSync(volume.path, `${volume.path}2`)
    const copy = SqliteEngine.open(`${volume.url}2`, { readOnly: true })
    assert.equal((await read(copy, node(ROOT_INO)))?.type, 2)
    await copy.close()
  })
})

describe('addresses of SQLite databases', () => {
  it('are taken as they stand, options aside', () => {
    const wal = { tablePrefix: 'jfs_', journalMode: 'WAL' }
    assert.deepEqual(parseSqliteUrl('sqlite3:///a/b%20c.db'), { path: '/a/b%20c.db', ...wal })
    assert.deepEqual(parseSqliteUrl('sqlite3://my.db?_timeout=5000&_journal_mode=wal'), { path: 'my.db', ...wal })
    assert.deepEqual(parseSqliteUrl('sqlite3://my.db?table_prefix=x&_journal=truncate'), {
      path: 'my.db',
      tablePrefix: 'jfs_x_',
      journalMode: 'TRUNCATE',
    })
  })

  for (const url of [
    'redis://host/1',
    'sqlite3://',
    'sqlite3://?a=b',
    'sqlite3://a?_journal=OFF',
    'sqlite3://a?table_prefix=a%60b',
  ]) {
    it(`${url} is refused`, () => {
      assert.throws(
        () => parseSqliteUrl(url),
        (error: Fault) => error.errno === EINVAL,
      )
    })
  }
})
