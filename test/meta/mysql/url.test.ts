/** Addresses of the Go MySQL driver. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { EINVAL } from '../../../src/base/errno.ts'
import { Fault } from '../../../src/base/fault.ts'
import { type MysqlUrl, parseMysqlUrl } from '../../../src/meta/engine/mysql/url.ts'

const parts = (url: MysqlUrl) => [url.user, url.password, url.socketPath ?? `${url.host} ${url.port}`, url.database]

describe('mysql:// addresses', () => {
  const cases: readonly (readonly [text: string, expected: readonly (string | undefined)[]])[] = [
    ['mysql://me:pw@(db.example:3307)/jfs', ['me', 'pw', 'db.example 3307', 'jfs']],
    ['mysql://me:pw@tcp(db.example:3307)/jfs', ['me', 'pw', 'db.example 3307', 'jfs']],
    ['mysql://me:pw@db.example:3307/jfs', ['me', 'pw', 'db.example 3307', 'jfs']],
    ['mysql://me@(db.example)/jfs', ['me', undefined, 'db.example 3306', 'jfs']],
    ['mysql://me@/jfs', ['me', undefined, '127.0.0.1 3306', 'jfs']],
    ['mysql://me:pw@([fe80::1]:3306)/jfs', ['me', 'pw', 'fe80::1 3306', 'jfs']],
    ['mysql://me:pw@unix(/run/mysqld/my.sock)/jfs', ['me', 'pw', '/run/mysqld/my.sock', 'jfs']],
    ['mysql://me:a@b:c/d@(h:1)/jfs', ['me', 'a@b:c/d', 'h 1', 'jfs']],
    ['mysql://me:a%40b@(h:1)/jfs', ['me', 'a@b', 'h 1', 'jfs']],
    ['mysql://me:100% sure@(h:1)/jfs', ['me', '100% sure', 'h 1', 'jfs']],
    ['mysql://me:a/%41@(h:1)/jfs', ['me', 'a/%41', 'h 1', 'jfs']],
    ['mysql://(h:1)/jfs', ['', undefined, 'h 1', 'jfs']],
  ]
  for (const [text, expected] of cases) {
    it(`${text} is understood`, () => {
      assert.deepEqual(parts(parseMysqlUrl(text, {})), expected)
    })
  }

  it('options choose prefix, encryption and the number of connections; those of the driver are accepted', () => {
    const url = parseMysqlUrl('mysql://me@(h:1)/j?table_prefix=x&tls=skip-verify&max_open_conns=3&charset=utf8mb4', {})
    assert.equal(url.tablePrefix, 'jfs_x_')
    assert.equal(url.maxConnections, 3)
    assert.deepEqual(url.encryption, [{ isChecked: false }])
    const encryption = (mode: string) => parseMysqlUrl(`mysql://me@(h:1)/j?tls=${mode}`, {}).encryption
    assert.deepEqual(encryption('true'), [{ isChecked: true }])
    assert.deepEqual(encryption('preferred'), [{ isChecked: false }, false])
    assert.deepEqual(encryption('false'), [false])
  })

  it('a password that is left out comes from META_PASSWORD, else from the file that META_PASSWORD_FILE names', () => {
    const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-password-'))
    try {
      const path = join(dir, 'password')
      writeFileSync(path, 'from file\n')
      const passwordOf = (text: string, env: Record<string, string>) => parseMysqlUrl(text, env).password
      assert.equal(passwordOf('mysql://me@(h:1)/j', { META_PASSWORD_FILE: path }), 'from file')
      assert.equal(passwordOf('mysql://me@(h:1)/j', { META_PASSWORD: 'env', META_PASSWORD_FILE: path }), 'env')
      assert.equal(passwordOf('mysql://me:own@(h:1)/j', { META_PASSWORD: 'env' }), 'own')
      assert.throws(() => passwordOf('mysql://(h:1)/j', { META_PASSWORD: 'env' }), /META_PASSWORD needs a user/)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  const refused: readonly (readonly [text: string, reason: RegExp])[] = [
    ['mysql://me@(h:1)', /not mysql/],
    ['mysql://me@(h:1)/', /name of the database is missing/],
    ['mysql://me@(h:99999)/j', /no host and port/],
    ['mysql://me@(h:1/j', /no host and port/],
    ['mysql://me@unix()/j', /no path of a socket/],
    ['mysql://me@udp(h:1)/j', /must be tcp or unix/],
    ['mysql://me@(h:1)/j?tls=maybe', /tls maybe/],
    ['mysql://me@(h:1)/j?table_prefix=a%60b', /table_prefix/],
  ]
  for (const [text, reason] of refused) {
    it(`${text} is refused with its reason`, () => {
      assert.throws(
        () => parseMysqlUrl(text, {}),
        (error: unknown) => error instanceof Fault && error.errno === EINVAL && reason.test(error.message),
      )
    })
  }

  it('the address for messages has no password', () => {
    assert.throws(
      () => parseMysqlUrl('mysql://me:secret/j', {}),
      (error: unknown) => !String(error).includes('secret'),
    )
    assert.equal(parseMysqlUrl('mysql://me:secret@(h:1)/j', {}).address, 'h:1')
    assert.equal(parseMysqlUrl('mysql://me:secret@unix(/s)/j', {}).address, '/s')
  })
})
