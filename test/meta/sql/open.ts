/** What every engine with an SQL server finds when it opens a database. */

import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { it } from 'node:test'
import { EROFS } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { ROOT_INO } from '../../../src/base/ino.ts'
import { TABLES } from '../../../src/meta/engine/sql/schema.ts'
import type { Engine } from '../../../src/meta/engine.ts'
import { directory, inoOf, read, refusesToOpen, write } from '../../conformance/engine/harness.ts'
import { freePort } from '../../servers/programs.ts'

export interface OpenParts {
  readonly test: {
    readonly server: {
      newDatabase(): string
      url(database: string): string
      sql(text: string, database: string): string
    }
    open(database: string, options?: { readonly readOnly?: boolean }): Promise<Engine>
    volume(): Promise<{ engine: Engine; database: string }>
  }
  /** by its address alone */
  readonly openAt: (url: string) => Promise<Engine>
  /** as messages call the server */
  readonly name: string
  /** the address of database `x` for the user `me` */
  readonly urlAt: (port: number) => string
  /** lists all columns and indexes */
  readonly catalog: string
  /** counts the tables */
  readonly count: string
  readonly dropEdgeIndex: string
}

/** The suite, inside a `describe` that has a server of its own. */
export function openTests({ test, openAt, name, urlAt, catalog, count, dropEdgeIndex }: OpenParts): void {
  const fails = (url: string, reason: RegExp): Promise<void> => refusesToOpen(openAt(url), reason)

  it('fails within five seconds, with address and reason, where no server answers', async () => {
    const port = await freePort()
    const place = `${name} 127.0.0.1:${port} as me`
    await fails(urlAt(port), new RegExp(`open metadata database x at ${place}: .*ECONNREFUSED`))
    const silent = createServer(() => undefined).listen(0, '127.0.0.1')
    await new Promise(resolve => silent.once('listening', resolve))
    try {
      await fails(urlAt((silent.address() as { port: number }).port), /no answer within 5 s/)
    } finally {
      silent.close()
    }
  })

  it('finds no volume in an empty database, and makes nothing there by looking', async () => {
    const database = test.server.newDatabase()
    const engine = await test.open(database)
    assert.equal(await read(engine, { kind: 'format' }), null)
    assert.equal(await read(engine, { kind: 'node', ino: ROOT_INO }), null)
    assert.deepEqual(await engine.gather([{ kind: 'format' }, { kind: 'node', ino: ROOT_INO }], 'look'), [null, null])
    assert.deepEqual(await engine.scan('sessions', {}, null, 10), { rows: [], next: null })
    assert.equal(test.server.sql(count, database), '0')
  })

  it('makes the tables once, however many clients do it at once', async () => {
    const database = test.server.newDatabase()
    const engines = await Promise.all(Array.from({ length: 6 }, () => test.open(database)))
    await Promise.all(engines.map(engine => engine.prepare()))
    await engines[0]!.prepare()
    assert.equal(Number(test.server.sql(count, database)), TABLES.length)
    const before = test.server.sql(catalog, database)
    await (await test.open(database)).prepare()
    assert.equal(test.server.sql(catalog, database), before)
  })

  it('adds what a volume of an older client lacks', async () => {
    const { engine, database } = await test.volume()
    await engine.close()
    const complete = test.server.sql(catalog, database)
    test.server.sql(
      `ALTER TABLE jfs_node DROP COLUMN tier_id, DROP COLUMN access_acl_id, DROP COLUMN atimensec;
       DROP TABLE jfs_user_group_quota; ${dropEdgeIndex}; DROP TABLE jfs_delslices`,
      database,
    )
    const older = await test.open(database, { readOnly: true })
    const attr = await read(older, { kind: 'node', ino: ROOT_INO })
    assert.deepEqual(attr, directory({ mode: 0o777 }), 'it is read as it is')
    assert.deepEqual(await older.scan('trashedSlices', { before: 9 }, null, 9), { rows: [], next: null })
    const newer = await test.open(database)
    await read(newer, { kind: 'node', ino: ROOT_INO })
    await newer.prepare()
    assert.equal(test.server.sql(catalog, database), complete)
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

  it('changes nothing when it is opened for reading only', async () => {
    const { database } = await test.volume()
    const engine = await test.open(database, { readOnly: true })
    await engine.prepare()
    const rejected = (error: unknown) => error instanceof Fault && error.errno === EROFS
    await assert.rejects(write(engine, { kind: 'putFormat', json: '{}' }), rejected)
    await assert.rejects(async () => engine.allocate('nextInode', 1), rejected)
    assert.equal(await read(engine, { kind: 'format' }), '{"Name": "test"}')
  })
}
