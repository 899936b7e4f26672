import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { HashRing } from '../../src/chunk/hash-ring.ts'
import { fnv1, murmur3 } from '../../src/chunk/hashes.ts'

const ids = [
  '5b0cd44f-69cb-4c7f-ada3-b7eea8c397ff',
  'a1f0c3de-0001-4c7f-ada3-000000000002',
  'c0ffee00-69cb-4c7f-8da3-b7eea8c39700',
]
const keys = Array.from({ length: 20_000 }, (_, id) => `chunks/0/${Math.floor(id / 1000)}/${id}_0_4194304`)

/** The ring of the format, drawn again in the plainest way: every point asked for every key. */
function plainOwner(counts: readonly number[], key: string): number {
  const hash = murmur3(key)
  const points = ids.flatMap((id, owner) =>
    Array.from({ length: counts[owner]! }, (_, i) => ({ at: murmur3(`${i}${id}`), owner })),
  )
  points.sort((a, b) => a.at - b.at)
  return (points.find(({ at }) => at >= hash) ?? points[0]!).owner
}

describe('the hashes of the ring', () => {
  it('murmur3 agrees with its published values, for every length of the tail', () => {
    for (const [text, hash] of [
      ['', 0],
      ['hello', 0x248bfa47],
      ['hello, world', 0x149bbb7f],
      ['The quick brown fox jumps over the lazy dog', 0x2e4ff723],
      ['Hello, world!', 0xc0363e43],
      ['\x21\x43\x65\x87', 0xf55b516b],
      ['\x21\x43\x65', 0x7e4a8634],
      ['\x21\x43', 0xa0f7b07a],
      ['\x21', 0x72661cf4],
      ['\xff\xff\xff\xff', 0x76293b50],
      ['\0\0\0', 0x85f0b427],
    ] as const) {
      assert.equal(murmur3(text), hash, text)
    }
  })

  it('FNV-1 agrees with its published values', () => {
    for (const [text, hash] of [
      ['', 0x811c9dc5],
      ['a', 0x050c5d7e],
      ['foobar', 0x31f0b262],
    ] as const) {
      assert.equal(fnv1(text), hash, text)
    }
  })
})

describe('the ring of cache directories', () => {
  it('gives every key to one directory, evenly, and the same at every start', () => {
    const ring = new HashRing(ids)
    const counts = [0, 0, 0]
    for (const key of keys) counts[ring.ownerOf(key)]!++
    for (const count of counts) assert.ok(Math.abs(count / keys.length - 1 / 3) < 0.05, `${counts}`)
    const again = new HashRing([...ids])
    for (const key of keys) assert.equal(again.ownerOf(key), ring.ownerOf(key))
  })

  it('has the points of the format: 100 a directory, then five rounds that even out the arcs', () => {
    const counts = [100, 100, 100]
    for (let round = 0; round < 5; round++) {
      const points = ids.flatMap((id, owner) =>
        Array.from({ length: counts[owner]! }, (_, i) => ({ at: murmur3(`${i}${id}`), owner })),
      )
      points.sort((a, b) => a.at - b.at)
      const shares = [0, 0, 0]
      for (const [i, { at, owner }] of points.entries()) {
        shares[owner]! += (at - (i === 0 ? points.at(-1)!.at - 2 ** 32 : points[i - 1]!.at)) / 2 ** 32
      }
      for (const owner of [0, 1, 2]) {
        counts[owner]! += Math.trunc(((counts[owner]! * (1 / 3 - shares[owner]!)) / (1 / 3)) * 0.75)
      }
    }
    const ring = new HashRing(ids)
    for (const key of keys.slice(0, 500)) assert.equal(ring.ownerOf(key), plainOwner(counts, key))
  })

  it('moves few keys beyond those of a directory that is lost', () => {
    const [whole, rest] = [new HashRing(ids), new HashRing(ids.slice(0, 2))]
    const moved = keys.filter(key => whole.ownerOf(key) < 2 && rest.ownerOf(key) !== whole.ownerOf(key))
    assert.ok(moved.length < keys.length * 0.1, `${moved.length} of ${keys.length}`)
  })
})
