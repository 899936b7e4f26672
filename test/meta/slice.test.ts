import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildView, CHUNK_BYTES, decodeRecords, encodeRecords, type SliceRecord } from '../../src/meta/model/slice.ts'

const record = (pos: number, id: number, size: number, off: number, len: number): SliceRecord => ({
  pos,
  id,
  size,
  off,
  len,
})

test('a record is spelled as documented', () => {
  const bytes = Buffer.from('000000c8000000000000000800000064' + '0000000000000064', 'hex')
  assert.deepEqual(encodeRecords([record(200, 8, 100, 0, 100)]), bytes)
  assert.deepEqual(decodeRecords(bytes), [record(200, 8, 100, 0, 100)])
})

test('records of length 0 are left out, an odd list and a record beyond the chunk are faults', () => {
  assert.deepEqual(decodeRecords(Buffer.alloc(24)), [])
  assert.throws(() => decodeRecords(Buffer.alloc(25)), /damaged chunk/)
  const beyond = encodeRecords([record(0, 1, 10, 0, 10)])
  beyond.writeUInt32BE(CHUNK_BYTES - 9, 0)
  assert.throws(() => decodeRecords(beyond), /damaged chunk/)
})

test('the documented list gives the documented view', () => {
  const view = buildView([record(0, 7, 10000, 0, 10000), record(200, 8, 100, 0, 100), record(4096, 0, 0, 0, 4096)])
  assert.deepEqual(view, [
    record(0, 7, 10000, 0, 200),
    record(200, 8, 100, 0, 100),
    record(300, 7, 10000, 300, 3796),
    record(4096, 0, 0, 0, 4096),
    record(8192, 7, 10000, 8192, 1808),
  ])
})

test('a gap below the last byte is a zero segment, neighbours are not merged', () => {
  assert.deepEqual(buildView([record(10, 1, 5, 0, 5), record(15, 1, 5, 0, 5)]), [
    record(0, 0, 0, 0, 10),
    record(10, 1, 5, 0, 5),
    record(15, 1, 5, 0, 5),
  ])
  assert.deepEqual(buildView([]), [])
})

function generator(seed: number): (n: number) => number {
  let state = seed
  return n => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * n)
  }
}

test('random lists look as if painted byte by byte', () => {
  const width = 200
  for (let seed = 1; seed <= 400; seed++) {
    const random = generator(seed)
    const records: SliceRecord[] = []
    const canvas: string[] = new Array(width).fill('0')
    let covered = 0
    for (let i = 0; i < 1 + random(40); i++) {
      const pos = random(width)
      const len = 1 + random(Math.min(width - pos, random(2) === 0 ? 10 : width))
      const off = random(50)
      const id = random(4) === 0 ? 0 : i + 1
      records.push(record(pos, id, off + len, off, len))
      for (let byte = 0; byte < len; byte++) canvas[pos + byte] = id === 0 ? '0' : `${id}:${off + byte}`
      covered = Math.max(covered, pos + len)
    }
    const shown: string[] = []
    for (const segment of buildView(records)) {
      assert.equal(segment.pos, shown.length, `seed ${seed}: sorted and without gaps`)
      assert.ok(segment.len > 0, `seed ${seed}: no empty segment`)
      for (let byte = 0; byte < segment.len; byte++) {
        shown.push(segment.id === 0 ? '0' : `${segment.id}:${segment.off + byte}`)
      }
    }
    assert.deepEqual(shown, canvas.slice(0, covered), `seed ${seed}`)
  }
})

test('thousands of random small records cost milliseconds, not seconds', () => {
  const random = generator(7)
  const records = Array.from({ length: 5000 }, (_, i) => record(random(CHUNK_BYTES - 4096), i + 1, 4096, 0, 4096))
  const start = performance.now()
  assert.ok(buildView(records).length > 5000)
  assert.ok(performance.now() - start < 1000)
})
