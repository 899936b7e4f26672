import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { bytesBothWays, bytesText, durationText, mbpsText, withCommas } from '../../src/cmd/humanize.ts'
import { maskPassword, parseMetaUrl } from '../../src/cmd/meta-url.ts'
import { renderTable } from '../../src/cmd/table.ts'
import { parseBytes, parseDurationMs, parseMbps, parseOctal } from '../../src/cmd/values.ts'

describe('values', () => {
  it("sizes take a unit, or the flag's own", () => {
    assert.equal(parseBytes('x', '4M', 'K'), 4 << 20)
    assert.equal(parseBytes('x', '4', 'K'), 4 << 10)
    assert.equal(parseBytes('x', '1.5g', 'B'), 1.5 * 2 ** 30)
    assert.equal(parseBytes('x', '7b', 'M'), 7)
    assert.equal(parseBytes('x', '0.0001K', 'M'), 0)
  })
  it('sizes with other units are refused', () => {
    assert.throws(() => parseBytes('block-size', '1X', 'K'), /Invalid value "1X" for "block-size": invalid unit/)
    for (const text of ['4MiB', '4MB', 'x', '-1M', '1e3'])
      assert.throws(() => parseBytes('x', text, 'M'), /Invalid value/, text)
  })
  it("durations are seconds, Go's spelling, or days", () => {
    for (const [text, ms] of [
      ['12', 12_000],
      ['0.5', 500],
      ['300ms', 300],
      ['2h45m', 9_900_000],
      ['1.5h', 5_400_000],
      ['1d', 86_400_000],
      ['1d12h', 129_600_000],
      ['0', 0],
    ] as const) {
      assert.equal(parseDurationMs(text), ms, text)
    }
    for (const text of ['abc', '1x', '', '5mm', '1dd']) assert.equal(parseDurationMs(text), null, text)
  })
  it('rates are Mbps, thousand-based', () => {
    assert.equal(parseMbps('x', '100'), 100)
    assert.equal(parseMbps('x', '1.5G'), 1500)
    assert.equal(mbpsText(100), '100.0 Mbps')
    assert.equal(mbpsText(1500), '1.5 Gbps')
  })
  it('modes are octal', () => {
    assert.equal(parseOctal('x', '0600'), 0o600)
    assert.throws(() => parseOctal('umask', '89'), /Invalid value "89" for "umask"/)
  })
})

describe('numbers for people', () => {
  it('have one decimal below ten', () => {
    assert.deepEqual([0, 5, 512, 1024, 9 << 20, 512 << 20, 2 ** 30, 128 << 10].map(bytesText), [
      '0 B',
      '5 B',
      '512 B',
      '1.0 KiB',
      '9.0 MiB',
      '512 MiB',
      '1.0 GiB',
      '128 KiB',
    ])
  })
  it('come both ways in info', () => {
    assert.equal(bytesBothWays(9437184), '9.00 MiB (9437184 Bytes)')
    assert.equal(bytesBothWays(6), '6 Bytes')
  })
  it("have commas, and durations are Go's", () => {
    assert.equal(withCommas(1234567), '1,234,567')
    assert.deepEqual([0, 20, 1500, 90_000, 7_200_000].map(durationText), ['0s', '20ms', '1.5s', '1m30s', '2h0m0s'])
  })
})

describe('tables', () => {
  it('centre the header, an odd blank to the left, and align cells right', () => {
    const table = renderTable([
      ['ITEM', 'VALUE'],
      ['Write big file', '1 MiB/s'],
      ['Stat', '\x1b[1;32m22\x1b[0m f/s'],
    ])
    assert.equal(
      table,
      [
        '+----------------+---------+',
        '|      ITEM      |  VALUE  |',
        '+----------------+---------+',
        '| Write big file | 1 MiB/s |',
        '|           Stat |  \x1b[1;32m22\x1b[0m f/s |',
        '+----------------+---------+',
        '',
      ].join('\n'),
    )
    assert.match(renderTable([['ab'], ['12345']]), /\| {3}ab {2}\|/)
  })
})

describe('META-URL', () => {
  it('of SQLite is made absolute and keeps its options', () => {
    const { url, path } = parseMetaUrl('sqlite3://some/meta.db?table_prefix=x')
    assert.equal(path, `${process.cwd()}/some/meta.db`)
    assert.equal(url, `sqlite3://${process.cwd()}/some/meta.db?table_prefix=x`)
  })
  it('without a scheme is redis; what is not built and what is unknown are told apart', () => {
    assert.deepEqual(parseMetaUrl('localhost/1'), { driver: 'redis', url: 'redis://localhost/1', path: null })
    for (const url of ['rediss://h:1/2', 'unix:///run/redis.sock?db=1']) {
      assert.deepEqual(parseMetaUrl(url), { driver: 'redis', url, path: null })
    }
    assert.throws(() => parseMetaUrl('tikv://pd/x'), /engine tikv is not supported yet/)
    assert.throws(() => parseMetaUrl('nosuch://x'), /Invalid meta driver: nosuch/)
    assert.throws(() => parseMetaUrl('sqlite3://'), /path of the database file is missing/)
  })
  it('never shows its password', () => {
    assert.equal(maskPassword('redis://user:p@ss:w@host:6379/1'), 'redis://user:****@host:6379/1')
    assert.equal(maskPassword('redis://:secret@host/1'), 'redis://:****@host/1')
    assert.equal(
      maskPassword('postgres://u@h/x?password=se%26cret&sslmode=require'),
      'postgres://u@h/x?password=****&sslmode=require',
    )
    for (const same of ['sqlite3:///a/b.db', 'redis://host:6379/1', '/a/b:c@d']) assert.equal(maskPassword(same), same)
  })
})
