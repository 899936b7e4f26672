/** Users without special rights, directly and behind pgbouncer: what they need is enough, and what they lack is told in one line. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { cli, type Ran, refused } from '../../mount/harness.ts'
import { pgbouncerSkip, startPgbouncer } from '../../servers/pgbouncer.ts'
import { PostgresServer } from '../../servers/postgres.ts'
import type { RunningProgram } from '../../servers/programs.ts'
import { postgresSkip } from './harness.ts'

describe('a plain user of PostgreSQL', { skip: postgresSkip }, () => {
  let server: PostgresServer
  let dir: string
  let names = 0
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-plain-'))
    server = await PostgresServer.start()
    for (const role of ['owner', 'guest', 'stranger']) {
      server.sql(`CREATE ROLE ${role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD 'it''s 1:@/%? #&'`)
    }
  })
  after(async () => {
    await server?.stop()
    if (dir) rmSync(dir, { recursive: true, force: true })
  })

  const env = { META_PASSWORD: "it's 1:@/%? #&" }
  const url = (role: string, database: string, options = '', port = server.port): string =>
    `postgres://${role}@127.0.0.1:${port}/${database}?sslmode=disable${options}`
  const format = (url: string): Ran =>
    cli(['format', '--bucket', join(dir, 'bucket'), url, `vol-${++names}`, '--capacity', '7'], env)
  const status = (url: string): Ran => cli(['status', url], env)
  function works(url: string): void {
    const made = format(url)
    assert.equal(made.status, 0, made.stderr)
    const told = status(url)
    assert.equal(told.status, 0, told.stderr)
    assert.match(told.stdout, /"Capacity": 7/)
  }

  it('who owns a database formats and uses a volume there, with a password of any characters', () => {
    server.sql('CREATE DATABASE mine OWNER owner')
    works(url('owner', 'mine'))
    works(url('owner', 'mine', '&table_prefix=second'))
  })

  it('who may use one schema formats and uses a volume there', () => {
    server.sql('CREATE DATABASE shared')
    server.sql('CREATE SCHEMA corner; GRANT USAGE, CREATE ON SCHEMA corner TO guest', 'shared')
    works(url('guest', 'shared', '&search_path=corner'))
    assert.equal(server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", 'shared'), '0')
    server.sql('CREATE SCHEMA owner AUTHORIZATION owner', 'shared')
    works(url('owner', 'shared')) // the server's own search_path begins with the user's name
  })

  it('who lacks a right is told which in one line', () => {
    server.sql('CREATE DATABASE closed; REVOKE ALL ON DATABASE closed FROM PUBLIC; CREATE DATABASE ours OWNER owner')
    refused(format(url('stranger', 'closed')), /permission denied for database "closed"/)
    refused(format(url('stranger', 'ours')), /permission denied for schema public/)
    server.sql('CREATE SCHEMA private', 'ours')
    for (const run of [format, status]) {
      refused(run(url('stranger', 'ours', '&search_path=private')), /permission denied for schema private/)
    }
    refused(format(url('stranger', 'ours', '&search_path=nowhere')), /schema "nowhere" does not exist/)
    works(url('owner', 'ours'))
    for (const run of [format, status]) {
      refused(run(url('stranger', 'ours')), /permission denied for table jfs_setting/)
    }
    server.sql('GRANT SELECT ON ALL TABLES IN SCHEMA public TO stranger', 'ours')
    assert.match(status(url('stranger', 'ours')).stdout, /"Capacity": 7/)
    const config = cli(['config', '--yes', '--capacity', '8', url('stranger', 'ours')], env)
    refused(config, /permission denied for table jfs_\w+/)
    assert.match(status(url('owner', 'ours')).stdout, /"Capacity": 7/)
  })

  describe('behind pgbouncer', { skip: pgbouncerSkip }, () => {
    let pgbouncer: RunningProgram
    before(async () => {
      pgbouncer = await startPgbouncer(server, 3, 'owner', "it''s 1:@/%? #&")
    })
    after(() => pgbouncer?.stop())

    it('does the same', () => {
      server.sql('CREATE DATABASE pooled OWNER owner')
      works(url('owner', 'pooled', '', pgbouncer.port))
      works(url('owner', 'pooled', '&table_prefix=second', pgbouncer.port))
      server.sql('CREATE SCHEMA corner AUTHORIZATION owner', 'pooled')
      works(url('owner', 'pooled', '&search_path=corner', pgbouncer.port))
      assert.equal(
        server.sql("SELECT count(DISTINCT tableowner) FROM pg_tables WHERE tableowner = 'owner'", 'pooled'),
        '1',
      )
    })

    it('is told of a database that is not there', () => {
      refused(status(url('owner', 'nowhere', '', pgbouncer.port)), /nowhere/)
    })
  })
})
