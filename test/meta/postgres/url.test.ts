/** The forms of a PostgreSQL address. */

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { parsePostgresUrl } from '../../../src/meta/engine/postgres/url.ts'

const parse = (url: string, env: Record<string, string> = {}) => parsePostgresUrl(url, env)

describe('a PostgreSQL address', () => {
  it('names user, password, host, port and database', () => {
    const url = parse('postgres://user:pa%40ss:w@db.example:6432/volumes?sslmode=disable')
    const { user, password, host, port, database } = url
    assert.deepEqual(
      { user, password, host, port, database },
      { user: 'user', password: 'pa@ss:w', host: 'db.example', port: 6432, database: 'volumes' },
    )
    assert.deepEqual(url.encryption, [false])
    assert.equal(url.address, 'db.example:6432')
    assert.equal(url.tablePrefix, 'jfs_')
    assert.equal(url.prepared, true)
  })

  it('has the password end at the last @, as the reference does', () => {
    const { user, password, host, port } = parse('postgres://user:p@ss@db.example:6432/volumes')
    assert.deepEqual({ user, password, host, port }, { user: 'user', password: 'p@ss', host: 'db.example', port: 6432 })
  })

  it('that cannot be meant is refused without showing the password', () => {
    assert.throws(
      () => parse('postgres://user:hidden/volumes'),
      (error: unknown) => !String(error).includes('hidden'),
    )
  })

  it('leaves out what has a default', () => {
    const url = parse('postgres://localhost/x')
    assert.equal(url.port, 5432)
    assert.equal(url.user, userInfo().username)
    assert.equal(url.password, undefined)
    assert.equal(url.schema, undefined)
    assert.deepEqual(url.encryption.at(-1), false, 'without a word about encryption, the clear is the second choice')
  })

  it('takes the directory of a unix socket, and an IPv6 address', () => {
    const local = parse('postgres://me@/x?host=/run/postgresql&port=5433')
    assert.deepEqual([local.host, local.port, local.encryption], ['/run/postgresql', 5433, [false]])
    assert.equal(local.address, '/run/postgresql/.s.PGSQL.5433')
    const six = parse('postgres://me@[::1]:7000/x')
    assert.deepEqual([six.host, six.port, six.address], ['::1', 7000, '[::1]:7000'])
  })

  it('takes options of the tables and the pool', () => {
    const url = parse('postgres://u@h/x?search_path=vol&table_prefix=a_b&prepared=off&max_open_conns=3&max_idle_time=9')
    assert.deepEqual(
      [url.schema, url.tablePrefix, url.prepared, url.maxConnections, url.maxIdleMs],
      ['vol', 'jfs_a_b_', false, 3, 9000],
    )
  })

  it('takes the password from META_PASSWORD, then from the file that META_PASSWORD_FILE names', () => {
    const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-password-'))
    try {
      const path = join(dir, 'password')
      writeFileSync(path, ' from file\n')
      const both = { META_PASSWORD: 'from environment', META_PASSWORD_FILE: path }
      assert.equal(parse('postgres://u@h/x', both).password, 'from environment')
      assert.equal(parse('postgres://u@h/x', { META_PASSWORD_FILE: path }).password, 'from file')
      assert.equal(parse('postgres://u:own@h/x', both).password, 'own')
      assert.throws(() => parse('postgres://h/x', both), /invalid uri: META_PASSWORD needs a user/)
      assert.throws(
        () => parse('postgres://u@h/x', { META_PASSWORD_FILE: `${path}.none` }),
        /META_PASSWORD_FILE.*ENOENT/,
      )
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  it('says what sslmode checks', () => {
    const ways = (mode: string) => parse(`postgres://u@h/x?sslmode=${mode}`).encryption
    assert.deepEqual(ways('require'), [{ rejectUnauthorized: false }])
    assert.deepEqual(ways('verify-full'), [{ rejectUnauthorized: true }])
    const [chain] = ways('verify-ca')
    assert.ok(chain)
    assert.equal(chain.rejectUnauthorized, true)
    assert.equal(chain.checkServerIdentity?.('h', {} as never), undefined)
    assert.deepEqual(ways('allow'), [false, { rejectUnauthorized: false }])
  })

  for (const [url, reason] of [
    ['mysql://u@h/x', /not postgres:/],
    ['postgres://u@h/', /name of the database is missing/],
    ['postgres://u@h:port/x', /invalid uri/],
    ['postgres://u@h:99999/x', /port 99999/],
    ['postgres://u@h/x?search_path=a,b', /one schema only/],
    ['postgres://u@h/x?sslmode=sometimes', /sslmode sometimes/],
    ['postgres://u@h/x?sslmode=verify-ca&sslrootcert=/none/ca.pem', /sslrootcert .*ENOENT/],
    ['postgres://u@h/x?table_prefix=a;b', /table_prefix/],
    [`postgres://u@h/x?table_prefix=${'a'.repeat(43)}`, /table_prefix a+: 42 characters at most/],
  ] as const) {
    it(`refuses ${url}`, () => {
      assert.throws(() => parse(url), reason)
    })
  }
})
