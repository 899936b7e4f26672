import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { blockKey, blocksOf, objectKey, parseBlockName } from '../../src/chunk/keys.ts'

const MIB = 1 << 20
const keys = (id: number, size: number, blockBytes: number, hashPrefix: boolean): string[] =>
  blocksOf({ id, size }, blockBytes).map(block => objectKey(block, hashPrefix))

describe('block keys', () => {
  it('are those of real volumes', () => {
    const sixteen = keys(1, 64 * MIB, 4 * MIB, false)
    assert.equal(sixteen.length, 16)
    assert.equal(sixteen[0], 'chunks/0/0/1_0_4194304')
    assert.equal(sixteen[15], 'chunks/0/0/1_15_4194304')
    assert.deepEqual(keys(2, 6 * MIB, 4 * MIB, false), ['chunks/0/0/2_0_4194304', 'chunks/0/0/2_1_2097152'])
    assert.deepEqual(keys(4097, 40000, 4 * MIB, false), ['chunks/0/4/4097_0_40000'])
    assert.deepEqual(keys(4, 5_000_000, 4 * MIB, true), ['chunks/04/0/4_0_4194304', 'chunks/04/0/4_1_805696'])
    assert.deepEqual(keys(1234567, 1, 4 * MIB, false), ['chunks/1/1234/1234567_0_1'])
    assert.deepEqual(keys(1234567, 1, 4 * MIB, true), ['chunks/87/1/1234567_0_1'])
    assert.deepEqual(keys(171, 1, 4 * MIB, true), ['chunks/AB/0/171_0_1'])
    assert.deepEqual(keys(2 ** 52 + 1, 1, 4 * MIB, false), ['chunks/4503599627/4503599627370/4503599627370497_0_1'])
  })

  it('a slice without bytes has no blocks', () => {
    assert.deepEqual(keys(9, 0, 4 * MIB, false), [])
  })

  it('tell blocks apart, also where numbers would run out', () => {
    const seen = new Set(
      [1, 2, 2 ** 42, 2 ** 43 - 1, 2 ** 43, 2 ** 52].flatMap(id => [0, 1, 1023].map(i => blockKey(id, i))),
    )
    assert.equal(seen.size, 18)
  })

  it('are read back from names, and other names are none', () => {
    assert.deepEqual(parseBlockName('1234567_15_4194304'), { id: 1234567, index: 15, length: 4194304 })
    for (const name of [
      '',
      '1_2',
      '1_2_3.tmp',
      '1_2_0',
      '0_0_3',
      'a_0_1',
      '1_1024_5',
      '-1_0_1',
      '1_0_1_1',
      '99999999999999999_0_1',
    ]) {
      assert.equal(parseBlockName(name), null, name)
    }
  })
})
