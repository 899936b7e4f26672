/** Behind pgbouncer in transaction mode, and where named statements are switched off. */

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { isErrno } from '../../../src/base/errno.ts'
import { NO_INO, ROOT_INO } from '../../../src/base/ino.ts'
import { checkVolume } from '../../../src/meta/check.ts'
import { Driver } from '../../../src/meta/driver.ts'
import type { PostgresEngine } from '../../../src/meta/engine/postgres/engine.ts'
import { counter, dentry, node } from '../../../src/meta/facts.ts'
import type { Caller } from '../../../src/meta/model/caller.ts'
import { make } from '../../../src/meta/ops/make.ts'
import { rename } from '../../../src/meta/ops/rename.ts'
import { unlink } from '../../../src/meta/ops/unlink.ts'
import { volumeWith } from '../../conformance/engine/harness.ts'
import { pgbouncerSkip, startPgbouncer } from '../../servers/pgbouncer.ts'
import type { RunningProgram } from '../../servers/programs.ts'
import { all, file, guard, inoOf, postgresSkip, read, TestServer, write } from './harness.ts'

const now = { sec: 1_795_245_442, nsec: 123_456_789 }
const caller: Caller = { uid: 0, gid: 0, gids: [0], now, check: true }
const volume = volumeWith({ skipDirMtimeNs: 100e6 })
const forReal = { trash: NO_INO, isOpen: () => false, sid: 1 }
const regular = { type: 1, mode: 0o644, umask: 0, rdev: 0, target: '' }

/** Two clients at once make, move, list and remove. */
async function exercise(engines: readonly PostgresEngine[]): Promise<void> {
  await Promise.all(
    engines.map(async (engine, c) => {
      const driver = new Driver(engine, { random: Math.random, onEffect: () => undefined })
      const done = async (result: unknown): Promise<void> => assert.ok(!isErrno(await result), `errno ${await result}`)
      for (let i = 0; i < 15; i++) {
        const ino = inoOf(await engine.allocate('nextInode', 1))
        const [name, moved] = [`c${c}_${i}`, `m${c}_${i}`]
        await done(
          driver.run('change', () => make(volume, caller, ROOT_INO, name, ino, regular, { orExisting: false })),
        )
        const to = { parent: ROOT_INO, name: moved }
        await done(driver.run('change', () => rename(volume, caller, { parent: ROOT_INO, name }, to, 0, forReal)))
        if (i % 2) await done(driver.run('change', () => unlink(volume, caller, ROOT_INO, moved, forReal)))
      }
    }),
  )
  for (const engine of engines) await read(engine, counter('usedSpace'))
  assert.equal((await all(engines[0]!, 'entries', { parent: ROOT_INO, attrs: true })).length, engines.length * 8)
  assert.deepEqual(await checkVolume(engines[0]!), [])
}

describe('PostgreSQL behind pgbouncer', { skip: postgresSkip || pgbouncerSkip }, () => {
  const test = new TestServer()
  let pgbouncer: RunningProgram
  before(async () => {
    pgbouncer = await startPgbouncer(test.server, 3)
  })
  after(() => pgbouncer?.stop())
  const through = (database: string): string =>
    `postgres://postgres:secret@127.0.0.1:${pgbouncer.port}/${database}?sslmode=disable`

  it('works with fewer server connections than clients, and without named statements', async () => {
    const { database } = await test.volume()
    const url = through(database)
    const engines = await Promise.all([1, 2, 3].map(() => test.open(database, { url })))
    await write(engines[0]!, { kind: 'newDirUsage', ino: ROOT_INO })
    await exercise(engines)
    const session = await test.session(database)
    assert.equal((await session.query('SELECT * FROM pg_prepared_statements')).rowCount, 0)
  })

  it('a commit whose reply was lost is called done only if that can be seen', async () => {
    const { database } = await test.volume()
    const engine = await test.open(database, { url: through(database) })
    await read(engine, node(ROOT_INO))
    const other = await test.session(database)
    await other.query('BEGIN')
    await other.query('SELECT 1 FROM jfs_node WHERE inode = 1 FOR UPDATE')
    const guards = await guard(engine, 'identity', node(ROOT_INO), dentry(ROOT_INO, 'f'))
    const committing = engine.commit(guards, [
      { kind: 'putNode', ino: inoOf(50), attr: file() },
      { kind: 'setDentry', parent: ROOT_INO, name: 'f', ino: inoOf(50), type: 1 },
    ])
    await new Promise(resolve => setTimeout(resolve, 100))
    // its server process ends while it waits
    test.server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    await other.query('COMMIT')
    await assert.rejects(committing, /unknown outcome/)
    assert.equal(await read(engine, dentry(ROOT_INO, 'f')), null)
  })
})

describe('PostgreSQL without named statements', { skip: postgresSkip }, () => {
  const test = new TestServer()

  it('works where the address says prepared=off', async () => {
    const { database } = await test.volume()
    const url = test.server.url(database, '&prepared=off')
    const engines = await Promise.all([1, 2].map(() => test.open(database, { url })))
    await write(engines[0]!, { kind: 'newDirUsage', ino: ROOT_INO })
    await exercise(engines)
  })

  it('gives them up when the server turns out not to know them', async () => {
    const warnings: string[] = []
    const { engine, database } = await test.volume({ log: message => warnings.push(message) })
    const only = await test.open(database, {
      url: test.server.url(database, '&max_open_conns=1'),
      log: message => warnings.push(message),
    })
    await read(only, node(ROOT_INO))
    await read(only, node(ROOT_INO))
    test.server.sql(
      `CREATE FUNCTION forget() RETURNS trigger AS 'BEGIN EXECUTE ''DEALLOCATE ALL''; RETURN NULL; END' LANGUAGE plpgsql;
       CREATE TRIGGER forget AFTER INSERT ON jfs_xattr EXECUTE FUNCTION forget()`,
      database,
    )
    await write(only, { kind: 'putXattr', ino: ROOT_INO, name: 'user.a', value: Buffer.from('1') })
    test.server.sql('DROP TRIGGER forget ON jfs_xattr', database)
    await write(only, { kind: 'putXattr', ino: ROOT_INO, name: 'user.a', value: Buffer.from('2') })
    assert.deepEqual(await read(engine, { kind: 'xattr', ino: ROOT_INO, name: 'user.a' }), Buffer.from('2'))
    assert.match(warnings.join(), /no prepared statements from now on/)
  })
})
