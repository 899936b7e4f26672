import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Fault } from '../../../src/base/fault.ts'
import { parseRedisUrl, placeText } from '../../../src/meta/engine/redis/url.ts'

const parse = (url: string, env = {}) => parseRedisUrl(url, env)

describe('an address of Redis', () => {
  it('names a host, a port and a database, with defaults for the last two', () => {
    const cases: [url: string, place: string, db: number][] = [
      ['redis://host:6380/2', 'host:6380', 2],
      ['redis://host', 'host:6379', 0],
      ['redis://host/', 'host:6379', 0],
      ['redis://10.0.0.1/15', '10.0.0.1:6379', 15],
      ['redis://[::1]:7000/1', '[::1]:7000', 1],
      ['redis:///1', 'localhost:6379', 1],
      ['unix:///run/redis.sock?db=4', '/run/redis.sock', 4],
      ['unix://user:pw@/run/redis.sock', '/run/redis.sock', 0],
    ]
    for (const [url, place, db] of cases) {
      const parsed = parse(url)
      assert.deepEqual([placeText(parsed.place), parsed.db], [place, db], url)
    }
  })

  it('may hold a user and a password with any characters, percent-encoded or not', () => {
    const credentials = (url: string) => [parse(url).username, parse(url).password]
    assert.deepEqual(credentials('redis://:secret@host/1'), [undefined, 'secret'])
    assert.deepEqual(credentials('redis://user:p@ss:w%20rd@host/1'), ['user', 'p@ss:w rd'])
    assert.deepEqual(credentials('redis://user:100%@host/1'), ['user', '100%'])
    assert.deepEqual(credentials('redis://host/1'), [undefined, undefined])
  })

  it('takes its password from the environment where it has none: REDIS_PASSWORD, META_PASSWORD, META_PASSWORD_FILE', () => {
    const dir = mkdtempSync(join(tmpdir(), 'juicefs-ts-url-'))
    const file = join(dir, 'password')
    writeFileSync(file, ' from-file \nsecond line\n')
    try {
      const env = { REDIS_PASSWORD: 'a', META_PASSWORD: 'b', META_PASSWORD_FILE: file }
      assert.equal(parse('redis://h/1', env).password, 'a')
      assert.equal(parse('redis://h/1', { ...env, REDIS_PASSWORD: '' }).password, 'b')
      assert.equal(parse('redis://h/1', { META_PASSWORD_FILE: file }).password, 'from-file')
      assert.equal(parse('redis://:own@h/1', env).password, 'own')
      assert.throws(() => parse('redis://h/1', { META_PASSWORD_FILE: join(dir, 'none') }), /META_PASSWORD_FILE/)
    } finally {
      rmSync(dir, { recursive: true })
    }
  })

  it('is of Sentinel where a comma comes before the first colon', () => {
    const sentinel = (url: string) => parse(url).place
    assert.deepEqual(sentinel('redis://:pw@mymaster,s1,s2:5000/3'), {
      kind: 'sentinel',
      master: 'mymaster',
      sentinels: [
        { host: 's1', port: 5000 },
        { host: 's2', port: 5000 },
      ],
    })
    assert.deepEqual(sentinel('redis://mymaster,s1/3'), {
      kind: 'sentinel',
      master: 'mymaster',
      sentinels: [{ host: 's1', port: 26379 }],
    })
    assert.equal(parse('redis://m,s/1', { SENTINEL_PASSWORD: 'x' }).sentinelPassword, 'x')
  })

  it('is of a cluster where the colon comes first', () => {
    assert.deepEqual(parse('redis://h1:7000,h2:7001,h3/1').place, {
      kind: 'cluster',
      seeds: [
        { host: 'h1', port: 7000 },
        { host: 'h2', port: 7001 },
        { host: 'h3', port: 6379 },
      ],
    })
  })

  it('has options for time-outs, spelled with dashes or underscores', () => {
    const plain = parse('redis://h/1')
    assert.deepEqual([plain.minRetryMs, plain.maxRetryMs, plain.readTimeoutMs], [20, 10_000, 30_000])
    const given = parse('redis://h/1?min-retry-backoff=5ms&max_retry_backoff=1m30s&read-timeout=1.5s&client-cache=true')
    assert.deepEqual([given.minRetryMs, given.maxRetryMs, given.readTimeoutMs], [5, 90_000, 1500])
    assert.deepEqual(given.ignored, ['client-cache'])
    const others = parse('rediss://h/1?insecure-skip-verfy=true&write_timeout=5s&insecure_skip_verify=true&db=1')
    assert.deepEqual(others.ignored, ['insecure-skip-verfy', 'write-timeout'])
  })

  it('with rediss has options for certificates; a missing file is named', () => {
    assert.equal(parse('redis://h/1').tls, undefined)
    assert.equal(parse('rediss://h/1').tls?.rejectUnauthorized, true)
    const tls = parse('rediss://h/1?insecure-skip-verify=true&tls-server-name=other').tls
    assert.deepEqual([tls?.rejectUnauthorized, tls?.servername], [false, 'other'])
    assert.throws(() => parse('rediss://h/1?tls-ca-cert-file=/no/such/file'), /tls-ca-cert-file: ENOENT/)
  })

  it('that cannot be meant is refused without showing the password', () => {
    for (const url of [
      'redis://:hidden@host/one',
      'redis://:hidden@host:port/1',
      'redis://:hidden@host:99999/1',
      'redis://:hidden@host/1?read-timeout=soon',
      'redis://:hidden@master,/1',
      'redis://user:hidden/1', // its @host is missing
      'redis://:hidden?@host/1',
    ]) {
      assert.throws(
        () => parse(url),
        (error: unknown) => error instanceof Fault && error.errno === 22 && !error.message.includes('hidden'),
        url,
      )
    }
  })
})
