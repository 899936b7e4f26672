/** `sslmode` and its certificates: whom it trusts, what it shows of itself, and how soon it says what is wrong. */

import assert from 'node:assert/strict'
import { chmodSync, chownSync, copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { PostgresEngine } from '../../../src/meta/engine/postgres/engine.ts'
import { node } from '../../../src/meta/facts.ts'
import { cli } from '../../mount/harness.ts'
import { type Certificates, certificatesSkip, makeCertificates, type Pair } from '../../servers/certificates.ts'
import { PostgresServer } from '../../servers/postgres.ts'
import { directory, inoOf, postgresSkip, read, refusesToOpen, write } from './harness.ts'

/** The server's own settings: they may be changed while it runs, by `pg_reload_conf`. */
function show(server: PostgresServer, pair: Pair): void {
  const data = join(server.dir, 'data')
  const { uid, gid } = statSync(data)
  for (const [from, name] of [
    [pair.certificate, 'server.crt'],
    [pair.key, 'server.key'],
  ] as const) {
    const to = join(data, name)
    copyFileSync(from, to)
    chownSync(to, uid, gid)
    chmodSync(to, 0o600)
  }
}

describe('PostgreSQL with encryption', { skip: postgresSkip || certificatesSkip }, () => {
  let dir: string
  let certificates: Certificates
  let server: PostgresServer
  let database: string
  /** what became of attempts to encrypt when the server did not yet */
  let plain: readonly PromiseSettledResult<PostgresEngine>[]
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-tls-'))
    chmodSync(dir, 0o755)
    certificates = makeCertificates(dir)
    server = await PostgresServer.start()
    database = server.newDatabase()
    server.sql("CREATE ROLE juicefs LOGIN PASSWORD 'secret'; CREATE ROLE careful LOGIN PASSWORD 'secret'")
    server.sql('GRANT ALL ON SCHEMA public TO juicefs', database)
    plain = await Promise.allSettled(
      ['require', 'verify-ca', 'verify-full'].map(mode => PostgresEngine.open(url(`sslmode=${mode}`), { env: {} })),
    )
    show(server, certificates.server)
    const rules = join(server.dir, 'data', 'pg_hba.conf')
    const cert = 'hostssl all juicefs 127.0.0.1/32 cert\nhostnossl all careful 127.0.0.1/32 reject\n'
    writeFileSync(rules, cert + readFileSync(rules, 'utf8'))
    server.sql(`ALTER SYSTEM SET ssl = on; ALTER SYSTEM SET ssl_ca_file = '${certificates.authority}'`)
    server.sql('SELECT pg_reload_conf()')
  })
  after(async () => {
    await server?.stop()
    if (dir) rmSync(dir, { recursive: true, force: true })
  })

  const url = (options: string, host = '127.0.0.1', login = 'postgres:secret', port = server.port): string =>
    `postgres://${login}@${host}:${port}/${database}?${options}`
  const trusts = (file: string): string => `sslrootcert=${file}`
  const isEncrypted = (application: string): string =>
    server.sql(
      `SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = '${application}' LIMIT 1`,
    )

  let lastIno = 100
  /** A volume's tables are made and used; is the connection encrypted? */
  async function works(options: string, host?: string, login?: string): Promise<boolean> {
    const engine = await PostgresEngine.open(url(`${options}&application_name=judged`, host, login), { env: {} })
    try {
      await engine.prepare()
      const ino = inoOf(++lastIno)
      await write(engine, { kind: 'putNode', ino, attr: directory() })
      assert.ok(await read(engine, node(ino)))
      return isEncrypted('judged') === 't'
    } finally {
      await engine.close()
    }
  }
  const refuses = (url: string, message: RegExp): Promise<void> =>
    refusesToOpen(PostgresEngine.open(url, { env: {} }), message)

  it('is refused where encryption is demanded and the server has none', () => {
    for (const result of plain) {
      assert.equal(result.status, 'rejected')
      assert.match(String(result.reason), /PostgreSQL 127\.0\.0\.1:\d+ .*does not support SSL/)
    }
  })

  it('encrypts as sslmode says, and trusts the given authority by address and by name', async () => {
    const authority = trusts(certificates.authority)
    assert.equal(await works('sslmode=disable'), false)
    assert.equal(await works('sslmode=allow'), false)
    for (const options of [
      'sslmode=prefer',
      'sslmode=require',
      '',
      `sslmode=require&${authority}`,
      `sslmode=verify-ca&${authority}`,
    ]) {
      assert.equal(await works(options), true, options)
    }
    for (const host of ['127.0.0.1', 'localhost']) {
      assert.equal(await works(`sslmode=verify-full&${authority}`, host), true, host)
    }
  })

  it('takes a volume', () => {
    const address = url(`sslmode=verify-full&${trusts(certificates.authority)}&table_prefix=other`)
    const made = cli(['format', '--bucket', join(dir, 'bucket'), address, 'encrypted'])
    assert.equal(made.status, 0, made.stderr)
    assert.match(cli(['status', address]).stdout, /"Name": "encrypted"/)
  })

  it('shows its own certificate where one is demanded, and says so where there is none', async () => {
    const ours = `sslcert=${certificates.client.certificate}&sslkey=${certificates.client.key}`
    const options = `sslmode=verify-full&${trusts(certificates.authority)}`
    server.sql('DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO juicefs', database)
    assert.equal(await works(`${options}&${ours}`, undefined, 'juicefs'), true)
    await refuses(url(options, undefined, 'juicefs'), /connection requires a valid client certificate/)
    server.sql('DROP SCHEMA public CASCADE; CREATE SCHEMA public', database)
  })

  it('says that the authority is unknown and that the name is another', async () => {
    const place = new RegExp(`PostgreSQL 127.0.0.1:${server.port} as postgres: .*(unable to verify|self-signed|issuer)`)
    for (const mode of ['require', 'verify-ca', 'verify-full']) {
      await refuses(url(`sslmode=${mode}&${trusts(certificates.stranger)}`), place)
    }
    await refuses(url('sslmode=verify-full'), place)
    await refuses(url('sslmode=verify-ca'), place)
    show(server, certificates.elsewhere)
    server.sql('SELECT pg_reload_conf()')
    const authority = trusts(certificates.authority)
    try {
      for (const host of ['127.0.0.1', 'localhost']) {
        await refuses(url(`sslmode=verify-full&${authority}`, host), /does not match certificate's altnames/)
      }
      assert.equal(await works(`sslmode=verify-ca&${authority}`), true)
    } finally {
      show(server, certificates.server)
      server.sql('SELECT pg_reload_conf()')
    }
  })

  it('with prefer and allow goes the other way where a rule of the server forbids the first', async () => {
    server.sql('DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO careful', database)
    assert.equal(await works('sslmode=allow', undefined, 'careful:secret'), true)
    await refuses(url('sslmode=disable', undefined, 'careful:secret'), /pg_hba\.conf rejects connection/)
    await refuses(url('sslmode=prefer', undefined, 'careful:wr-ong'), /password authentication failed/)
  })
})
