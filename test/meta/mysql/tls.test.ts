/** `tls=…` of a MySQL address: whom it trusts, and how soon it says what is wrong. The authorities are those of the machine, so each
 *  question goes to a program of its own, whose machine trusts what the test says. */

import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { cli, type Ran, refused } from '../../mount/harness.ts'
import { type Certificates, certificatesSkip, makeCertificates } from '../../servers/certificates.ts'
import { MariadbServer } from '../../servers/mariadb.ts'
import { mariadbSkip } from './harness.ts'

describe('MySQL with encryption', { skip: mariadbSkip || certificatesSkip }, () => {
  let dir: string
  let certificates: Certificates
  let server: MariadbServer
  let elsewhere: MariadbServer
  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-tls-'))
    chmodSync(dir, 0o755)
    certificates = makeCertificates(dir)
    const start = ({ certificate, key }: Certificates['server']): Promise<MariadbServer> =>
      MariadbServer.start([`--ssl-cert=${certificate}`, `--ssl-key=${key}`])
    ;[server, elsewhere] = await Promise.all([start(certificates.server), start(certificates.elsewhere)])
  })
  after(async () => {
    await server?.stop()
    await elsewhere?.stop()
    if (dir) rmSync(dir, { recursive: true, force: true })
  })

  /** Runs a command on a machine that trusts this authority. */
  const trusting = (file: string, args: readonly string[]): Ran =>
    cli(args, { SSL_CERT_FILE: file, SSL_CERT_DIR: '/nowhere' })
  function refuses(url: string, message: RegExp, authority = certificates.authority): void {
    const startMs = performance.now()
    refused(trusting(authority, ['status', url]), message)
    assert.ok(performance.now() - startMs < 10_000, 'in time')
  }
  const by = (url: string, host: string): string => url.replace('127.0.0.1', host)

  it('trusts a server of an authority that the machine trusts, by address and by name', () => {
    for (const host of ['127.0.0.1', 'localhost']) {
      const database = server.newDatabase()
      server.sql("ALTER USER 'juicefs'@'%' REQUIRE SSL")
      const url = by(server.url(database, '?tls=true'), host)
      const bucket = join(dir, 'bucket')
      const made = trusting(certificates.authority, [
        'format',
        '--bucket',
        bucket,
        url,
        `at-${host.replaceAll('.', '-')}`,
      ])
      assert.equal(made.status, 0, made.stderr)
      const seen = trusting(certificates.authority, ['status', url])
      assert.equal(seen.status, 0, seen.stderr)
      assert.notEqual(server.sql('SELECT count(*) FROM jfs_setting', database), '0')
    }
  })

  it('says that the authority is unknown', () => {
    const message = new RegExp(`MySQL 127.0.0.1:${server.port} as juicefs: .*(unable to verify|self-signed|issuer)`)
    refuses(server.url(server.newDatabase(), '?tls=true'), message, certificates.stranger)
  })

  it('says that the certificate is for another name, by address and by name', () => {
    const url = elsewhere.url(elsewhere.newDatabase(), '?tls=true')
    for (const host of ['127.0.0.1', 'localhost']) refuses(by(url, host), /does not match certificate's altnames/)
  })

  it('checks nothing with skip-verify and preferred', () => {
    for (const mode of ['skip-verify', 'preferred']) {
      const ran = trusting(certificates.stranger, ['status', elsewhere.url(elsewhere.newDatabase(), `?tls=${mode}`)])
      assert.match(ran.stderr, /database is not formatted/)
    }
  })

  it('speaks in the clear only where the address and the server agree to it', () => {
    const url = server.url(server.newDatabase())
    server.sql("ALTER USER 'juicefs'@'%' REQUIRE SSL")
    refuses(url, /Access denied for user 'juicefs'/)
    server.sql("ALTER USER 'juicefs'@'%' REQUIRE NONE")
    assert.match(trusting(certificates.stranger, ['status', url]).stderr, /database is not formatted/)
  })
})
