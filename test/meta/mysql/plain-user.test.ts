/** The rights that docs/operating.md names are enough; one that is lacking is told in one line. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { cli, type Ran, refused } from '../../mount/harness.ts'
import { MariadbServer } from '../../servers/mariadb.ts'
import { mariadbSkip } from './harness.ts'

describe('a plain user of MySQL', { skip: mariadbSkip }, () => {
  let server: MariadbServer
  let dir: string
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-plain-'))
    server = await MariadbServer.start()
  })
  after(async () => {
    await server?.stop()
    if (dir) rmSync(dir, { recursive: true, force: true })
  })

  const url = (user: string, database: string, options = ''): string =>
    `mysql://${user}:it's@(127.0.0.1:${server.port})/${database}${options}`
  function grant(user: string, rights: string, database: string): void {
    server.sql(`CREATE USER IF NOT EXISTS ${user} IDENTIFIED BY 'it''s'; GRANT ${rights} ON ${database}.* TO ${user}`)
  }
  const format = (url: string, name: string): Ran =>
    cli(['format', '--bucket', join(dir, 'bucket'), '--capacity', '7', url, name])

  it('formats and uses volumes with the rights that are named, several in one database', () => {
    const database = server.newDatabase()
    grant('enough', 'SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX', database)
    for (const [options, name] of [
      ['', 'first'],
      ['?table_prefix=other', 'second'],
    ] as const) {
      const made = format(url('enough', database, options), name)
      assert.equal(made.status, 0, made.stderr)
    }
    assert.match(cli(['status', url('enough', database)]).stdout, /"Name": "first"/)
    assert.match(cli(['status', url('enough', database, '?table_prefix=other')]).stdout, /"Name": "second"/)
  })

  it('who may only read looks, and is told that he may not change', () => {
    const database = server.newDatabase()
    grant('enough', 'ALL', database)
    grant('reader', 'SELECT', database)
    refused(format(url('reader', database), 'vol'), /CREATE command denied to user 'reader'/)
    assert.equal(format(url('enough', database), 'vol-2').status, 0)
    assert.match(cli(['status', url('reader', database)]).stdout, /"Capacity": 7/)
    refused(cli(['config', '--yes', '--capacity', '8', url('reader', database)]), /command denied to user 'reader'/)
    refused(cli(['status', url('reader', server.newDatabase())]), /Access denied for user 'reader'/)
  })
})
