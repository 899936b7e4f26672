import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import Database from 'better-sqlite3'
import { openStore } from '../../src/object/open.ts'
import type { ObjectStore } from '../../src/object/store.ts'
import { MariadbServer, mariadbSkip, PASSWORD } from '../servers/mariadb.ts'
import { PostgresServer, postgresSkip } from '../servers/postgres.ts'
import { objectSuite } from './object-suite.ts'

describe('sqlite3', () => {
  let dir: string
  let trials = 0
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'blobs-'))
  })
  after(() => rm(dir, { recursive: true }))
  const open = (path: string): Promise<ObjectStore> => openStore({ storage: 'sqlite3', bucket: path, name: 'vol' })

  objectSuite('sqlite3', async () => {
    const path = join(dir, `${++trials}.db`)
    return { store: await open(path), cleanUp: async () => {} }
  })

  it('an object is a row of the format', async () => {
    const path = join(dir, 'rows.db')
    const store = await open(path)
    await store.put('chunks/0/0/1_0_5', Buffer.from('first'))
    await store.put('chunks/0/0/1_0_5', Buffer.from('hello'))
    await store.close()
    const database = new Database(path, { readonly: true })
    const rows = database
      .prepare('SELECT id, hex(key) AS key, typeof(key) AS type, size, data, modified FROM jfs_blob')
      .all()
    assert.equal(rows.length, 1)
    const { modified, ...row } = rows[0] as Record<string, unknown>
    assert.deepEqual(row, {
      id: 1,
      key: Buffer.from('vol/chunks/0/0/1_0_5').toString('hex').toUpperCase(),
      type: 'blob',
      size: 5,
      data: Buffer.from('hello'),
    })
    assert.match(String(modified), /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/)
    const indices = database.pragma('index_list(jfs_blob)') as { name: string; unique: number }[]
    assert.deepEqual(
      indices.map(({ name, unique }) => [name, unique]),
      [['UQE_jfs_blob_blob', 1]],
    )
    database.close()
  })

  it('a database that cannot be opened fails each request, with the reason', async () => {
    const store = await open(join(dir, 'none', 'x.db'))
    for (let i = 0; i < 2; i++) await assert.rejects(store.put('k', Buffer.from('x')), /directory does not exist/)
    await store.close()
  })
})

describe('postgres', { skip: postgresSkip }, () => {
  let server: PostgresServer
  before(async () => {
    server = await PostgresServer.start()
  })
  after(() => server?.stop())
  const open = (database: string, query = '', secretKey = 'secret'): Promise<ObjectStore> => {
    const bucket = `127.0.0.1:${server.port}/${database}${query}`
    return openStore({ storage: 'postgres', bucket, name: 'vol', accessKey: 'postgres', secretKey })
  }

  objectSuite('postgres', async () => ({ store: await open(server.newDatabase()), cleanUp: async () => {} }))

  it('an object is a row of the format, in the schema that search_path names', async () => {
    const database = server.newDatabase()
    server.sql('CREATE SCHEMA other', database)
    const store = await open(database, '?search_path=other&sslmode=disable')
    await store.put('k', Buffer.from([0, 255, 39, 92]))
    assert.deepEqual(await store.get('k'), Buffer.from([0, 255, 39, 92]))
    assert.match(
      server.sql("SELECT id, encode(key, 'escape'), size, encode(data, 'hex') FROM other.jfs_blob", database),
      /^1.vol\/k.4.00ff275c$/,
    )
    await store.close()
  })

  it('a put over an object keeps the time of the first', async () => {
    const database = server.newDatabase()
    const store = await open(database)
    await store.put('k', Buffer.from('x'))
    server.sql("UPDATE jfs_blob SET modified = '2020-01-01'", database)
    await store.put('k', Buffer.from('longer'))
    assert.deepEqual(await store.head('k'), {
      key: 'k',
      size: 6,
      mtimeMs: Date.UTC(2020, 0, 1),
      isDirectory: false,
    })
    await store.close()
  })

  it('a wrong password is told, and is not in the message', async () => {
    const store = await open('postgres', '', 'geheim')
    await assert.rejects(
      store.put('k', Buffer.from('x')),
      error => /password authentication failed/.test(String(error)) && !/geheim/.test(String(error)),
    )
    await store.close()
  })
})

describe('mysql', { skip: mariadbSkip }, () => {
  let server: MariadbServer
  before(async () => {
    server = await MariadbServer.start()
  })
  after(() => server?.stop())
  const open = (database: string): Promise<ObjectStore> => {
    const bucket = `(127.0.0.1:${server.port})/${database}`
    return openStore({ storage: 'mysql', bucket, name: 'vol', accessKey: 'juicefs', secretKey: PASSWORD })
  }

  objectSuite('mysql on MariaDB', async () => ({ store: await open(server.newDatabase()), cleanUp: async () => {} }))

  it('an object is a row of the format', async () => {
    const database = server.newDatabase()
    const store = await open(database)
    await store.put('k', Buffer.from([0, 255, 39, 92]))
    assert.equal(server.sql('SELECT id, `key`, size, hex(data) FROM jfs_blob', database), '1\tvol/k\t4\t00FF275C')
    await store.close()
  })
})
